//! One group's latest deliveries, in the order in which the engine handed them out.

use super::Gap;
use crate::options::DeliveryConfig;
use hedgerow_protocol::{Delivery, History};
use std::collections::{HashMap, VecDeque};
#[cfg(feature = "cli")]
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;
use tokio::sync::watch;

/// What a subscriber reads: a message, or that some are lost.
pub(crate) type Item = Result<Delivery, Gap>;

/// Counted per item besides its payload, so that empty messages are bounded too.
const ITEM_BYTES: usize = 64;

/// A group's ring. Writers never wait; readers that fall behind skip and are told.
#[derive(Debug)]
pub(crate) struct Ring {
    state: Mutex<State>,
    /// Items that subscribers were overtaken by, over all groups' rings.
    overtaken: Arc<AtomicU64>,
    joined: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<(Instant, Item)>,
    /// Position of the first item kept.
    base: u64,
    bytes: usize,
    /// The group was left or the node has stopped: nothing more comes.
    closed: bool,
    /// Subscribers that wait, by number.
    wakers: HashMap<u64, Waker>,
    subscribers: usize,
    subscriber_next: u64,
}

/// A membership as long as it lasts: however it ends, its ring is closed.
#[cfg(feature = "cli")]
#[derive(Clone, Debug)]
pub(crate) struct Membership(Weak<Ring>);

/// A place in a ring.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Names the subscriber in this ring.
    id: u64,
    position: u64,
    /// Items before this position were there before the subscriber...
    live_from: u64,
    /// ...and of those only the ones from here on, by time of publication, are wanted.
    history_from: (u64, u64),
}

/// What a cursor finds.
#[derive(Debug)]
pub(crate) enum Next {
    Item(Item),
    Empty,
    Closed,
}

pub(super) fn size(item: &Item) -> usize {
    let content = |delivery: &Delivery| delivery.payload.len() + delivery.headers.bytes();
    ITEM_BYTES + item.as_ref().map_or(0, content)
}

impl Ring {
    /// A ring that adds to `overtaken` what subscribers are overtaken by.
    pub(crate) fn new(overtaken: Arc<AtomicU64>) -> Self {
        Self {
            state: Mutex::default(),
            overtaken,
            joined: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The lock is never held across code that can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds items and drops the oldest ones over the limits.
    pub(crate) fn push(
        &self,
        items: impl IntoIterator<Item = Item>,
        now: Instant,
        limits: &DeliveryConfig,
    ) {
        let wakers = {
            let mut state = self.state();
            if state.closed {
                return;
            }
            for item in items {
                state.bytes += size(&item);
                state.items.push_back((now, item));
            }
            while state.items.len() > 1
                && (state.items.len() > limits.messages_max || state.bytes > limits.bytes_max)
            {
                state.drop_oldest();
            }
            std::mem::take(&mut state.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Drops what came before `before`.
    pub(crate) fn expire(&self, before: Instant) {
        let mut state = self.state();
        while state.items.front().is_some_and(|(at, _)| *at < before) {
            state.drop_oldest();
        }
    }

    /// Drops the oldest items until `bytes` are left, or one item.
    pub(crate) fn shrink_to(&self, bytes: usize) {
        let mut state = self.state();
        while state.items.len() > 1 && state.bytes > bytes {
            state.drop_oldest();
        }
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Subscribers attached.
    pub(crate) fn subscribers(&self) -> usize {
        self.state().subscribers
    }

    /// Whether nothing more comes.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Nothing more comes: subscribers read what is left and end.
    pub(crate) fn close(&self) {
        let wakers = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.wakers)
        };
        self.joined.send_replace(false);
        wakers.into_values().for_each(Waker::wake);
    }

    /// The baseline is taken: messages are due from now on.
    pub(crate) fn set_joined(&self) {
        self.joined.send_replace(true);
    }

    /// Whether the baseline is taken, to be awaited.
    pub(crate) fn joined(&self) -> watch::Receiver<bool> {
        self.joined.subscribe()
    }

    /// Attaches a subscriber: first what `history` asks for of what is kept, then what comes.
    pub(crate) fn attach(&self, history: History, wall_ms: u64) -> Cursor {
        let mut state = self.state();
        let history_from = state.history_from(history, wall_ms);
        let live_from = state.end();
        let position = match history_from {
            Some(_) => state.base,
            None => live_from,
        };
        let id = state.subscriber_next;
        state.subscriber_next += 1;
        state.subscribers += 1;
        Cursor {
            id,
            position,
            live_from,
            history_from: history_from.unwrap_or_default(),
        }
    }

    /// Detaches a subscriber; one that never came back to read was overtaken all the same.
    pub(crate) fn detach(&self, cursor: &Cursor) {
        let mut state = self.state();
        let missed = state.base.saturating_sub(cursor.position);
        self.overtaken.fetch_add(missed, Ordering::Relaxed);
        state.subscribers -= 1;
        state.wakers.remove(&cursor.id);
    }

    /// The item at `cursor`, which moves on; with nothing there, `waker` is called when there is.
    pub(crate) fn next(&self, cursor: &mut Cursor, waker: &Waker) -> Next {
        let mut state = self.state();
        let next = self.next_in(&state, cursor);
        if matches!(next, Next::Empty) {
            state.wakers.insert(cursor.id, waker.clone());
        }
        next
    }

    /// Appends the items at `cursor` that are there, at most so many. Returns how many.
    pub(crate) fn take(&self, cursor: &mut Cursor, items: &mut Vec<Item>, most: usize) -> usize {
        let state = self.state();
        let before = items.len();
        while items.len() - before < most
            && let Next::Item(item) = self.next_in(&state, cursor)
        {
            items.push(item);
        }
        items.len() - before
    }

    fn next_in(&self, state: &State, cursor: &mut Cursor) -> Next {
        if cursor.position < state.base {
            let missed = state.base - cursor.position;
            cursor.position = state.base;
            self.overtaken.fetch_add(missed, Ordering::Relaxed);
            return Next::Item(Err(Gap::Lagged { messages: missed }));
        }
        while let Some((_, item)) = state.items.get((cursor.position - state.base) as usize) {
            let position = cursor.position;
            cursor.position += 1;
            let wanted = position >= cursor.live_from
                || item
                    .as_ref()
                    .is_ok_and(|delivery| (delivery.published_at, position) >= cursor.history_from);
            if wanted {
                return Next::Item(item.clone());
            }
        }
        if state.closed {
            Next::Closed
        } else {
            Next::Empty
        }
    }
}

#[cfg(feature = "cli")]
impl Membership {
    pub(crate) fn new(ring: &Arc<Ring>) -> Self {
        Self(Arc::downgrade(ring))
    }

    /// Whether the group has been left since, by whomever, or the node has stopped.
    pub(crate) fn is_over(&self) -> bool {
        self.0.upgrade().is_none_or(|ring| ring.is_closed())
    }
}

impl State {
    fn end(&self) -> u64 {
        self.base + self.items.len() as u64
    }

    fn drop_oldest(&mut self) {
        if let Some((_, item)) = self.items.pop_front() {
            self.bytes -= size(&item);
            self.base += 1;
        }
    }

    /// The least (time of publication, position) that belongs to the asked-for history; `None`
    /// when nothing does.
    fn history_from(&self, history: History, wall_ms: u64) -> Option<(u64, u64)> {
        match history {
            History::None => None,
            History::SinceMs(ms) => Some((wall_ms.saturating_sub(ms), 0)),
            History::Last(count) => {
                let count = usize::try_from(count)
                    .unwrap_or(usize::MAX)
                    .min(self.items.len());
                let mut keys: Vec<(u64, u64)> = (self.base..)
                    .zip(&self.items)
                    .filter_map(|(at, (_, item))| Some((item.as_ref().ok()?.published_at, at)))
                    .collect();
                if count == 0 || keys.is_empty() {
                    return None;
                }
                let cut = keys.len().saturating_sub(count);
                Some(*keys.select_nth_unstable(cut).1)
            }
        }
    }
}
