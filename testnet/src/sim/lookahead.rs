//! Which calls of peers can be made before their turn, so that several processors make them.
//!
//! Nothing that one node does reaches another sooner than the least delay of the network: the
//! *lookahead* of conservative simulation (Chandy and Misra 1979). (A sender may learn at once that
//! its window is open; that tells its peer nothing.) So what happens at a node within
//! that time of the next event depends on nothing that happens elsewhere meanwhile, and as long as
//! the node's peer itself does not change what comes next, it can be called now. What it asks for is
//! kept, and done by [`super::driver`] when the event's turn comes, as if the call were made then: a run
//! is the same with any number of threads.

use super::connection::EndRef;
use super::driver::REPORT_BYTES;
use super::peer::Peer;
use super::prediction::Prediction;
use super::speculative_call::{Call, Job, Step};
use super::workers::Workers;
use super::world::{Happening, World};
use hedgerow_protocol::Micros;
use std::collections::VecDeque;

/// Events looked at together, at most.
const EVENTS_MAX: usize = 1_024;
/// Calls of one node alone are not worth telling others about.
const JOBS_MIN: usize = 2;

/// What is known of a node's next events.
#[derive(Debug)]
struct Draft {
    node: usize,
    steps: VecDeque<Step>,
    known_until: Micros,
}

/// Which nodes have events in the present look ahead.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    looks: u64,
    /// Events seen in it.
    seen: usize,
    /// Calls made before their turn.
    called: u64,
    /// Nodes whose peers are out for a job.
    out: usize,
    /// By node: in which look it had an event last, and its draft there.
    by_node: Vec<(u64, usize)>,
    drafts: Vec<Draft>,
}

impl Claims {
    fn begin(&mut self, nodes: usize) {
        self.looks += 1;
        self.by_node.resize(nodes, (0, 0));
        self.drafts.clear();
    }

    /// The node's draft; `known_until` when it is new.
    fn draft(&mut self, node: usize, known_until: Micros) -> &mut Draft {
        if self.has(node) {
            return &mut self.drafts[self.by_node[node].1];
        }
        let index = self.drafts.len();
        self.by_node[node] = (self.looks, index);
        self.drafts.push(Draft {
            node,
            steps: VecDeque::new(),
            known_until,
        });
        &mut self.drafts[index]
    }

    /// Whether the node has had an event in this look.
    pub(crate) fn has(&self, node: usize) -> bool {
        self.by_node[node].0 == self.looks
    }

    /// How many arrivals of an end come before the next one.
    pub(crate) fn arrivals(&self, node: usize, end: EndRef) -> usize {
        if !self.has(node) {
            return 0;
        }
        let arrives = |step: &&Step| step.arrival == Some(end);
        self.drafts[self.by_node[node].1]
            .steps
            .iter()
            .filter(arrives)
            .count()
    }
}

impl<P: Peer> World<P> {
    /// Calls peers on so many threads. A run is the same with any number.
    pub fn set_threads(&mut self, threads: usize) {
        self.fetch_all();
        self.workers = (threads > 1).then(|| Workers::new(threads - 1, self.checks.clone()));
    }

    /// Threads that call peers, this one included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.as_ref().map_or(1, Workers::threads)
    }

    /// Calls of peers that were made before their turn.
    pub fn called_ahead(&self) -> u64 {
        self.claims.called
    }

    /// Has peers called whose next events depend on nothing that is still to happen, once that is
    /// worth a look: no job is left, and a quarter of what was seen has happened.
    pub(crate) fn look_ahead(&mut self, limit: Micros) {
        let Some(workers) = &self.workers else { return };
        if workers.is_busy() || self.queue.seen_count() * 4 > self.claims.seen * 3 {
            return;
        }
        let Some(first) = self.queue.next_at() else {
            return;
        };
        let lookahead = self.network.latency.least();
        if lookahead == Micros(0) {
            return;
        }
        let last = limit.min(Micros(first.0 + lookahead.0 - 1));
        let until = self.draft(last);
        let mut drafts = std::mem::take(&mut self.claims.drafts);
        drafts.retain(|draft| !draft.steps.is_empty());
        if drafts.len() >= JOBS_MIN {
            self.begin(drafts.drain(..), until);
        }
        // Its room serves the next look.
        self.claims.drafts = drafts;
    }

    /// Begins jobs in the order of their first events, in which they are wanted.
    fn begin(&mut self, drafts: impl Iterator<Item = Draft>, seen_until: Micros) {
        for draft in drafts {
            // Helpers are at work while the others are made.
            if let Some(job) = self.job(draft, seen_until)
                && let Some(workers) = &self.workers
            {
                self.claims.out += 1;
                workers.begin(job);
            }
        }
    }

    /// Has the node's peer back from the job it is out for, with all calls of that made.
    pub(crate) fn fetch(&mut self, node: usize) {
        while self.nodes[node].is_out {
            self.take_ended();
        }
    }

    /// Has all peers back.
    pub(crate) fn fetch_all(&mut self) {
        while self.claims.out > 0 {
            self.take_ended();
        }
    }

    fn take_ended(&mut self) {
        let workers = self
            .workers
            .as_ref()
            .expect("who is out is out with a workers");
        let ended = workers.ended();
        self.claims.out -= ended.len();
        for job in ended {
            self.claims.called += job.made.len() as u64;
            let at = &mut self.nodes[job.node];
            at.peer = Some(job.peer);
            at.made = job.made;
            at.is_out = false;
        }
    }

    /// Looks at events until `last`; gives until when all are known.
    fn draft(&mut self, last: Micros) -> Micros {
        self.claims.begin(self.nodes.len());
        let until = self.queue.look(last, EVENTS_MAX);
        self.claims.seen = self.queue.seen_count();
        let queue = std::mem::take(&mut self.queue);
        for (at, happening) in queue.seen() {
            let Some(node) = self.concerns(happening) else {
                continue;
            };
            // It has been called for this already, or for what comes before it.
            if self.nodes[node].is_ahead() {
                continue;
            }
            let before = Micros(at.0.saturating_sub(1));
            match self.predict(at, node, happening) {
                Prediction::Nothing => {}
                Prediction::Unknown => {
                    let draft = self.claims.draft(node, before);
                    draft.known_until = draft.known_until.min(before);
                }
                Prediction::Step(step) => {
                    let draft = self.claims.draft(node, last);
                    if at <= draft.known_until {
                        draft.steps.push_back(step);
                    }
                    // A line that was busy may bring more.
                    if matches!(happening, Happening::Downlink { .. }) {
                        draft.known_until = draft.known_until.min(before);
                    }
                }
            }
        }
        self.queue = queue;
        until
    }

    fn job(&mut self, draft: Draft, seen_until: Micros) -> Option<Job<P>> {
        let Draft {
            node,
            steps,
            known_until,
        } = draft;
        let place = &self.nodes[node];
        let waiting = |&(_, end): &(_, EndRef)| {
            let at = self.connections.peek(end);
            at.map_or(0, |at| at.unreported + at.out_bytes)
        };
        let most = place.links.iter().map(waiting).max().unwrap_or(0);
        // The first event may be the timer's own.
        let first = steps.front().and_then(|step| step.calls.back());
        let timer = match first {
            Some(Call::Timeout) => None,
            _ => place.timer,
        };
        let place = &mut self.nodes[node];
        let peer = place.peer.take()?;
        place.is_out = true;
        place.deadline = peer.poll_timeout();
        Some(Job {
            node,
            clock: place.clock,
            peer,
            steps,
            timer,
            known_until: known_until.min(seen_until),
            room: REPORT_BYTES.saturating_sub(most),
            verify: self.costs.verify,
            made: VecDeque::new(),
        })
    }
}
