//! Drawing from a random stream, and writing TOML.

use crate::sim::Random;
use std::fmt::{Display, Write as _};

/// Draws values of one concern.
#[derive(Clone, Debug)]
pub(super) struct Draw(Random);

impl Draw {
    /// The stream of a seed for one concern: more draws in one change no other.
    pub(super) fn new(seed: u64, concern: &str) -> Self {
        Self(Random::new(seed, &format!("swarm {concern}")))
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.0.chance_ppm(percent * 10_000)
    }

    /// A number from `min` to `max`, both included.
    pub(super) fn between(&mut self, min: usize, max: usize) -> usize {
        self.0.between(min as u64, max as u64) as usize
    }

    /// One of several values.
    pub(super) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.0.index(values.len())]
    }

    /// Those of several values that are switched on, each in `percent` of 100 cases.
    pub(super) fn some_of<T: Copy>(&mut self, values: &[T], percent: u32) -> Vec<T> {
        let mut some = values.to_vec();
        some.retain(|_| self.chance(percent));
        some
    }

    /// A time in ms, in steps of 100 ms; short ones as often as long ones.
    pub(super) fn ms(&mut self, min: usize, max: usize) -> usize {
        let most = if self.chance(50) {
            max
        } else {
            min + (max - min) / 4
        };
        self.between(min / 100, most / 100) * 100
    }
}

/// Writes a scenario file.
#[derive(Clone, Debug, Default)]
pub(super) struct Toml(String);

impl Toml {
    /// Begins a table, such as `[topology]` or `[[fault]]`.
    pub(super) fn table(&mut self, head: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(head);
        self.0.push('\n');
        self
    }

    /// A key with a text, which must need no escapes.
    pub(super) fn text(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.plain(key, format_args!("\"{value}\""))
    }

    /// A key with a time in ms.
    pub(super) fn ms(&mut self, key: &str, ms: usize) -> &mut Self {
        if ms.is_multiple_of(1_000) {
            self.text(key, format_args!("{}s", ms / 1_000))
        } else {
            self.text(key, format_args!("{ms}ms"))
        }
    }

    /// A key with a number, a truth value, or a list that is written already.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
        self
    }

    /// The whole file.
    pub(super) fn finish(self) -> String {
        self.0
    }
}
