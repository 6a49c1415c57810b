//! Peers that hold the same view, and carry frames for each other.

use super::*;
use crate::base::identity::Keypair;
use crate::base::interface::{Action, LinkEnd};
use crate::base::time::{Micros, Time};
use crate::core::config::Config;
use crate::overlay::cache::SharedCache;
use crate::overlay::links::Link;
use crate::wire::record::RecordExt;
use crate::wire::{FRAME_BYTES_MAX, FrameDecoder, Record, RecordLink, SignedRecord};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Two peers and the round-trip time of their link, microseconds.
pub(crate) type TestLink = (usize, usize, u32);

/// The ends of links, in the order in which frames crossed them.
type Crossed = Vec<(usize, usize)>;

pub(crate) struct Peer {
    pub(crate) core: Core,
    pub(crate) net: Overlay,
    pub(crate) unicast: Unicast,
}

/// Peers by ascending key. A link is named after the peer at its other end.
pub(crate) struct Network {
    pub(crate) peers: Vec<Peer>,
}

impl Network {
    pub(crate) fn new(nodes: usize, links: &[TestLink]) -> Self {
        let mut keypairs: Vec<Keypair> = (0..nodes)
            .map(|node| Keypair::from_secret([node as u8 + 1; 32]))
            .collect();
        keypairs.sort_by_key(Keypair::peer);
        let neighbours = |node: usize| {
            let links = links.iter();
            let links = links.filter_map(move |&(a, b, rtt_us)| match node {
                node if node == a => Some((b, rtt_us)),
                node if node == b => Some((a, rtt_us)),
                _ => None,
            });
            links.collect::<BTreeMap<usize, u32>>()
        };
        let records = keypairs.iter().enumerate().map(|(node, keypair)| {
            let stated = neighbours(node).into_iter().map(|(other, rtt_us)| {
                let peer = keypairs[other].peer();
                RecordLink { peer, rtt_us }
            });
            let record = Record {
                network: Config::default().network.hash(),
                peer: keypair.peer(),
                epoch: 1,
                version: 1,
                left: false,
                algorithm: 1,
                capacity: 4,
                coordinate: [0.0; 5],
                addresses: Vec::new(),
                groups: Vec::new(),
                links: stated.collect(),
                capabilities: 0,
                ext: RecordExt::default(),
            };
            Arc::new(SignedRecord::sign(record, keypair))
        });
        let records: Vec<Arc<SignedRecord>> = records.collect();
        let peers = keypairs.iter().enumerate().map(|(node, keypair)| {
            let now = Time {
                mono: Micros::from_millis(5_000),
                wall_ms: 1_700_000_000_000,
            };
            let config = Config::default();
            let mut core = Core::new(keypair.clone(), config, [node as u8; 32], now);
            let mut net = Overlay::new(&mut core, SharedCache::default(), 1);
            for (other, _) in neighbours(node) {
                let (id, peer) = (LinkId(other as u64), keypairs[other].peer());
                net.begin_link_up(&core, id, peer);
            }
            for record in &records {
                net.put_own(record.clone(), now.mono);
            }
            net.refresh_view(&mut core);
            core.actions.clear();
            let unicast = Unicast::default();
            Peer { core, net, unicast }
        });
        let peers = peers.collect();
        Self { peers }
    }

    pub(crate) fn key(&self, node: usize) -> PeerKey {
        self.peers[node].core.me
    }

    pub(crate) fn count(&self, node: usize, counter: &str) -> u64 {
        let counters = self.peers[node].core.counts.told();
        counters.values.get(counter).copied().unwrap_or(0)
    }

    /// What a peer has sent since the last call: to whom, and what.
    pub(crate) fn sent(&mut self, node: usize) -> Vec<(usize, Routed)> {
        let peer = &mut self.peers[node];
        let mut sent = Vec::new();
        let actions = peer.core.actions.iter();
        for action in actions {
            let Action::Send { link, chunks } = action else {
                continue;
            };
            let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
            for chunk in chunks {
                decoder.push(chunk.clone());
            }
            let raw = decoder.next_frame().expect("a frame").expect("whole");
            if let Some(Frame::Routed(routed)) = Frame::decode(raw).expect("well formed") {
                sent.push((link.0 as usize, routed));
            }
        }
        let is_send = |action: &Action| matches!(action, Action::Send { .. });
        peer.core.actions.retain(|action| !is_send(action));
        sent
    }

    pub(crate) fn receive(&mut self, node: usize, from: usize, frame: Routed) -> Option<Arrived> {
        let Peer { core, net, unicast } = &mut self.peers[node];
        unicast.on_routed(core, net, LinkId(from as u64), frame)
    }

    /// Carries what was sent until it arrives or is dropped: the links crossed, and what arrived where.
    fn carry(&mut self) -> (Crossed, Vec<(usize, Arrived)>) {
        let (mut crossed, mut arrived) = (Vec::new(), Vec::new());
        let mut under_way = VecDeque::new();
        let nodes = 0..self.peers.len();
        for node in nodes.clone() {
            let sent = self.sent(node).into_iter();
            under_way.extend(sent.map(|(to, frame)| (node, to, frame)));
        }
        while let Some((from, to, frame)) = under_way.pop_front() {
            crossed.push((from, to));
            arrived.extend(self.receive(to, from, frame).map(|frame| (to, frame)));
            let sent = self.sent(to).into_iter();
            under_way.extend(sent.map(|(next, frame)| (to, next, frame)));
        }
        (crossed, arrived)
    }

    fn send(&mut self, node: usize, to: usize, avoid: &[usize]) -> Result<(), Unsent> {
        let frame = Outgoing {
            to: self.key(to),
            class: Class::Normal,
            avoid: avoid.iter().map(|node| self.key(*node)).collect(),
            protocol: 1,
            body: Bytes::from_static(b"hello"),
        };
        let Peer { core, net, unicast } = &mut self.peers[node];
        unicast.send(core, net, frame)
    }

    /// A frame as a neighbour of a relay would pass it on.
    fn frame(&self, from: usize, to: usize, ttl: u8) -> Routed {
        Routed {
            to: self.key(to),
            from: self.key(from),
            ttl,
            class: 0,
            avoid: Vec::new(),
            protocol: 1,
            body: Bytes::from_static(b"hello"),
        }
    }

    /// A link is gone at one end; views and the other end do not show it yet.
    fn lose(&mut self, node: usize, other: usize) {
        let key = self.key(other);
        let net = &mut self.peers[node].net;
        net.forget_link(LinkId(other as u64), key);
    }
}

/// 0 - 1 - 2 - 3 in a row, and 0 - 4 - 3 as a longer way.
fn ring() -> Network {
    let links = [(0, 1, 2_000), (1, 2, 2_000), (2, 3, 2_000)];
    let longer = [(0, 4, 90_000), (4, 3, 90_000)];
    Network::new(5, &[&links[..], &longer[..]].concat())
}

#[test]
fn a_frame_goes_along_the_shortest_path_and_tells_how_many_links_it_crossed() {
    let mut network = ring();
    network.send(0, 3, &[]).expect("a path");
    let (crossed, arrived) = network.carry();
    assert_eq!(crossed, [(0, 1), (1, 2), (2, 3)]);
    let [(3, arrived)] = &arrived[..] else {
        panic!("{arrived:?}");
    };
    assert_eq!((arrived.from, arrived.hops), (network.key(0), 3));
    assert_eq!(arrived.link, LinkId(2));
    assert_eq!(network.count(0, "routed_sent"), 1);
    assert_eq!(network.count(1, "routed_forwarded"), 1);
    assert_eq!(network.count(3, "routed_delivered"), 1);
}

#[test]
fn a_neighbour_gets_it_directly_whatever_that_costs() {
    let mut network = Network::new(3, &[(0, 1, 2_000), (1, 2, 2_000), (0, 2, 900_000)]);
    network.send(0, 2, &[]).expect("a path");
    assert_eq!(network.carry().0, [(0, 2)]);
}

#[test]
fn relays_that_are_to_be_avoided_are() {
    let mut network = ring();
    network.send(0, 3, &[2]).expect("the longer way");
    let (crossed, arrived) = network.carry();
    assert_eq!(crossed, [(0, 4), (4, 3)]);
    assert_eq!(arrived[0].1.avoid, [network.key(2)]);
    assert_eq!(network.send(0, 3, &[1, 4]), Err(Unsent::NoRoute));
    let avoided = network.send(0, 3, &[3]);
    assert_eq!(avoided, Ok(()), "the destination is no relay");
    let Peer { core, net, .. } = &network.peers[0];
    let key = |node: usize| network.key(node);
    assert_eq!(relays(core, net, key(3), &[]), Some(vec![key(1), key(2)]));
    assert_eq!(relays(core, net, key(3), &[key(1)]), Some(vec![key(4)]));
    assert_eq!(relays(core, net, key(3), &[key(1), key(4)]), None);
    assert_eq!(relays(core, net, key(1), &[]), Some(Vec::new()));
}

#[test]
fn a_relay_whose_link_is_gone_finds_another_way_but_never_back() {
    let mut network = ring();
    network.lose(0, 1);
    network.send(0, 3, &[]).expect("the longer way");
    assert_eq!(network.carry().0, [(0, 4), (4, 3)]);

    let mut network = ring();
    network.lose(1, 2);
    network.send(0, 3, &[]).expect("a path");
    assert_eq!(network.carry().0, [(0, 1)], "from 1 it could only go back");
    assert_eq!(network.count(1, "routed_unroutable"), 1);
    let back = network.frame(0, 0, 9);
    assert_eq!(network.receive(1, 0, back), None);
    assert!(
        network.sent(1).is_empty(),
        "not to whom it came from either"
    );
}

#[test]
fn a_frame_ends_with_its_ttl() {
    let mut network = ring();
    let last = network.frame(0, 3, 1);
    assert_eq!(network.receive(1, 0, last), None);
    assert!(network.sent(1).is_empty());
    assert_eq!(network.count(1, "routed_expired"), 1);
    let arrives = network.frame(0, 3, 1);
    let arrived = network.receive(3, 2, arrives).expect("one link is enough");
    assert_eq!(arrived.hops, TTL_MAX);
}

#[test]
fn only_what_no_relay_passes_on_ends_a_link() {
    for wrong in 0..3 {
        let mut network = ring();
        let mut frame = network.frame(0, 3, TTL_MAX);
        match wrong {
            0 => frame.ttl = TTL_MAX + 1,
            1 => frame.avoid = vec![network.key(4); AVOID_MAX + 1],
            _ => frame.body = vec![0; BODY_BYTES_MAX + 1].into(),
        }
        assert_eq!(network.receive(1, 0, frame), None);
        assert!(network.sent(1).is_empty());
        let ends = network.peers[1].core.counts.told().link_ends;
        assert_eq!(ends.get(&LinkEnd::Malformed), Some(&1), "{wrong}");
    }
    // Senders can write anything else.
    let mut network = ring();
    let mut strange = network.frame(3, 3, TTL_MAX);
    strange.avoid = vec![network.key(1), PeerKey([9; 32])];
    strange.class = 200;
    network.receive(1, 0, strange.clone());
    strange.avoid.clear();
    strange.to = PeerKey([9; 32]);
    network.receive(1, 0, strange);
    assert_eq!(network.count(1, "routed_unroutable"), 2);
    assert_eq!(network.count(1, "frames_malformed"), 0);
}

#[test]
fn a_full_lane_drops_and_the_link_stays() {
    let mut network = ring();
    let mut forwarded = 0;
    loop {
        let mut frame = network.frame(0, 3, TTL_MAX);
        frame.body = vec![0; BODY_BYTES_MAX].into();
        network.receive(1, 0, frame);
        if network.count(1, "routed_forwarded") == forwarded {
            break;
        }
        forwarded += 1;
    }
    assert!(forwarded > 10);
    assert_eq!(network.count(1, "routed_dropped"), 1);
    let net = &network.peers[1].net;
    let links = net.connections().filter_map(|link| net.link(link));
    assert!(links.into_iter().all(Link::is_up));
    let bulk = Routed {
        class: 1,
        ..network.frame(0, 3, TTL_MAX)
    };
    network.receive(1, 0, bulk);
    assert_eq!(
        network.count(1, "routed_forwarded"),
        forwarded + 1,
        "by another lane"
    );
}

#[test]
fn a_neighbour_makes_a_relay_compute_only_so_often() {
    let mut network = ring();
    let avoided = [vec![0], vec![4], vec![0, 4]];
    for avoid in avoided.iter().cycle().take(300) {
        let mut frame = network.frame(0, 3, TTL_MAX);
        frame.avoid = avoid.iter().map(|node| network.key(*node)).collect();
        network.receive(1, 0, frame);
    }
    assert_eq!(network.count(1, "routed_forwarded"), 300);
    let now = network.peers[1].core.now.mono;
    let rates = &mut network.peers[1].unicast.rates;
    let left = (0..9_000).filter(|_| rates.may_compute(now, LinkId(0), 5));
    assert_eq!(left.count(), 4_000 - 3, "once for each set");

    let mut frame = network.frame(0, 3, TTL_MAX);
    frame.avoid = vec![network.key(4), PeerKey([9; 32])];
    network.receive(1, 0, frame.clone());
    frame.avoid = vec![network.key(2)];
    network.receive(1, 0, frame);
    assert_eq!(
        network.count(1, "routed_forwarded"),
        301,
        "one that is kept"
    );
    assert_eq!(network.count(1, "routed_dropped"), 1, "and one that is not");
}

#[test]
fn a_neighbour_that_sends_too_many_frames_takes_nothing_from_another() {
    let mut network = ring();
    let frame = network.frame(0, 1, TTL_MAX);
    let taken = (0..2_100).filter(|_| network.receive(1, 0, frame.clone()).is_some());
    assert_eq!(taken.count(), 2_000);
    assert_eq!(network.count(1, "routed_dropped"), 100);
    assert!(network.receive(1, 2, frame).is_some());
}

/// A connected network of few different costs, so that many paths are equally long.
fn connected() -> impl Strategy<Value = (usize, Vec<TestLink>)> {
    (3_usize..12).prop_flat_map(|nodes| {
        let rtt = prop::sample::select(vec![2_000_u32, 4_000, 6_000]);
        let tree = prop::collection::vec((any::<prop::sample::Index>(), rtt.clone()), nodes - 1);
        let more = prop::collection::vec((0..nodes, 0..nodes, rtt), 0..2 * nodes);
        (tree, more).prop_map(move |(tree, more)| {
            let mut links = BTreeMap::new();
            for (at, (to, rtt)) in tree.iter().enumerate() {
                links.insert((to.index(at + 1), at + 1), *rtt);
            }
            for (a, b, rtt) in more.into_iter().filter(|(a, b, _)| a != b) {
                links.entry((a.min(b), a.max(b))).or_insert(rtt);
            }
            let links = links.into_iter().map(|((a, b), rtt)| (a, b, rtt));
            (nodes, links.collect())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_reach_everybody_who_can_be_reached_and_never_circle(
        (nodes, links) in connected(),
        ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        avoid in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        lost in any::<prop::sample::Index>(),
    ) {
        let (from, to) = (ends.0.index(nodes), ends.1.index(nodes));
        prop_assume!(from != to);
        let avoid: BTreeSet<usize> = avoid.iter().map(|index| index.index(nodes)).collect();
        let avoid: Vec<usize> = avoid.into_iter().filter(|it| ![from, to].contains(it)).collect();
        let mut network = Network::new(nodes, &links);
        let sent = network.send(from, to, &avoid);
        let (crossed, arrived) = network.carry();
        prop_assert_eq!(arrived.len(), usize::from(reaches(&links, from, to, &avoid)));
        prop_assert_eq!(sent.is_ok(), arrived.len() == 1);
        let visited: BTreeSet<usize> = crossed.iter().map(|(_, to)| *to).collect();
        prop_assert_eq!(visited.len(), crossed.len(), "nobody twice");
        prop_assert!(!visited.contains(&from));
        prop_assert!(avoid.iter().all(|node| !visited.contains(node)));

        // With a link that is gone and still shown, it may not arrive; but it never turns round.
        let (a, b, _) = links[lost.index(links.len())];
        network.lose(a, b);
        network.lose(b, a);
        let _ = network.send(from, to, &avoid);
        let (crossed, arrived) = network.carry();
        prop_assert!(crossed.len() <= usize::from(TTL_MAX) && arrived.len() <= 1);
        for hops in crossed.windows(2) {
            prop_assert!(hops[0].0 != hops[1].1, "back: {:?}", crossed);
        }
        prop_assert!(crossed.iter().all(|(_, node)| !avoid.contains(node)));
    }
}

fn reaches(links: &[TestLink], from: usize, to: usize, avoid: &[usize]) -> bool {
    let mut reached = BTreeSet::from([from]);
    loop {
        let before = reached.len();
        for &(a, b, _) in links {
            for (a, b) in [(a, b), (b, a)] {
                if reached.contains(&a) && !avoid.contains(&b) {
                    reached.insert(b);
                }
            }
        }
        if reached.len() == before {
            return reached.contains(&to);
        }
    }
}
