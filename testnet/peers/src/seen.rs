//! What has been published and delivered, and how long that took.

use crate::latency::{Latencies, histogram};
use bytes::Bytes;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A payload begins with when it was published and by which of the origins.
const STAMP_BYTES: usize = 16;

/// Nanoseconds on the clock that all processes of a machine share.
pub fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A payload of `bytes`, published at `stamp_ns` as the message `number` of `origin`.
pub fn payload(bytes: usize, stamp_ns: u64, origin: usize, number: u64) -> Bytes {
    let mut payload = vec![0x5a; bytes.max(STAMP_BYTES)];
    payload[..8].copy_from_slice(&stamp_ns.to_le_bytes());
    payload[8..STAMP_BYTES].copy_from_slice(&((origin as u64) << 48 | number).to_le_bytes());
    payload.into()
}

fn word(payload: &[u8], at: usize) -> u64 {
    let bytes = payload
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// One origin's messages, over all receivers.
#[derive(Debug)]
struct Origin {
    published: AtomicU64,
    delivered: AtomicU64,
    /// Messages that all receivers have.
    complete: AtomicU64,
    /// Receivers that each of the latest messages still has to come to.
    remaining: Box<[AtomicU32]>,
    /// What is waited for: so many deliveries, so many complete messages.
    awaited: [AtomicU64; 2],
    reached: Notify,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// Deliveries, to whomever.
    Delivered,
    /// Messages that all receivers have.
    Complete,
}

/// Nobody waits.
const NOTHING: u64 = u64::MAX;

impl Origin {
    fn count(&self, count: Count) -> u64 {
        // Whoever counts looks at what is awaited afterwards, and who waits looks at the count
        // after saying so: in one order for all, or both could miss each other.
        match count {
            Count::Delivered => self.delivered.load(Ordering::SeqCst),
            Count::Complete => self.complete.load(Ordering::SeqCst),
        }
    }

    /// Wakes who waits, if that is reached: woken for each delivery, a publisher would cost
    /// more than some of the programs that are measured.
    fn wake(&self) {
        let is_reached = |count: Count| {
            let awaited = self.awaited[count as usize].load(Ordering::SeqCst);
            awaited != NOTHING && self.count(count) >= awaited
        };
        if is_reached(Count::Delivered) || is_reached(Count::Complete) {
            self.reached.notify_waiters();
        }
    }
}

/// More messages than are ever under way with a window.
const REMAINING: usize = 1 << 14;

/// How far all origins have come.
#[derive(Debug)]
pub struct Progress {
    origins: Vec<Origin>,
    /// Whether latencies are recorded now.
    pub recording: AtomicBool,
    /// One a receiver.
    latencies: Mutex<Vec<Arc<Mutex<Histogram<u64>>>>>,
    /// From publication to the last receiver, microseconds.
    spreads: Mutex<Vec<u64>>,
}

impl Progress {
    pub fn new(origins: usize) -> Arc<Self> {
        Arc::new(Self {
            origins: (0..origins)
                .map(|_| Origin {
                    published: AtomicU64::new(0),
                    delivered: AtomicU64::new(0),
                    complete: AtomicU64::new(0),
                    remaining: (0..REMAINING).map(|_| AtomicU32::new(0)).collect(),
                    awaited: [NOTHING, NOTHING].map(AtomicU64::new),
                    reached: Notify::new(),
                })
                .collect(),
            recording: AtomicBool::new(false),
            latencies: Mutex::default(),
            spreads: Mutex::default(),
        })
    }

    pub fn published(&self, origin: usize) -> u64 {
        self.origins[origin].published.load(Ordering::Relaxed)
    }

    pub fn note_published(&self, origin: usize) {
        self.origins[origin]
            .published
            .fetch_add(1, Ordering::Relaxed);
    }

    pub fn published_by_all(&self) -> u64 {
        (0..self.origins.len())
            .map(|origin| self.published(origin))
            .sum()
    }

    pub fn delivered(&self, origin: usize) -> u64 {
        self.count(origin, Count::Delivered)
    }

    pub fn count(&self, origin: usize, count: Count) -> u64 {
        self.origins[origin].count(count)
    }

    pub fn delivered_of_all(&self) -> u64 {
        (0..self.origins.len())
            .map(|origin| self.delivered(origin))
            .sum()
    }

    pub fn note_delivered(&self, origin: usize, count: u64) {
        let origin = &self.origins[origin];
        origin.delivered.fetch_add(count, Ordering::SeqCst);
        origin.wake();
    }

    /// The message `number` is about to be published to so many receivers.
    pub fn expect(&self, origin: usize, number: u64, receivers: u64) {
        let remaining = &self.origins[origin].remaining;
        remaining[number as usize % REMAINING].store(receivers as u32, Ordering::Release);
    }

    /// A receiver has the message `number`.
    fn note_received(&self, origin: usize, number: u64) {
        let Some(state) = self.origins.get(origin) else {
            return;
        };
        let remaining = &state.remaining[number as usize % REMAINING];
        if remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            state.complete.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until so many are; `false` when nothing was delivered for `patience`. One at a time
    /// may wait for an origin.
    pub async fn wait(&self, origin: usize, count: Count, target: u64, patience: Duration) -> bool {
        let state = &self.origins[origin];
        let awaited = &state.awaited[count as usize];
        let mut moved = self.delivered(origin);
        while state.count(count) < target {
            let mut reached = std::pin::pin!(state.reached.notified());
            reached.as_mut().enable();
            awaited.store(target, Ordering::SeqCst);
            if state.count(count) >= target {
                break;
            }
            let waited = tokio::time::timeout(patience, reached).await;
            let now = self.delivered(origin);
            if waited.is_err() && now == moved {
                awaited.store(NOTHING, Ordering::SeqCst);
                return false;
            }
            moved = now;
        }
        awaited.store(NOTHING, Ordering::SeqCst);
        true
    }

    /// A message that was alone under way took so long to the last receiver.
    pub fn note_spread(&self, took: Duration) {
        lock(&self.spreads).push(took.as_micros() as u64);
    }

    /// The median of those, microseconds.
    pub fn spread_us(&self) -> Option<u64> {
        let mut spreads = lock(&self.spreads).clone();
        spreads.sort_unstable();
        spreads.get(spreads.len() / 2).copied()
    }

    /// The latencies that all receivers have seen.
    pub fn latencies(&self) -> Latencies {
        let mut sum = histogram();
        for latency in lock(&self.latencies).iter() {
            sum.add(&*lock(latency)).expect("all have the same bounds");
        }
        Latencies::from(&sum)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What one receiver has seen since it last told.
#[derive(Debug)]
pub struct Seen {
    progress: Arc<Progress>,
    counts: Vec<u64>,
    /// The origin that sits at this receiver: its own messages are no deliveries.
    own: Option<usize>,
    latency: Option<Arc<Mutex<Histogram<u64>>>>,
    /// Which message it was counts, not only how many.
    exact: bool,
}

impl Seen {
    pub fn new(
        progress: Arc<Progress>,
        own: Option<usize>,
        with_latency: bool,
        exact: bool,
    ) -> Self {
        let latency = with_latency.then(|| {
            let latency = Arc::new(Mutex::new(histogram()));
            lock(&progress.latencies).push(latency.clone());
            latency
        });
        Self {
            counts: vec![0; progress.origins.len()],
            progress,
            own,
            latency,
            exact,
        }
    }

    /// A message was delivered.
    pub fn note(&mut self, payload: &[u8]) {
        let name = word(payload, 8);
        let origin = (name >> 48) as usize;
        if Some(origin) == self.own {
            return;
        }
        if let Some(count) = self.counts.get_mut(origin) {
            *count += 1;
        }
        if self.exact {
            self.progress.note_received(origin, name & ((1 << 48) - 1));
        }
        if let Some(latency) = &self.latency
            && self.progress.recording.load(Ordering::Relaxed)
        {
            let took_us = now_ns().saturating_sub(word(payload, 0)) / 1_000;
            lock(latency).saturating_record(took_us);
        }
    }

    /// So many messages of the only origin were delivered, whatever is in them.
    pub fn note_many(&mut self, count: u64) {
        self.counts[0] += count;
    }

    /// Tells the publishers.
    pub fn tell(&mut self) {
        for (origin, count) in self.counts.iter_mut().enumerate() {
            if *count > 0 {
                self.progress.note_delivered(origin, std::mem::take(count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_waits_for_a_message_is_woken_when_the_last_receiver_has_it() {
        let progress = Progress::new(1);
        progress.expect(0, 0, 2);
        let mut receivers = [0, 1].map(|_| Seen::new(progress.clone(), None, false, true));
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { progress.wait(0, Count::Complete, 1, PATIENCE).await }
        });
        for seen in &mut receivers {
            assert_eq!(progress.count(0, Count::Complete), 0);
            seen.note(&payload(100, now_ns(), 0, 0));
            seen.tell();
            tokio::task::yield_now().await;
        }
        assert!(waiting.await.expect("ends"));
        assert_eq!(progress.delivered(0), 2);
    }

    #[tokio::test]
    async fn what_does_not_come_is_waited_for_while_anything_comes() {
        let progress = Progress::new(1);
        let patience = Duration::from_millis(20);
        assert!(!progress.wait(0, Count::Delivered, 1, patience).await);
        progress.note_delivered(0, 1);
        assert!(progress.wait(0, Count::Delivered, 1, patience).await);
        assert!(!progress.wait(0, Count::Delivered, 2, patience).await);
    }
}
