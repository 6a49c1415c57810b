//! From a frame to the transport.

use super::{FlowId, FrameContents, Priority, Stage};
use crate::base::interface::{Action, LinkEnd, LinkId};
use crate::core::Core;
#[cfg(feature = "planted")]
use crate::core::config::Planted;
use crate::overlay::Overlay;
use crate::wire::{FRAME_BYTES_MAX, Frame};
use bytes::Bytes;

/// The lanes of what is pushed.
const PUSHED: [Priority; 2] = [Priority::Data, Priority::Bulk];

impl Overlay {
    /// Queues a control frame. A link that cannot even take control is closed.
    pub(crate) fn send(&mut self, core: &mut Core, link: LinkId, frame: impl Into<Frame>) {
        let frame = frame.into();
        let chunks = frame.encode_with(&core.frame_ext());
        #[cfg(feature = "planted")]
        Self::end_if_over_limit(core, &frame, chunks[0].len());
        if chunks[0].len() + chunks[1].len() > FRAME_BYTES_MAX {
            return self.send_in_parts(core, link, frame);
        }
        core.counts.sent(frame.kind());
        if !self.enqueue(core, link, Priority::Control, None, chunks) {
            self.close_link(core, link, LinkEnd::Stuck);
        }
    }

    /// [`Planted::FrameOverLimit`](crate::Planted::FrameOverLimit): the process ends where a frame lies
    /// above a limit that is lower than that of what is received.
    #[cfg(feature = "planted")]
    fn end_if_over_limit(core: &Core, frame: &Frame, bytes: usize) {
        let active = core.config.planted == Planted::FrameOverLimit;
        assert!(
            !active || bytes <= FRAME_BYTES_MAX - 64,
            "planted: a {} frame over the limit",
            frame.name()
        );
    }

    /// Sends what a frame that is too long says in several. What an entry of a list weighs is often
    /// up to others, so a sender's own count of entries does not bound a frame.
    fn send_in_parts(&mut self, core: &mut Core, link: LinkId, frame: Frame) {
        let kind = frame.name();
        if let Some(parts) = frame.halves() {
            core.count(counter!("frames_cut"));
            for part in parts {
                self.send(core, link, part);
            }
        } else {
            tracing::error!(kind, "a frame over the wire's limit is not sent");
            core.count(counter!("frames_oversized_unsent"));
        }
    }

    /// Queues chunks; says whether they were taken. Chunks for a link that is gone are taken
    /// and forgotten.
    pub(crate) fn enqueue(
        &mut self,
        core: &mut Core,
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
        if !self.has_queue_room(core, id, priority, bytes) {
            return false;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return true;
        };
        if link.queue.push(priority, contents, chunks).is_err() {
            return false;
        }
        if priority == Priority::Data {
            link.pushed_at = Some(core.now.mono);
            link.pushed_bytes += bytes as u64;
        }
        self.pump(core, id);
        true
    }

    /// Whether a frame of `bytes` may wait for a link: within what its lane may hold, and within
    /// what all links together may hold. A link that has less than its part of that waiting
    /// always has room, so that no other link can take it away.
    pub(crate) fn has_queue_room(
        &mut self,
        core: &mut Core,
        id: LinkId,
        priority: Priority,
        bytes: usize,
    ) -> bool {
        let Some(link) = self.links.get(&id) else {
            return true;
        };
        if link.queue.is_full(priority, bytes) {
            return false;
        }
        let share = core.config.memory().queues;
        let fair = share / core.config.links.links_max.max(1);
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
        core.count(counter!("frames_without_memory"));
        false
    }

    /// Hands the transport everything that waits: the link is about to end.
    pub(crate) fn flush_queue(&mut self, core: &mut Core, id: LinkId) {
        if self.is_mute() {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let waiting = link.queue.drain_control();
        for chunks in waiting {
            core.actions.push_back(Action::Send { link: id, chunks });
        }
    }

    /// The other end of a link has settled so much of a part of a flow.
    pub(crate) fn note_settled(&mut self, id: LinkId, flow: FlowId, part: u64, to: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.queue.settle(flow, part, to);
        }
    }

    /// Hands the transport what it has room for.
    pub(crate) fn pump(&mut self, core: &mut Core, id: LinkId) {
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
            core.actions.push_back(Action::Send { link: id, chunks });
        }
        let withdrawn = link.queue.take_withdrawn();
        if withdrawn > 0 {
            core.count_many(counter!("bundles_withdrawn"), withdrawn);
        }
        self.note_backlog(core, id);
    }

    /// The transport has written: more may go out, and publishers may go on.
    /// Says whether a lane has room again.
    pub(crate) fn on_sent(&mut self, core: &mut Core, id: LinkId, bytes: usize) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let before = PUSHED.map(|lane| link.queue.is_congested(lane));
        link.queue.written(bytes);
        self.pump(core, id);
        self.go_on_with_records(core, id);
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let congested = PUSHED.map(|lane| link.queue.is_congested(lane));
        if congested == [false; 2] {
            link.lazy = false;
        }
        if congested != before {
            // Should others still be congested, the next that is passed on says so.
            let slowed = std::mem::take(&mut self.slowed).into_iter();
            core.actions
                .extend(slowed.map(|link| Action::Resume { link }));
        }
        congested != [true; 2]
    }
}
