//! From the publish queues into the engine, in order and no faster than it takes them.

use super::Driver;
use crate::publish_queue::{PendingAck, PublishQueue, Reply, SinkState, Submission};
use bytes::Bytes;
use hedgerow_protocol::{MessageId, PublishError, Published};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Messages of one group before others get their turn, and bytes of them.
const TURN: (usize, usize) = (256, 1 << 20);

impl Driver {
    /// Hands the engine what waits in the publish queues with work.
    pub(super) fn publish(&mut self) {
        for publish_queue in self.publish_queues.take_listed() {
            self.publish_from(&publish_queue);
        }
    }

    fn publish_from(&mut self, publish_queue: &Arc<PublishQueue>) {
        // It goes on with `Sendable`.
        if self.blocked.contains_key(&publish_queue.group) {
            return;
        }
        let mut taken = Vec::new();
        let mut turn = TURN.0;
        while turn > 0 {
            publish_queue.pop(TURN, &mut taken);
            if taken.is_empty() {
                return;
            }
            turn = turn.saturating_sub(taken.len());
            match self.publish_taken(publish_queue, &taken) {
                Ok(Published { first, count }) => {
                    let mut rest = taken.split_off(count);
                    publish_queue.requeue(&mut rest);
                    self.await_acknowledged(publish_queue, &mut taken, first);
                    self.perform();
                    answer(taken.drain(..), first);
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
                    self.perform();
                }
            }
            if publish_queue.is_empty() {
                return;
            }
        }
        self.publish_queues.relist(publish_queue);
    }

    fn publish_taken(
        &mut self,
        publish_queue: &PublishQueue,
        taken: &[Submission],
    ) -> Result<Published, PublishError> {
        let (now, group) = (self.clock.now(), &publish_queue.group);
        if let [one] = taken {
            let (payload, options) = (one.payload.clone(), one.options.clone());
            let first = self.engine.publish(now, group, payload, options)?;
            return Ok(Published { first, count: 1 });
        }
        let messages: Vec<Bytes> = taken.iter().map(|one| one.payload.clone()).collect();
        self.engine.publish_many(now, group, &messages)
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

/// Tells publishers that their messages are taken.
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
