//! From a frame to the transport.

use super::{FlowId, FrameContents, Priority, Stage};
use crate::engine::Engine;
use crate::io::{Action, LinkEnd, LinkId};
use crate::wire::{FRAME_BYTES_MAX, Frame};
use bytes::Bytes;

/// The lanes of what is pushed.
const PUSHED: [Priority; 2] = [Priority::Data, Priority::Bulk];

impl Engine {
    /// Queues a control frame. A link that cannot even take control is closed.
    pub(crate) fn send(&mut self, link: LinkId, frame: impl Into<Frame>) {
        let frame = frame.into();
        let chunks = frame.encode_with(&self.frame_ext());
        #[cfg(feature = "planted")]
        self.end_if_over_limit(&frame, chunks[0].len());
        if chunks[0].len() + chunks[1].len() > FRAME_BYTES_MAX {
            return self.send_in_parts(link, frame);
        }
        self.counts.sent(frame.kind());
        if !self.enqueue(link, Priority::Control, None, chunks) {
            self.close_link(link, LinkEnd::Stuck);
        }
    }

    /// [`Planted::FrameOverLimit`](crate::Planted::FrameOverLimit): the process ends where a frame lies
    /// above a limit that is lower than that of what is received.
    #[cfg(feature = "planted")]
    fn end_if_over_limit(&self, frame: &Frame, bytes: usize) {
        let active = self.config.planted == crate::Planted::FrameOverLimit;
        assert!(
            !active || bytes <= FRAME_BYTES_MAX - 64,
            "planted: a {} frame over the limit",
            frame.name()
        );
    }

    /// Sends what a frame that is too long says in several. What an entry of a list weighs is often
    /// up to others, so a sender's own count of entries does not bound a frame.
    fn send_in_parts(&mut self, link: LinkId, frame: Frame) {
        let kind = frame.name();
        if let Some(parts) = frame.halves() {
            self.count("frames_cut");
            for part in parts {
                self.send(link, part);
            }
        } else {
            tracing::error!(kind, "a frame over the wire's limit is not sent");
            self.count("frames_oversized_unsent");
        }
    }

    /// Queues chunks; says whether they were taken. Chunks for a link that is gone are taken
    /// and forgotten.
    pub(crate) fn enqueue(
        &mut self,
        id: LinkId,
        priority: Priority,
        contents: Option<FrameContents>,
        chunks: [Bytes; 2],
    ) -> bool {
        let Some(link) = self.links.get(&id) else {
            return true;
        };
        if link.stage == Stage::Closing {
            return true;
        }
        let bytes = chunks[0].len() + chunks[1].len();
        if !self.has_queue_room(id, priority, bytes) {
            return false;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return true;
        };
        if link.queue.push(priority, contents, chunks).is_err() {
            return false;
        }
        if priority == Priority::Data {
            link.pushed_at = Some(self.now.mono);
            link.pushed_bytes += bytes as u64;
        }
        self.pump(id);
        true
    }

    /// Whether a frame of `bytes` may wait for a link: within what its lane may hold, and within
    /// what all links together may hold. A link that has less than its part of that waiting
    /// always has room, so that no other link can take it away.
    pub(crate) fn has_queue_room(&mut self, id: LinkId, priority: Priority, bytes: usize) -> bool {
        let Some(link) = self.links.get(&id) else {
            return true;
        };
        if link.queue.is_full(priority, bytes) {
            return false;
        }
        let share = self.config.memory().queues;
        let fair = share / self.config.links.links_max.max(1);
        // Records, digests and heartbeats are no reason to lose a link whose messages wait.
        let waiting = match priority {
            Priority::Control => link.queue.bytes_in(priority),
            _ => link.queue.total(),
        };
        if waiting + bytes <= fair || !link.queue.waits(priority) {
            return true;
        }
        let all: usize = self.links.values().map(|link| link.queue.total()).sum();
        if all + bytes <= share {
            return true;
        }
        self.count("frames_without_memory");
        false
    }

    /// Hands the transport everything that waits: the link is about to end.
    pub(crate) fn flush_queue(&mut self, id: LinkId) {
        if self.is_mute() {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let waiting = link.queue.drain_control();
        for chunks in waiting {
            self.actions.push_back(Action::Send { link: id, chunks });
        }
    }

    /// The other end of a link has settled so much of a part of a flow.
    pub(crate) fn note_settled(&mut self, id: LinkId, flow: FlowId, part: u64, to: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.queue.settle(flow, part, to);
        }
    }

    /// Hands the transport what it has room for.
    pub(crate) fn pump(&mut self, id: LinkId) {
        if self.is_mute() {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        // Only where things wait: what goes at once cannot have come otherwise.
        let may_withdraw = link.behind_since.is_some();
        while let Some(chunks) = link.queue.pop(may_withdraw) {
            link.bytes[1] += (chunks[0].len() + chunks[1].len()) as u64;
            self.actions.push_back(Action::Send { link: id, chunks });
        }
        let withdrawn = link.queue.take_withdrawn();
        if withdrawn > 0 {
            self.count_many("bundles_withdrawn", withdrawn);
        }
        self.note_backlog(id);
    }

    /// The transport has written: more may go out, and publishers may go on.
    /// Says whether a lane has room again.
    pub(crate) fn on_sent(&mut self, id: LinkId, bytes: usize) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let before = PUSHED.map(|lane| link.queue.is_pressed(lane));
        link.queue.written(bytes);
        self.pump(id);
        self.go_on_with_records(id);
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let pressed = PUSHED.map(|lane| link.queue.is_pressed(lane));
        if pressed == [false; 2] {
            link.lazy = false;
        }
        if pressed != before {
            // Should others still be pressed, the next that is passed on says so.
            let slowed = std::mem::take(&mut self.slowed).into_iter();
            self.actions
                .extend(slowed.map(|link| Action::Resume { link }));
        }
        pressed != [true; 2]
    }
}
