//! Whom peers know when they start.

use super::random::Random;

/// Which nodes a node dials first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartGraph {
    /// Nobody knows anybody.
    None,
    /// All know node 0.
    Hub,
    /// Each knows the one before it.
    Chain,
    /// Each knows the one before it, the first knows the last.
    Ring,
    /// Each knows so many random earlier ones, so that the graph hangs together.
    Random {
        /// How many; all earlier ones where there are fewer.
        contacts: usize,
    },
    /// By node.
    Explicit(Vec<Vec<usize>>),
}

impl StartGraph {
    /// Contacts of each of `nodes` nodes.
    pub(crate) fn contacts(&self, seed: u64, nodes: usize) -> Vec<Vec<usize>> {
        let mut random = Random::new(seed, "start graph");
        let before = |node: usize| node.checked_sub(1).map(|before| vec![before]);
        (0..nodes)
            .map(|node| match self {
                Self::None => Vec::new(),
                Self::Hub if node == 0 => Vec::new(),
                Self::Hub => vec![0],
                Self::Chain => before(node).unwrap_or_default(),
                Self::Ring => before(node).unwrap_or_else(|| vec![nodes - 1]),
                Self::Random { contacts } => random.sample(node, *contacts),
                Self::Explicit(contacts) => contacts.get(node).cloned().unwrap_or_default(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_start_hangs_together() {
        for seed in 0..20 {
            let contacts = StartGraph::Random { contacts: 2 }.contacts(seed, 30);
            let known = |node: usize| contacts[node].len() == node.min(2);
            assert!((0..30).all(known), "seed {seed}");
            let earlier = |node: usize| contacts[node].iter().all(|&contact| contact < node);
            assert!((0..30).all(earlier), "seed {seed}");
        }
    }
}
