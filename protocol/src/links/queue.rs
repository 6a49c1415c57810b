//! What waits to be sent on a link: control before repair before data, each bounded.

use crate::config::FlowConfig;
use bytes::Bytes;
use std::collections::VecDeque;

/// How urgent a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Heartbeats, records, digests, pulls.
    Control,
    /// Answers to pulls.
    Repair,
    /// Bundles pushed along the overlay.
    Data,
}

/// The queue of a class is full; the frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<[Bytes; 2]>,
    bytes: usize,
}

/// Three lanes and the credit of the transport.
#[derive(Debug)]
pub(crate) struct SendQueue {
    lanes: [Lane; 3],
    limits: [usize; 3],
    /// Handed to the transport and not yet written.
    unsent: usize,
    unsent_max: usize,
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
            ],
            unsent: 0,
            unsent_max: flow.unsent_bytes,
        }
    }

    /// Takes a frame in. A frame goes into an empty lane whatever its size.
    pub(crate) fn push(&mut self, priority: Priority, chunks: [Bytes; 2]) -> Result<(), Full> {
        let lane = &mut self.lanes[priority as usize];
        let bytes = length(&chunks);
        if !lane.frames.is_empty() && lane.bytes + bytes > self.limits[priority as usize] {
            return Err(Full);
        }
        lane.bytes += bytes;
        lane.frames.push_back(chunks);
        Ok(())
    }

    /// The next frame for the transport, while it has room.
    pub(crate) fn pop(&mut self) -> Option<[Bytes; 2]> {
        if self.unsent >= self.unsent_max {
            return None;
        }
        let lane = self.lanes.iter_mut().find(|lane| !lane.frames.is_empty())?;
        let chunks = lane.frames.pop_front()?;
        lane.bytes -= length(&chunks);
        self.unsent += length(&chunks);
        Some(chunks)
    }

    /// All control frames that wait, whatever room the transport has.
    pub(crate) fn drain_control(&mut self) -> VecDeque<[Bytes; 2]> {
        let lane = &mut self.lanes[Priority::Control as usize];
        lane.bytes = 0;
        std::mem::take(&mut lane.frames)
    }

    /// The transport has written so much.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }

    /// Bytes waiting in a lane.
    pub(crate) fn queued(&self, priority: Priority) -> usize {
        self.lanes[priority as usize].bytes
    }

    /// Bytes waiting in all lanes.
    pub(crate) fn total(&self) -> usize {
        self.lanes.iter().map(|lane| lane.bytes).sum()
    }

    /// Whether a frame of `bytes` would be refused.
    pub(crate) fn is_full(&self, priority: Priority, bytes: usize) -> bool {
        let lane = &self.lanes[priority as usize];
        !lane.frames.is_empty() && lane.bytes + bytes > self.limits[priority as usize]
    }

    /// Whether a lane is filled to a quarter or more of its limit: a publisher should wait.
    pub(crate) fn is_pressed(&self, priority: Priority) -> bool {
        self.lanes[priority as usize].bytes * 4 >= self.limits[priority as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static [u8]) -> [Bytes; 2] {
        [Bytes::from_static(text), Bytes::new()]
    }

    fn queue() -> SendQueue {
        SendQueue::new(&FlowConfig {
            unsent_bytes: 4,
            data_queue_bytes: 10,
            ..FlowConfig::default()
        })
    }

    #[test]
    fn control_overtakes_repair_overtakes_data() {
        let mut queue = queue();
        queue.push(Priority::Data, frame(b"data")).expect("room");
        queue.push(Priority::Repair, frame(b"mend")).expect("room");
        queue.push(Priority::Control, frame(b"ctrl")).expect("room");
        let mut order = Vec::new();
        while let Some(chunks) = queue.pop() {
            order.push(chunks[0].clone());
            queue.written(4);
        }
        assert_eq!(order, [&b"ctrl"[..], b"mend", b"data"]);
    }

    #[test]
    fn the_transport_gets_no_more_than_its_credit() {
        let mut queue = queue();
        queue.push(Priority::Data, frame(b"aaaa")).expect("room");
        queue.push(Priority::Data, frame(b"bbbb")).expect("room");
        assert!(queue.pop().is_some());
        assert!(queue.pop().is_none(), "four bytes are out");
        queue.written(4);
        assert!(queue.pop().is_some());
    }

    #[test]
    fn a_full_lane_refuses_but_one_frame_always_fits() {
        let mut queue = queue();
        queue
            .push(Priority::Data, frame(b"a frame over the limit"))
            .expect("empty lane");
        assert_eq!(queue.push(Priority::Data, frame(b"x")), Err(Full));
        assert!(queue.is_full(Priority::Data, 1));
    }
}
