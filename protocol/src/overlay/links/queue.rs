//! What waits to be sent on a link: control before repair before data before bulk, each bounded.
//!
//! Within a class, flows (a group's origin) take turns by bytes, so that nobody who publishes
//! much holds up others; within a flow order is kept. Bulk goes last, but not without a share.

use crate::core::config::FlowConfig;
use bytes::Bytes;
use hedgerow_topology::Class;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// While both wait, bulk gets at least one byte in so many of what is no control.
const BULK_SHARE: usize = 4;
/// Bulk goes to the transport only while it has less than one part in so many of its credit
/// unsent: what is handed over can no longer be overtaken.
const BULK_CREDIT: usize = 4;

/// How urgent a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Heartbeats, records, digests, pulls.
    Control,
    /// Answers to pulls.
    Repair,
    /// Bundles pushed along the overlay.
    Data,
    /// Answers to pulls of pieces of large messages.
    BulkRepair,
    /// Pieces of large messages, pushed along the overlay.
    Bulk,
}

impl Priority {
    /// How urgent bundles of a class are that are pushed.
    pub(crate) fn of(class: Class) -> Self {
        match class {
            Class::Normal => Self::Data,
            Class::Bulk => Self::Bulk,
        }
    }

    /// How urgent those are that were pulled.
    pub(crate) fn of_repair(class: Class) -> Self {
        match class {
            Class::Normal => Self::Repair,
            Class::Bulk => Self::BulkRepair,
        }
    }
}

const LANES: usize = 5;
/// The first class of bulk.
const BULK_FROM: usize = Priority::BulkRepair as usize;

/// Names what takes turns with others of its class. What it stands for is up to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowId(pub(crate) [u8; 48]);

/// What a frame has: numbered entries of one part of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameContents {
    pub(crate) flow: FlowId,
    pub(crate) part: u64,
    /// The last of the entries.
    pub(crate) last: u64,
}

/// Control is a flow by itself.
type FlowKey = Option<FlowId>;

/// What the other end has of flows that wait is remembered of so many parts.
const SETTLED_MAX: usize = 1_024;

#[derive(Debug)]
struct Waiting {
    chunks: [Bytes; 2],
    contents: Option<FrameContents>,
}

/// The queue of a class is full; the frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One class: start-time fair queueing over its flows (Goyal, Vin and Cheng 1996). Each frame is
/// tagged with the bytes its flow had sent before; the lowest tag goes next, and a flow that
/// comes anew begins where the others are.
#[derive(Debug, Default)]
struct Lane {
    flows: BTreeMap<FlowKey, VecDeque<Waiting>>,
    turns: BTreeSet<(u64, FlowKey)>,
    /// The tag of what was sent last.
    clock: u64,
    bytes: usize,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += length(&waiting.chunks);
        let flow = waiting.contents.map(|contents| contents.flow);
        let frames = self.flows.entry(flow).or_default();
        if frames.is_empty() {
            self.turns.insert((self.clock, flow));
        }
        frames.push_back(waiting);
    }

    /// The length of the next frame.
    fn next_bytes(&self) -> Option<usize> {
        let (_, flow) = self.turns.first()?;
        let next = self.flows.get(flow)?.front()?;
        Some(length(&next.chunks))
    }

    fn pop(&mut self) -> Option<Waiting> {
        let (tag, flow) = self.turns.pop_first()?;
        self.clock = tag;
        let frames = self.flows.get_mut(&flow)?;
        let waiting = frames.pop_front()?;
        let bytes = length(&waiting.chunks);
        if frames.is_empty() {
            self.flows.remove(&flow);
        } else {
            self.turns.insert((tag + bytes as u64, flow));
        }
        self.bytes -= bytes;
        Some(waiting)
    }
}

/// A lane for each class, and the credit of the transport.
#[derive(Debug)]
pub(crate) struct SendQueue {
    lanes: [Lane; LANES],
    limits: [usize; LANES],
    /// What else went while bulk waited, less what that made up for, bytes.
    ahead: usize,
    /// Handed to the transport and not yet written.
    unsent: usize,
    unsent_max: usize,
    /// All that was handed to the transport, where the last pushed small message ended in that,
    /// and all that was written.
    handed: u64,
    handed_data: u64,
    done: u64,
    /// Frames not sent after all.
    withdrawn: u64,
    /// Up to where the other end has settled parts of flows that wait.
    settled: BTreeMap<(FlowId, u64), u64>,
}

fn length(chunks: &[Bytes; 2]) -> usize {
    chunks[0].len() + chunks[1].len()
}

impl SendQueue {
    pub(crate) fn new(flow: &FlowConfig) -> Self {
        Self {
            lanes: Default::default(),
            limits: [
                flow.control_queue_bytes,
                flow.repair_queue_bytes,
                flow.data_queue_bytes,
                flow.repair_queue_bytes,
                flow.bulk_queue_bytes,
            ],
            ahead: 0,
            unsent: 0,
            unsent_max: flow.unsent_bytes,
            handed: 0,
            handed_data: 0,
            done: 0,
            withdrawn: 0,
            settled: BTreeMap::new(),
        }
    }

    /// Takes a frame in. A frame goes into an empty lane whatever its size.
    pub(crate) fn push(
        &mut self,
        priority: Priority,
        contents: Option<FrameContents>,
        chunks: [Bytes; 2],
    ) -> Result<(), Full> {
        if self.is_full(priority, length(&chunks)) {
            return Err(Full);
        }
        self.lanes[priority as usize].push(Waiting { chunks, contents });
        Ok(())
    }

    /// The other end has settled all of a part of a flow up to there: what waits of it need not be
    /// pushed.
    pub(crate) fn settle(&mut self, flow: FlowId, part: u64, to: u64) {
        let waits = |lane: Priority| self.lanes[lane as usize].flows.contains_key(&Some(flow));
        let waits = waits(Priority::Data) || waits(Priority::Bulk);
        let has_room = self.settled.len() < SETTLED_MAX;
        if waits && (has_room || self.settled.contains_key(&(flow, part))) {
            self.settled.insert((flow, part), to);
        }
    }

    /// The next frame for the transport, while it has room. What was to be pushed and is settled at
    /// the other end by now is withdrawn, if it may be.
    pub(crate) fn pop(&mut self, may_withdraw: bool) -> Option<[Bytes; 2]> {
        while self.unsent < self.unsent_max {
            let lane = self.next_lane()?;
            if lane >= BULK_FROM && self.unsent >= self.unsent_max / BULK_CREDIT {
                return None;
            }
            let waiting = self.lanes[lane].pop()?;
            let is_settled = waiting.contents.is_some_and(|it| self.is_settled(it));
            self.forget_settled();
            let pushed = lane == Priority::Data as usize || lane == Priority::Bulk as usize;
            if pushed && may_withdraw && is_settled {
                self.withdrawn += 1;
                continue;
            }
            let bytes = length(&waiting.chunks);
            self.balance(lane, bytes);
            self.unsent += bytes;
            self.handed += bytes as u64;
            if lane == Priority::Data as usize {
                self.handed_data = self.handed;
            }
            return Some(waiting.chunks);
        }
        None
    }

    fn is_settled(&self, contents: FrameContents) -> bool {
        let to = self.settled.get(&(contents.flow, contents.part));
        to.is_some_and(|to| *to >= contents.last)
    }

    /// Takes note of what a class has sent while bulk waited.
    fn balance(&mut self, lane: usize, bytes: usize) {
        if lane >= BULK_FROM {
            self.ahead = self.ahead.saturating_sub(bytes * (BULK_SHARE - 1));
        } else if lane > Priority::Control as usize && self.bulk_waits() {
            self.ahead += bytes;
        }
        if !self.bulk_waits() {
            self.ahead = 0;
        }
    }

    /// Nothing that could be withdrawn waits any more.
    fn forget_settled(&mut self) {
        let waits = |lane: Priority| !self.lanes[lane as usize].is_empty();
        if !self.settled.is_empty() && !waits(Priority::Data) && !waits(Priority::Bulk) {
            self.settled.clear();
        }
    }

    /// How many frames were withdrawn since the last call.
    pub(crate) fn take_withdrawn(&mut self) -> u64 {
        std::mem::take(&mut self.withdrawn)
    }

    fn bulk_waits(&self) -> bool {
        self.lanes[BULK_FROM..].iter().any(|lane| !lane.is_empty())
    }

    /// Whose turn it is: the most urgent class that waits, unless bulk has waited for its share.
    fn next_lane(&self) -> Option<usize> {
        let waiting = |from: usize| (from..LANES).find(|&lane| !self.lanes[lane].is_empty());
        let first = waiting(0)?;
        if first == Priority::Control as usize || first >= BULK_FROM {
            return Some(first);
        }
        let is_due = |lane: &usize| {
            let next = self.lanes[*lane].next_bytes().unwrap_or(0);
            self.ahead >= next * (BULK_SHARE - 1)
        };
        let bulk = waiting(BULK_FROM).filter(is_due);
        Some(bulk.unwrap_or(first))
    }

    /// All control frames that wait, whatever room the transport has.
    pub(crate) fn drain_control(&mut self) -> VecDeque<[Bytes; 2]> {
        let lane = std::mem::take(&mut self.lanes[Priority::Control as usize]);
        let waiting = lane.flows.into_values().flatten();
        waiting.map(|waiting| waiting.chunks).collect()
    }

    /// The transport has written so much.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
        self.done += bytes as u64;
    }

    /// Where the last small message that the transport was given ends in its stream, if it is not
    /// written yet.
    pub(crate) fn unwritten_data(&self) -> Option<u64> {
        (self.handed_data > self.done).then_some(self.handed_data)
    }

    /// Whether the transport has written its stream up to there.
    pub(crate) fn has_written(&self, end: u64) -> bool {
        self.done >= end
    }

    /// Whether small messages that were pushed wait, or may not be written yet.
    pub(crate) fn is_writing(&self) -> bool {
        self.handed_data > self.done || self.waits(Priority::Data)
    }

    /// Bytes handed to the transport and not yet written.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Bytes waiting: control, repair, data, bulk of both kinds.
    pub(crate) fn queued(&self) -> [usize; 4] {
        let [control, repair, data, bulk_repair, bulk] = &self.lanes;
        [
            control.bytes,
            repair.bytes,
            data.bytes,
            bulk_repair.bytes + bulk.bytes,
        ]
    }

    /// Bytes waiting in all lanes.
    pub(crate) fn total(&self) -> usize {
        self.lanes.iter().map(|lane| lane.bytes).sum()
    }

    /// Bytes waiting in a lane.
    pub(crate) fn bytes_in(&self, priority: Priority) -> usize {
        self.lanes[priority as usize].bytes
    }

    /// Whether anything waits in a lane.
    pub(crate) fn waits(&self, priority: Priority) -> bool {
        !self.lanes[priority as usize].is_empty()
    }

    /// Whether a frame of `bytes` would be refused.
    pub(crate) fn is_full(&self, priority: Priority, bytes: usize) -> bool {
        let lane = &self.lanes[priority as usize];
        !lane.is_empty() && lane.bytes + bytes > self.limits[priority as usize]
    }

    /// Whether a lane is filled to a quarter or more of its limit: a publisher should wait.
    pub(crate) fn is_congested(&self, priority: Priority) -> bool {
        self.lanes[priority as usize].bytes * 4 >= self.limits[priority as usize]
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
