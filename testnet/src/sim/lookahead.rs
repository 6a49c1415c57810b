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
use super::crew::Crew;
use super::driver::REPORT_BYTES;
use super::foresee::Foreseen;
use super::job::{Call, Job, Step};
use super::peer::Peer;
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
    /// Until when peers may have been called.
    until: Micros,
    /// Calls made before their turn.
    called: u64,
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
        self.crew = (threads > 1).then(|| Crew::new(threads - 1, self.checks.clone()));
    }

    /// Threads that call peers, this one included.
    pub(crate) fn threads(&self) -> usize {
        self.crew.as_ref().map_or(1, Crew::threads)
    }

    /// Calls of peers that were made before their turn.
    pub fn called_ahead(&self) -> u64 {
        self.claims.called
    }

    /// Calls peers whose next events depend on nothing that is still to happen, once all that was
    /// looked at before has happened.
    pub(crate) fn look_ahead(&mut self, limit: Micros) {
        if !self.queue.is_unseen() {
            return;
        }
        let Some(crew) = self.crew.take() else { return };
        let jobs = self.jobs(limit);
        if !jobs.is_empty() {
            for job in crew.run(jobs) {
                self.claims.called += job.made.len() as u64;
                let at = &mut self.nodes[job.node];
                at.peer = Some(job.peer);
                at.made = job.made;
            }
        }
        self.crew = Some(crew);
    }

    /// What may be called now, by node.
    fn jobs(&mut self, limit: Micros) -> Vec<Job<P>> {
        let Some(first) = self.queue.next_at() else {
            return Vec::new();
        };
        // Peers may have been called for events that came up since.
        if first <= self.claims.until {
            return Vec::new();
        }
        let lookahead = self.network.latency.least();
        if lookahead == Micros(0) {
            return Vec::new();
        }
        let last = limit.min(Micros(first.0 + lookahead.0 - 1));
        let seen_until = self.draft(last);
        self.claims.until = seen_until;
        let mut drafts = std::mem::take(&mut self.claims.drafts);
        drafts.retain(|draft| !draft.steps.is_empty());
        if drafts.len() < JOBS_MIN {
            return Vec::new();
        }
        // The last are taken first.
        let jobs = drafts.into_iter().rev();
        jobs.filter_map(|draft| self.job(draft, seen_until))
            .collect()
    }

    /// Looks at events until `last`; gives until when all are known.
    fn draft(&mut self, last: Micros) -> Micros {
        self.claims.begin(self.nodes.len());
        for _ in 0..EVENTS_MAX {
            if !self.queue.look(last) {
                return last;
            }
            let Some((at, happening)) = self.queue.seen() else {
                return last;
            };
            let by_line = matches!(happening, Happening::Downlink { .. });
            let before = Micros(at.0.saturating_sub(1));
            match self.foresee(at, happening) {
                Foreseen::Nothing => {}
                Foreseen::Unknown(node) => {
                    let draft = self.claims.draft(node, before);
                    draft.known_until = draft.known_until.min(before);
                }
                Foreseen::Step(node, step) => {
                    let draft = self.claims.draft(node, last);
                    if at <= draft.known_until {
                        draft.steps.push_back(step);
                    }
                    // A line that was busy may bring more.
                    if by_line {
                        draft.known_until = draft.known_until.min(before);
                    }
                }
            }
        }
        let seen = self.queue.seen().map_or(last, |(at, _)| at);
        Micros(seen.0.saturating_sub(1))
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
