//! Threads that make peers' calls together with the one that runs the world.
//!
//! Knows nothing of time or order: [`super::lookahead`] sees to it that the calls of one batch do
//! not depend on each other, and [`super::driver`] does what they ask for, each in its turn.

use super::checks::Checks;
use super::job::Job;
use super::peer::Peer;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How often a thread without work looks before it sleeps: a few milliseconds. Batches follow each
/// other closely, and waking a thread takes longer than most of them.
const LOOKS: u32 = 4_096;
/// Between two looks.
const SPINS: u32 = 64;

struct Shared<P> {
    todo: Mutex<Vec<Job<P>>>,
    /// Jobs in `todo`, to look at without its lock.
    left: AtomicUsize,
    done: Mutex<Vec<Job<P>>>,
    /// Jobs that helpers have ended.
    helped: AtomicUsize,
    stop: AtomicBool,
    checks: Arc<Checks>,
}

/// Threads that help.
pub(crate) struct Crew<P> {
    shared: Arc<Shared<P>>,
    helpers: Vec<JoinHandle<()>>,
}

impl<P> fmt::Debug for Crew<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crew({} helpers)", self.helpers.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: Peer> Shared<P> {
    fn take(&self) -> Option<Job<P>> {
        if self.left.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut todo = lock(&self.todo);
        let job = todo.pop()?;
        self.left.store(todo.len(), Ordering::Release);
        Some(job)
    }

    /// One helper's life.
    fn help(&self) {
        let mut looks = 0;
        while !self.stop.load(Ordering::Acquire) {
            let Some(mut job) = self.take() else {
                looks += 1;
                if looks < LOOKS {
                    pause();
                } else {
                    thread::park();
                    looks = 0;
                }
                continue;
            };
            looks = 0;
            job.run(&self.checks);
            lock(&self.done).push(job);
            self.helped.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A short rest that leaves the processor to whoever else wants it.
fn pause() {
    for _ in 0..SPINS {
        std::hint::spin_loop();
    }
    thread::yield_now();
}

impl<P: Peer> Crew<P> {
    /// So many helpers, as far as the system gives threads.
    pub(crate) fn new(helpers: usize, checks: Arc<Checks>) -> Self {
        let shared = Arc::new(Shared {
            todo: Mutex::default(),
            left: AtomicUsize::new(0),
            done: Mutex::default(),
            helped: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            checks,
        });
        let spawn = |_| {
            let shared = shared.clone();
            thread::Builder::new()
                .name("peers".to_owned())
                .spawn(move || shared.help())
                .ok()
        };
        let helpers = (0..helpers).map_while(spawn).collect();
        Self { shared, helpers }
    }

    /// How many make calls, the one that runs the world included.
    pub(crate) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Makes all calls of `jobs`; gives them back in any order.
    pub(crate) fn run(&self, jobs: Vec<Job<P>>) -> Vec<Job<P>> {
        let all = jobs.len();
        let mut mine = Vec::with_capacity(all);
        self.shared.helped.store(0, Ordering::Release);
        {
            let mut todo = lock(&self.shared.todo);
            *todo = jobs;
            self.shared.left.store(all, Ordering::Release);
        }
        self.helpers
            .iter()
            .for_each(|helper| helper.thread().unpark());
        while let Some(mut job) = self.shared.take() {
            job.run(&self.shared.checks);
            mine.push(job);
        }
        while self.shared.helped.load(Ordering::Acquire) + mine.len() < all {
            pause();
        }
        mine.append(&mut lock(&self.shared.done));
        mine
    }
}

impl<P> Drop for Crew<P> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // It catches what peers do; there is nothing else to panic.
            let _ = helper.join();
        }
    }
}
