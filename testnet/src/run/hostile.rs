//! What hostile peers did to others, and what became of them.

use super::Run;
use super::figures::ratio;
use crate::journal::NodeJournal;
use crate::results::Hostile;
use crate::sim::Offence;
use hedgerow_protocol::{Event, LinkEnd, Micros, PeerKey};
use std::collections::BTreeSet;

/// A banned peer may come back when its time is over, and is caught again within so long: nonsense
/// is sent each second, and has a way to go.
const UNTRIED: Micros = Micros::from_millis(2_000);
/// An offence is read within so long after it had the direct way to go: it waits in queues, too.
const UNDER_WAY: Micros = Micros::from_millis(100);

impl Run<'_> {
    pub(super) fn hostile(&self) -> Hostile {
        let honest = self.cast.honest();
        let (reported, banned, reports) = self.accused(&honest);
        let linked = self.linked(&honest);
        let (good, hostile): (Vec<usize>, Vec<usize>) =
            (0..honest.len()).partition(|&node| honest[node]);
        let key = |node: usize| self.world.key(node);
        let is_told = |node: usize| reported.contains(&key(node)) || banned.contains(&key(node));
        // An honest node whose key another has copied is not known from it.
        let copied: BTreeSet<_> = hostile.iter().map(|&node| key(node)).collect();
        let told: BTreeSet<_> = hostile.iter().copied().filter(|&at| is_told(at)).collect();
        let offenders = (hostile.iter().copied())
            .filter(|at| told.contains(at) || self.has_offended(*at, &honest));
        let offenders = offenders.count();
        let cut_off = hostile
            .iter()
            .filter(|&&node| !linked[node] || reported.contains(&key(node)))
            .count();
        let share = |part: usize, of: usize| (of > 0).then(|| ratio(part as u64, of as u64));
        let alive: BTreeSet<usize> = self.world.alive().into_iter().collect();
        let used: BTreeSet<_> = good
            .iter()
            .filter(|node| alive.contains(node))
            .copied()
            .map(key)
            .collect();
        let twins = hostile
            .iter()
            .filter(|&&node| alive.contains(&node) && used.contains(&key(node)));
        let twins = twins.count();
        let wronged = good.into_iter().filter(|&node| is_told(node));
        Hostile {
            nodes: hostile.len(),
            offenders,
            cut_off_ratio: share(cut_off, hostile.len()),
            banned_ratio: share(told.len(), offenders),
            wronged: wronged.filter(|&node| !copied.contains(&key(node))).count() as u64,
            twins,
            reports,
        }
    }

    /// Peers of which an honest one has proven to others, or found for itself, that they do not
    /// keep the rules; and how many proofs were told.
    fn accused(&self, honest: &[bool]) -> (BTreeSet<PeerKey>, BTreeSet<PeerKey>, u64) {
        let mut reported = BTreeSet::new();
        let mut banned = BTreeSet::new();
        let mut reports = 0;
        let nodes = self.world.journal().nodes.iter().zip(honest);
        let honest = nodes.filter(|(_, honest)| **honest);
        for (_, event) in honest.flat_map(|(node, _)| &node.events) {
            match event {
                Event::Equivocation { origin, .. } => {
                    reports += 1;
                    reported.insert(*origin);
                }
                Event::LinkDown { peer, reason, .. } if is_offence(*reason) => {
                    banned.insert(*peer);
                }
                _ => {}
            }
        }
        (reported, banned, reports)
    }

    /// By node: whether an honest one has a link to it that is long enough up.
    fn linked(&self, honest: &[bool]) -> Vec<bool> {
        let mut linked = vec![false; self.world.len()];
        for node in self.world.alive().into_iter().filter(|&node| honest[node]) {
            let untried = untried(&self.world.journal().nodes[node], self.world.now());
            for other in self.world.neighbours(node) {
                linked[other] |= !untried.contains(&self.world.key(other));
            }
        }
        linked
    }

    /// Whether something that proves a node's peer hostile has reached one that behaves and had a
    /// reason to read it: a broken copy of a message that it holds already is dropped unread, so a
    /// peer that feeds nobody can break what it likes.
    fn has_offended(&self, node: usize, honest: &[bool]) -> bool {
        let is_read = |offence: &Offence| self.victim(node, offence, honest).is_some();
        self.world.offences(node).iter().any(is_read)
    }

    /// The honest node that an offence has hit.
    fn victim(&self, node: usize, offence: &Offence, honest: &[bool]) -> Option<usize> {
        let to = self.world.node_of(offence.to).filter(|&to| honest[to])?;
        let way = self.world.direct(node, to).unwrap_or_default();
        let read_at = offence.at + way + UNDER_WAY;
        (read_at < self.world.now() && self.lacked(to, offence, read_at)).then_some(to)
    }

    /// Whether a node's application still lacked, at some moment, the message that an offence is about.
    fn lacked(&self, node: usize, offence: &Offence, at: Micros) -> bool {
        let Some((group, id)) = &offence.message else {
            return true;
        };
        let journal = self.world.journal();
        let mut receipts = journal.nodes[node].receipts.iter();
        let first = receipts.find(|receipt| {
            let message = journal.message(receipt);
            message.id == *id && message.group == *group
        });
        first.is_none_or(|first| first.at > at)
    }
}

/// Peers that a node has got a link to so lately that they may not have done anything yet.
fn untried(node: &NodeJournal, now: Micros) -> BTreeSet<PeerKey> {
    let lately = node.events.iter().rev();
    lately
        .take_while(|(at, _)| now.since(*at) < UNTRIED)
        .filter_map(|(_, event)| match event {
            Event::LinkUp { peer, .. } => Some(*peer),
            _ => None,
        })
        .collect()
}

/// Whether a link ended because the other end broke the rules.
fn is_offence(reason: LinkEnd) -> bool {
    matches!(
        reason,
        LinkEnd::Malformed | LinkEnd::Banned | LinkEnd::Equivocation
    )
}
