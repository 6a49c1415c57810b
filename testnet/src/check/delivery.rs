//! Every message is delivered to every member to which it was due.

use super::Findings;
use super::gaps::Told;
use crate::journal::{Journal, Membership, Message};
use hedgerow_protocol::{GroupName, Micros};
use std::collections::{BTreeMap, HashSet};

/// How much of what was due was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Pairs of message and node in which the node was a member from publication to the end.
    pub expected: u64,
    /// Those of them in which the node got the message.
    pub delivered: u64,
    /// The others; and deliveries of what nobody published, or with other content.
    pub findings: Findings,
}

/// Who is judged where not everybody lives, or behaves.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// By node: since when its peer has run without a break; `None`: it is not judged.
    pub lives: Vec<Option<Micros>>,
    /// By node: whether what it published is to reach everybody.
    pub origins: Vec<bool>,
    /// How long members of groups keep messages, of those groups that do not keep all.
    pub keeps: BTreeMap<GroupName, Keeps>,
}

/// What members of a group keep for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeps {
    /// For how long at least.
    pub time: Micros,
    /// How much of it at least.
    pub bytes: u64,
}

/// Bytes that a peer may count for a message besides its payload: more than it does.
const OVERHEAD_MAX: u64 = 1_024;

/// Judges deliveries to everybody in all groups.
///
/// Due is what was published at or after the moment in which a node was told that it has joined,
/// while it stays a member to the end. A member's own messages are due to it as well. What came
/// without being due (history, the two seconds before a join) is no violation.
pub fn delivery(journal: &Journal) -> Delivery {
    let mut result = Delivery::default();
    for (node, entries) in journal.nodes.iter().enumerate() {
        for receipt in &entries.receipts {
            let message = journal.message(receipt);
            if message.published.is_none() {
                let id = message.id;
                result
                    .findings
                    .add(|| format!("node {node} got {id}: nobody's"));
            } else if !receipt.intact {
                let id = message.id;
                result
                    .findings
                    .add(|| format!("node {node} got {id} altered"));
            }
        }
        each_due(journal, node, |index, got| {
            result.expected += 1;
            if got {
                result.delivered += 1;
            } else {
                let message = &journal.messages[index];
                result.findings.add(|| lacks(node, message));
            }
        });
    }
    result
}

/// Finds messages that are due to somebody who lacks them although somebody else who lives has
/// them. What died with everyone who had it is lost to all and no fault of the network. Neither is
/// what nobody had to keep any more when its loss was told.
pub fn undelivered(journal: &Journal, judged: &Judged) -> Findings {
    let holders = holders(journal, judged);
    let mut findings = Findings::default();
    for node in judged.nodes() {
        let told = Told::of(journal, node);
        each_due(journal, node, |index, got| {
            let message = &journal.messages[index];
            if got || !holders[index] || !judged.counts(message) {
                return;
            }
            let was_kept = |at| judged.keeps(journal, message, at);
            if !told.of_message(message).any(|at| !was_kept(at)) {
                findings.add(|| lacks(node, message));
            }
        });
    }
    findings
}

/// By message: whether somebody who is judged has it, in its peer's present life.
fn holders(journal: &Journal, judged: &Judged) -> Vec<bool> {
    let mut holders = vec![false; journal.messages.len()];
    for node in judged.nodes() {
        let since = judged.lives[node];
        let receipts = &journal.nodes[node].receipts;
        for receipt in receipts.iter().filter(|receipt| Some(receipt.at) >= since) {
            holders[receipt.message as usize] = true;
        }
    }
    for (index, message) in journal.messages.iter().enumerate() {
        if let Some(published) = message.published
            && let Some(Some(since)) = judged.lives.get(published.node)
        {
            holders[index] |= *since <= published.at;
        }
    }
    holders
}

/// Calls `found` with every message that was due to a node, and whether it came.
pub(super) fn each_due(journal: &Journal, node: usize, mut found: impl FnMut(usize, bool)) {
    let receipts = &journal.nodes[node].receipts;
    let got: HashSet<u32> = receipts.iter().map(|receipt| receipt.message).collect();
    let mut memberships: BTreeMap<&GroupName, Option<Membership>> = BTreeMap::new();
    for (index, message) in journal.messages.iter().enumerate() {
        let Some(published) = message.published else {
            continue;
        };
        let membership = memberships
            .entry(&message.group)
            .or_insert_with(|| journal.memberships(node, &message.group).pop());
        if membership.is_some_and(|last| last.is_due(index as u32, published.at)) {
            found(index, got.contains(&(index as u32)));
        }
    }
}

fn lacks(node: usize, message: &Message) -> String {
    let (id, group) = (message.id, &message.group);
    match message.published {
        Some(by) => format!(
            "node {node} lacks {id} in {group}, node {} at {}",
            by.node, by.at
        ),
        None => format!("node {node} lacks {id} in {group}"),
    }
}

impl Judged {
    /// The nodes that are judged.
    pub(super) fn nodes(&self) -> impl Iterator<Item = usize> + '_ {
        let lives = self.lives.iter().enumerate();
        lives.filter_map(|(node, since)| since.map(|_| node))
    }

    /// Whether members that have a message must still have it at a moment.
    fn keeps(&self, journal: &Journal, message: &Message, at: Micros) -> bool {
        let (Some(keeps), Some(published)) = (self.keeps.get(&message.group), message.published)
        else {
            return true;
        };
        // Whatever the order in which a member got them: all of the group by then.
        let is_before = |other: &&Message| other.published.is_none_or(|by| by.at <= at);
        let all = journal.messages.iter();
        let all = all
            .filter(|other| other.group == message.group)
            .filter(is_before);
        let bytes: u64 = all.map(|one| one.payload.len() as u64 + OVERHEAD_MAX).sum();
        at < published.at + keeps.time && bytes <= keeps.bytes
    }

    /// Whether a message is to reach everybody.
    pub(super) fn counts(&self, message: &Message) -> bool {
        let by = message.published.map(|published| published.node);
        by.is_some_and(|node| self.origins.get(node) == Some(&true))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{silent_losses, tests::Story};
    use super::*;

    fn judged(nodes: usize) -> Judged {
        Judged {
            lives: vec![Some(Micros(0)); nodes],
            origins: vec![true; nodes],
            ..Judged::default()
        }
    }

    #[test]
    fn what_somebody_has_is_due_to_all_who_live_and_what_died_with_its_holders_is_not() {
        let mut story = Story::new(3);
        let held = story.publish(0, 1);
        let lost = story.publish(2, 1);
        story.deliver(1, held);
        let mut judged = judged(3);
        judged.lives[2] = None;
        assert!(undelivered(&story.journal, &judged).is_clean());
        story.publish(0, 2);
        let findings = undelivered(&story.journal, &judged);
        assert_eq!(findings.count, 1, "{findings}");
        assert!(
            findings.examples[0].starts_with("node 1 lacks"),
            "{findings}"
        );
        // Node 1 lacks what died with node 2, and nobody else has it.
        assert_eq!(delivery(&story.journal).findings.count, 5, "of three nodes");
        story.deliver(0, lost);
        assert_eq!(undelivered(&story.journal, &judged).count, 2);
        judged.origins[2] = false;
        assert_eq!(undelivered(&story.journal, &judged).count, 1);
    }

    #[test]
    fn what_nobody_keeps_any_more_is_told_as_lost() {
        let mut story = Story::new(2);
        for seq in 1..=3 {
            story.publish(0, seq);
        }
        let group = story.journal.messages[0].group.clone();
        let missing = |story: &Story, time, bytes| {
            let time = Micros(time);
            let keeps = BTreeMap::from([(group.clone(), Keeps { time, bytes })]);
            let judged = Judged { keeps, ..judged(2) };
            undelivered(&story.journal, &judged).count
        };
        assert_eq!(missing(&story, 1, 1), 3, "nothing was told");
        story.tell_gap(1, 1, 2);
        assert_eq!(missing(&story, 1, u64::MAX), 1, "the last was not told");
        assert_eq!(missing(&story, 1_000, 1), 1);
        assert_eq!(missing(&story, 1_000, u64::MAX), 3, "they were kept");
        assert_eq!(undelivered(&story.journal, &judged(2)).count, 3);
    }

    #[test]
    fn a_message_that_later_ones_overtook_is_delivered_or_told_as_lost() {
        let mut story = Story::new(2);
        let ids: Vec<_> = (1..=4).map(|seq| story.publish(0, seq)).collect();
        let judged = judged(2);
        story.deliver(1, ids[0]);
        assert!(silent_losses(&story.journal, &judged).is_clean(), "not yet");
        story.deliver(1, ids[3]);
        assert_eq!(silent_losses(&story.journal, &judged).count, 2);
        story.tell_gap(1, 2, 2);
        assert_eq!(silent_losses(&story.journal, &judged).count, 1);
        story.deliver(1, ids[2]);
        assert!(silent_losses(&story.journal, &judged).is_clean());
    }
}
