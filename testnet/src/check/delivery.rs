//! Every message is delivered to every member to which it was due.

use super::Findings;
use crate::journal::{Journal, Membership};
use hedgerow_protocol::GroupName;
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

/// Judges deliveries in `group`, in all groups when `None`.
///
/// Due is what was published at or after the moment in which a node was told that it has joined,
/// while it stays a member to the end. A member's own messages are due to it as well. What came
/// without being due (history, the two seconds before a join) is no violation.
pub fn delivery(journal: &Journal, group: Option<&GroupName>) -> Delivery {
    let mut result = Delivery::default();
    for (node, entries) in journal.nodes.iter().enumerate() {
        let mut memberships: BTreeMap<&GroupName, Option<Membership>> = BTreeMap::new();
        let mut got = HashSet::new();
        for receipt in &entries.receipts {
            got.insert(receipt.message);
            let message = journal.message(receipt);
            if message.published.is_none() {
                result
                    .findings
                    .add(|| format!("node {node} got {}: nobody's", message.id));
            } else if !receipt.intact {
                result
                    .findings
                    .add(|| format!("node {node} got {} altered", message.id));
            }
        }
        for (index, message) in journal.messages.iter().enumerate() {
            let Some(published) = message.published else {
                continue;
            };
            if group.is_some_and(|group| *group != message.group) {
                continue;
            }
            let membership = memberships
                .entry(&message.group)
                .or_insert_with(|| journal.memberships(node, &message.group).pop());
            if !membership.is_some_and(|m| m.is_due(index as u32, published.at)) {
                continue;
            }
            result.expected += 1;
            if got.contains(&(index as u32)) {
                result.delivered += 1;
            } else {
                let (id, from) = (message.id, published.node);
                result.findings.add(|| {
                    let at = published.at;
                    format!(
                        "node {node} lacks {id} in {}, node {from} at {at}",
                        message.group
                    )
                });
            }
        }
    }
    result
}
