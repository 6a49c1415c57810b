//! From the publish queues into the engine, in order and no faster than it takes them.

use super::Driver;
use crate::publish_queue::{PendingAck, PublishQueue, Reply, SinkState, Submission};
use crate::transport::LinkHandle;
use bytes::Bytes;
use hedgerow_protocol::{MessageId, PublishError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What waits for the last bundle to be written waits no longer than this.
const FILL_MAX: Duration = Duration::from_millis(20);
/// Messages of one group before others get their turn.
const TURN: usize = 256;

impl Driver {
    /// Publishes what waits in the publish queues with work, unless it is to wait on.
    pub(super) fn publish_or_fill(&mut self) {
        if self.is_filling() {
            return self.publish_queues.ring();
        }
        for publish_queue in self.publish_queues.take_listed() {
            self.publish_from(&publish_queue);
        }
    }

    /// Whether what waits to be published is to wait on: the last bundle is still being written to
    /// half of the next peers, and what comes until then shares the next one. A lone message
    /// finds nothing being written.
    pub(super) fn is_filling(&mut self) -> bool {
        if self.carrying.is_empty() {
            return false;
        }
        if self.publish_queues.is_full() || Instant::now() >= self.fill_until {
            self.carrying.clear();
            return false;
        }
        let links = &self.links;
        self.carrying
            .retain(|link| links.get(link).is_some_and(LinkHandle::await_written));
        !self.carrying.is_empty() && self.carrying.len() * 2 >= self.carried
    }

    /// What waits shares bundles: a lone message goes alone and at once, and the more come while
    /// others are signed and sent, the more share a signature.
    fn publish_from(&mut self, publish_queue: &Arc<PublishQueue>) {
        // It goes on with `Sendable`.
        if self.blocked.contains_key(&publish_queue.group) {
            return;
        }
        let most = self.engine.batch_limits(&publish_queue.group);
        let mut taken = Vec::new();
        let mut turn = TURN;
        while turn > 0 {
            publish_queue.pop(most, &mut taken);
            if taken.is_empty() {
                return;
            }
            turn = turn.saturating_sub(taken.len());
            self.carrying.clear();
            let published = match self.publish_taken(publish_queue, &taken) {
                Ok(first) => {
                    self.await_acknowledged(publish_queue, &mut taken, first);
                    self.publishing = true;
                    self.fill_until = Instant::now() + FILL_MAX;
                    Some(first)
                }
                Err(PublishError::Busy) => {
                    publish_queue.requeue(&mut taken);
                    self.blocked
                        .insert(publish_queue.group.clone(), publish_queue.clone());
                    self.perform();
                    return;
                }
                Err(error) => {
                    (taken.drain(..)).for_each(|one| one.refuse(error.clone()));
                    None
                }
            };
            self.perform();
            self.publishing = false;
            self.carried = self.carrying.len();
            if let Some(first) = published {
                answer(taken.drain(..), first);
            }
            if publish_queue.is_empty() {
                return;
            }
            if !publish_queue.is_full() && self.is_filling() {
                break;
            }
        }
        self.publish_queues.relist(publish_queue);
    }

    fn publish_taken(
        &mut self,
        publish_queue: &PublishQueue,
        taken: &[Submission],
    ) -> Result<MessageId, PublishError> {
        let (now, group) = (self.clock.now(), &publish_queue.group);
        if let [one] = taken {
            return (self.engine).publish(now, group, one.payload.clone(), one.options.clone());
        }
        let messages: Vec<Bytes> = taken.iter().map(|one| one.payload.clone()).collect();
        self.engine.publish_batch(now, group, &messages)
    }

    /// Before the engine is drained, so that an acknowledgement finds who waits for it. Such a
    /// message is published alone.
    fn await_acknowledged(
        &mut self,
        publish_queue: &PublishQueue,
        taken: &mut Vec<Submission>,
        id: MessageId,
    ) {
        if let Some(Submission {
            reply: Reply::Acknowledged(reply),
            ..
        }) = taken.pop_if(|one| matches!(one.reply, Reply::Acknowledged(_)))
        {
            let (tell, result) = oneshot::channel();
            // A caller that has gone does not want to know.
            if reply.send(Ok(PendingAck { id, result })).is_ok() {
                self.acknowledging
                    .insert((publish_queue.group.clone(), id), tell);
            }
        }
    }
}

/// Tells publishers what became of their messages, which are on their way by now.
fn answer(taken: impl Iterator<Item = Submission>, first: MessageId) {
    // A sink's messages come in runs.
    let mut run: Option<(Arc<SinkState>, usize)> = None;
    for (seq, Submission { reply, .. }) in (first.seq..).zip(taken) {
        match reply {
            // A caller that has gone does not want to know.
            Reply::Caller(reply) => drop(reply.send(Ok(MessageId { seq, ..first }))),
            Reply::Sink(sink) => match &mut run {
                Some((same, messages)) if Arc::ptr_eq(same, &sink) => *messages += 1,
                _ => {
                    if let Some((other, messages)) = run.replace((sink, 1)) {
                        other.finish(messages, None);
                    }
                }
            },
            // Answered before.
            Reply::Acknowledged(_) => {}
        }
    }
    if let Some((sink, messages)) = run {
        sink.finish(messages, None);
    }
}
