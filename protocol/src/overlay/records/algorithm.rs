//! Which version of the overlay algorithms a view uses: all its peers must compute the same trees.
//!
//! A record states the highest version that its peer knows, which implies all lower ones that it
//! still supports. The lowest stated in a view is used, as far as this build supports it; a peer
//! that states less computes other trees, whatever is done here, and is counted.

use crate::wire::record::ALGORITHM_VERSION;

/// The lowest version that this build still supports.
const LOWEST: u16 = 1;

/// A version that this build can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    /// Shortest-path trees with soft capacities, and meshes over them by shared paths and
    /// dominators.
    V1 = 1,
}

impl Algorithm {
    /// The highest of this build.
    const NEWEST: Self = Self::V1;

    /// As records state it.
    pub(crate) fn version(self) -> u16 {
        self as u16
    }

    fn of_version(version: u16) -> Option<Self> {
        match version {
            1 => Some(Self::V1),
            _ => None,
        }
    }
}

/// What the peers of a view have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(in crate::overlay) algorithm: Algorithm,
    /// Peers whose highest version is below all that this build supports.
    pub(in crate::overlay) unsupported: usize,
}

impl Default for Agreed {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::NEWEST,
            unsupported: 0,
        }
    }
}

impl Agreed {
    /// A further peer's stated version.
    pub(crate) fn take_in(&mut self, stated: u16) {
        if stated < LOWEST {
            self.unsupported += 1;
            return;
        }
        if let Some(theirs) = Algorithm::of_version(stated.min(ALGORITHM_VERSION)) {
            self.algorithm = self.algorithm.min(theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(stated: &[u16]) -> Agreed {
        let mut agreed = Agreed::default();
        for &version in stated {
            agreed.take_in(version);
        }
        agreed
    }

    #[test]
    fn every_version_from_the_lowest_to_the_stated_one_can_be_computed() {
        for version in LOWEST..=ALGORITHM_VERSION {
            let algorithm = Algorithm::of_version(version).expect("supported");
            assert_eq!(algorithm.version(), version);
        }
        assert_eq!(Algorithm::NEWEST.version(), ALGORITHM_VERSION);
    }

    #[test]
    fn the_lowest_that_is_supported_is_used() {
        assert_eq!(agreed(&[]).algorithm, Algorithm::NEWEST);
        assert_eq!(agreed(&[1, 2, 7]).algorithm, Algorithm::V1);
    }

    #[test]
    fn newer_peers_are_no_reason_to_change_anything() {
        assert_eq!(agreed(&[u16::MAX, 2]), Agreed::default());
    }

    #[test]
    fn what_is_too_old_is_counted_and_decides_nothing() {
        let with_old = agreed(&[0, 1, 0]);
        assert_eq!(with_old.unsupported, 2);
        assert_eq!(with_old.algorithm, agreed(&[1]).algorithm);
    }
}
