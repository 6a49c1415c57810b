//! Logs that are no longer kept: how far each had come, so that nothing old is taken for new.

use super::LogKey;
use std::collections::BTreeMap;

/// How far one log had come, and its place in the order of eviction.
#[derive(Debug)]
struct Past {
    high: u64,
    place: u64,
}

/// A bounded set of logs; the one that was put in first goes first.
#[derive(Debug, Default)]
struct Shelf {
    logs: BTreeMap<LogKey, Past>,
    order: BTreeMap<u64, LogKey>,
    next: u64,
}

impl Shelf {
    fn insert(&mut self, key: LogKey, high: u64, most: usize) {
        let high = high.max(self.take(key));
        let place = self.next;
        self.next += 1;
        self.logs.insert(key, Past { high, place });
        self.order.insert(place, key);
        while self.logs.len() > most {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.logs.remove(&oldest);
        }
    }

    fn take(&mut self, key: LogKey) -> u64 {
        let Some(past) = self.logs.remove(&key) else {
            return 0;
        };
        self.order.remove(&past.place);
        past.high
    }

    fn high(&self, key: LogKey) -> u64 {
        self.logs.get(&key).map_or(0, |past| past.high)
    }
}

/// The logs that a group kept once.
///
/// Those of strangers have a shelf of their own: a flood of throwaway keys makes the group forget
/// other throwaway keys, and no real publisher.
#[derive(Debug, Default)]
pub(crate) struct PastLogs {
    known: Shelf,
    strangers: Shelf,
}

impl PastLogs {
    /// Remembers that a log had come as far as `high`, among the `most` last ones of its kind.
    pub(crate) fn insert(&mut self, key: LogKey, high: u64, is_stranger: bool, most: usize) {
        if high == 0 {
            return;
        }
        let high = high.max(self.take(key));
        let shelf = if is_stranger {
            &mut self.strangers
        } else {
            &mut self.known
        };
        shelf.insert(key, high, most);
    }

    /// How far a log had come; 0 for one that is not remembered.
    pub(crate) fn high(&self, key: LogKey) -> u64 {
        self.known.high(key).max(self.strangers.high(key))
    }

    /// The same for a log that is kept again from now on.
    pub(crate) fn take(&mut self, key: LogKey) -> u64 {
        self.known.take(key).max(self.strangers.take(key))
    }

    /// How many logs are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.logs.len() + self.strangers.logs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::PeerKey;

    fn key(number: u8) -> LogKey {
        (PeerKey([number; 32]), 1)
    }

    #[test]
    fn the_oldest_goes_first_and_strangers_push_out_strangers_only() {
        let mut past = PastLogs::default();
        past.insert(key(1), 7, false, 2);
        for number in 2..=5 {
            past.insert(key(number), u64::from(number), true, 2);
        }
        let highs: Vec<u64> = (1..=5).map(|number| past.high(key(number))).collect();
        assert_eq!(highs, [7, 0, 0, 4, 5]);
        assert_eq!(past.len(), 3);
    }

    #[test]
    fn a_log_never_goes_back_and_is_taken_once() {
        let mut past = PastLogs::default();
        past.insert(key(1), 7, true, 2);
        past.insert(key(1), 3, false, 2);
        assert_eq!((past.high(key(1)), past.len()), (7, 1));
        assert_eq!((past.take(key(1)), past.take(key(1))), (7, 0));
        past.insert(key(2), 0, false, 2);
        assert_eq!(past.len(), 0, "nothing ever came of it");
    }
}
