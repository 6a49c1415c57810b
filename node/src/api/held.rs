//! Bounds the payload bytes that streams hold while their clients read large messages.
//!
//! A payload is shared with the peer's log as long as the log retains it. A client that stops reading
//! in the middle of a message holds it longer. These bytes are bounded over all streams: beyond the
//! bound, the stream that has made no progress for longest is cut off.

use super::pieces::Pieces;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stream was cut off in the middle of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cut off: read too slowly in the middle of a message (api.stream_bytes_max)")]
pub(super) struct CutOff;

/// The messages that streams are in the middle of.
#[derive(Clone, Debug)]
pub(super) struct HeldMessages(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    bytes_max: usize,
    /// Over all payloads, each counted once.
    bytes: usize,
    /// Streams in the middle of a payload, by where that lies in memory.
    streams: BTreeMap<usize, usize>,
    /// By when they last moved.
    held: BTreeMap<u64, Arc<Mutex<Option<Pieces>>>>,
    next: u64,
    cut_off: u64,
}

/// One stream's message.
#[derive(Debug)]
pub(super) struct Held {
    table: HeldMessages,
    moved: u64,
    pieces: Arc<Mutex<Option<Pieces>>>,
}

impl HeldMessages {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            bytes_max,
            bytes: 0,
            streams: BTreeMap::new(),
            held: BTreeMap::new(),
            next: 0,
            cut_off: 0,
        })))
    }

    /// Begins to write a message; a stream that holds another one may be cut off for it.
    pub(super) fn begin(&self, pieces: Pieces) -> Held {
        let mut table = lock(&self.0);
        table.count(&pieces);
        let pieces = Arc::new(Mutex::new(Some(pieces)));
        let moved = table.insert(pieces.clone());
        table.enforce(moved);
        drop(table);
        Held {
            table: self.clone(),
            moved,
            pieces,
        }
    }

    /// Streams that were cut off since the start.
    pub(super) fn cut_off(&self) -> u64 {
        lock(&self.0).cut_off
    }

    /// Bytes held.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        lock(&self.0).bytes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    fn insert(&mut self, pieces: Arc<Mutex<Option<Pieces>>>) -> u64 {
        let moved = self.next;
        self.next += 1;
        self.held.insert(moved, pieces);
        moved
    }

    fn count(&mut self, pieces: &Pieces) {
        let (place, bytes) = pieces.memory();
        let streams = self.streams.entry(place).or_default();
        *streams += 1;
        if *streams == 1 {
            self.bytes += bytes;
        }
    }

    fn discount(&mut self, pieces: &Pieces) {
        let (place, bytes) = pieces.memory();
        if let Some(streams) = self.streams.get_mut(&place) {
            *streams -= 1;
            if *streams == 0 {
                self.streams.remove(&place);
                self.bytes -= bytes;
            }
        }
    }

    /// Cuts streams off until the bytes are within their bound; never the one of `but`.
    fn enforce(&mut self, but: u64) {
        while self.bytes > self.bytes_max {
            let Some((&moved, _)) = self.held.iter().find(|(moved, _)| **moved != but) else {
                return;
            };
            let pieces = self.held.remove(&moved);
            if let Some(pieces) = pieces.and_then(|pieces| lock(&pieces).take()) {
                self.discount(&pieces);
                self.cut_off += 1;
                tracing::warn!("a client reads too slowly: cut off in the middle of a message");
            }
        }
    }
}

impl Held {
    /// Appends the next piece; whether that was the last.
    pub(super) fn write_next(&mut self, buffer: &mut Vec<u8>) -> Result<bool, CutOff> {
        let mut table = lock(&self.table.0);
        // It has moved: others are cut off first.
        if let Some(pieces) = table.held.remove(&self.moved) {
            self.moved = table.insert(pieces);
        }
        drop(table);
        match lock(&self.pieces).as_mut() {
            Some(pieces) => Ok(pieces.write_next(buffer)),
            None => Err(CutOff),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = lock(&self.table.0);
        table.held.remove(&self.moved);
        if let Some(pieces) = lock(&self.pieces).take() {
            table.discount(&pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hedgerow_protocol::{Arrival, Delivery, GroupName, Headers, MessageId, PeerKey};

    const MESSAGE: usize = 100_000;

    fn message(payload: &Bytes) -> Pieces {
        Pieces::new(&Delivery {
            group: GroupName::new("news").expect("valid"),
            id: MessageId {
                origin: PeerKey::default(),
                epoch: 1,
                seq: 1,
            },
            published_at: 0,
            payload: payload.clone(),
            headers: Headers::default(),
            hops: 0,
            arrival: Arrival::Pushed,
        })
    }

    #[test]
    fn a_message_counts_once_and_the_stream_that_stands_still_is_cut_off() {
        let held = HeldMessages::new(2 * MESSAGE);
        let payloads: [Bytes; 3] = std::array::from_fn(|n| vec![b'a' + n as u8; MESSAGE].into());
        let mut idle: Vec<Held> = (0..24).map(|_| held.begin(message(&payloads[0]))).collect();
        assert_eq!(held.bytes(), MESSAGE);
        let mut second = held.begin(message(&payloads[1]));
        assert_eq!(held.bytes(), 2 * MESSAGE);
        let mut buffer = Vec::new();
        assert_eq!(second.write_next(&mut buffer), Ok(false));

        // For the third all that stand still in the first go; memory is free at once.
        let third = held.begin(message(&payloads[2]));
        assert_eq!(held.bytes(), 2 * MESSAGE);
        assert_eq!(held.cut_off(), 24);
        let [first, ..] = payloads;
        assert!(first.is_unique(), "still held");
        assert_eq!(idle[0].write_next(&mut buffer), Err(CutOff));
        assert_eq!(second.write_next(&mut buffer), Ok(false));
        drop((idle, second, third));
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn a_single_message_over_the_bound_is_written() {
        let held = HeldMessages::new(1);
        let mut only = held.begin(message(&vec![b'x'; MESSAGE].into()));
        let mut buffer = Vec::new();
        while !only.write_next(&mut buffer).expect("goes on") {}
        assert!(buffer.len() > MESSAGE);
    }
}
