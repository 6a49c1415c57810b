//! Peers that do not behave.

use crate::scenario::Behaviour;

/// Whether the simulated world has such peers.
pub fn exists(behaviour: Behaviour) -> bool {
    behaviour == Behaviour::Honest
}
