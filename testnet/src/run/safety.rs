//! What must never happen.

use super::Run;
use crate::check;
use crate::journal::Receipt;
use crate::scenario::Behaviour;

/// Findings of one rule named in words.
const FINDINGS_MAX: usize = 8;

impl Run<'_> {
    /// What must never happen, in words.
    pub(super) fn safety(&self) -> Vec<String> {
        let journal = self.world.journal();
        let honest = self.cast.honest();
        let mut findings = self.samples.bounds.clone();
        let mut duplicates = 0u64;
        let mut disorder = 0u64;
        let mut words = Vec::new();
        check::each_duplicate(journal, |node, receipt| {
            if honest[node] {
                duplicates += 1;
                if words.len() < FINDINGS_MAX {
                    words.push(format!(
                        "node {node} got {} again at {}",
                        journal.message(receipt).id,
                        receipt.at
                    ));
                }
            }
        });
        check::each_disorder(journal, &self.cast.unordered(), |node, receipt, last| {
            if honest[node] {
                disorder += 1;
                if words.len() < FINDINGS_MAX {
                    let id = journal.message(receipt).id;
                    words.push(format!(
                        "node {node} got {id} at {} after seq {last}",
                        receipt.at
                    ));
                }
            }
        });
        let mut foreign = 0u64;
        for (node, entries) in journal
            .nodes
            .iter()
            .enumerate()
            .filter(|(node, _)| honest[*node])
        {
            for receipt in entries
                .receipts
                .iter()
                .filter(|receipt| self.is_foreign(receipt))
            {
                foreign += 1;
                if words.len() < FINDINGS_MAX {
                    let id = journal.message(receipt).id;
                    words.push(format!("node {node} got {id}: altered or nobody's"));
                }
            }
        }
        for (count, what) in [
            (duplicates, "messages came twice"),
            (disorder, "messages came out of order"),
            (foreign, "messages were altered or nobody's"),
        ] {
            if count > 0 {
                findings.push(format!("{count} {what}"));
            }
        }
        findings.extend(words);
        findings
    }

    /// Whether what was handed over is altered, or published by nobody. What hostile nodes
    /// publish by themselves is theirs, whatever it is.
    pub(super) fn is_foreign(&self, receipt: &Receipt) -> bool {
        let message = self.world.journal().message(receipt);
        if message.published.is_some() {
            return !receipt.intact;
        }
        let origin = self.world.node_of(message.id.origin);
        match origin {
            Some(origin) => self.cast.behaviours[origin] == Behaviour::Honest,
            // A throwaway key's own.
            None => !self.cast.behaviours.contains(&Behaviour::OriginFlood),
        }
    }
}
