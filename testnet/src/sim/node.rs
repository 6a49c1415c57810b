//! A place where a peer runs: its process, its clocks, its sockets, its store.

use super::access::{AccessLink, Bandwidth};
use super::connection::{EndRef, Segment};
use super::peer::Counted;
use super::speculative_call::Made;
use hedgerow_protocol::{Input, LinkId, Micros, PeerKey, Stored, Time};
use std::collections::{BTreeMap, VecDeque};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// No process runs; the host answers that nobody listens.
    Idle,
    /// A peer runs.
    Running,
    /// The process is suspended; the host's sockets still work.
    Paused,
    /// The host is silent, as after a power cut.
    Down,
}

/// The wall clock at virtual time 0: 2023-11-14T22:13:20Z.
pub(crate) const WALL_START_MS: u64 = 1_700_000_000_000;

/// A node's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What the monotonic clock shows at virtual time 0.
    pub(crate) mono_offset: Micros,
    /// How far the wall clock is off, ms.
    pub(crate) wall_offset_ms: i64,
}

impl Clock {
    /// What they show at virtual time `now`.
    pub(crate) fn time(self, now: Micros) -> Time {
        let wall = (WALL_START_MS + now.as_millis()).saturating_add_signed(self.wall_offset_ms);
        Time {
            mono: self.mono_offset + now,
            wall_ms: wall,
        }
    }

    /// Virtual time of a point on the monotonic clock.
    pub(crate) fn virtual_time(self, time: Time) -> Micros {
        time.mono.since(self.mono_offset)
    }
}

#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts, each set where it comes about"
)]
pub(crate) struct Node<P> {
    pub(crate) peer: Option<Box<P>>,
    /// Whether some thread has the peer and calls it before its turn.
    pub(crate) is_out: bool,
    /// Calls that were made before their turn, and what came of them.
    pub(crate) made: VecDeque<Made>,
    /// While there are such: when the peer's timers were due after the last that has had its turn,
    /// or before the first.
    pub(crate) deadline: Option<Time>,
    pub(crate) key: PeerKey,
    pub(crate) state: NodeState,
    /// Counts starts and stops, so that answers to a dead process reach no other.
    pub(crate) incarnation: u32,
    /// Counts resets of the access lines.
    pub(crate) line: u32,
    /// When the earliest timer entry in the queue is due.
    pub(crate) timer: Option<Micros>,
    /// Timeouts run in one instant, to catch an engine that spins.
    pub(crate) spins: (Micros, u32),
    /// Connections the peer has, by link; ascending, as links are numbered.
    pub(crate) links: Vec<(LinkId, EndRef)>,
    pub(crate) next_link: u64,
    /// Inputs that wait while the process is suspended.
    pub(crate) inbox: VecDeque<Input>,
    /// Ends with written bytes not yet told to the peer.
    pub(crate) reports: Vec<EndRef>,
    pub(crate) uplink: AccessLink<EndRef, Segment>,
    pub(crate) downlink: AccessLink<EndRef, Segment>,
    pub(crate) clock: Clock,
    /// What its peers have stored.
    pub(crate) stored: Stored,
    /// What is wrong with the ways from and to here.
    pub(crate) way: Way,
    /// Whether the last packet that it sent got lost.
    pub(crate) losing: bool,
    /// The process reads nothing from its sockets.
    pub(crate) deaf: bool,
    /// The node whose address its connections come from, where that is not its own.
    pub(crate) host: Option<usize>,
    /// Nothing can be stored.
    pub(crate) disk_full: bool,
    pub(crate) traffic: Traffic,
    /// What peers counted here, as far as they were asked.
    pub(crate) counted: Counted,
    /// Their own counters.
    pub(crate) counters: BTreeMap<&'static str, u64>,
}

/// What is wrong with the ways from and to a node, beyond the network's own faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Added to the delay.
    pub delay: Micros,
    /// Up to so much is added, anew for every segment.
    pub jitter: Micros,
    /// How many of a million packets get lost.
    pub loss_ppm: u32,
    /// How many of a million packets are altered; a checksum makes lost ones of them.
    pub altered_ppm: u32,
    /// How many of a million lost packets are followed by another lost one.
    pub loss_again_ppm: u32,
    /// How many of a million segments wait for up to `late`, because packets overtook them.
    pub late_ppm: u32,
    /// See `late_ppm`.
    pub late: Micros,
    /// How many of a million packets come twice. Streams hide it; the bytes count.
    pub twice_ppm: u32,
}

/// What crossed a node's access line, in bytes of streams, and what of it carries no payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes out.
    pub bytes_sent: u64,
    /// Bytes in.
    pub bytes_received: u64,
    /// Frames without payload that the peer gave to its sockets.
    pub control_frames: u64,
    /// Their bytes.
    pub control_bytes: u64,
}

impl<P> Node<P> {
    pub(crate) fn new(bandwidth: Bandwidth, mono_offset: Micros, wall_offset_ms: i64) -> Self {
        Self {
            peer: None,
            is_out: false,
            made: VecDeque::new(),
            deadline: None,
            key: PeerKey::default(),
            state: NodeState::Idle,
            incarnation: 0,
            line: 0,
            timer: None,
            spins: (Micros(0), 0),
            links: Vec::new(),
            next_link: 1,
            inbox: VecDeque::new(),
            reports: Vec::new(),
            uplink: AccessLink::new(bandwidth.up),
            downlink: AccessLink::new(bandwidth.down),
            clock: Clock {
                mono_offset,
                wall_offset_ms,
            },
            stored: Stored::default(),
            way: Way::default(),
            losing: false,
            deaf: false,
            host: None,
            disk_full: false,
            traffic: Traffic::default(),
            counted: Counted::default(),
            counters: BTreeMap::new(),
        }
    }

    /// Whether the peer has been called for later events, or is being called.
    pub(crate) fn is_ahead(&self) -> bool {
        self.is_out || !self.made.is_empty()
    }

    pub(crate) fn link_number(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link - 1)
    }

    pub(crate) fn end_of(&self, link: LinkId) -> Option<EndRef> {
        let at = self
            .links
            .binary_search_by_key(&link, |&(link, _)| link)
            .ok()?;
        Some(self.links[at].1)
    }

    pub(crate) fn remove_link(&mut self, link: LinkId) {
        if let Ok(at) = self.links.binary_search_by_key(&link, |&(link, _)| link) {
            self.links.remove(at);
        }
    }
}
