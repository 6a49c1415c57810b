//! Who does not behave, and how.

use super::draw::{Draw, Toml};
use crate::scenario::Behaviour;

/// Percent of the seeds that have hostile peers.
const HOSTILE_PERCENT: u32 = 30;

/// The behaviours that are drawn.
pub(super) const KINDS: [(Behaviour, &str); 13] = [
    (Behaviour::Drop, "drop"),
    (Behaviour::Delay, "delay"),
    (Behaviour::Replay, "replay"),
    (Behaviour::ForgedOrigin, "forged-origin"),
    (Behaviour::BadSignature, "bad-signature"),
    (Behaviour::LyingCoordinates, "lying-coordinates"),
    (Behaviour::LyingDigests, "lying-digests"),
    (Behaviour::Equivocate, "equivocate"),
    (Behaviour::RecordFlood, "record-flood"),
    (Behaviour::DataFlood, "data-flood"),
    (Behaviour::Oversized, "oversized"),
    (Behaviour::Malformed, "malformed"),
    (Behaviour::CopiedKey, "copied-key"),
];

/// The hostile peers: at most two, of one kind or of two.
#[derive(Clone, Debug)]
pub(super) struct Hostile {
    kinds: Vec<(Behaviour, &'static str)>,
}

impl Hostile {
    pub(super) fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed, "hostile");
        let mut kinds = Vec::new();
        if draw.chance(HOSTILE_PERCENT) {
            for _ in 0..draw.between(1, 2) {
                kinds.push(draw.one_of(&KINDS));
            }
        }
        Self { kinds }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.kinds.len()
    }

    /// Whether one runs with the key of somebody else, who must not publish.
    pub(super) fn copies_keys(&self) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.any(|(behaviour, _)| *behaviour == Behaviour::CopiedKey)
    }

    pub(super) fn write(&self, toml: &mut Toml) {
        for (at, (_, name)) in self.kinds.iter().enumerate() {
            let table = toml.table("[[nodes]]");
            table.text("id", format_args!("offender-{at}"));
            table.plain("count", 1).text("behaviour", name);
        }
    }
}
