//! Old faults, kept so that what looks for faults can be tested: a search that does not find these would
//! not have found them then. One build has all of them; [`Config::planted`] says which is active.
//!
//! [`Config::planted`]: crate::Config::planted

use super::LogKey;
use super::log::Next;
use super::pull::RANGES_PER_PULL;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::message::Arrival;
use crate::name::GroupId;
use crate::wire::frame::Wanted;
use crate::wire::{FRAME_BYTES_MAX, Frame};
use serde::{Deserialize, Serialize};

/// An old fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planted {
    /// No fault is active.
    #[default]
    None,
    /// An answer to a pull of many ranges is not cut, what is sent has a lower limit than what is
    /// received, and a frame over it ends the process.
    FrameOverLimit,
    /// A member that joined alone takes a message for older than its join if the clock of its origin
    /// says so, and drops it without a word.
    WallClock,
    /// Only the two newest lives of an origin are kept; what goes with the others is told to nobody.
    TwoLives,
    /// The simulator forgets what a peer counted in a group that it has left, and its totals shrink.
    /// No fault of the engine: it marks where the simulator has it.
    ForgottenGroup,
}

/// The old filter by wall clocks ended so long after the join, ms.
const FILTER_MS: u64 = 33_000;

impl Engine {
    /// [`Planted::FrameOverLimit`]: a pull of more ranges than any honest peer asks for is denied
    /// whole. Gives whether it was.
    pub(crate) fn deny_whole(&mut self, from: LinkId, id: GroupId, wanted: &Wanted) -> bool {
        let active = self.config.planted == Planted::FrameOverLimit;
        if !active || wanted.ranges.as_slice().len() <= RANGES_PER_PULL {
            return false;
        }
        let key = (wanted.origin, wanted.epoch);
        self.deny(from, id, key, &wanted.ranges, 0);
        true
    }

    /// [`Planted::WallClock`]: whether a message is dropped for the time that its origin states.
    pub(crate) fn is_dropped_by_clock(&self, id: GroupId, next: &Next) -> bool {
        let Some(group) = self.groups.get(&id) else {
            return false;
        };
        let older_ms = group.baseline.older_ms(self.now.mono);
        let filters = (1..FILTER_MS).contains(&older_ms);
        let from_wall_ms = self.now.wall_ms.saturating_sub(older_ms);
        let active = self.config.planted == Planted::WallClock && filters;
        match next {
            Next::Message {
                published_at,
                arrival,
                ..
            } => active && *arrival != Arrival::Local && *published_at < from_wall_ms,
            Next::Gap { .. } => false,
        }
    }

    /// [`Planted::TwoLives`]: makes room for a life; `false` where two newer ones have logs.
    pub(super) fn keep_two_lives(&mut self, id: GroupId, key: LogKey) -> bool {
        let own = (self.me, self.own.epoch);
        let Some(group) = self.groups.get(&id) else {
            return true;
        };
        let lives = (group.logs.range((key.0, 0)..=(key.0, u64::MAX))).map(|(life, _)| *life);
        let lives: Vec<LogKey> = lives.filter(|life| *life != own).collect();
        if self.config.planted != Planted::TwoLives || lives.len() < 2 {
            return true;
        }
        if key < lives[0] {
            return false;
        }
        self.shelve_logs(id, &lives[..1]);
        true
    }
}
