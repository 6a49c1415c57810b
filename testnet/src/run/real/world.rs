//! Real peers as a run sees them.

use super::node::State;
use super::{Real, poll, sockets};
use crate::check::{Snapshot, Wire};
use crate::journal::{Change, Journal};
use crate::process::Peer;
use crate::run::world::World;
use crate::scenario::Backend;
use crate::sim::{Bandwidth, NodeState, Tally, Traffic, Way};
use crate::switch::Which;
use bytes::Bytes;
use hedgerow_protocol::status::OverlayStatus;
use hedgerow_protocol::{GroupName, JoinError, JoinOptions, LinkId, Micros, PeerKey, PublishError};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long the next peer is waited for to be up and in its groups.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Publications of one peer that it has not taken yet; with more, its publisher is told to wait.
const POSTS_MAX: usize = 64;

impl World for Real {
    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn run_to(&mut self, at: Micros) {
        let runtime = Rc::clone(&self.runtime);
        let until = self.clock.instant(at);
        runtime.block_on(self.pump(Some(until), |_| false));
        self.clock.advance(at);
    }

    fn all_up(&mut self, told: &mut dyn FnMut(usize, usize)) {
        let runtime = Rc::clone(&self.runtime);
        let counted = |world: &Self| {
            let begun = world.nodes.iter().filter(|at| at.state != State::Idle);
            let up = world.nodes.iter().filter(|at| at.is_up());
            (up.count(), begun.count())
        };
        let mut last = (0, Instant::now());
        runtime.block_on(self.pump(None, |world| {
            let (up, of) = counted(world);
            told(up, of);
            if up != last.0 {
                last = (up, Instant::now());
            }
            up == of || last.1.elapsed() >= UP_WITHIN
        }));
        self.tell_who_is_not_up();
        if self.is_to_settle {
            runtime.block_on(self.settle());
        }
        self.clock.begin();
    }

    fn end(&mut self) {
        self.kill_all();
    }

    fn refresh(&mut self) {
        let runtime = Rc::clone(&self.runtime);
        runtime.block_on(self.look_now());
    }

    fn answers(&self, node: usize) -> bool {
        let at = &self.nodes[node];
        matches!(at.state, State::Running | State::Leaving) && at.answers
    }

    fn interrupted(&self) -> bool {
        self.interrupted
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn troubles(&self) -> Vec<String> {
        self.troubles.clone()
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn state(&self, node: usize) -> NodeState {
        match self.nodes[node].state {
            State::Idle => NodeState::Idle,
            State::Starting | State::Running | State::Leaving => NodeState::Running,
            State::Paused => NodeState::Paused,
            State::Down => NodeState::Down,
        }
    }

    fn key(&self, node: usize) -> PeerKey {
        self.nodes[node].key
    }

    fn node_of(&self, peer: PeerKey) -> Option<usize> {
        self.by_key.get(&peer).copied()
    }

    fn direct(&self, a: usize, b: usize) -> Option<Micros> {
        (self.backend == Backend::Netns).then(|| self.latency.delay(self.seed, a, b))
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn snapshots(&self, nodes: &[usize]) -> Vec<Snapshot> {
        let known = nodes
            .iter()
            .filter_map(|&node| self.nodes[node].snapshot(node));
        known.collect()
    }

    fn wires(&self, nodes: &[usize]) -> Vec<Wire> {
        sockets::wires(&self.nodes, nodes)
    }

    fn traffic(&self, node: usize) -> Traffic {
        self.nodes[node].traffic()
    }

    fn tally(&mut self, node: usize) -> Tally {
        self.nodes[node].tally()
    }

    fn counters(&self, node: usize) -> BTreeMap<String, u64> {
        self.nodes[node].counters()
    }

    fn peak_rss_mib(&self) -> f64 {
        self.peak_rss_mib
    }

    fn links(&self, node: usize) -> Vec<(LinkId, PeerKey)> {
        let links = self.nodes[node].seen.iter().flat_map(|seen| &seen.links);
        let up = links.filter(|link| link.up);
        up.map(|link| (link.link, link.peer)).collect()
    }

    fn overlay(&self, origin: usize, group: &GroupName) -> Option<OverlayStatus> {
        let asked = poll::overlay(&self.nodes[origin], group);
        self.runtime.block_on(asked)
    }

    fn is_member(&self, node: usize, group: &GroupName) -> bool {
        self.nodes[node].streams.contains_key(group)
    }

    fn start(&mut self, node: usize, wiped: bool) {
        self.start_peer(node, wiped);
    }

    fn warm_up(&mut self, _nodes: &[usize]) {
        self.is_to_settle = true;
    }

    fn kill(&mut self, node: usize) {
        self.kill_peer(node, State::Idle);
    }

    fn crash(&mut self, node: usize) {
        // Nothing leaves the host any more when the system takes the process's sockets down.
        self.silence(node, true);
        self.kill_peer(node, State::Down);
    }

    fn shutdown(&mut self, node: usize) {
        if self.nodes[node].state != State::Running {
            self.kill(node);
            return;
        }
        self.change(node, Change::Shutdown);
        self.nodes[node].state = State::Leaving;
        self.signal(node, Peer::terminate);
    }

    fn pause(&mut self, node: usize) {
        if self.nodes[node].state == State::Running {
            self.nodes[node].state = State::Paused;
            self.signal(node, Peer::pause);
            self.change(node, Change::Paused);
        }
    }

    fn resume(&mut self, node: usize) {
        if self.nodes[node].state == State::Paused {
            self.nodes[node].state = State::Running;
            self.signal(node, Peer::resume);
            self.change(node, Change::Resumed);
        }
    }

    fn join(&mut self, node: usize, group: &str, options: JoinOptions) -> Result<(), JoinError> {
        let group = GroupName::new(group)?;
        self.change(node, Change::Join(group.clone()));
        self.join_group(node, group, options.settings);
        Ok(())
    }

    fn leave(&mut self, node: usize, group: &str) {
        let Ok(group) = GroupName::new(group) else {
            return;
        };
        let at = &mut self.nodes[node];
        if let Some(reader) = at.streams.remove(&group) {
            reader.abort();
        }
        at.joins.remove(&group);
        at.joining.remove(&group);
        self.change(node, Change::Leave(group));
    }

    fn publish(&mut self, node: usize, group: &str, payload: Bytes) -> Result<(), PublishError> {
        let at = &self.nodes[node];
        let (State::Running, Ok(group)) = (at.state, GroupName::new(group)) else {
            return Err(PublishError::Stopped);
        };
        if at.posts >= POSTS_MAX {
            return Err(PublishError::Busy);
        }
        self.post(node, group, payload);
        Ok(())
    }

    fn untaken(&self, workload: usize) -> u64 {
        self.lost_posts(workload)
    }

    fn partition(&mut self, sets: &[Vec<usize>]) {
        self.with_switch(|switch, _| switch.partition(sets));
    }

    fn cut_one_way(&mut self, from: &[usize], to: &[usize]) {
        self.with_switch(|switch, _| switch.cut_one_way(from, to));
    }

    fn cut_pair(&mut self, a: usize, b: usize, cut: bool) {
        self.with_switch(|switch, _| switch.cut_pair(a, b, cut));
    }

    fn slow_between(&mut self, sets: Option<(&[Vec<usize>], Micros)>) {
        self.with_switch(|switch, _| switch.slow_between(sets));
    }

    fn heal(&mut self) {
        self.with_switch(|switch, _| switch.heal());
    }

    fn set_deaf(&mut self, node: usize, deaf: bool) {
        self.nodes[node].deaf.send_replace(deaf);
    }

    fn set_disk_full(&mut self, node: usize, full: bool) {
        self.nodes[node].disk_full = full;
        self.signal(node, |peer| peer.fill_disk(full));
    }

    fn set_way(&mut self, node: usize, way: Way) {
        self.with_switch(|switch, _| switch.set_way(node, way));
    }

    fn bandwidth(&self, node: usize) -> Bandwidth {
        self.with_switch(|switch, _| switch.bandwidth(node))
            .unwrap_or_default()
    }

    fn set_bandwidth(&mut self, node: usize, bandwidth: Bandwidth) {
        self.with_switch(|switch, _| switch.set_bandwidth(node, bandwidth));
    }

    fn reset_link(&mut self, node: usize, link: LinkId) {
        if let Some(other) = self.other_end(node, link) {
            self.with_switch(|switch, now| switch.reset(now, node, other, Which::Both));
        }
    }

    fn half_open(&mut self, node: usize, link: LinkId) {
        if let Some(other) = self.other_end(node, link) {
            self.with_switch(|switch, now| switch.reset(now, node, other, Which::Only(node)));
        }
    }
}
