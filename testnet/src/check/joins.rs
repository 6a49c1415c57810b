//! Who is asked to join a group comes to be in it.

use super::{Findings, Judged};
use crate::journal::{Change, Journal};
use hedgerow_protocol::GroupName;
use std::collections::BTreeSet;

/// Finds peers that were asked to join a group in their present life and never told that they are in
/// it. Nothing is due to them, so that no delivery would be missed.
pub fn unjoined(journal: &Journal, judged: &Judged) -> Findings {
    let mut findings = Findings::default();
    for node in judged.nodes() {
        for group in asked(journal, node) {
            let last = journal.memberships(node, group).pop();
            if last.is_none_or(|last| last.until.is_some()) {
                findings.add(|| format!("node {node} was to join {group} and is not in it"));
            }
        }
    }
    findings
}

/// The groups that a node's peer is to be in.
pub(crate) fn asked(journal: &Journal, node: usize) -> BTreeSet<&GroupName> {
    let mut asked = BTreeSet::new();
    for (_, change) in &journal.nodes[node].changes {
        match change {
            Change::Join(group) => {
                asked.insert(group);
            }
            Change::Leave(group) => {
                asked.remove(group);
            }
            // Real peers are asked before they are up.
            Change::Stopped => asked.clear(),
            Change::Started | Change::Paused | Change::Resumed | Change::Shutdown => {}
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::super::tests::Story;
    use super::*;
    use hedgerow_protocol::{Event, Micros};

    #[test]
    fn who_was_asked_to_join_is_in_the_group_unless_it_left_or_ended() {
        let mut journal = Story::new(1).journal;
        let judged = Judged {
            lives: vec![Some(Micros(0))],
            origins: vec![true],
            ..Judged::default()
        };
        let found = |journal: &Journal| unjoined(journal, &judged).count;
        let group = |name| GroupName::new(name).expect("a name");
        journal.change(Micros(1), 0, Change::Join(group("news")));
        assert_eq!(found(&journal), 0, "it has joined");
        journal.change(Micros(2), 0, Change::Join(group("chat")));
        assert_eq!(found(&journal), 1);
        journal.change(Micros(3), 0, Change::Leave(group("chat")));
        assert_eq!(found(&journal), 0, "it is to be out of it");
        journal.change(Micros(4), 0, Change::Stopped);
        journal.change(Micros(5), 0, Change::Started);
        assert_eq!(found(&journal), 0, "nobody has asked this one");
        journal.change(Micros(6), 0, Change::Join(group("news")));
        assert_eq!(found(&journal), 1, "only the one before had joined");
        let joined = Event::Joined {
            group: group("news"),
            from_neighbour: true,
        };
        journal.event(Micros(7), 0, joined);
        assert_eq!(found(&journal), 0);
    }
}
