//! Connections between nodes: a slab of pairs of ends, each with what it has sent.

use bytes::{Bytes, BytesMut};
use hedgerow_protocol::{LinkId, Micros};
use std::collections::VecDeque;

/// Names one end of a connection; stale once the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndRef {
    pub(crate) connection: u32,
    generation: u32,
    /// 0: who dialled, 1: who was dialled.
    pub(crate) side: u8,
}

impl EndRef {
    /// The other end.
    pub(crate) fn other(self) -> Self {
        Self {
            side: 1 - self.side,
            ..self
        }
    }
}

/// How far an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// The last packet of the handshake is on its way here.
    Pending,
    /// The peer has it.
    Open,
    /// The peer has closed it; what it sent before is still written.
    Closing,
    /// Nothing more.
    Closed,
}

/// A piece of a stream on its way.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    Bytes(Bytes),
    /// The sender wrote all and closed.
    Fin,
}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Fin => 0,
        }
    }
}

/// One end and the stream that leaves it. The stream's stations, in order: `out` (the sender's
/// socket buffer), `in_flight`, `stalled` (only while cut off), `at_access` (the receiver's
/// line), `unread` (the receiver's socket buffer).
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says whether the end stands in one line"
)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) link: LinkId,
    pub(crate) state: EndState,
    pub(crate) out: VecDeque<Bytes>,
    pub(crate) out_bytes: usize,
    /// The peer closed: a [`Segment::Fin`] follows what is in `out`.
    pub(crate) fin: bool,
    /// In line at the sender's access line.
    pub(crate) in_line_up: bool,
    /// In line at the receiver's access line.
    pub(crate) in_line_down: bool,
    /// Written and not known to be read: limited by the window.
    pub(crate) outstanding: usize,
    /// When the sender will know of bytes that were read.
    pub(crate) releases: VecDeque<(Micros, usize)>,
    /// Bytes read while the way back was cut.
    pub(crate) unreleased: usize,
    /// Waits for the window.
    pub(crate) starved: bool,
    pub(crate) wake_scheduled: bool,
    pub(crate) in_flight: VecDeque<Segment>,
    /// The last segment's arrival: streams are ordered.
    pub(crate) last_arrival: Micros,
    pub(crate) stalled: VecDeque<Segment>,
    pub(crate) stalled_since: Micros,
    pub(crate) at_access: VecDeque<Segment>,
    pub(crate) unread: VecDeque<Segment>,
    /// Written, and not yet told to the sending peer.
    pub(crate) unreported: usize,
    pub(crate) report_listed: bool,
    /// The peer wants to hear when all is written.
    pub(crate) awaited: bool,
}

impl End {
    fn new(node: usize, link: LinkId, state: EndState) -> Self {
        Self {
            node,
            link,
            state,
            out: VecDeque::new(),
            out_bytes: 0,
            fin: false,
            in_line_up: false,
            in_line_down: false,
            outstanding: 0,
            releases: VecDeque::new(),
            unreleased: 0,
            starved: false,
            wake_scheduled: false,
            in_flight: VecDeque::new(),
            last_arrival: Micros(0),
            stalled: VecDeque::new(),
            stalled_since: Micros(0),
            at_access: VecDeque::new(),
            unread: VecDeque::new(),
            unreported: 0,
            report_listed: false,
            awaited: false,
        }
    }

    pub(crate) fn has_output(&self) -> bool {
        self.out_bytes > 0 || self.fin
    }

    /// Forgets what was not written yet.
    pub(crate) fn drop_output(&mut self) {
        self.out.clear();
        self.out_bytes = 0;
        self.fin = false;
    }

    /// Takes back window that the receiver has freed by `now`.
    pub(crate) fn take_releases(&mut self, now: Micros) {
        while let Some(&(at, bytes)) = self.releases.front() {
            if at > now {
                break;
            }
            self.outstanding -= bytes;
            self.releases.pop_front();
        }
    }

    /// Cuts up to `most` bytes from the front of the output. One chunk passes uncopied.
    pub(crate) fn cut(&mut self, most: usize) -> Bytes {
        let most = most.min(self.out_bytes);
        self.out_bytes -= most;
        let Some(first) = self.out.front_mut() else {
            return Bytes::new();
        };
        if first.len() > most {
            return first.split_to(most);
        }
        if first.len() == most {
            return self.out.pop_front().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(most);
        while joined.len() < most {
            let Some(front) = self.out.front_mut() else {
                break;
            };
            let wanted = most - joined.len();
            if front.len() > wanted {
                joined.extend_from_slice(&front.split_to(wanted));
            } else {
                joined.extend_from_slice(front);
                self.out.pop_front();
            }
        }
        joined.freeze()
    }
}

/// A connection: the end that dialled, then the other.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) ends: [End; 2],
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// All connections. Slots are used again; names are not.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Connections {
    /// Adds a connection; gives the name of the dialler's end.
    pub(crate) fn insert(&mut self, dialler: usize, link: LinkId, listener: usize) -> EndRef {
        let connection = Some(Box::new(Connection {
            ends: [
                End::new(dialler, link, EndState::Open),
                End::new(listener, LinkId(0), EndState::Pending),
            ],
        }));
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.connection = connection;
            return EndRef {
                connection: index,
                generation: slot.generation,
                side: 0,
            };
        }
        self.slots.push(Slot {
            generation: 0,
            connection,
        });
        EndRef {
            connection: self.slots.len() as u32 - 1,
            generation: 0,
            side: 0,
        }
    }

    /// The end, if its connection still exists.
    pub(crate) fn get(&mut self, end: EndRef) -> Option<&mut End> {
        let slot = self.slots.get_mut(end.connection as usize)?;
        if slot.generation != end.generation {
            return None;
        }
        Some(&mut slot.connection.as_mut()?.ends[usize::from(end.side)])
    }

    /// See [`Connections::get`].
    pub(crate) fn peek(&self, end: EndRef) -> Option<&End> {
        let slot = self.slots.get(end.connection as usize)?;
        if slot.generation != end.generation {
            return None;
        }
        Some(&slot.connection.as_ref()?.ends[usize::from(end.side)])
    }

    /// Forgets the connection once both ends are closed.
    pub(crate) fn free_if_closed(&mut self, end: EndRef) {
        let Some(slot) = self.slots.get_mut(end.connection as usize) else {
            return;
        };
        if slot.generation != end.generation {
            return;
        }
        let closed = |ends: &[End; 2]| ends.iter().all(|end| end.state == EndState::Closed);
        if slot
            .connection
            .as_ref()
            .is_some_and(|connection| closed(&connection.ends))
        {
            slot.connection = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(end.connection);
        }
    }

    /// The names of all ends that exist, in the order of their slots.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (EndRef, &End)> {
        self.slots.iter().enumerate().flat_map(|(index, slot)| {
            slot.connection.iter().flat_map(move |connection| {
                connection.ends.iter().enumerate().map(move |(side, end)| {
                    let (connection, generation) = (index as u32, slot.generation);
                    (
                        EndRef {
                            connection,
                            generation,
                            side: side as u8,
                        },
                        end,
                    )
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_with(chunks: &[&'static [u8]]) -> End {
        let mut end = End::new(0, LinkId(1), EndState::Open);
        for chunk in chunks {
            end.out.push_back(Bytes::from_static(chunk));
            end.out_bytes += chunk.len();
        }
        end
    }

    #[test]
    fn cutting_keeps_every_byte_in_order() {
        for most in 1..12 {
            let mut end = end_with(&[b"abc", b"d", b"efgh", b"ij"]);
            let mut all = Vec::new();
            while end.out_bytes > 0 {
                let piece = end.cut(most);
                assert!(!piece.is_empty() && piece.len() <= most);
                all.extend_from_slice(&piece);
            }
            assert_eq!(all, b"abcdefghij", "pieces of {most}");
            assert!(end.out.is_empty());
        }
    }

    #[test]
    fn a_name_dies_with_its_connection() {
        let mut connections = Connections::default();
        let end = connections.insert(0, LinkId(1), 1);
        for end in [end, end.other()] {
            connections.get(end).expect("exists").state = EndState::Closed;
        }
        connections.free_if_closed(end);
        assert!(connections.get(end).is_none());
        let next = connections.insert(2, LinkId(1), 3);
        assert_eq!(next.connection, end.connection, "the slot is used again");
        assert!(connections.get(end).is_none(), "the old name stays dead");
        assert_eq!(connections.ends().count(), 2);
    }
}
