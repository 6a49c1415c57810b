//! Rules that every run is judged by, one file each.
//!
//! [`delivery`], [`duplicates`], [`order`] and [`gaps`] judge a [`crate::journal::Journal`];
//! [`views`], [`bounds`] and [`links`] judge [`Snapshot`]s of the peers that run. None of them
//! knows how the peers were run.

mod bounds;
mod delivery;
mod duplicates;
mod gaps;
mod links;
mod order;
mod snapshot;
mod views;

pub use bounds::bounds;
pub use delivery::{Delivery, delivery};
pub use duplicates::{duplicates, each_duplicate};
pub use gaps::gaps;
pub use links::{Wire, links};
pub use order::{each_disorder, order};
pub use snapshot::Snapshot;
pub use views::views;

use std::fmt;

/// What a check found against the rules: how much, and the first few in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many violations.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// Examples kept of each kind.
const EXAMPLES_MAX: usize = 8;

impl Findings {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violations", self.count)?;
        self.examples
            .iter()
            .try_for_each(|example| write!(f, "\n  {example}"))
    }
}
