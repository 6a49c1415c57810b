//! Signature checks on the runtime's blocking threads, in batches; a lone one where it is.

use super::Done;
use hedgerow_protocol::{VerifyId, VerifyJob};
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Checks in one batch at most: one to three ms, so that nothing waits long behind others.
const BATCH: usize = 64;

/// Queues checks and keeps a batch running on each processor. The queue is bounded by the
/// engine (`flow.verifying_max`).
#[derive(Debug)]
pub(super) struct Verifier {
    waiting: VecDeque<(VerifyId, VerifyJob)>,
    running: usize,
    /// Checks in the batches that run.
    checking: usize,
    workers: usize,
    done: mpsc::Sender<Done>,
    /// Checks and batches since the start.
    pub(super) jobs: u64,
    pub(super) batches: u64,
}

impl Verifier {
    pub(super) fn new(done: mpsc::Sender<Done>) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            waiting: VecDeque::new(),
            running: 0,
            checking: 0,
            workers,
            done,
            jobs: 0,
            batches: 0,
        }
    }

    pub(super) fn push(&mut self, id: VerifyId, job: VerifyJob) {
        self.jobs += 1;
        self.waiting.push_back((id, job));
    }

    /// Checks that wait or run.
    pub(super) fn under_way(&self) -> usize {
        self.waiting.len() + self.checking
    }

    /// A check that is alone: it takes less than moving it to another thread and back, and
    /// nothing else waits for this one meanwhile.
    pub(super) fn take_lone(&mut self) -> Option<(VerifyId, VerifyJob)> {
        if self.running > 0 || self.waiting.len() != 1 {
            return None;
        }
        self.batches += 1;
        self.waiting.pop_front()
    }

    /// Starts what waits, spread over the workers that are free.
    pub(super) fn start(&mut self) {
        while !self.waiting.is_empty() && self.running < self.workers {
            let free = self.workers - self.running;
            let count = self.waiting.len().div_ceil(free).min(BATCH);
            let jobs: Vec<_> = self.waiting.drain(..count).collect();
            let done = self.done.clone();
            self.running += 1;
            self.checking += count;
            self.batches += 1;
            tokio::task::spawn_blocking(move || {
                let results = jobs.into_iter().map(|(id, job)| (id, job.run())).collect();
                // The node may have stopped.
                let _ = done.blocking_send(Done::Verified(results));
            });
        }
    }

    /// A batch of so many checks has come back.
    pub(super) fn on_done(&mut self, checks: usize) {
        self.running -= 1;
        self.checking -= checks;
    }
}
