//! Nothing is reported as lost; and what is lost is reported.

use super::Findings;
use super::delivery::{Judged, each_due};
use crate::journal::{Journal, Message};
use hedgerow_protocol::{Event, GroupName, Micros, PeerKey};
use std::collections::HashMap;

/// Messages of one life of an origin in a group.
type Source = (GroupName, PeerKey, u64);

/// What a node's application was told about losses: when, and which messages. Looked up, never
/// iterated.
pub(super) struct Told(HashMap<Source, Vec<(Micros, u64, u64)>>);

impl Told {
    pub(super) fn of(journal: &Journal, node: usize) -> Self {
        let mut told: HashMap<Source, Vec<(Micros, u64, u64)>> = HashMap::new();
        for (at, event) in &journal.nodes[node].events {
            if let Event::Gap {
                group,
                origin,
                epoch,
                from,
                to,
            } = event
            {
                let source = (group.clone(), *origin, *epoch);
                told.entry(source).or_default().push((*at, *from, *to));
            }
        }
        Self(told)
    }

    /// When the loss of a message was told.
    pub(super) fn of_message(&self, message: &Message) -> impl Iterator<Item = Micros> + '_ {
        let id = message.id;
        let source = (message.group.clone(), id.origin, id.epoch);
        let gaps = self.0.get(&source).into_iter().flatten();
        gaps.filter(move |(_, from, to)| (*from..=*to).contains(&id.seq))
            .map(|(at, ..)| *at)
    }
}

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
        // Looked up, never iterated.
        let mut highest: HashMap<Source, u64> = HashMap::new();
        for receipt in &entries.receipts {
            let message = journal.message(receipt);
            let (id, group) = (message.id, message.group.clone());
            let high = highest.entry((group, id.origin, id.epoch)).or_default();
            *high = id.seq.max(*high);
        }
        let told = Told::of(journal, node);
        each_due(journal, node, |index, got| {
            let message = &journal.messages[index];
            if got || !judged.counts(message) {
                return;
            }
            let id = message.id;
            let source = (message.group.clone(), id.origin, id.epoch);
            let overtaken = highest.get(&source).is_some_and(|high| *high > id.seq);
            if overtaken && told.of_message(message).next().is_none() {
                let group = &message.group;
                findings.add(|| format!("node {node} lost {id} in {group} without a word"));
            }
        });
    }
    findings
}
