//! What the world can drive: an engine, or anything that behaves like one.

use hedgerow_protocol::{Action, Engine, GroupName, Input, Time};
use std::collections::BTreeMap;

/// A peer as a state machine, called under the contract of [`Engine`]: every call is followed by
/// draining [`Peer::poll_action`], then [`Peer::poll_timeout`] says when the next is due.
pub trait Peer: Send + 'static {
    /// Takes in what happened outside.
    fn handle_input(&mut self, now: Time, input: Input);
    /// Runs what is due.
    fn handle_timeout(&mut self, now: Time);
    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action>;
    /// When [`Peer::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Time>;
    /// What it counted so far; asked for again when it ends.
    fn tally(&self) -> Tally {
        Tally::default()
    }
    /// Its own counters, by name; asked for again when it ends.
    fn counted(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }
}

/// What a node's peers counted, those included that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By group.
    pub groups: BTreeMap<GroupName, Copies>,
    /// Frames with records sent.
    pub record_frames: u64,
}

/// Payload copies that reached a node in one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// All.
    pub copies: u64,
    /// Those of them that came first.
    pub firsts: u64,
    /// First ones that were pulled.
    pub repaired: u64,
}

impl Copies {
    fn add(&mut self, other: Self) {
        self.copies += other.copies;
        self.firsts += other.firsts;
        self.repaired += other.repaired;
    }

    /// Whether these may be the same counts at a later moment.
    fn includes(self, earlier: Self) -> bool {
        self.copies >= earlier.copies
            && self.firsts >= earlier.firsts
            && self.repaired >= earlier.repaired
    }
}

/// Kinds of frames that carry records, or are about them.
pub const RECORD_FRAMES: [&str; 6] = [
    "Records",
    "RecordDeltas",
    "RecordAnnounce",
    "RecordPull",
    "Buckets",
    "BucketRecords",
];

impl Tally {
    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.record_frames += other.record_frames;
        for (group, copies) in &other.groups {
            self.groups.entry(group.clone()).or_default().add(*copies);
        }
    }

    /// Of an engine.
    pub fn of(engine: &Engine) -> Self {
        let frames = engine.counters().frames_sent;
        let groups = engine.groups().into_iter().filter_map(|group| {
            let copies = Copies {
                copies: group.copies,
                firsts: group.firsts,
                repaired: group.repaired,
            };
            Some((group.group?, copies))
        });
        Self {
            groups: groups.collect(),
            record_frames: RECORD_FRAMES
                .iter()
                .filter_map(|name| frames.get(name))
                .sum(),
        }
    }
}

/// What a node's peers counted over all their lives. A peer forgets a group that it has left, and
/// the counts of that group with it; here they stay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// Of lives that have ended, and of groups that were forgotten.
    before: Tally,
    /// What the present peer said last.
    last: Tally,
}

impl Counted {
    /// Takes what the present peer says.
    pub(crate) fn see(&mut self, now: Tally) {
        for (group, last) in std::mem::take(&mut self.last.groups) {
            let goes_on = now.groups.get(&group).is_some_and(|now| now.includes(last));
            if !goes_on {
                let sum = self.before.groups.entry(group).or_default();
                sum.add(last);
            }
        }
        self.last = now;
    }

    /// The present peer has ended: the next one begins at nothing.
    pub(crate) fn settle(&mut self) {
        self.before.add(&std::mem::take(&mut self.last));
    }

    /// What is told where the present peer's counts are not remembered: the old fault
    /// `forgotten-group`.
    #[cfg(feature = "planted")]
    pub(crate) fn forgetful_sum(&self, now: &Tally) -> Tally {
        let mut sum = self.before.clone();
        sum.add(now);
        sum
    }

    /// All that was seen.
    pub(crate) fn sum(&self) -> Tally {
        let mut sum = self.before.clone();
        sum.add(&self.last);
        sum
    }
}

impl Peer for Engine {
    fn handle_input(&mut self, now: Time, input: Input) {
        Engine::handle_input(self, now, input);
    }
    fn handle_timeout(&mut self, now: Time) {
        Engine::handle_timeout(self, now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        Engine::poll_action(self)
    }
    fn poll_timeout(&self) -> Option<Time> {
        Engine::poll_timeout(self)
    }
    fn tally(&self) -> Tally {
        Tally::of(self)
    }
    fn counted(&self) -> BTreeMap<&'static str, u64> {
        self.counters().values
    }
}
