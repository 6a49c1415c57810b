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

// Whatever the events are: derived, it would ask for a default of theirs.
impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            looked_at: VecDeque::new(),
            sequence: 0,
        }
    }
}

impl<E> EventQueue<E> {
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

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        let next = [self.looked_at.front(), self.heap.peek()];
        next.into_iter().flatten().map(|entry| entry.at).min()
    }

    /// Looks at the events that are due by `limit`, as long as there are no more than `most` of them;
    /// gives until when all are seen.
    pub(crate) fn look(&mut self, limit: Micros, most: usize) -> Micros {
        while let Some(next) = self.heap.peek()
            && next.at <= limit
        {
            if self.looked_at.len() >= most {
                return Micros(next.at.0.saturating_sub(1));
            }
            // Mostly they come after all others.
            let place = self.looked_at.partition_point(|seen| seen > next);
            if let Some(next) = self.heap.pop() {
                self.looked_at.insert(place, next);
            }
        }
        limit
    }

    /// The events that were looked at and have not been taken, in their order, as far as none that
    /// nobody has looked at comes before.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (Micros, &E)> {
        let unseen = self.heap.peek();
        let seen = self.looked_at.iter();
        seen.take_while(move |entry| unseen.is_none_or(|unseen| *entry > unseen))
            .map(|entry| (entry.at, &entry.event))
    }

    /// How many were looked at and have not been taken.
    pub(crate) fn seen_count(&self) -> usize {
        self.looked_at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_instant_keep_their_order() {
        let mut queue = EventQueue::default();
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
        let mut queue = EventQueue::default();
        for (at, event) in [(1, 'a'), (3, 'd'), (5, 'f')] {
            queue.push(Micros(at), event);
        }
        assert_eq!(queue.look(Micros(4), 9), Micros(4));
        for (at, event) in [(2, 'c'), (3, 'e'), (1, 'b')] {
            queue.push(Micros(at), event);
        }
        assert_eq!(queue.look(Micros(9), 4), Micros(2), "one of 3 is left");
        assert_eq!(
            queue.seen().map(|(_, event)| event).collect::<String>(),
            "abcd"
        );
        assert_eq!(queue.next_at(), Some(Micros(1)));
        let mut order = String::new();
        while let Some((_, event)) = queue.pop_until(Micros(9)) {
            order.push(event);
        }
        assert_eq!(order, "abcdef");
    }

    #[test]
    fn later_events_wait() {
        let mut queue = EventQueue::default();
        queue.push(Micros(5), ());
        assert_eq!(queue.pop_until(Micros(4)), None);
        assert!(queue.pop_until(Micros(5)).is_some());
    }
}
