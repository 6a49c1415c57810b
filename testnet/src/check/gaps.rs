//! Nothing is reported as lost.

use super::Findings;
use crate::journal::Journal;
use hedgerow_protocol::Event;

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
