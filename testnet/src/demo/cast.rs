//! Who does what in the demo, by the peers' numbers from 0.

use std::collections::BTreeMap;

/// The parts. Publishers stay alive, so that all they publish is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    /// Stream the text into the tree group.
    pub(crate) tree: [usize; 2],
    /// Stream the text into the mesh group.
    pub(crate) mesh: [usize; 2],
    /// Sends the binary into both.
    pub(crate) sender: usize,
    /// Broadcasts.
    pub(crate) crier: usize,
    /// Peers that may be killed, the first of all among them.
    pub(crate) others: Vec<usize>,
    /// How many are killed: a quarter.
    pub(crate) killed: usize,
}

impl Cast {
    /// The parts of `nodes` peers, 4 at least.
    pub(crate) fn new(nodes: usize) -> Self {
        let (tree, mesh, sender) = if nodes < 8 {
            ([1, 2], [1, 2], 3)
        } else {
            ([1, 2], [3, 4], 5)
        };
        let busy = [tree[0], tree[1], mesh[0], mesh[1], sender];
        let others = (0..nodes).filter(|peer| !busy.contains(peer)).collect();
        Self {
            tree,
            mesh,
            sender,
            crier: sender,
            others,
            killed: nodes / 4,
        }
    }

    /// Whom to kill so that it hurts: the first peer, through which all others came in, then
    /// whoever feeds most others (`children`, by peer) in the tree of the first publisher.
    pub(crate) fn victims(&self, children: &BTreeMap<usize, usize>) -> Vec<usize> {
        let mut victims = self.others.clone();
        let fed = |peer: &usize| children.get(peer).copied().unwrap_or(0);
        victims.sort_by_key(|peer| (*peer != 0, std::cmp::Reverse(fed(peer)), *peer));
        victims.truncate(self.killed);
        victims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_peers_can_be_cast() {
        for nodes in 4..=200 {
            let cast = Cast::new(nodes);
            let victims = cast.victims(&BTreeMap::new());
            assert_eq!(victims.len(), nodes / 4);
            let publishers = cast
                .tree
                .iter()
                .chain(&cast.mesh)
                .chain([&cast.sender, &cast.crier]);
            assert!(
                publishers
                    .clone()
                    .all(|peer| *peer < nodes && !victims.contains(peer))
            );
        }
    }

    #[test]
    fn the_first_peer_and_those_that_feed_most_are_hit() {
        let children = BTreeMap::from([(0, 1), (6, 0), (8, 4), (11, 2), (2, 5)]);
        assert_eq!(Cast::new(12).victims(&children), [0, 8, 11]);
    }
}
