//! Threads that make peers' calls together with the one that runs the world.
//!
//! Knows nothing of time: [`super::lookahead`] sees to it that the calls of one batch do not depend
//! on each other, and [`super::driver`] does what they ask for, each in its turn, while helpers make
//! those whose turn comes later.

use super::checks::Checks;
use super::peer::Peer;
use super::speculative_call::Job;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How often a thread without work looks before it sleeps: a few milliseconds. Jobs follow each
/// other closely, and waking a thread takes longer than most of them.
const LOOKS: u32 = 4_096;
/// Between two looks.
const SPINS: u32 = 64;

struct Shared<P> {
    /// In the order in which they are wanted.
    todo: Mutex<VecDeque<Job<P>>>,
    /// Jobs in `todo`, to look at without its lock.
    left: AtomicUsize,
    /// What helpers have ended.
    done: Mutex<Vec<Job<P>>>,
    /// Jobs in `done`, likewise.
    ended: AtomicUsize,
    stop: AtomicBool,
    checks: Arc<Checks>,
}

/// Threads that help.
pub(crate) struct Workers<P> {
    shared: Arc<Shared<P>>,
    helpers: Vec<JoinHandle<()>>,
}

impl<P> fmt::Debug for Workers<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} helpers)", self.helpers.len())
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
        let job = todo.pop_front()?;
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
            let mut done = lock(&self.done);
            done.push(job);
            self.ended.store(done.len(), Ordering::Release);
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

impl<P: Peer> Workers<P> {
    /// So many helpers, as far as the system gives threads.
    pub(crate) fn new(helpers: usize, checks: Arc<Checks>) -> Self {
        let shared = Arc::new(Shared {
            todo: Mutex::default(),
            left: AtomicUsize::new(0),
            done: Mutex::default(),
            ended: AtomicUsize::new(0),
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

    /// Whether there are jobs that nobody has begun.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.left.load(Ordering::Acquire) > 0
    }

    /// Adds a job: a helper makes its calls, and [`Workers::ended`] gives it back.
    pub(crate) fn begin(&self, job: Job<P>) {
        {
            let mut todo = lock(&self.shared.todo);
            todo.push_back(job);
            self.shared.left.store(todo.len(), Ordering::Release);
        }
        self.helpers
            .iter()
            .for_each(|helper| helper.thread().unpark());
    }

    /// Jobs that have ended, in any order. While no helper has ended one this thread makes the next,
    /// and once none is left it waits: to be called only while a job is out.
    pub(crate) fn ended(&self) -> Vec<Job<P>> {
        loop {
            if self.shared.ended.load(Ordering::Acquire) > 0 {
                let mut done = lock(&self.shared.done);
                self.shared.ended.store(0, Ordering::Release);
                return std::mem::take(&mut *done);
            }
            if let Some(mut job) = self.shared.take() {
                job.run(&self.shared.checks);
                return vec![job];
            }
            pause();
        }
    }
}

impl<P> Drop for Workers<P> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // It catches what peers do; there is nothing else to panic.
            let _ = helper.join();
        }
    }
}
