//! What an engine counts: an addition each, for frames come by the thousand. Names are looked up when
//! the program is compiled.
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

/// One of [`COUNTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter(usize);

impl Counter {
    /// Called while the program is compiled ([`counter!`]): a name that is none does not compile.
    pub(crate) const fn named(name: &str) -> Self {
        let mut at = 0;
        while at < COUNTERS.len() {
            if is_same(COUNTERS[at].as_bytes(), name.as_bytes()) {
                return Self(at);
            }
            at += 1;
        }
        panic!("no counter has this name");
    }
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A counter by its name, which is looked up when the program is compiled.
macro_rules! counter {
    ($name:literal) => {{
        const COUNTER: $crate::core::Counter = $crate::core::Counter::named($name);
        COUNTER
    }};
}

impl Core {
    pub(crate) fn count(&mut self, counter: Counter) {
        self.count_many(counter, 1);
    }

    pub(crate) fn count_many(&mut self, counter: Counter, by: u64) {
        self.counts.values[counter.0] += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_sorted_and_found_by_their_names() {
        assert!(COUNTERS.is_sorted_by(|a, b| a < b));
        for (at, name) in COUNTERS.into_iter().enumerate() {
            assert_eq!(Counter::named(name), Counter(at));
        }
    }

    #[test]
    #[should_panic(expected = "no counter has this name")]
    fn a_name_that_is_none_is_refused() {
        Counter::named("stall");
    }
}
