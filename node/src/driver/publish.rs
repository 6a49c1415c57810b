//! From the outboxes into the engine, in order and no faster than it takes them.

use super::Driver;
use crate::outbox::{Acknowledging, Outbox, Reply, Submission};
use hedgerow_protocol::PublishError;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Messages of one group before others get their turn.
const TURN: usize = 256;

impl Driver {
    /// Publishes what waits in the outboxes with work.
    pub(super) fn publish_listed(&mut self) {
        for outbox in self.outboxes.take_listed() {
            self.publish_from(&outbox);
        }
    }

    fn publish_from(&mut self, outbox: &Arc<Outbox>) {
        // It goes on with `Sendable`.
        if self.blocked.contains_key(&outbox.group) {
            return;
        }
        for _ in 0..TURN {
            let Some(submission) = outbox.pop() else {
                return;
            };
            let Submission {
                payload, options, ..
            } = &submission;
            let now = self.clock.now();
            match self
                .engine
                .publish(now, &outbox.group, payload.clone(), *options)
            {
                Ok(id) => self.on_published(outbox, submission.reply, id),
                Err(PublishError::Busy) => {
                    outbox.unpop(submission);
                    self.blocked.insert(outbox.group.clone(), outbox.clone());
                    self.perform();
                    return;
                }
                Err(error) => submission.refuse(error),
            }
            self.perform();
        }
        self.outboxes.relist(outbox);
    }

    /// Answers before the engine is drained, so that an acknowledgement finds who waits for it.
    fn on_published(&mut self, outbox: &Outbox, reply: Reply, id: hedgerow_protocol::MessageId) {
        match reply {
            // A caller that has gone does not want to know.
            Reply::Caller(reply) => drop(reply.send(Ok(id))),
            Reply::Sink(sink) => sink.finish(None),
            Reply::Acknowledged(reply) => {
                let (tell, result) = oneshot::channel();
                if reply.send(Ok(Acknowledging { id, result })).is_ok() {
                    self.acknowledging.insert((outbox.group.clone(), id), tell);
                }
            }
        }
    }
}
