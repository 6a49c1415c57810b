//! Many peers in one run directory, the first of which bootstraps the rest.

use super::error::{ProcessError, Result};
use super::peer::{Lifetime, Peer, PeerPlan};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Peers that start at the same time; more would only wait for each other's cores.
const STARTING_MAX: usize = 8;
/// Peers that are asked at the same time.
const ASKING_MAX: usize = 32;
/// Pause between two rounds of asking all peers.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How a fleet is to be run.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// The `hedgerow` program.
    pub binary: PathBuf,
    /// The run directory: `peer-001/` and so on, and `logs/`.
    pub dir: PathBuf,
    /// The network's name.
    pub network: String,
    /// Groups that every peer joins at its start.
    pub join: Vec<String>,
    /// Who ends the peers.
    pub lifetime: Lifetime,
    /// How long a peer may take until its API accepts calls.
    pub ready_within: Duration,
}

/// Peers of one run directory.
#[derive(Debug)]
pub struct Fleet {
    plan: FleetPlan,
    peers: Vec<Peer>,
}

/// Answer of `GET /v1/groups`, as far as it matters here.
#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(rename = "group")]
    name: Option<String>,
    role: String,
    joined: bool,
    members: usize,
}

impl Fleet {
    /// A fleet without peers yet.
    pub fn new(plan: FleetPlan) -> Self {
        Self {
            plan,
            peers: Vec::new(),
        }
    }

    /// Starts `count` more peers on loopback; `on_ready` hears of each. They bootstrap from the
    /// fleet's first peer, which is alone until it is ready.
    pub async fn grow(&mut self, count: usize, mut on_ready: impl FnMut(&Peer)) -> Result<()> {
        let mut first = self.peers.len();
        let end = first + count;
        if first == 0 && count > 0 {
            let peer = Peer::start(&self.plan.binary, self.peer_plan(0)).await?;
            on_ready(&peer);
            self.peers.push(peer);
            first = 1;
        }
        let plans: Vec<PeerPlan> = (first..end).map(|index| self.peer_plan(index)).collect();
        let binary = &self.plan.binary;
        let mut starting = stream::iter(plans)
            .map(|plan| Peer::start(binary, plan))
            .buffered(STARTING_MAX);
        while let Some(peer) = starting.try_next().await? {
            on_ready(&peer);
            self.peers.push(peer);
        }
        Ok(())
    }

    /// Has peers that start from now on join `groups`.
    pub fn join_at_start(&mut self, groups: &[String]) {
        groups.clone_into(&mut self.plan.join);
    }

    /// The peers, in order of their numbers.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The same, to be signalled and restarted.
    pub fn peers_mut(&mut self) -> &mut [Peer] {
        &mut self.peers
    }

    /// The run directory.
    pub fn dir(&self) -> &std::path::Path {
        &self.plan.dir
    }

    /// Waits until every living peer is a member of these groups to whom messages are due, and
    /// sees `count` members in each, itself included.
    pub async fn until_joined(&self, groups: &[&str], count: usize, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut waiting: Vec<&Peer> = self.peers.iter().filter(|peer| peer.is_alive()).collect();
        loop {
            let asked = stream::iter(waiting)
                .map(|peer| async move { (peer, missing(peer, groups, count).await) })
                .buffer_unordered(ASKING_MAX)
                .collect::<Vec<_>>()
                .await;
            let short: Vec<(&Peer, Result<Option<String>>)> = asked
                .into_iter()
                .filter(|(_, missing)| !matches!(missing, Ok(None)))
                .collect();
            let Some((peer, missing)) = short.first() else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                let seen = match missing {
                    Ok(missing) => missing.clone().unwrap_or_default(),
                    Err(error) => error.to_string(),
                };
                let what = format!(
                    "{count} joined members of {} at every peer",
                    groups.join(", ")
                );
                let seen = format!("{} peers short, {}: {seen}", short.len(), peer.name());
                return Err(ProcessError::Condition {
                    what,
                    after: limit,
                    seen,
                });
            }
            waiting = short.into_iter().map(|(peer, _)| peer).collect();
            sleep(ASK_EVERY).await;
        }
    }

    /// Asks all peers to leave, and kills those that have not after `grace`. Returns how many had
    /// to be killed.
    pub async fn stop(&mut self, grace: Duration) -> Result<usize> {
        let ends = self.peers.iter_mut().map(|peer| peer.stop(grace));
        let ended = futures::future::try_join_all(ends).await?;
        Ok(ended.into_iter().filter(|left| !left).count())
    }

    /// Lets go of detached peers: they run on.
    pub fn release(self) -> Vec<Peer> {
        self.peers
    }

    fn peer_plan(&self, index: usize) -> PeerPlan {
        let name = format!("peer-{:03}", index + 1);
        let first = self.peers.first().map(|peer| peer.ready().listen.clone());
        PeerPlan {
            data_dir: self.plan.dir.join(&name),
            log_dir: self.plan.dir.join("logs"),
            name,
            network: self.plan.network.clone(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            connect: first.unwrap_or_default(),
            join: self.plan.join.clone(),
            more: Vec::new(),
            lifetime: self.plan.lifetime,
            ready_within: self.plan.ready_within,
        }
    }
}

/// What a peer still lacks of being joined to all groups among `count` members.
async fn missing(peer: &Peer, groups: &[&str], count: usize) -> Result<Option<String>> {
    let known: Groups = peer.api().get("/v1/groups").await?;
    Ok(groups.iter().find_map(|name| {
        let found = known
            .groups
            .iter()
            .find(|group| group.name.as_deref() == Some(*name));
        match found {
            None => Some(format!("not in {name}")),
            Some(group) if group.role == "member" && group.joined && group.members >= count => None,
            Some(group) => Some(format!("{name}: {group:?}")),
        }
    }))
}
