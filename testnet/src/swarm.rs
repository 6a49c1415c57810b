//! Scenarios drawn from a seed, in the manner of `TigerBeetle`'s VOPR.
//!
//! [`text`] draws a network, groups, workloads, faults and hostile peers, and writes them down as an
//! ordinary scenario file, so that a drawn scenario is read, checked, run, shrunk and replayed like
//! any other. Each seed switches features on and off before it draws (Groce et al., "Swarm
//! testing", ISSTA 2012): runs that lack a feature reach states that runs with everything never
//! reach. One file draws one concern, from a random stream of its own.

mod draw;
mod faults;
mod groups;
mod hostile;
mod judging;
mod topology;

use crate::scenario::{Overrides, Scenario, ScenarioError};
use draw::Toml;
use faults::Faults;
use groups::Groups;
use hostile::Hostile;
use std::path::Path;
use topology::Topology;

/// The scenario that a seed stands for, as TOML.
pub fn text(seed: u64) -> String {
    let hostile = Hostile::draw(seed);
    let topology = Topology::draw(seed, &hostile);
    let groups = Groups::draw(seed, &topology, &hostile);
    let faults = Faults::draw(seed, &topology, &groups);
    let mut toml = Toml::default();
    topology.write(seed, &groups, &faults, &mut toml);
    hostile.write(&mut toml);
    groups.write(&mut toml);
    faults.write(&mut toml);
    judging::write(&topology, &groups, &faults, &mut toml);
    toml.finish()
}

/// The same, ready to run, with changes.
///
/// # Errors
///
/// A drawn scenario that is refused without changes is a bug of the drawer.
pub fn scenario(seed: u64, overrides: &Overrides) -> Result<Scenario, ScenarioError> {
    let path = format!("swarm-{seed}.toml");
    Scenario::parse(&text(seed), Path::new(&path), overrides)
}

#[cfg(test)]
mod tests;
