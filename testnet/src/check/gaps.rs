//! Nothing is reported as lost; and what is lost is reported.

use super::Findings;
use super::delivery::{Judged, each_due};
use crate::journal::Journal;
use hedgerow_protocol::{Event, GroupName, PeerKey};
use std::collections::HashMap;

/// Messages of one life of an origin in a group.
type Source = (GroupName, PeerKey, u64);

/// Finds every gap that an engine reported.
pub fn gaps(journal: &Journal) -> Findings {
    let mut findings = Findings::default();
    for (node, entries) in journal.nodes.iter().enumerate() {
        for (at, event) in &entries.events {
            if let Event::Gap {
                group,
                origin,
                epoch,
                from,
                to,
            } = event
            {
                findings.add(|| {
                    format!("node {node} at {at}: {group} {origin}/{epoch}/{from} to {to} lost")
                });
            }
        }
    }
    findings
}

/// Finds messages that were due to a node and did not come, although later ones of the same origin
/// did, and of whose loss its application was not told.
pub fn silent_losses(journal: &Journal, judged: &Judged) -> Findings {
    let mut findings = Findings::default();
    for node in judged.nodes() {
        let entries = &journal.nodes[node];
        // Both are looked up, never iterated.
        let mut highest: HashMap<Source, u64> = HashMap::new();
        for receipt in &entries.receipts {
            let message = journal.message(receipt);
            let (id, group) = (message.id, message.group.clone());
            let high = highest.entry((group, id.origin, id.epoch)).or_default();
            *high = id.seq.max(*high);
        }
        let mut told: HashMap<Source, Vec<(u64, u64)>> = HashMap::new();
        for (_, event) in &entries.events {
            if let Event::Gap {
                group,
                origin,
                epoch,
                from,
                to,
            } = event
            {
                let source = (group.clone(), *origin, *epoch);
                told.entry(source).or_default().push((*from, *to));
            }
        }
        each_due(journal, node, |index, got| {
            let message = &journal.messages[index];
            if got || !judged.counts(message) {
                return;
            }
            let id = message.id;
            let source = (message.group.clone(), id.origin, id.epoch);
            let overtaken = highest.get(&source).is_some_and(|high| *high > id.seq);
            let is_told = told.get(&source).is_some_and(|gaps| {
                (gaps.iter()).any(|(from, to)| (*from..=*to).contains(&id.seq))
            });
            if overtaken && !is_told {
                let group = &message.group;
                findings.add(|| format!("node {node} lost {id} in {group} without a word"));
            }
        });
    }
    findings
}
