//! Old faults, kept so that what looks for faults can be tested: a search that does not find these would
//! not have found them then. One build has all of them; [`Config::planted`] says which is active.
//!
//! [`Config::planted`]: crate::Config::planted

use super::LogKey;
use super::log::Next;
use super::pull::RANGES_PER_PULL;
use crate::base::interface::LinkId;
use crate::base::message::Arrival;
use crate::base::name::GroupId;
use crate::core::config::Planted;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::frame::Wanted;

/// The old filter by wall clocks ended so long after the join, ms.
const FILTER_MS: u64 = 33_000;

impl Multicast {
    /// [`Planted::FrameOverLimit`]: a pull of more ranges than any honest peer asks for is denied
    /// whole. Gives whether it was.
    pub(crate) fn deny_whole(cx: &mut Cx<'_>, from: LinkId, id: GroupId, wanted: &Wanted) -> bool {
        let active = cx.core.config.planted == Planted::FrameOverLimit;
        if !active || wanted.ranges.as_slice().len() <= RANGES_PER_PULL {
            return false;
        }
        let key = (wanted.origin, wanted.epoch);
        Self::deny(cx, from, id, key, &wanted.ranges, 0);
        true
    }

    /// [`Planted::WallClock`]: whether a message is dropped for the time that its origin states.
    pub(crate) fn is_dropped_by_clock(&self, cx: CxRef<'_>, id: GroupId, next: &Next) -> bool {
        let Some(group) = self.groups.get(&id) else {
            return false;
        };
        let older_ms = group.baseline.older_ms(cx.core.now.mono);
        let filters = (1..FILTER_MS).contains(&older_ms);
        let from_wall_ms = cx.core.now.wall_ms.saturating_sub(older_ms);
        let active = cx.core.config.planted == Planted::WallClock && filters;
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
    pub(super) fn keep_two_lives(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) -> bool {
        let own = (cx.core.me, cx.net.epoch());
        let Some(group) = self.groups.get(&id) else {
            return true;
        };
        let lives = (group.logs.range((key.0, 0)..=(key.0, u64::MAX))).map(|(life, _)| *life);
        let lives: Vec<LogKey> = lives.filter(|life| *life != own).collect();
        if cx.core.config.planted != Planted::TwoLives || lives.len() < 2 {
            return true;
        }
        if key < lives[0] {
            return false;
        }
        self.shelve_logs(cx.as_ref(), id, &lives[..1]);
        true
    }
}
