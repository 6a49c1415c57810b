//! Messages of one origin and epoch come in the order in which they were published.

use super::Findings;
use crate::journal::{Change, Journal, Receipt};
use hedgerow_protocol::{GroupName, PeerKey};
use std::collections::BTreeMap;

/// Judges first-in-first-out order per origin, in every group but those in `unordered`.
pub fn order(journal: &Journal, unordered: &[GroupName]) -> Findings {
    let mut findings = Findings::default();
    each_disorder(journal, unordered, |node, receipt, last| {
        let (id, at) = (journal.message(receipt).id, receipt.at);
        findings.add(|| format!("node {node} got {id} at {at} after seq {last}"));
    });
    findings
}

/// Calls `found` with every node and receipt that [`order`] counts, and the seq that came before.
pub fn each_disorder(
    journal: &Journal,
    unordered: &[GroupName],
    mut found: impl FnMut(usize, &Receipt, u64),
) {
    for (node, entries) in journal.nodes.iter().enumerate() {
        let mut newest: BTreeMap<(&GroupName, PeerKey, u64), u64> = BTreeMap::new();
        let mut changes = entries.changes.iter().peekable();
        for receipt in &entries.receipts {
            // A new application starts anew, see the check for duplicates.
            while let Some((_, change)) = changes.next_if(|(at, _)| *at <= receipt.at) {
                match change {
                    Change::Started => newest.clear(),
                    Change::Leave(group) => newest.retain(|(of, ..), _| *of != group),
                    _ => {}
                }
            }
            let message = journal.message(receipt);
            if unordered.contains(&message.group) {
                continue;
            }
            let id = message.id;
            let last = newest
                .entry((&message.group, id.origin, id.epoch))
                .or_insert(0);
            // An equal one is a duplicate, not out of order.
            if id.seq < *last {
                found(node, receipt, *last);
            }
            *last = id.seq.max(*last);
        }
    }
}
