//! From nothing to peers that are connected and calm.

use crate::peer::{Options, Peer};
use crate::spec::{Program, Shape, Spec};
use crate::usage;
use anyhow::Result;
use std::time::Duration;
use tokio::time::Instant;

/// The overlay has its shape after so long, at most.
const SETTLING: Duration = Duration::from_secs(90);
/// Once all are connected, meshes and trees are given so long to be improved...
const SETTLED_AT_LEAST: Duration = Duration::from_secs(2);
/// ...and as long as the program still uses so much CPU in a second, microseconds, until so many
/// seconds in a row were calm...
const CALM_CPU_US: u64 = 100_000;
const CALM_SECONDS: usize = 2;
/// ...or while it uses less than this, and in so many seconds less than in as many before...
const STEADY_CPU_US: u64 = 500_000;
const STEADY_SECONDS: usize = 15;
/// ...but no longer than this: what it then still has to do counts.
const CALM_WITHIN: Duration = Duration::from_secs(120);
/// How long many peers' use of processors is measured before the load: ours, which has a goal, for
/// longer than others'.
const IDLE: Duration = Duration::from_secs(5);
const IDLE_OURS: Duration = Duration::from_secs(20);

/// Of so few nobody wants to know what they use idle.
const MANY: usize = 40;
/// Links that each of many peers of ours must have on average: what they use idle is said of eight.
const IDLE_LINKS: f64 = 8.0;
/// Links of the peer that is measured idle, and how many are there to link to.
const CENTRE_LINKS: usize = 8;
pub const AROUND: usize = 16;

/// What peers are before there is a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// Links or mesh neighbours of a peer, mean.
    pub links: Option<f64>,
    /// Cores that all use.
    pub cores: Option<f64>,
}

/// Starts the peers and waits until they are connected.
pub async fn build<P: Peer>(spec: &Spec) -> Result<(Vec<P>, Rest)> {
    let (count, wanted) = match spec.shape {
        Shape::PairOrigin => (1, Some(2)),
        Shape::PairReceiver => (1, None),
        Shape::Centre => (1, Some(AROUND + 1)),
        Shape::Around(count) => (count, None),
        Shape::Chain(count) | Shape::Overlay(count) => (count, Some(count)),
    };
    let mut peers = if P::FINDS_LINKS {
        grow(spec, count).await?
    } else {
        wire(spec, count).await?
    };
    let mut rest = Rest::default();
    if let Some(wanted) = wanted {
        settle(&mut peers, wanted).await?;
        links(spec, &mut peers, SETTLING).await?;
        // Of few peers nobody wants to know.
        if wanted > MANY {
            rest.cores = Some(idle_cores(spec.program).await);
        }
        // What was used idle was used with these.
        rest.links = Some(links(spec, &mut peers, Duration::ZERO).await?);
    }
    Ok((peers, rest))
}

/// Peers that find their links themselves, from one peer to begin with.
async fn grow<P: Peer>(spec: &Spec, count: usize) -> Result<Vec<P>> {
    let is_chain = matches!(spec.shape, Shape::Chain(_));
    let mut order: Vec<usize> = (0..count).collect();
    if is_chain {
        // Odd ones listen and take two. Of the others the ends come first: when those between
        // them come, they are in line and all are full.
        order.sort_by_key(|&index| (index % 2 == 0, (1..count - 1).contains(&index), index));
    }
    let mut peers: Vec<Option<P>> = (0..count).map(|_| None).collect();
    for index in order {
        let mut bootstrap: Vec<String> = spec.connect.clone().into_iter().collect();
        let mut meet = |other: Option<usize>| {
            let other = other.and_then(|other| peers.get(other)?.as_ref());
            bootstrap.extend(other.map(Peer::address));
        };
        if !is_chain {
            meet((index > 0).then_some(0));
        } else if index % 2 == 0 {
            meet(index.checked_sub(1));
            meet(Some(index + 1));
        }
        let options = Options {
            message_bytes: spec.message_bytes,
            listen: !is_chain || index % 2 == 1,
            bootstrap,
            // It may rest with one less than it aims for.
            links: (spec.shape == Shape::Centre).then_some(CENTRE_LINKS + 1),
            incoming_max: is_chain.then_some(2),
        };
        let mut peer = P::start(&options).await?;
        peer.join(&[]).await?;
        peers[index] = Some(peer);
        // A network grows; it does not fall from the sky.
        tokio::time::sleep(Duration::from_millis(if is_chain { 400 } else { 10 })).await;
    }
    Ok(peers.into_iter().flatten().collect())
}

/// Peers that connect to whom they are told to.
async fn wire<P: Peer>(spec: &Spec, count: usize) -> Result<Vec<P>> {
    let options = Options {
        message_bytes: spec.message_bytes,
        listen: true,
        bootstrap: Vec::new(),
        links: None,
        incoming_max: None,
    };
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        peers.push(P::start(&options).await?);
    }
    let addresses: Vec<String> = peers.iter().map(Peer::address).collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        let beside: Vec<String> = match spec.shape {
            Shape::PairOrigin | Shape::PairReceiver | Shape::Centre => {
                spec.connect.clone().into_iter().collect()
            }
            Shape::Chain(_) => addresses.get(index + 1).cloned().into_iter().collect(),
            Shape::Around(_) | Shape::Overlay(_) => {
                // Each dials some others, spread evenly: a circulant graph has no weak spot.
                let dials = if count > MANY { 5 } else { 4 };
                let others = (0..dials).map(|dial| (index + 1 + dial * dial * 3) % count);
                others.map(|other| addresses[other].clone()).collect()
            }
        };
        peer.join(&beside).await?;
    }
    Ok(peers)
}

/// How many links a peer has, mean. Fails where for so long the program's own status says that the
/// shape is not what is to be measured.
async fn links<P: Peer>(spec: &Spec, peers: &mut [P], within: Duration) -> Result<f64> {
    let limit = Instant::now() + within;
    loop {
        let mut links = Vec::with_capacity(peers.len());
        for peer in peers.iter_mut() {
            links.push(peer.reach().await?.neighbours);
        }
        if has_shape(spec, &links) {
            return Ok(mean(&links));
        }
        anyhow::ensure!(
            Instant::now() < limit,
            "{:?} does not stand: links are {links:?}, {:.2} a peer",
            spec.shape,
            mean(&links)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn mean(links: &[usize]) -> f64 {
    links.iter().sum::<usize>() as f64 / links.len() as f64
}

/// Whether peers with so many links each, in their order, stand as they should.
fn has_shape(spec: &Spec, links: &[usize]) -> bool {
    match spec.shape {
        Shape::Centre => links.iter().sum::<usize>() >= CENTRE_LINKS,
        // All are reached, the first is at an end and no way forks: that is a line.
        Shape::Chain(count) => {
            let ends = [0, count - 1];
            let mut links = links.iter().enumerate();
            links.all(|(index, &links)| links == if ends.contains(&index) { 1 } else { 2 })
        }
        Shape::Overlay(count) if count > MANY && spec.program == Program::Hedgerow => {
            mean(links) >= IDLE_LINKS
        }
        _ => true,
    }
}

/// Waits until every peer has neighbours and, where it can tell, knows all, and until all are
/// calm.
async fn settle<P: Peer>(peers: &mut [P], wanted: usize) -> Result<()> {
    let limit = Instant::now() + SETTLING;
    for peer in peers.iter_mut() {
        loop {
            let reach = peer.reach().await?;
            if reach.neighbours > 0 && reach.known.is_none_or(|known| known >= wanted) {
                break;
            }
            anyhow::ensure!(
                Instant::now() < limit,
                "the overlay does not stand: {reach:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Links and meshes are still being improved: gossipsub's heartbeat is one second.
    tokio::time::sleep(SETTLED_AT_LEAST).await;
    let limit = Instant::now() + CALM_WITHIN;
    let mut used = Vec::new();
    while !is_calm(&used) && Instant::now() < limit {
        let cpu = usage::cpu_us();
        tokio::time::sleep(Duration::from_secs(1)).await;
        used.push(usage::cpu_us() - cpu);
    }
    Ok(())
}

/// Cores that all peers use before there is a load.
async fn idle_cores(program: Program) -> f64 {
    let idle = match program {
        Program::Hedgerow => IDLE_OURS,
        _ => IDLE,
    };
    let cpu = usage::cpu_us();
    tokio::time::sleep(idle).await;
    (usage::cpu_us() - cpu) as f64 / 1e6 / idle.as_secs_f64()
}

/// Whether what was used in each second, up to now, says that there is nothing more to come.
fn is_calm(used: &[u64]) -> bool {
    let last = |seconds| used.len().checked_sub(seconds).map(|from| &used[from..]);
    let calm = last(CALM_SECONDS).is_some_and(|last| last.iter().all(|&us| us < CALM_CPU_US));
    let steady = last(2 * STEADY_SECONDS).is_some_and(|last| {
        let (before, now) = last.split_at(STEADY_SECONDS);
        let sums: [u64; 2] = [before, now].map(|seconds| seconds.iter().sum());
        now.iter().all(|&us| us < STEADY_CPU_US) && sums[1] * 20 > sums[0] * 19
    });
    calm || steady
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Load;

    fn spec(program: Program, shape: Shape) -> Spec {
        Spec {
            program,
            shape,
            message_bytes: 1_024,
            load: Load::Idle,
            origins: 1,
            seconds: 1.0,
            connect: None,
            tell: None,
        }
    }

    #[test]
    fn a_chain_has_two_ends_and_no_fork() {
        let chain = spec(Program::IrohGossip, Shape::Chain(5));
        assert!(has_shape(&chain, &[1, 2, 2, 2, 1]));
        for other in [[2, 2, 2, 2, 2], [1, 3, 1, 2, 1], [1, 2, 1, 1, 1]] {
            assert!(!has_shape(&chain, &other), "{other:?}");
        }
    }

    #[test]
    fn many_of_ours_have_eight_links_each_on_average() {
        let ours = spec(Program::Hedgerow, Shape::Overlay(100));
        assert!(has_shape(&ours, &[[7; 50], [9; 50]].concat()));
        assert!(!has_shape(&ours, &[[7; 50], [8; 50]].concat()));
        let others = spec(Program::IrohGossip, Shape::Overlay(100));
        assert!(has_shape(&others, &[5; 100]));
    }
}
