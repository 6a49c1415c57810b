//! One bound on a peer's memory, and how its tables share it.

use super::Config;

/// How `memory_max` is divided, in sixteenths. What each table charges includes what an entry
/// costs besides its bytes. The sum is all of it: code, stacks and small tables fit into the fifth
/// by which the peak may exceed `memory_max`.
const SIXTEENTHS: Memory = Memory {
    records: 1,
    retained: 4,
    ahead: 4,
    queues: 2,
    checks: 1,
    delivery: 4,
};

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
        let share = |sixteenths: usize| self.memory_max / 16 * sixteenths;
        Memory {
            records: share(SIXTEENTHS.records),
            retained: share(SIXTEENTHS.retained),
            ahead: share(SIXTEENTHS.ahead),
            queues: share(SIXTEENTHS.queues),
            checks: share(SIXTEENTHS.checks),
            delivery: share(SIXTEENTHS.delivery),
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
    pub(crate) fn message_weight_max(&self) -> usize {
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
