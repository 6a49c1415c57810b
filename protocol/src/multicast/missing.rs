//! What an origin's log lacks, since when, and who has been asked.

use super::log::HOLES_MAX;
use crate::base::interface::LinkId;
use crate::base::ranges::RangeSet;
use crate::base::time::Micros;

/// Ranges kept apart; beyond, further ones wait until some are mended.
const RANGES_MAX: usize = HOLES_MAX;

/// One range of entries that somebody says exist and that are not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingRange {
    pub(super) from: u64,
    pub(super) to: u64,
    /// When it was noticed.
    pub(super) since: Micros,
    /// Who has been asked, and when.
    pub(super) asked: Option<(LinkId, Micros)>,
    /// Who has been asked in vain, how often.
    pub(super) tries: Vec<(LinkId, u8)>,
}

impl MissingRange {
    pub(crate) fn tries_of(&self, link: LinkId) -> u8 {
        self.tries
            .iter()
            .find(|(id, _)| *id == link)
            .map_or(0, |(_, tries)| *tries)
    }

    pub(crate) fn failed(&mut self, link: LinkId) {
        match self.tries.iter_mut().find(|(id, _)| *id == link) {
            Some((_, tries)) => *tries = tries.saturating_add(1),
            None => self.tries.push((link, 1)),
        }
    }
}

/// Disjoint ranges, ascending.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    ranges: Vec<MissingRange>,
    /// Whether anything was left out for want of room.
    is_incomplete: bool,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether nothing is missing, not even what there was no room to note.
    pub(crate) fn is_none(&self) -> bool {
        self.ranges.is_empty() && !self.is_incomplete
    }

    /// Entries missing.
    pub(crate) fn len(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.to - range.from + 1)
            .sum()
    }

    pub(crate) fn ranges(&self) -> &[MissingRange] {
        &self.ranges
    }

    pub(crate) fn ranges_mut(&mut self) -> &mut [MissingRange] {
        &mut self.ranges
    }

    /// When `seq` was noticed to be missing, if it is.
    pub(crate) fn since(&self, seq: u64) -> Option<Micros> {
        self.range_of(seq).map(|range| range.since)
    }

    /// When `seq` was noticed to be missing, if nobody has been asked for it.
    pub(crate) fn unasked_since(&self, seq: u64) -> Option<Micros> {
        let range = self.range_of(seq)?;
        range.asked.is_none().then_some(range.since)
    }

    fn range_of(&self, seq: u64) -> Option<&MissingRange> {
        let at = self.ranges.partition_point(|range| range.to < seq);
        self.ranges.get(at).filter(|range| range.from <= seq)
    }

    /// Takes note of `ranges`; what is known already keeps its age. Says whether any is new.
    pub(crate) fn add(&mut self, ranges: &RangeSet, now: Micros) -> bool {
        let mut any = false;
        for &(from, to) in ranges.as_slice() {
            any |= self.add_range(from, to, now);
        }
        any
    }

    /// The same for `from..=to`; nothing when `from > to`. At the end of the list that takes a
    /// constant time.
    pub(crate) fn add_range(&mut self, from: u64, to: u64, now: Micros) -> bool {
        if from > to {
            return false;
        }
        let start = self.ranges.partition_point(|range| range.to < from);
        let end = self.ranges.partition_point(|range| range.from <= to);
        let known = self.ranges[start..end.max(start)].iter();
        let known: RangeSet = known.fold(RangeSet::new(), |mut known, range| {
            known.insert(range.from, range.to);
            known
        });
        let mut any = false;
        for &(from, to) in known.holes(from, to).as_slice() {
            if self.ranges.len() >= RANGES_MAX {
                self.is_incomplete = true;
                break;
            }
            let at = self.ranges.partition_point(|range| range.to < from);
            self.ranges.insert(
                at,
                MissingRange {
                    from,
                    to,
                    since: now,
                    asked: None,
                    tries: Vec::new(),
                },
            );
            any = true;
        }
        any
    }

    /// Whether what was left out for want of room can be noted now; the caller adds all that is
    /// missing.
    pub(crate) fn take_incomplete(&mut self) -> bool {
        let has_room = self.ranges.len() < RANGES_MAX / 2;
        has_room && std::mem::take(&mut self.is_incomplete)
    }

    /// `from..=to` is missing no longer.
    pub(crate) fn remove(&mut self, from: u64, to: u64) {
        if from > to || self.ranges.is_empty() {
            return;
        }
        let start = self.ranges.partition_point(|range| range.to < from);
        let end = self.ranges.partition_point(|range| range.from <= to);
        if start >= end {
            return;
        }
        let mut rest = Vec::new();
        for range in &self.ranges[start..end] {
            if range.from < from {
                rest.push(MissingRange {
                    to: from - 1,
                    ..range.clone()
                });
            }
            if range.to > to {
                rest.push(MissingRange {
                    from: to + 1,
                    ..range.clone()
                });
            }
        }
        self.ranges.splice(start..end, rest);
    }

    /// Splits the range at `index` so that it ends at `to`; the rest follows it.
    pub(crate) fn split(&mut self, index: usize, to: u64) {
        let Some(range) = self.ranges.get(index) else {
            return;
        };
        if to < range.from || to >= range.to {
            return;
        }
        let rest = MissingRange {
            from: to + 1,
            ..range.clone()
        };
        self.ranges[index].to = to;
        self.ranges.insert(index + 1, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn spans(missing: &Missing) -> Vec<(u64, u64)> {
        missing
            .ranges
            .iter()
            .map(|range| (range.from, range.to))
            .collect()
    }

    #[test]
    fn what_is_known_keeps_its_age() {
        let mut missing = Missing::default();
        assert!(missing.add(&RangeSet::of(3, 5), Micros(1)));
        assert!(missing.add(&RangeSet::of(1, 8), Micros(2)));
        assert!(!missing.add(&RangeSet::of(2, 7), Micros(3)));
        assert_eq!(spans(&missing), [(1, 2), (3, 5), (6, 8)]);
        assert_eq!(missing.unasked_since(4), Some(Micros(1)));
        assert_eq!(missing.unasked_since(7), Some(Micros(2)));
        assert_eq!(missing.len(), 8);
    }

    #[test]
    fn removal_splits() {
        let mut missing = Missing::default();
        missing.add(&RangeSet::of(1, 10), Micros(1));
        missing.remove(4, 5);
        assert_eq!(spans(&missing), [(1, 3), (6, 10)]);
        missing.remove(1, 6);
        assert_eq!(spans(&missing), [(7, 10)]);
        missing.split(0, 8);
        assert_eq!(spans(&missing), [(7, 8), (9, 10)]);
    }

    #[test]
    fn what_had_no_room_is_added_once_half_of_it_is_free() {
        let mut missing = Missing::default();
        let holes = RANGES_MAX as u64 + 100;
        for hole in 1..=holes {
            missing.add_range(2 * hole, 2 * hole, Micros(1));
        }
        assert_eq!(missing.len(), RANGES_MAX as u64);
        assert!(!missing.take_incomplete(), "no room yet");
        missing.remove(0, RANGES_MAX as u64 + 2);
        assert!(missing.take_incomplete());
        assert!(!missing.take_incomplete(), "once");
        missing.remove(0, u64::MAX);
        assert!(missing.is_none());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u64..60, 0_u64..12), 0..60),
        ) {
            let mut missing = Missing::default();
            let mut numbers = BTreeSet::new();
            for (add, from, length) in steps {
                let to = from + length;
                if add {
                    let is_new = (from..=to).any(|number| !numbers.contains(&number));
                    prop_assert_eq!(missing.add_range(from, to, Micros(1)), is_new);
                    numbers.extend(from..=to);
                } else {
                    missing.remove(from, to);
                    numbers.retain(|number| !(from..=to).contains(number));
                }
                let ranges = missing.ranges();
                prop_assert!(ranges.windows(2).all(|w| w[0].to < w[1].from));
            }
            let all = missing.ranges().iter().flat_map(|range| range.from..=range.to);
            prop_assert_eq!(all.collect::<BTreeSet<_>>(), numbers);
        }
    }
}
