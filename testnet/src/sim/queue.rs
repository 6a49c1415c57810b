//! What will happen when: a heap ordered by (time, sequence).

use hedgerow_protocol::Micros;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Future events. Those of one instant come out in the order in which they were put in.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Entry<E>>,
    /// The next events, looked at already; others may since have come before them.
    looked_at: VecDeque<Entry<E>>,
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
            looked_at: VecDeque::new(),
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
        // The greater entry is the one that comes first.
        let next = match (self.looked_at.front(), self.heap.peek()) {
            (Some(seen), other) if other.is_none_or(|other| seen > other) => {
                (seen.at <= limit).then(|| self.looked_at.pop_front())
            }
            (_, Some(other)) => (other.at <= limit).then(|| self.heap.pop()),
            (_, None) => None,
        };
        next.flatten().map(|entry| (entry.at, entry.event))
    }

    /// Whether all events that were looked at have been taken.
    pub(crate) fn is_unseen(&self) -> bool {
        self.looked_at.is_empty()
    }

    /// When the next event is due, of those that nobody has looked at.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Looks at the next event that nobody has looked at, if it is due by `limit`; gives whether
    /// there was one, which then is the last of [`EventQueue::seen`].
    pub(crate) fn look(&mut self, limit: Micros) -> bool {
        let next = self.next_at().is_some_and(|at| at <= limit);
        if next {
            self.looked_at.extend(self.heap.pop());
        }
        next
    }

    /// The last event that was looked at.
    pub(crate) fn seen(&self) -> Option<(Micros, &E)> {
        self.looked_at.back().map(|entry| (entry.at, &entry.event))
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
    fn looking_changes_no_order() {
        let mut queue = EventQueue::new();
        for (at, event) in [(1, 'a'), (3, 'd'), (5, 'f')] {
            queue.push(Micros(at), event);
        }
        assert!(queue.look(Micros(4)));
        assert_eq!(queue.seen(), Some((Micros(1), &'a')));
        assert!(queue.look(Micros(4)));
        assert_eq!(queue.seen(), Some((Micros(3), &'d')));
        assert!(!queue.look(Micros(4)));
        for (at, event) in [(2, 'c'), (3, 'e'), (1, 'b')] {
            queue.push(Micros(at), event);
        }
        let mut order = String::new();
        while let Some((_, event)) = queue.pop_until(Micros(9)) {
            order.push(event);
        }
        assert_eq!(order, "abcdef");
    }

    #[test]
    fn later_events_wait() {
        let mut queue = EventQueue::new();
        queue.push(Micros(5), ());
        assert_eq!(queue.pop_until(Micros(4)), None);
        assert!(queue.pop_until(Micros(5)).is_some());
    }
}
