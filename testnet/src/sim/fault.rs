//! What goes wrong: processes die or sleep, hosts fall silent, ways are cut.

use super::access::Bandwidth;
use super::connection::{EndRef, EndState};
use super::node::{NodeState, Way};
use super::peer::Peer;
use super::trace::Kind;
use super::world::{NetworkModel, World};
use crate::journal::Change;
use hedgerow_protocol::{LinkId, Stored};

impl<P: Peer> World<P> {
    /// The host falls silent: no goodbye, no reset. Others notice by silence.
    pub fn crash(&mut self, node: usize) {
        if self.nodes[node].state == NodeState::Down {
            return;
        }
        for (end, _) in self.ends_at(node) {
            if let Some(at) = self.connections.get(end) {
                at.state = EndState::Closed;
                at.drop_output();
            }
            self.connections.free_if_closed(end);
        }
        self.stop(node, NodeState::Down);
    }

    /// The process dies; the host tells the other end of every connection.
    pub fn kill(&mut self, node: usize) {
        if !self.is_alive(node) {
            return;
        }
        for (end, _) in self.ends_at(node) {
            self.abandon(end, node);
        }
        self.stop(node, NodeState::Idle);
    }

    /// The process ends by itself: sockets are closed after writing what was sent.
    pub(crate) fn finish(&mut self, node: usize) {
        let links: Vec<LinkId> = self.nodes[node]
            .links
            .iter()
            .map(|&(link, _)| link)
            .collect();
        for link in links {
            self.close(node, link);
        }
        // Pending ends were never told to the peer.
        for (end, state) in self.ends_at(node) {
            if state == EndState::Pending {
                self.abandon(end, node);
            }
        }
        self.take_tally(node);
        let at = &mut self.nodes[node];
        at.peer = None;
        at.state = NodeState::Idle;
        // What it dialled comes to nothing.
        at.incarnation += 1;
        at.timer = None;
        at.made.clear();
        at.inbox.clear();
        self.trace.add(self.now, Kind::Stop, node, &[]);
        self.journal.change(self.now, node, Change::Stopped);
    }

    /// Keeps what a peer that ends has counted.
    fn take_tally(&mut self, node: usize) {
        let at = &mut self.nodes[node];
        if let Some(peer) = &at.peer {
            at.counted.see(peer.tally());
            at.counted.settle();
            for (name, value) in peer.counted() {
                *at.counters.entry(name).or_default() += value;
            }
        }
    }

    fn stop(&mut self, node: usize, state: NodeState) {
        debug_assert!(!self.nodes[node].is_out, "faults come between events");
        self.take_tally(node);
        let at = &mut self.nodes[node];
        let was_running = at.peer.take().is_some();
        at.state = state;
        at.incarnation += 1;
        at.line += 1;
        at.timer = None;
        at.made.clear();
        at.links.clear();
        at.inbox.clear();
        at.reports.clear();
        at.uplink.clear();
        at.downlink.clear();
        self.trace.add(self.now, Kind::Stop, node, &[state as u8]);
        if was_running {
            self.journal.change(self.now, node, Change::Stopped);
        }
    }

    fn ends_at(&self, node: usize) -> Vec<(EndRef, EndState)> {
        let here = self.connections.ends().filter(|(_, end)| end.node == node);
        here.map(|(name, end)| (name, end.state)).collect()
    }

    /// Suspends the process (SIGSTOP). Its sockets go on until their buffers are full.
    pub fn pause(&mut self, node: usize) {
        if self.nodes[node].state == NodeState::Running {
            self.nodes[node].state = NodeState::Paused;
            self.nodes[node].timer = None;
            self.note_fault(node, "pause");
            self.journal.change(self.now, node, Change::Paused);
        }
    }

    /// Lets a suspended process go on (SIGCONT). Whether it looks at its timers or at its
    /// sockets first is left to the seed.
    pub fn resume(&mut self, node: usize) {
        if self.nodes[node].state != NodeState::Paused {
            return;
        }
        self.nodes[node].state = NodeState::Running;
        self.note_fault(node, "resume");
        self.journal.change(self.now, node, Change::Resumed);
        if self.random.below(2) == 0 {
            self.run_timeout(node);
            self.settle(node);
        }
        while let Some(input) = self.nodes[node].inbox.pop_front() {
            self.feed(node, input);
        }
        let links: Vec<EndRef> = self.nodes[node].links.iter().map(|&(_, end)| end).collect();
        for end in links {
            self.read_backlog(end.other());
        }
        self.settle(node);
    }

    fn read_backlog(&mut self, end: EndRef) {
        while let Some(at) = self.connections.get(end)
            && let Some(segment) = at.unread.pop_front()
        {
            self.read(end, segment);
        }
    }

    /// Ends the connection behind one link of `node` as a middlebox does: both ends are reset.
    pub fn reset_link(&mut self, node: usize, link: LinkId) {
        let Some(end) = self.nodes[node].end_of(link) else {
            return;
        };
        self.note_fault(node, "reset");
        self.lose(end);
        self.lose(end.other());
    }

    /// `node` forgets the connection behind one of its links; the other end believes in it until
    /// it sends something.
    pub fn half_open(&mut self, node: usize, link: LinkId) {
        let Some(end) = self.nodes[node].end_of(link) else {
            return;
        };
        self.note_fault(node, "half-open");
        self.lose(end);
    }

    /// Changes what is wrong with the ways from and to a node.
    pub fn set_way(&mut self, node: usize, way: Way) {
        self.nodes[node].way = way;
        self.note_fault(node, "way");
    }

    /// Whether the process reads from its sockets.
    pub fn set_deaf(&mut self, node: usize, deaf: bool) {
        self.nodes[node].deaf = deaf;
        self.note_fault(node, "deaf");
        if !deaf && self.nodes[node].state == NodeState::Running {
            let links: Vec<EndRef> = self.nodes[node].links.iter().map(|&(_, end)| end).collect();
            for end in links {
                self.read_backlog(end.other());
            }
            self.settle(node);
        }
    }

    /// Whether a node's peer can store nothing: what it asks for fails.
    pub fn set_disk_full(&mut self, node: usize, full: bool) {
        self.nodes[node].disk_full = full;
        self.note_fault(node, "disk");
    }

    /// A node's access line.
    pub fn bandwidth(&self, node: usize) -> Bandwidth {
        Bandwidth {
            up: self.nodes[node].uplink.rate(),
            down: self.nodes[node].downlink.rate(),
        }
    }

    /// Changes a node's access line.
    pub fn set_bandwidth(&mut self, node: usize, bandwidth: Bandwidth) {
        self.nodes[node].uplink.set_rate(bandwidth.up);
        self.nodes[node].downlink.set_rate(bandwidth.down);
        self.note_fault(node, "bandwidth");
    }

    /// Changes the network: latency, jitter, loss. What is on its way keeps its time.
    pub fn set_network(&mut self, change: impl FnOnce(&mut NetworkModel)) {
        change(&mut self.network);
        self.trace.add(self.now, Kind::Fault, 0, b"network");
    }

    /// Sets a node's wall clock forward (or back) by so many ms.
    pub fn jump_clock(&mut self, node: usize, by_ms: i64) {
        self.nodes[node].clock.wall_offset_ms += by_ms;
        self.note_fault(node, "clock");
    }

    /// Forgets what a stopped peer stored.
    pub fn wipe(&mut self, node: usize) {
        self.nodes[node].stored = Stored::default();
    }

    pub(crate) fn note_fault(&mut self, node: usize, what: &str) {
        self.trace.add(self.now, Kind::Fault, node, what.as_bytes());
    }
}
