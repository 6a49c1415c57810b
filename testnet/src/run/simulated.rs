//! The simulated world as a run sees it.

use super::world::World;
use crate::check::{self, Snapshot, Wire};
use crate::journal::Journal;
use crate::sim::{Bandwidth, NodeState, Offence, Sim, Tally, Traffic, Way};
use bytes::Bytes;
use hedgerow_protocol::status::{MemberState, OverlayStatus, Role};
use hedgerow_protocol::{
    BROADCAST, GroupName, JoinError, JoinOptions, LinkId, Micros, PeerKey, PublishError,
    PublishOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref as _;

impl World for Sim {
    fn now(&self) -> Micros {
        self.deref().now()
    }

    fn run_to(&mut self, at: Micros) {
        Sim::run_to(self, at);
    }

    fn len(&self) -> usize {
        self.deref().len()
    }

    fn state(&self, node: usize) -> NodeState {
        self.deref().state(node)
    }

    fn key(&self, node: usize) -> PeerKey {
        self.deref().key(node)
    }

    fn node_of(&self, peer: PeerKey) -> Option<usize> {
        self.deref().node_of(peer)
    }

    fn direct(&self, a: usize, b: usize) -> Option<Micros> {
        Some(self.deref().direct(a, b))
    }

    fn journal(&self) -> &Journal {
        self.deref().journal()
    }

    fn trace_hash(&self) -> Option<String> {
        Some(self.deref().trace_hash().to_string())
    }

    fn happened(&self) -> Option<u64> {
        Some(self.deref().happened())
    }

    fn troubles(&self) -> Vec<String> {
        check::ends(self.deref().journal(), |node| self.is_itself(node)).examples
    }

    fn snapshots(&self, nodes: &[usize]) -> Vec<Snapshot> {
        Sim::snapshots(self, nodes)
    }

    fn sees(&self, node: usize) -> Option<BTreeSet<PeerKey>> {
        let everybody = GroupName::new(BROADCAST).ok()?;
        let known = self.engine(node).members(&everybody).into_iter();
        let live = known.filter(|member| member.state == MemberState::Live);
        Some(live.map(|member| member.peer).collect())
    }

    fn wires(&self, nodes: &[usize]) -> Vec<Wire> {
        Sim::wires(self, nodes)
    }

    fn traffic(&self, node: usize) -> Traffic {
        self.deref().traffic(node)
    }

    fn tally(&mut self, node: usize) -> Tally {
        (**self).tally(node)
    }

    fn counters(&self, node: usize) -> BTreeMap<String, u64> {
        let counters = self.deref().counters(node).into_iter();
        counters
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn offences(&self, node: usize) -> Vec<Offence> {
        Sim::offences(self, node)
    }

    fn peak_rss_mib(&self) -> f64 {
        super::memory::peak_rss_mib("self")
    }

    fn links(&self, node: usize) -> Vec<(LinkId, PeerKey)> {
        let links = self.engine(node).links().into_iter();
        let up = links.filter(|link| link.up);
        up.map(|link| (link.link, link.peer)).collect()
    }

    fn overlay(&self, origin: usize, group: &GroupName) -> Option<OverlayStatus> {
        self.engine(origin).overlay(group, None)
    }

    fn is_member(&self, node: usize, group: &GroupName) -> bool {
        if group.is_broadcast() {
            // Every peer carries it; in it is whose application was asked to be.
            return check::asked(self.deref().journal(), node).contains(group);
        }
        let groups = self.engine(node).groups();
        groups
            .iter()
            .any(|known| known.group.as_ref() == Some(group) && known.role == Role::Member)
    }

    fn start(&mut self, node: usize, wiped: bool) {
        if wiped {
            self.restart_wiped(node);
        } else {
            self.start_node(node);
        }
    }

    fn start_alone(&mut self, node: usize) {
        Sim::start_alone(self, node);
    }

    fn warm_up(&mut self, nodes: &[usize]) {
        Sim::warm_up(self, nodes);
    }

    fn kill(&mut self, node: usize) {
        Sim::kill(self, node);
    }

    fn crash(&mut self, node: usize) {
        Sim::crash(self, node);
    }

    fn shutdown(&mut self, node: usize) {
        Sim::shutdown(self, node);
    }

    fn pause(&mut self, node: usize) {
        (**self).pause(node);
    }

    fn resume(&mut self, node: usize) {
        (**self).resume(node);
    }

    fn set_deaf(&mut self, node: usize, deaf: bool) {
        (**self).set_deaf(node, deaf);
    }

    fn set_disk_full(&mut self, node: usize, full: bool) {
        Sim::set_disk_full(self, node, full);
    }

    fn jump_clock(&mut self, node: usize, by_ms: i64) {
        (**self).jump_clock(node, by_ms);
    }

    fn join(&mut self, node: usize, group: &str, options: JoinOptions) -> Result<(), JoinError> {
        self.try_join(node, group, options)
    }

    fn leave(&mut self, node: usize, group: &str) {
        // A peer on its way out of the network may have refused to join before.
        let _ = self.try_leave(node, group);
    }

    fn publish(&mut self, node: usize, group: &str, payload: Bytes) -> Result<(), PublishError> {
        self.try_publish(node, group, payload, PublishOptions::default())
            .map(drop)
    }

    fn publish_many(
        &mut self,
        node: usize,
        group: &str,
        payloads: &[Bytes],
    ) -> Result<usize, PublishError> {
        Sim::publish_many(self, node, group, payloads)
    }

    fn partition(&mut self, sets: &[Vec<usize>]) {
        (**self).partition(sets);
    }

    fn cut_one_way(&mut self, from: &[usize], to: &[usize]) {
        (**self).cut_one_way(from, to);
    }

    fn cut_pair(&mut self, a: usize, b: usize, cut: bool) {
        (**self).cut_pair(a, b, cut);
    }

    fn slow_between(&mut self, sets: Option<(&[Vec<usize>], Micros)>) {
        (**self).slow_between(sets);
    }

    fn heal(&mut self) {
        (**self).heal();
    }

    fn set_way(&mut self, node: usize, way: Way) {
        (**self).set_way(node, way);
    }

    fn bandwidth(&self, node: usize) -> Bandwidth {
        self.deref().bandwidth(node)
    }

    fn set_bandwidth(&mut self, node: usize, bandwidth: Bandwidth) {
        (**self).set_bandwidth(node, bandwidth);
    }

    fn reset_link(&mut self, node: usize, link: LinkId) {
        (**self).reset_link(node, link);
    }

    fn half_open(&mut self, node: usize, link: LinkId) {
        (**self).half_open(node, link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_by_itself_is_a_trouble_and_who_is_told_to_is_none() {
        let mut sim = Sim::builder().nodes(4).seed(1).build();
        sim.run_for(2_000);
        sim.kill(0);
        World::shutdown(&mut sim, 1);
        sim.run_for(2_000);
        assert_eq!(sim.troubles(), Vec::<String>::new());
        // Nobody has asked for it as far as the journal knows.
        sim.call(2, |player, now| player.shutdown(now));
        sim.run_for(2_000);
        let troubles = sim.troubles();
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert!(troubles[0].starts_with("node 2 ended by itself"));
        sim.copy_identity(3, 2);
        let told = sim.troubles();
        assert!(told.is_empty(), "who has its key may end it: {told:?}");
    }
}
