//! No application gets a message twice.

use super::Findings;
use crate::journal::{Change, Journal, Receipt};
use std::collections::HashSet;

/// Judges deliveries to each application. A peer that was started again, or that left and joined
/// the group again, has a new application, which may get messages that the former one got.
pub fn duplicates(journal: &Journal) -> Findings {
    let mut findings = Findings::default();
    each_duplicate(journal, |node, receipt| {
        let (id, at) = (journal.message(receipt).id, receipt.at);
        findings.add(|| format!("node {node} got {id} again at {at}"));
    });
    findings
}

/// Calls `found` with every node and receipt that [`duplicates`] counts.
pub fn each_duplicate(journal: &Journal, mut found: impl FnMut(usize, &Receipt)) {
    for (node, entries) in journal.nodes.iter().enumerate() {
        let mut got = HashSet::new();
        let mut changes = entries.changes.iter().peekable();
        for receipt in &entries.receipts {
            while let Some((_, change)) = changes.next_if(|(at, _)| *at <= receipt.at) {
                match change {
                    Change::Started => got.clear(),
                    Change::Leave(group) => {
                        got.retain(|&message: &u32| {
                            journal.messages[message as usize].group != *group
                        });
                    }
                    _ => {}
                }
            }
            if !got.insert(receipt.message) {
                found(node, receipt);
            }
        }
    }
}
