//! Sets of sequence numbers as sorted ranges: what dedup, digests and pulls are made of.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Most sets are one range, and peers keep many of them: that one needs no memory of its own.
type Ranges = SmallVec<[(u64, u64); 1]>;

/// Disjoint, non-touching, ascending, inclusive ranges of `u64`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct RangeSet {
    ranges: Ranges,
}

/// Ranges from outside that are not ascending, disjoint and apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ranges are not ascending, disjoint and apart")]
pub struct RangesError;

impl TryFrom<Vec<(u64, u64)>> for RangeSet {
    type Error = RangesError;
    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        let ordered = ranges.iter().all(|&(from, to)| from <= to);
        let apart = ranges
            .windows(2)
            .all(|w| w[0].1 < u64::MAX && w[0].1 + 1 < w[1].0);
        if ordered && apart {
            let ranges = Ranges::from_slice(&ranges);
            Ok(Self { ranges })
        } else {
            Err(RangesError)
        }
    }
}

impl From<RangeSet> for Vec<(u64, u64)> {
    fn from(set: RangeSet) -> Self {
        set.ranges.into_vec()
    }
}

impl RangeSet {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            ranges: Ranges::new_const(),
        }
    }

    /// One range; nothing when `from > to`.
    pub fn of(from: u64, to: u64) -> Self {
        let mut set = Self::new();
        set.insert(from, to);
        set
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.ranges
            .iter()
            .map(|&(from, to)| (to - from).saturating_add(1))
            .sum()
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.0)
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.1)
    }

    /// The index of the range that contains `value`, or where one would stand.
    fn find(&self, value: u64) -> Result<usize, usize> {
        let at = self.ranges.partition_point(|&(_, to)| to < value);
        match self.ranges.get(at) {
            Some(&(from, _)) if from <= value => Ok(at),
            _ => Err(at),
        }
    }

    /// Whether `value` is in it.
    pub fn contains(&self, value: u64) -> bool {
        self.find(value).is_ok()
    }

    /// Whether all of `from..=to` is in it.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        from > to || self.find(from).is_ok_and(|at| self.ranges[at].1 >= to)
    }

    /// Adds `from..=to`; nothing when `from > to`.
    pub fn insert(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        // The common case: the next number after all others.
        if let Some(last) = self.ranges.last_mut()
            && from >= last.0
        {
            if from <= last.1.saturating_add(1) {
                last.1 = last.1.max(to);
            } else {
                self.ranges.push((from, to));
            }
            return;
        }
        let start = self
            .ranges
            .partition_point(|&(_, end)| end.saturating_add(1) < from);
        let end = self
            .ranges
            .partition_point(|&(begin, _)| begin <= to.saturating_add(1));
        if start == end {
            self.ranges.insert(start, (from, to));
            return;
        }
        let joined = (
            from.min(self.ranges[start].0),
            to.max(self.ranges[end - 1].1),
        );
        self.ranges[start] = joined;
        self.ranges.drain(start + 1..end);
        self.give_back();
    }

    /// Takes `from..=to` out.
    pub fn remove(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let start = self.ranges.partition_point(|&(_, end)| end < from);
        let end = self.ranges.partition_point(|&(begin, _)| begin <= to);
        if start >= end {
            return;
        }
        let (left, right) = (self.ranges[start].0, self.ranges[end - 1].1);
        let mut rest = [(0, 0); 2];
        let mut count = 0;
        if left < from {
            rest[count] = (left, from - 1);
            count += 1;
        }
        if right > to {
            rest[count] = (to + 1, right);
            count += 1;
        }
        self.ranges.drain(start..end);
        self.ranges
            .insert_many(start, rest[..count].iter().copied());
        self.give_back();
    }

    /// What is left of several ranges, one or none, moves back to its place.
    fn give_back(&mut self) {
        if self.ranges.len() <= 1 && self.ranges.spilled() {
            self.ranges.shrink_to_fit();
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        for &(from, to) in &other.ranges {
            self.insert(from, to);
        }
    }

    /// What is in `self` and not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for &(from, to) in &other.ranges {
            rest.remove(from, to);
        }
        rest
    }

    /// What of `from..=to` is not in it.
    pub fn holes(&self, from: u64, to: u64) -> Self {
        let mut holes = Ranges::new();
        let mut next = Some(from);
        let start = self.ranges.partition_point(|&(_, end)| end < from);
        for &(begin, end) in &self.ranges[start..] {
            let Some(hole) = next.filter(|_| begin <= to) else {
                break;
            };
            if hole < begin {
                holes.push((hole, begin - 1));
            }
            next = end.checked_add(1);
        }
        if let Some(hole) = next.filter(|hole| *hole <= to) {
            holes.push((hole, to));
        }
        Self { ranges: holes }
    }

    /// What of `from..=to` is in it.
    pub fn within(&self, from: u64, to: u64) -> Self {
        let mut ranges = Ranges::new();
        if from <= to {
            let start = self.ranges.partition_point(|&(_, end)| end < from);
            for &(begin, end) in &self.ranges[start..] {
                if begin > to {
                    break;
                }
                ranges.push((begin.max(from), end.min(to)));
            }
        }
        Self { ranges }
    }

    /// Its first `most` ranges.
    #[must_use]
    pub fn front(mut self, most: usize) -> Self {
        self.ranges.truncate(most);
        self
    }

    /// Its ranges in two halves; `None` when there are fewer than two.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let (first, second) = self.ranges.split_at(self.ranges.len() / 2);
        (!first.is_empty()).then(|| {
            [first, second].map(|ranges| Self {
                ranges: Ranges::from_slice(ranges),
            })
        })
    }

    /// Each number, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(|&(from, to)| from..=to)
    }

    /// Removes the run at the front that begins at or below `floor + 1` and returns its end:
    /// how far the settled point moves.
    pub fn settle(&mut self, floor: u64) -> u64 {
        let mut settled = floor;
        let mut taken = 0;
        for &(from, to) in &self.ranges {
            if from > settled.saturating_add(1) {
                break;
            }
            settled = settled.max(to);
            taken += 1;
        }
        self.ranges.drain(..taken);
        self.give_back();
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn naive(set: &RangeSet) -> BTreeSet<u64> {
        set.iter().collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u64..60, 0_u64..12), 0..60),
            probe in (0_u64..70, 0_u64..20),
        ) {
            let mut ranges = RangeSet::new();
            let mut numbers = BTreeSet::new();
            for (add, from, length) in steps {
                let to = from + length;
                if add {
                    ranges.insert(from, to);
                    numbers.extend(from..=to);
                } else {
                    ranges.remove(from, to);
                    numbers.retain(|n| !(from..=to).contains(n));
                }
                prop_assert!(RangeSet::try_from(ranges.as_slice().to_vec()).is_ok());
            }
            prop_assert_eq!(&naive(&ranges), &numbers);
            prop_assert_eq!(ranges.len(), numbers.len() as u64);
            let (from, to) = (probe.0, probe.0 + probe.1);
            let inside: BTreeSet<u64> = numbers.range(from..=to).copied().collect();
            prop_assert_eq!(naive(&ranges.within(from, to)), inside.clone());
            let outside: BTreeSet<u64> = (from..=to).filter(|n| !numbers.contains(n)).collect();
            prop_assert_eq!(ranges.covers(from, to), outside.is_empty());
            prop_assert_eq!(naive(&ranges.holes(from, to)), outside);
            let mut rest = ranges.clone();
            let settled = rest.settle(5);
            prop_assert!((6..=settled).all(|n| numbers.contains(&n)));
            prop_assert!(!numbers.contains(&(settled + 1)));
            prop_assert!(rest.first().is_none_or(|first| first > settled + 1));
        }
    }

    #[test]
    fn ranges_from_outside_are_checked() {
        assert_eq!(RangeSet::try_from(vec![(3, 2)]), Err(RangesError));
        assert_eq!(RangeSet::try_from(vec![(1, 2), (3, 4)]), Err(RangesError));
        assert_eq!(RangeSet::try_from(vec![(5, 6), (1, 2)]), Err(RangesError));
        assert_eq!(
            RangeSet::try_from(vec![(1, u64::MAX), (1, 2)]),
            Err(RangesError)
        );
        assert!(RangeSet::try_from(vec![(1, 2), (4, u64::MAX)]).is_ok());
    }

    #[test]
    fn settling_swallows_the_front() {
        let mut set = RangeSet::try_from(vec![(3, 4), (6, 6), (9, 12)]).expect("ordered");
        assert_eq!(set.settle(1), 1);
        set.insert(2, 2);
        assert_eq!(set.settle(1), 4);
        assert_eq!(set.as_slice(), &[(6, 6), (9, 12)]);
        assert_eq!(set.settle(8), 12);
        assert!(set.is_empty());
    }
}
