//! What will happen when: a heap ordered by (time, sequence).

use hedgerow_protocol::Micros;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Future events. Those of one instant come out in the order in which they were put in.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Entry<E>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Micros,
    sequence: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    // Reversed: `BinaryHeap` gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Micros, event: E) {
        self.sequence += 1;
        self.heap.push(Entry {
            at,
            sequence: self.sequence,
            event,
        });
    }

    /// The next event if it is due by `limit`.
    pub(crate) fn pop_until(&mut self, limit: Micros) -> Option<(Micros, E)> {
        if self.heap.peek()?.at > limit {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_instant_keep_their_order() {
        let mut queue = EventQueue::new();
        queue.push(Micros(2), 'c');
        queue.push(Micros(1), 'a');
        queue.push(Micros(2), 'd');
        queue.push(Micros(1), 'b');
        let mut order = String::new();
        while let Some((_, event)) = queue.pop_until(Micros(2)) {
            order.push(event);
        }
        assert_eq!(order, "abcd");
    }

    #[test]
    fn later_events_wait() {
        let mut queue = EventQueue::new();
        queue.push(Micros(5), ());
        assert_eq!(queue.pop_until(Micros(4)), None);
        assert!(queue.pop_until(Micros(5)).is_some());
    }
}
