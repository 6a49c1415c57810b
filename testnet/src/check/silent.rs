//! Who is judged by what it says says something.

use super::{Findings, Snapshot};
use std::collections::BTreeSet;

/// Finds those of `nodes` that have said nothing, or did not answer when they were asked last: of
/// what they said before nothing need be true any more.
pub fn silent(
    nodes: &[usize],
    snapshots: &[Snapshot],
    answers: impl Fn(usize) -> bool,
) -> Findings {
    let known: BTreeSet<usize> = snapshots.iter().map(|snapshot| snapshot.node).collect();
    let mut findings = Findings::default();
    for &node in nodes {
        if !known.contains(&node) {
            findings.add(|| format!("node {node} has said nothing of itself"));
        } else if !answers(node) {
            findings.add(|| format!("node {node} does not answer any more"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::views::tests::snapshot;
    use super::*;

    #[test]
    fn who_hangs_is_found_whatever_it_said_before() {
        let snapshots = [snapshot(0, 3), snapshot(2, 3)];
        let all = silent(&[0, 2], &snapshots, |_| true);
        assert!(all.is_clean(), "{all}");
        let found = silent(&[0, 1, 2], &snapshots, |node| node != 2);
        let said = [
            "node 1 has said nothing of itself",
            "node 2 does not answer any more",
        ];
        assert_eq!(
            (found.count, &found.examples[..]),
            (2, &said.map(str::to_owned)[..])
        );
        assert_eq!(silent(&[7], &[], |_| true).count, 1);
    }
}
