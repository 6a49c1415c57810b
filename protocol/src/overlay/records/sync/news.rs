//! What neighbours are to be told of: the names of records that came lately, and who knows them.
//!
//! While records travel, every one that comes is news for all links but a few. So it is listed once for all,
//! and for each link what it need not be told; both lists are put in order when they are sent.
//! Knows of names only, and neither of records nor of links.

use super::NAMES_PER_FRAME;
use crate::wire::frame::RecordName;

/// Names noted of one link; what is beyond them is told once too often.
const KNOWN_MAX: usize = 2 * NAMES_PER_FRAME;

/// Records that neighbours are to be told of.
#[derive(Debug, Default)]
pub(crate) struct News(Vec<RecordName>);

impl News {
    /// Gives whether there is enough for a frame.
    pub(super) fn add(&mut self, name: RecordName) -> bool {
        self.0.push(name);
        self.0.len() >= NAMES_PER_FRAME
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, of each peer the newest, ascending; none are left.
    pub(super) fn take(&mut self) -> Vec<RecordName> {
        let mut names = std::mem::take(&mut self.0);
        names.sort_unstable();
        names.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                *kept = *later;
            }
            is_same
        });
        names
    }
}

/// What the other end of a link has, or is given.
#[derive(Debug, Default)]
pub(crate) struct KnownNews(Vec<RecordName>);

impl KnownNews {
    pub(super) fn add(&mut self, name: RecordName) {
        if self.0.len() < KNOWN_MAX {
            self.0.push(name);
        }
    }

    /// Those of the news, which ascend, that are none to it. Nothing is noted any more.
    pub(super) fn lacking(&mut self, news: &[RecordName]) -> Vec<RecordName> {
        // Room included: thousands of links keep none for what they once needed.
        let mut known = std::mem::take(&mut self.0);
        known.sort_unstable();
        let mut known = known.into_iter().peekable();
        let is_lacking = |name: &&RecordName| {
            while known.next_if(|known| known < *name).is_some() {}
            // What is left of this peer is as new or newer.
            known.peek().is_none_or(|known| known.0 != name.0)
        };
        news.iter().filter(is_lacking).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn names() -> impl Strategy<Value = Vec<RecordName>> {
        prop::collection::vec((0u64..8, 0u64..2, 0u64..4), 0..40)
    }

    proptest! {
        #[test]
        fn a_link_is_told_the_newest_of_each_peer_unless_it_knows_that_or_newer(
            come in names(),
            known in names(),
        ) {
            let mut news = News::default();
            let mut newest: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
            for &(prefix, epoch, version) in &come {
                news.add((prefix, epoch, version));
                let order = newest.entry(prefix).or_default();
                *order = (*order).max((epoch, version));
            }
            let mut at_link = KnownNews::default();
            for &name in &known {
                at_link.add(name);
            }
            newest.retain(|prefix, order| {
                let is_known = |&(other, epoch, version): &RecordName| {
                    other == *prefix && (epoch, version) >= *order
                };
                !known.iter().any(is_known)
            });
            let expected: Vec<RecordName> = newest
                .into_iter()
                .map(|(prefix, (epoch, version))| (prefix, epoch, version))
                .collect();
            let news = news.take();
            prop_assert_eq!(at_link.lacking(&news), expected);
            let all = news.clone();
            prop_assert_eq!(at_link.lacking(&news), all, "nothing is noted any more");
        }
    }

    #[test]
    fn what_is_noted_of_a_link_has_an_end() {
        let mut known = KnownNews::default();
        for prefix in 0..=KNOWN_MAX as u64 {
            known.add((prefix, 1, 1));
        }
        assert_eq!(known.0.len(), KNOWN_MAX);
    }
}
