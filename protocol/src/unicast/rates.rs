//! What one neighbour can make this peer do in a second.

use crate::base::interface::LinkId;
use crate::base::time::Micros;
use std::collections::BTreeMap;

/// Frames taken from one link per second. How many bytes they may be is up to the lanes that they go on
/// by.
const FRAMES_PER_SECOND: u32 = 2_000;
/// Next hops are computed for frames from one link for so many peers per second: twice in a view of
/// 10,000, where it costs most, and for most frames in one of ten. Only what avoids peers, or would
/// go back, asks for it; the rest share one computation per view.
const PEERS_PER_SECOND: usize = 20_000;

#[derive(Debug, Default)]
struct Spent {
    frames: u32,
    peers: usize,
}

/// What each link has made this peer do this second; links that did nothing take no room.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    second: u64,
    spent: BTreeMap<LinkId, Spent>,
}

impl Rates {
    fn of(&mut self, now: Micros, link: LinkId) -> &mut Spent {
        let second = now.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.spent.clear();
        }
        self.spent.entry(link).or_default()
    }

    /// Whether one more frame is taken.
    pub(crate) fn takes_frame(&mut self, now: Micros, link: LinkId) -> bool {
        let spent = self.of(now, link);
        let has_room = spent.frames < FRAMES_PER_SECOND;
        spent.frames += u32::from(has_room);
        has_room
    }

    /// Whether next hops may be computed in a view of so many peers: once in each second in any view.
    pub(crate) fn may_compute(&mut self, now: Micros, link: LinkId, peers: usize) -> bool {
        let spent = self.of(now, link);
        let has_room = spent.peers == 0 || spent.peers + peers <= PEERS_PER_SECOND;
        if has_room {
            spent.peers += peers;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LinkId = LinkId(1);
    const OTHER: LinkId = LinkId(2);

    #[test]
    fn a_link_that_sends_too_much_takes_nothing_from_another() {
        let mut rates = Rates::default();
        let now = Micros::from_millis(7_000);
        let taken = (0..3_000).filter(|_| rates.takes_frame(now, ONE)).count();
        assert_eq!(taken, FRAMES_PER_SECOND as usize);
        assert!(rates.takes_frame(now, OTHER));
        assert!(rates.takes_frame(Micros::from_millis(8_000), ONE));
    }

    #[test]
    fn a_large_view_is_computed_once_a_second_and_a_small_one_often() {
        let mut rates = Rates::default();
        let now = Micros::from_millis(7_000);
        let mut times = |link, peers| {
            let asked = (0..5_000).filter(|_| rates.may_compute(now, link, peers));
            asked.count()
        };
        assert_eq!(times(ONE, 1_000_000), 1);
        assert_eq!(times(OTHER, 10_000), 2);
        assert_eq!(times(LinkId(3), 10), 2_000);
        assert!(rates.may_compute(Micros::from_millis(8_000), ONE, 1_000_000));
    }
}
