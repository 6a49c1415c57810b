//! One bound on a peer's memory, and how its tables share it.

use super::Config;

/// Into how many parts `memory_max` is divided.
const PARTS: u128 = 24;
/// How many of them each kind of table has. What each table charges includes what an entry
/// costs besides its bytes. The sum is all of it: code, stacks and small tables fit into the fifth
/// by which the peak may exceed `memory_max`.
const RECORDS: u128 = 2;
const RETAINED: u128 = 6;
const AHEAD: u128 = 6;
const QUEUES: u128 = 3;
const CHECKS: u128 = 1;
const DELIVERY: u128 = 6;

/// Bytes that each kind of table may hold, over all links, groups and origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Records of other peers, and those whose signatures are being checked.
    pub records: usize,
    /// Messages handed over and retained for others.
    pub retained: usize,
    /// Messages received ahead of what can be handed over. What goes beyond
    /// [`Config::ahead_bytes`] is left for one message that must complete.
    pub ahead: usize,
    /// Frames that wait for links.
    pub queues: usize,
    /// Bundles whose signatures are being checked.
    pub checks: usize,
    /// Messages that the application has not read yet.
    pub delivery: usize,
}

impl Config {
    /// How much of `memory_max` each kind of table may hold.
    pub fn memory(&self) -> Memory {
        // Wide enough for any value of a configuration.
        let share = |parts: u128| (self.memory_max as u128 * parts / PARTS) as usize;
        Memory {
            records: share(RECORDS),
            retained: share(RETAINED),
            ahead: share(AHEAD),
            queues: share(QUEUES),
            checks: share(CHECKS),
            delivery: share(DELIVERY),
        }
    }

    /// Bytes that may wait ahead of delivery over all origins and groups. Beyond it only the log
    /// that holds most of them gets what comes next in line, until one message is complete: the
    /// rest of the share is set aside for its fragments and their headers.
    pub fn ahead_bytes(&self) -> usize {
        self.memory()
            .ahead
            .saturating_sub(self.message_weight_max())
    }

    /// The most that the fragments of one message weigh, with their headers.
    pub fn message_weight_max(&self) -> usize {
        let message = self.groups.message_bytes_max;
        message + message / 32 + (64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_to_all_of_it() {
        let memory = Config::default().memory();
        let Memory {
            records,
            retained,
            ahead,
            queues,
            checks,
            delivery,
        } = memory;
        let sum = records + retained + ahead + queues + checks + delivery;
        assert_eq!(sum, Config::default().memory_max);
    }
}
