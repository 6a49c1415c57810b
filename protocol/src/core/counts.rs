//! What an engine counts: an addition each, for frames come by the thousand.
//!
//! [`Counters`](crate::base::status::Counters) is what others see of it.

use super::Core;
use crate::base::interface::LinkEnd;
use crate::base::status::{COUNTERS, Counters};
use crate::wire::frame::{KIND_NAMES, KINDS};
use std::collections::BTreeMap;

/// Since the start.
#[derive(Debug)]
pub(crate) struct Counts {
    /// As [`COUNTERS`] names them.
    values: [u64; COUNTERS.len()],
    /// Frames, by kind.
    received: [u64; KINDS],
    sent: [u64; KINDS],
    link_ends: BTreeMap<LinkEnd, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            values: [0; COUNTERS.len()],
            received: [0; KINDS],
            sent: [0; KINDS],
            link_ends: BTreeMap::new(),
        }
    }
}

/// Those that are not 0, by name.
fn named(names: &[&'static str], counts: &[u64]) -> BTreeMap<&'static str, u64> {
    let counts = names.iter().copied().zip(counts.iter().copied());
    counts.filter(|&(_, count)| count > 0).collect()
}

impl Counts {
    pub(crate) fn received(&mut self, kind: u8) {
        self.received[usize::from(kind)] += 1;
    }

    pub(crate) fn sent(&mut self, kind: u8) {
        self.sent[usize::from(kind)] += 1;
    }

    /// As others see it.
    pub(crate) fn told(&self) -> Counters {
        Counters {
            values: named(&COUNTERS, &self.values),
            frames_received: named(&KIND_NAMES, &self.received),
            frames_sent: named(&KIND_NAMES, &self.sent),
            link_ends: self.link_ends.clone(),
        }
    }

    pub(crate) fn link_ended(&mut self, end: LinkEnd) {
        *self.link_ends.entry(end).or_default() += 1;
    }
}

impl Core {
    pub(crate) fn count(&mut self, name: &'static str) {
        self.count_many(name, 1);
    }

    pub(crate) fn count_many(&mut self, name: &'static str, by: u64) {
        match COUNTERS.binary_search(&name) {
            Ok(at) => self.counts.values[at] += by,
            Err(_) => debug_assert!(false, "{name} is no counter"),
        }
    }
}
