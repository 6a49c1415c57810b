//! Calls of one peer before their turn, and what it asks for meanwhile.

use super::checks::Checks;
use super::connection::EndRef;
use super::node::Clock;
use super::peer::Peer;
use super::world::{Answer, verified};
use bytes::Bytes;
use hedgerow_protocol::{Action, Event, Input, Micros, Time};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a peer is to be told.
#[derive(Debug)]
pub(crate) enum Call {
    Input(Input),
    Timeout,
    /// It ended in this panic, which comes out in its turn.
    Panic(Box<dyn Any + Send>),
}

/// What one event tells a peer.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) at: Micros,
    pub(crate) calls: VecDeque<Call>,
    /// The end whose bytes arrive, if it is that.
    pub(crate) arrival: Option<EndRef>,
}

/// A call that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) call: Call,
    /// What the peer asked for; of signature checks also the results.
    pub(crate) actions: Vec<(Action, Option<bool>)>,
    /// When its timers were due then.
    pub(crate) deadline: Option<Time>,
}

impl Made {
    /// Whether it is the call that hands over `input`.
    pub(crate) fn is_for(&self, input: &Input) -> bool {
        let Call::Input(told) = &self.call else {
            return false;
        };
        match (told, input) {
            // Not bytes that are equal: the same bytes.
            (
                Input::Bytes { link, bytes },
                Input::Bytes {
                    link: to,
                    bytes: due,
                },
            ) => (link, bytes.as_ptr(), bytes.len()) == (to, due.as_ptr(), due.len()),
            (
                Input::Sent { link, bytes },
                Input::Sent {
                    link: to,
                    bytes: due,
                },
            ) => (link, bytes) == (to, due),
            (Input::Verified { id, valid }, Input::Verified { id: due, valid: is }) => {
                (id, valid) == (due, is)
            }
            _ => false,
        }
    }
}

/// Whether the process ends with this event.
pub(crate) fn ends(event: &Event) -> bool {
    matches!(event, Event::Stopped { .. } | Event::IdentityInUse { .. })
}

/// What one peer is told until something is asked of the world that decides what comes next.
#[derive(Debug)]
pub(crate) struct Job<P> {
    pub(crate) node: usize,
    pub(crate) clock: Clock,
    pub(crate) peer: Box<P>,
    /// In the order of their times. The first depends on nothing.
    pub(crate) steps: VecDeque<Step>,
    /// When the node's timer is due next.
    pub(crate) timer: Option<Micros>,
    /// What else happens at the node is known until then.
    pub(crate) known_until: Micros,
    /// Once so many bytes are sent, the world may tell of them at once.
    pub(crate) room: usize,
    /// What a signature check takes.
    pub(crate) verify: Micros,
    pub(crate) made: VecDeque<Made>,
}

impl<P: Peer> Job<P> {
    /// Makes calls as long as it is known which one is next.
    pub(crate) fn run(&mut self, checks: &Checks) {
        let mut first = true;
        while let Some(mut step) = self.steps.pop_front() {
            let known = step.at <= self.known_until && self.timer.is_none_or(|due| step.at < due);
            if !first && !known {
                return;
            }
            first = false;
            while let Some(call) = step.calls.pop_front() {
                let made = AssertUnwindSafe(|| self.make(step.at, call, checks));
                match catch_unwind(made) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(panic) => {
                        return self.made.push_back(Made {
                            call: Call::Panic(panic),
                            actions: Vec::new(),
                            deadline: None,
                        });
                    }
                }
            }
            if let Some(deadline) = self.made.back().and_then(|made| made.deadline) {
                let due = self.clock.virtual_time(deadline).max(step.at);
                self.timer = Some(self.timer.map_or(due, |timer| timer.min(due)));
            }
        }
    }

    /// Makes a call; gives whether what comes next is still known.
    fn make(&mut self, at: Micros, call: Call, checks: &Checks) -> bool {
        let time = self.clock.time(at);
        match &call {
            Call::Input(input) => self.peer.handle_input(time, input.clone()),
            Call::Timeout => {
                let due = self.peer.poll_timeout();
                if due.is_none_or(|due| due.mono > time.mono) {
                    return false;
                }
                self.peer.handle_timeout(time);
            }
            Call::Panic(_) => return false,
        }
        let mut actions = Vec::new();
        let mut answers = Vec::new();
        let mut known = true;
        while let Some(action) = self.peer.poll_action() {
            let mut valid = None;
            let mut ended = false;
            match &action {
                Action::Send { chunks, .. } => {
                    let bytes = chunks.iter().map(Bytes::len).sum();
                    self.room = self.room.saturating_sub(bytes);
                }
                Action::Verify { id, job } => {
                    let result = checks.verify(job);
                    valid = Some(result);
                    answers.push((*id, result));
                }
                Action::Event(event) => {
                    ended = ends(event);
                    known &= !ended;
                }
                Action::Deliver(_) | Action::Slow { .. } | Action::Resume { .. } => {}
                // What was written may be told at once.
                Action::AwaitWritten { .. }
                | Action::Dial { .. }
                | Action::Close { .. }
                | Action::Store { .. } => known = false,
            }
            actions.push((action, valid));
            if ended {
                break;
            }
        }
        if !answers.is_empty() {
            self.expect(at + self.verify, answers);
        }
        let deadline = self.peer.poll_timeout();
        self.made.push_back(Made {
            call,
            actions,
            deadline,
        });
        known && self.room > 0
    }

    /// The answers to checks come after what is known already of that time.
    fn expect(&mut self, at: Micros, answers: Vec<Answer>) {
        let place = self.steps.partition_point(|step| step.at <= at);
        let step = Step {
            at,
            calls: verified(answers).map(Call::Input).collect(),
            arrival: None,
        };
        self.steps.insert(place, step);
    }
}
