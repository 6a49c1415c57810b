//! A peer lives until somebody ends it.

use super::Findings;
use crate::journal::{Change, Journal};
use hedgerow_protocol::Event;

/// Finds peers of the `judged` nodes that ended by themselves: that stopped without having been asked
/// to, or took their identity for one that somebody else uses.
pub fn ends(journal: &Journal, judged: impl Fn(usize) -> bool) -> Findings {
    let mut findings = Findings::default();
    for (node, entries) in journal.nodes.iter().enumerate() {
        for (index, (at, event)) in entries.events.iter().enumerate() {
            let what = match event {
                Event::Stopped { .. } => "stopped",
                Event::IdentityInUse { .. } => "its identity is in use",
                _ => continue,
            };
            let life = entries.changes_before(index).rev();
            let mut life = life.take_while(|change| **change != Change::Started);
            if !life.any(|change| *change == Change::Shutdown) && judged(node) {
                findings.add(|| format!("node {node} ended by itself at {at}: {what}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::Story;
    use super::*;
    use hedgerow_protocol::{IdentityUser, Micros, PeerKey};

    #[test]
    fn who_ends_was_asked_to_in_that_life() {
        let mut journal = Story::new(1).journal;
        let found = |journal: &Journal| ends(journal, |_| true).count;
        let stopped = Event::Stopped { confirmed: true };
        journal.change(Micros(1), 0, Change::Started);
        journal.change(Micros(2), 0, Change::Shutdown);
        journal.event(Micros(2), 0, stopped.clone());
        journal.change(Micros(2), 0, Change::Stopped);
        assert_eq!(found(&journal), 0, "it was told to");
        journal.change(Micros(2), 0, Change::Started);
        let in_use = Event::IdentityInUse {
            peer: PeerKey([1; 32]),
            epoch: 1,
            other: IdentityUser {
                epoch: 2,
                addresses: Vec::new(),
            },
        };
        journal.event(Micros(2), 0, in_use);
        assert_eq!(found(&journal), 1, "the next one was not");
        journal.event(Micros(2), 0, stopped);
        journal.change(Micros(2), 0, Change::Shutdown);
        assert_eq!(found(&journal), 2, "that came too late");
        assert!(ends(&journal, |_| false).is_clean());
    }
}
