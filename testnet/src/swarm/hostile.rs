//! Who does not behave, and how.

use super::draw::{Draw, Toml};
use crate::scenario::Behaviour;
use schemars::schema_for;

/// Percent of the seeds that have hostile peers.
const HOSTILE_PERCENT: u32 = 30;
/// What is never drawn: who behaves, and floods that a run of a few seconds cannot carry. `holes`
/// publishes 500 bundles a second in each of its groups, `data-flood` 200 messages of 1 KiB. They have
/// scenarios of their own.
pub(super) const LEFT_OUT: [&str; 3] = ["honest", "holes", "data-flood"];
/// The one for which somebody must be there whose key can be copied.
const COPIED_KEY: &str = "copied-key";

/// The hostile peers: at most two, of one kind or of two.
#[derive(Clone, Debug)]
pub(super) struct Hostile {
    kinds: Vec<String>,
}

/// All other kinds that scenarios know, as they are written. A new one is drawn from its first day.
fn kinds() -> Vec<String> {
    let schema = schema_for!(Behaviour);
    let kinds = schema.get("oneOf").and_then(|kinds| kinds.as_array());
    let names = kinds.into_iter().flatten();
    let names = names.filter_map(|kind| kind.get("const")?.as_str());
    names
        .filter(|name| !LEFT_OUT.contains(name))
        .map(str::to_owned)
        .collect()
}

impl Hostile {
    pub(super) fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed, "hostile");
        let mut drawn = Vec::new();
        if draw.chance(HOSTILE_PERCENT) {
            let kinds = kinds();
            for _ in 0..draw.between(1, 2) {
                drawn.push(kinds[draw.between(0, kinds.len() - 1)].clone());
            }
        }
        Self { kinds: drawn }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.kinds.len()
    }

    /// Whether one runs with the key of somebody else, who must not publish.
    pub(super) fn copies_keys(&self) -> bool {
        self.kinds.iter().any(|kind| kind == COPIED_KEY)
    }

    pub(super) fn write(&self, toml: &mut Toml) {
        for (at, kind) in self.kinds.iter().enumerate() {
            let table = toml.table("[[nodes]]");
            table.text("id", format_args!("offender-{at}"));
            table.plain("count", 1).text("behaviour", kind);
        }
    }
}
