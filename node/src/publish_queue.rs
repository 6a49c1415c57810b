//! From local publishers to the engine: a bounded queue per group that keeps their order.

use crate::options::DeliveryConfig;
use bytes::Bytes;
use hedgerow_protocol::{GroupName, MessageId, PublishError, PublishOptions};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, oneshot};

/// Counted per message besides its payload.
const MESSAGE_BYTES: usize = 64;

/// A message on its way to the engine.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) payload: Bytes,
    pub(crate) options: PublishOptions,
    pub(crate) reply: Reply,
}

/// Who wants to know what became of it.
#[derive(Debug)]
pub(crate) enum Reply {
    /// One caller, about this message.
    Caller(oneshot::Sender<Result<MessageId, PublishError>>),
    /// One caller, about this message and who acknowledged it.
    Acknowledged(oneshot::Sender<Result<PendingAck, PublishError>>),
    /// A sink, about errors only.
    Sink(Arc<SinkState>),
}

/// An accepted message whose acknowledgements are awaited.
#[derive(Debug)]
pub(crate) struct PendingAck {
    pub(crate) id: MessageId,
    pub(crate) result: oneshot::Receiver<crate::AckResult>,
}

/// What a sink has under way.
#[derive(Debug, Default)]
pub(crate) struct SinkState(Mutex<SinkProgress>);

#[derive(Debug, Default)]
struct SinkProgress {
    pending: usize,
    error: Option<PublishError>,
    waker: Option<Waker>,
}

impl SinkState {
    fn progress(&self) -> MutexGuard<'_, SinkProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more message was handed over.
    pub(crate) fn begin(&self) {
        self.progress().pending += 1;
    }

    /// So many messages were taken by the engine, or refused.
    pub(crate) fn finish(&self, messages: usize, error: Option<PublishError>) {
        let waker = {
            let mut progress = self.progress();
            progress.pending -= messages;
            let failed = error.is_some();
            if progress.error.is_none() {
                progress.error = error;
            }
            if progress.pending == 0 || failed {
                progress.waker.take()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The first error since the last call.
    pub(crate) fn take_error(&self) -> Option<PublishError> {
        self.progress().error.take()
    }

    /// Ready when everything handed over was taken, or something was refused.
    pub(crate) fn poll_idle(&self, context: &Context<'_>) -> Poll<Result<(), PublishError>> {
        let mut progress = self.progress();
        if let Some(error) = progress.error.take() {
            return Poll::Ready(Err(error));
        }
        if progress.pending == 0 {
            return Poll::Ready(Ok(()));
        }
        progress.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// One group's queue.
#[derive(Debug)]
pub(crate) struct PublishQueue {
    pub(crate) group: GroupName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Submission>,
    bytes: usize,
    /// Whether it stands in the list of publish queues with work.
    listed: bool,
    closed: bool,
    /// Publishers that wait for room, first come first woken.
    waiting: VecDeque<(u64, Waker)>,
    ticket_next: u64,
}

impl PublishQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is next: one message, or those that are published together, `most` by number and
    /// bytes. Nothing when nothing waits.
    pub(crate) fn pop(&self, most: (usize, usize), taken: &mut Vec<Submission>) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            let mut bytes = 0;
            while let Some(next) = state.queue.front() {
                bytes += next.payload.len();
                let alone = next.is_alone() || bytes > most.1 || taken.len() >= most.0;
                if alone && !taken.is_empty() {
                    break;
                }
                let Some(next) = state.queue.pop_front() else {
                    break;
                };
                state.bytes -= next.weight();
                taken.push(next);
                wakers.extend(state.waiting.pop_front());
                if alone {
                    break;
                }
            }
        }
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    /// Puts back what the engine was too busy for.
    pub(crate) fn requeue(&self, taken: &mut Vec<Submission>) {
        let mut state = self.state();
        for submission in taken.drain(..).rev() {
            state.bytes += submission.weight();
            state.queue.push_front(submission);
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().queue.is_empty()
    }
}

#[derive(Debug, Default)]
struct Groups {
    by_name: HashMap<GroupName, Arc<PublishQueue>>,
    closed: bool,
}

/// All groups' publish queues, shared by the node's handles and its task.
#[derive(Debug)]
pub(crate) struct PublishQueues {
    limits: DeliveryConfig,
    groups: Mutex<Groups>,
    listed: Mutex<Vec<Arc<PublishQueue>>>,
    work: Notify,
}

impl PublishQueues {
    pub(crate) fn new(limits: DeliveryConfig) -> Self {
        Self {
            limits,
            groups: Mutex::default(),
            listed: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// The publish queue of `group`.
    fn get(&self, group: &GroupName) -> Arc<PublishQueue> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds and that are empty make room for others.
        if groups.by_name.len() > 64 && !groups.by_name.contains_key(group) {
            groups.by_name.retain(|_, publish_queue| {
                Arc::strong_count(publish_queue) > 1 || !publish_queue.is_empty()
            });
        }
        let closed = groups.closed;
        let publish_queue = groups.by_name.entry(group.clone()).or_insert_with(|| {
            let state = State {
                closed,
                ..State::default()
            };
            Arc::new(PublishQueue {
                group: group.clone(),
                state: Mutex::new(state),
            })
        });
        publish_queue.clone()
    }

    /// Adds a publisher's place before the publish queue of `group`.
    pub(crate) fn permit(self: &Arc<Self>, group: &GroupName) -> Permit {
        Permit {
            publish_queues: self.clone(),
            publish_queue: self.get(group),
            ticket: None,
        }
    }

    /// Hands a message over.
    fn push(&self, publish_queue: &Arc<PublishQueue>, submission: Submission) {
        let list = {
            let mut state = publish_queue.state();
            if state.closed {
                drop(state);
                submission.refuse(PublishError::Stopped);
                return;
            }
            state.bytes += submission.weight();
            state.queue.push_back(submission);
            !std::mem::replace(&mut state.listed, true)
        };
        if list {
            self.list(publish_queue.clone());
        }
    }

    /// Waits until some publish queue has work.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// The publish queues with work; each is listed again by the next push.
    pub(crate) fn take_listed(&self) -> Vec<Arc<PublishQueue>> {
        let listed =
            std::mem::take(&mut *self.listed.lock().unwrap_or_else(PoisonError::into_inner));
        for publish_queue in &listed {
            publish_queue.state().listed = false;
        }
        listed
    }

    /// Lists a publish queue again that still has work.
    pub(crate) fn relist(&self, publish_queue: &Arc<PublishQueue>) {
        if !std::mem::replace(&mut publish_queue.state().listed, true) {
            self.list(publish_queue.clone());
        }
    }

    fn list(&self, publish_queue: Arc<PublishQueue>) {
        self.listed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(publish_queue);
        self.work.notify_one();
    }

    /// Refuses everything from now on, what waits included.
    pub(crate) fn close(&self) {
        let publish_queues: Vec<Arc<PublishQueue>> = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.closed = true;
            groups.by_name.values().cloned().collect()
        };
        for publish_queue in publish_queues {
            let (queue, waiting) = {
                let mut state = publish_queue.state();
                state.closed = true;
                state.bytes = 0;
                (
                    std::mem::take(&mut state.queue),
                    std::mem::take(&mut state.waiting),
                )
            };
            for submission in queue {
                submission.refuse(PublishError::Stopped);
            }
            for (_, waker) in waiting {
                waker.wake();
            }
        }
    }
}

/// Closes all publish queues when dropped, whatever the reason.
#[derive(Debug)]
pub(crate) struct CloseOnDrop(pub(crate) Arc<PublishQueues>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A publisher's way into a group's publish queue; gives its place in the line up when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    publish_queues: Arc<PublishQueues>,
    publish_queue: Arc<PublishQueue>,
    ticket: Option<u64>,
}

impl Permit {
    /// Ready when there is room; those that wait are woken in the order in which they came.
    pub(crate) fn poll(&mut self, context: &Context<'_>) -> Poll<Result<(), PublishError>> {
        let limits = &self.publish_queues.limits;
        let mut state = self.publish_queue.state();
        if let Some(ticket) = self.ticket {
            state.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
        if state.closed {
            return Poll::Ready(Err(PublishError::Stopped));
        }
        if state.queue.len() < limits.publish_queue_messages_max
            && state.bytes < limits.publish_queue_bytes_max
        {
            self.ticket = None;
            return Poll::Ready(Ok(()));
        }
        let number = self.ticket.unwrap_or_else(|| {
            state.ticket_next += 1;
            state.ticket_next
        });
        self.ticket = Some(number);
        let place = state
            .waiting
            .partition_point(|(waiting, _)| *waiting < number);
        state
            .waiting
            .insert(place, (number, context.waker().clone()));
        Poll::Pending
    }

    /// Hands a message over, room or not: who asks first keeps the bound.
    pub(crate) fn push(&self, submission: Submission) {
        self.publish_queues.push(&self.publish_queue, submission);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(number) = self.ticket else { return };
        let mut state = self.publish_queue.state();
        let before = state.waiting.len();
        state.waiting.retain(|(waiting, _)| *waiting != number);
        // It may have been the one that was woken for the room there is: wake the next.
        if state.waiting.len() == before
            && let Some((_, waker)) = state.waiting.pop_front()
        {
            waker.wake();
        }
    }
}

impl Submission {
    /// What it counts for.
    pub(crate) fn weight(&self) -> usize {
        self.payload.len() + self.options.headers.bytes() + MESSAGE_BYTES
    }

    /// Whether it is published by itself.
    fn is_alone(&self) -> bool {
        self.options.acknowledge || !self.options.headers.is_empty()
    }

    /// Tells whoever asked that it was refused.
    pub(crate) fn refuse(self, error: PublishError) {
        // A caller that has gone does not want to know.
        match self.reply {
            Reply::Caller(reply) => drop(reply.send(Err(error))),
            Reply::Acknowledged(reply) => drop(reply.send(Err(error))),
            Reply::Sink(sink) => sink.finish(1, Some(error)),
        }
    }
}

#[cfg(test)]
mod tests;
