//! What a scenario needs of the world that runs it.

use crate::check::{Snapshot, Wire};
use crate::journal::{Change, Journal};
use crate::sim::{Bandwidth, NodeState, Offence, Tally, Traffic, Way};
use bytes::Bytes;
use hedgerow_protocol::status::OverlayStatus;
use hedgerow_protocol::{GroupName, JoinError, JoinOptions, LinkId, Micros, PeerKey, PublishError};
use std::collections::{BTreeMap, BTreeSet};

/// A place where peers run, as the agenda of a run sees it: nodes by number from 0, time from the
/// start, and everything that can be done to nodes and to the ways between them.
///
/// What a world cannot do it is never asked for: [`super::ability`] refuses such scenarios before
/// anything starts, and the methods here do nothing by default.
pub(crate) trait World {
    /// Where the agenda is. In real time the clock may be past it, when the machine is slow.
    fn now(&self) -> Micros;
    /// Lets everything happen until `at`.
    fn run_to(&mut self, at: Micros);
    /// Waits until all that was started at moment 0 is there and in its groups, where that takes
    /// time that is no part of the run; tells how many of how many are.
    fn all_up(&mut self, _told: &mut dyn FnMut(usize, usize)) {}
    /// Ends all peers; what was seen of them stays.
    fn end(&mut self) {}
    /// Looks at every peer now, where that is not what [`World::snapshots`] does anyway.
    fn refresh(&mut self) {}
    /// Whether a node's peer said something of itself when it was asked last.
    fn answers(&self, _node: usize) -> bool {
        true
    }
    /// Whether somebody wants the run to end.
    fn interrupted(&self) -> bool {
        false
    }
    /// What a reader of the results must know of how this world was run.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// What broke that no fault was meant to break: peers that ended by themselves, say.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    /// Nodes, those included that do not run.
    fn len(&self) -> usize;
    /// How a node is.
    fn state(&self, node: usize) -> NodeState;
    /// Whether a peer runs at a node, paused or not.
    fn is_alive(&self, node: usize) -> bool {
        matches!(self.state(node), NodeState::Running | NodeState::Paused)
    }
    /// Whether a node's peer was told to leave the network and has not ended yet.
    fn is_leaving(&self, node: usize) -> bool {
        let changes = self.journal().nodes[node].changes.iter().rev();
        let mut changes = changes.map(|(_, change)| change);
        let of_life = |change: &&Change| {
            matches!(change, Change::Started | Change::Shutdown | Change::Stopped)
        };
        self.is_alive(node) && changes.find(of_life) == Some(&Change::Shutdown)
    }
    /// Nodes with a peer, in order.
    fn alive(&self) -> Vec<usize> {
        (0..self.len())
            .filter(|&node| self.is_alive(node))
            .collect()
    }
    /// The key of a node's peer.
    fn key(&self, node: usize) -> PeerKey;
    /// The node of a key.
    fn node_of(&self, peer: PeerKey) -> Option<usize>;
    /// One-way delay between two nodes, where it is known.
    fn direct(&self, a: usize, b: usize) -> Option<Micros>;

    /// What happened so far.
    fn journal(&self) -> &Journal;
    /// Equal runs, equal hashes, where runs can be equal.
    fn trace_hash(&self) -> Option<String> {
        None
    }
    /// Events so far, where they are simulated.
    fn happened(&self) -> Option<u64> {
        None
    }
    /// What these nodes' peers say about themselves; left out are those of which nothing is known.
    fn snapshots(&self, nodes: &[usize]) -> Vec<Snapshot>;
    /// Who is in the view of a node's peer, where that can be asked.
    fn sees(&self, _node: usize) -> Option<BTreeSet<PeerKey>> {
        None
    }
    /// The connections of these nodes' peers.
    fn wires(&self, nodes: &[usize]) -> Vec<Wire>;
    /// What a node sent so far.
    fn traffic(&self, node: usize) -> Traffic;
    /// What a node's peers counted so far; never less than before.
    fn tally(&mut self, node: usize) -> Tally;
    /// The counters of a node's peers by name, over all their lives.
    fn counters(&self, node: usize) -> BTreeMap<String, u64>;
    /// What a node's peer has sent that proves it hostile, in this world's time.
    fn offences(&self, _node: usize) -> Vec<Offence> {
        Vec::new()
    }
    /// The most memory that a process held, MiB; 0 where the system does not tell.
    fn peak_rss_mib(&self) -> f64;
    /// A node's links that are up.
    fn links(&self, node: usize) -> Vec<(LinkId, PeerKey)>;
    /// Nodes that a node has links to.
    fn neighbours(&self, node: usize) -> Vec<usize> {
        let links = self.links(node).into_iter();
        links.filter_map(|(_, peer)| self.node_of(peer)).collect()
    }
    /// A group's overlay from `origin`, as that computes it; nothing where it cannot be asked.
    fn overlay(&self, origin: usize, group: &GroupName) -> Option<OverlayStatus>;
    /// Whether a node is a member of a group.
    fn is_member(&self, node: usize, group: &GroupName) -> bool;

    /// Starts a peer; with the same key, and with what the last one there stored unless `wiped`.
    fn start(&mut self, node: usize, wiped: bool);
    /// Starts a peer that is to know nobody before [`World::warm_up`].
    fn start_alone(&mut self, node: usize) {
        self.start(node, false);
    }
    /// Lets peers that were just started alone go on as after a long life with each other.
    fn warm_up(&mut self, _nodes: &[usize]) {}
    /// The process dies; its host says so.
    fn kill(&mut self, node: usize);
    /// The host falls silent.
    fn crash(&mut self, node: usize);
    /// The peer leaves the network in good order.
    fn shutdown(&mut self, node: usize);
    /// The process sleeps.
    fn pause(&mut self, node: usize);
    /// It goes on.
    fn resume(&mut self, node: usize);
    /// The process reads nothing from its links (simulated), or the application nothing from the
    /// process (real ones).
    fn set_deaf(&mut self, _node: usize, _deaf: bool) {}
    /// Nothing can be stored.
    fn set_disk_full(&mut self, _node: usize, _full: bool) {}
    /// The wall clock jumps by so many ms.
    fn jump_clock(&mut self, _node: usize, _by_ms: i64) {}

    /// Joins a group.
    fn join(&mut self, node: usize, group: &str, options: JoinOptions) -> Result<(), JoinError>;
    /// Leaves a group.
    fn leave(&mut self, node: usize, group: &str);
    /// Publishes a message.
    fn publish(&mut self, node: usize, group: &str, payload: Bytes) -> Result<(), PublishError>;
    /// Messages of a workload that peers were given and of which nobody is known to have taken them,
    /// where that is known later than they are given.
    fn untaken(&self, _workload: usize) -> u64 {
        0
    }
    /// Publishes messages that are due at once, until one is refused; gives how many were taken. An
    /// error says why the first was refused.
    fn publish_many(
        &mut self,
        node: usize,
        group: &str,
        payloads: &[Bytes],
    ) -> Result<usize, PublishError> {
        for (taken, payload) in payloads.iter().enumerate() {
            match self.publish(node, group, payload.clone()) {
                Ok(()) => {}
                Err(error) if taken == 0 => return Err(error),
                Err(_) => return Ok(taken),
            }
        }
        Ok(payloads.len())
    }

    /// Cuts the network into sets of nodes that reach each other only within; a node in no set
    /// reaches all. What earlier partitions cut stays cut.
    fn partition(&mut self, _sets: &[Vec<usize>]) {}
    /// Cuts all ways from `from` to `to`; the other direction stays.
    fn cut_one_way(&mut self, _from: &[usize], _to: &[usize]) {}
    /// Cuts the way between two nodes in both directions, or opens it again.
    fn cut_pair(&mut self, _a: usize, _b: usize, _cut: bool) {}
    /// Makes ways between nodes of different sets longer, beyond what they are already; `None` ends
    /// all of that.
    fn slow_between(&mut self, _sets: Option<(&[Vec<usize>], Micros)>) {}
    /// Ends all partitions and cuts.
    fn heal(&mut self) {}
    /// What is wrong with the ways from and to a node, in place of what was.
    fn set_way(&mut self, _node: usize, _way: Way) {}
    /// A node's access line.
    fn bandwidth(&self, _node: usize) -> Bandwidth {
        Bandwidth::UNLIMITED
    }
    /// Changes it.
    fn set_bandwidth(&mut self, _node: usize, _bandwidth: Bandwidth) {}
    /// Ends the connection behind a link at both ends.
    fn reset_link(&mut self, _node: usize, _link: LinkId) {}
    /// A node forgets the connection behind a link; the other end does not know.
    fn half_open(&mut self, _node: usize, _link: LinkId) {}
}
