//! How the world drives a peer: hands it inputs and timeouts, and does what it asks for.

use super::node::NodeState;
use super::peer::Peer;
use super::speculative_call::{Call, Made, ends};
use super::trace::Kind;
use super::world::{Happening, World, Write};
use hedgerow_protocol::{Action, Input, LinkId, StoreError, Time};
use std::panic::resume_unwind;

/// Timeouts a peer may ask for in one instant before it is taken to spin.
const SPINS_MAX: u32 = 10_000;
/// Written bytes are told to a peer in steps of so many, as drivers do by default, or before its
/// timers run or somebody calls it.
pub(crate) const REPORT_BYTES: usize = 8 << 10;

impl<P: Peer> World<P> {
    /// Calls the peer of a running node as an application would, then drains it.
    pub fn call<R>(&mut self, node: usize, call: impl FnOnce(&mut P, Time) -> R) -> Option<R> {
        let result = self.call_undrained(node, call)?;
        self.settle(node);
        Some(result)
    }

    /// Like [`World::call`], for a caller that has something to note before the drain.
    pub(crate) fn call_undrained<R>(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut P, Time) -> R,
    ) -> Option<R> {
        let time = self.time(node);
        if self.nodes[node].state != NodeState::Running {
            return None;
        }
        debug_assert!(!self.nodes[node].is_out, "calls come between events");
        self.report_sent(node, 1);
        self.trace.add(self.now, Kind::Command, node, &[]);
        Some(call(self.nodes[node].peer.as_mut()?, time))
    }

    pub(crate) fn on_timeout(&mut self, node: usize) {
        let now = self.now;
        let at = &mut self.nodes[node];
        // A stale entry: an earlier one took its place.
        if at.timer != Some(now) {
            return;
        }
        at.timer = None;
        if at.state != NodeState::Running {
            return;
        }
        self.report_sent(node, 1);
        self.run_timeout(node);
        self.settle(node);
    }

    /// Calls `handle_timeout` if the peer's deadline has come.
    pub(crate) fn run_timeout(&mut self, node: usize) {
        let now = self.now;
        let made = self.next_made(node);
        let at = &mut self.nodes[node];
        let time = at.clock.time(now);
        let Some(peer) = at.peer.as_mut() else { return };
        let is_due = || {
            let deadline = peer.poll_timeout();
            deadline.is_some_and(|deadline| deadline.mono <= time.mono)
        };
        if made.is_none() && !is_due() {
            return;
        }
        at.spins = if at.spins.0 == now {
            (now, at.spins.1 + 1)
        } else {
            (now, 0)
        };
        assert!(
            at.spins.1 < SPINS_MAX,
            "the peer at node {node} spins at {now}"
        );
        match made {
            None => {
                peer.handle_timeout(time);
                self.trace.add(now, Kind::Timeout, node, &[]);
            }
            Some(made) => {
                let (is, what) = (matches!(made.call, Call::Timeout), &made.call);
                assert!(is, "{what:?} was made for a timeout");
                self.trace.add(now, Kind::Timeout, node, &[]);
                self.act_all(node, made);
            }
        }
        self.drain(node);
    }

    /// Gives an input to a node's peer: at once, or when it goes on.
    pub(crate) fn feed(&mut self, node: usize, input: Input) {
        self.feed_all(node, std::iter::once(input));
    }

    /// Gives inputs that come in one instant.
    pub(crate) fn feed_all(&mut self, node: usize, inputs: impl Iterator<Item = Input>) {
        match self.nodes[node].state {
            NodeState::Running => {
                for input in inputs {
                    if self.nodes[node].state != NodeState::Running {
                        break;
                    }
                    self.hand_over(node, input);
                }
                self.settle(node);
            }
            NodeState::Paused => self.nodes[node].inbox.extend(inputs),
            NodeState::Idle | NodeState::Down => {}
        }
    }

    /// One input, and what the peer does about it.
    pub(crate) fn hand_over(&mut self, node: usize, input: Input) {
        let time = self.nodes[node].clock.time(self.now);
        self.trace_input(node, &input);
        if let Some(made) = self.next_made(node) {
            let (is, what) = (made.is_for(&input), &made.call);
            assert!(is, "{what:?} was made for {input:?}");
            self.act_all(node, made);
        } else if let Some(peer) = self.nodes[node].peer.as_mut() {
            peer.handle_input(time, input);
        }
        self.drain(node);
    }

    /// The call that was made before its turn, which has come.
    fn next_made(&mut self, node: usize) -> Option<Made> {
        self.fetch(node);
        let made = self.nodes[node].made.pop_front()?;
        if let Call::Panic(panic) = made.call {
            resume_unwind(panic);
        }
        Some(made)
    }

    /// Does what a peer asked for when it was called before its turn.
    fn act_all(&mut self, node: usize, made: Made) {
        self.nodes[node].deadline = made.deadline;
        for (action, valid) in made.actions {
            self.act(node, action, valid);
        }
        self.answer(node);
    }

    fn drain(&mut self, node: usize) {
        // What a peer still holds that was called for later events is asked for then.
        if self.nodes[node].is_ahead() {
            return;
        }
        while let Some(action) = self.nodes[node]
            .peer
            .as_mut()
            .and_then(|peer| peer.poll_action())
        {
            self.act(node, action, None);
        }
        self.answer(node);
    }

    /// The checks that a call has asked for take their time together.
    fn answer(&mut self, node: usize) {
        if self.answers.is_empty() {
            return;
        }
        let at = self.now + self.costs.verify;
        let verified = Happening::Verified {
            node: node as u32,
            incarnation: self.nodes[node].incarnation,
            answers: std::mem::take(&mut self.answers),
        };
        self.queue.push(at, verified);
    }

    fn trace_input(&mut self, node: usize, input: &Input) {
        let number;
        let (kind, bytes): (Kind, &[u8]) = match input {
            Input::Linked { peer, .. } => (Kind::Linked, &peer.0),
            Input::Bytes { bytes, .. } => (Kind::Bytes, bytes),
            Input::LinkLost { link } => {
                number = link.0.to_le_bytes();
                (Kind::LinkLost, &number)
            }
            Input::DialFailed { dial } => {
                number = dial.0.to_le_bytes();
                (Kind::DialFailed, &number)
            }
            Input::Sent { bytes, .. } => {
                number = (*bytes as u64).to_le_bytes();
                (Kind::Sent, &number)
            }
            Input::Verified { valid, .. } => (Kind::Verified, if *valid { &[1] } else { &[0] }),
            Input::Stored { result, .. } => {
                let bytes: &[u8] = if result.is_ok() { &[] } else { &[0] };
                (Kind::Stored, bytes)
            }
            Input::Addresses(_) | Input::Discovered(_) => (Kind::Other, &[]),
        };
        self.trace.add(self.now, kind, node, bytes);
    }

    /// Drains a peer, puts what it sent on the network and sets its timer.
    pub(crate) fn settle(&mut self, node: usize) {
        loop {
            self.drain(node);
            let touched = std::mem::take(&mut self.touched);
            for &end in &touched {
                self.offer(end);
            }
            self.touched = touched;
            self.touched.clear();
            if !self.report_sent(node, REPORT_BYTES) {
                break;
            }
        }
        self.set_timer(node);
    }

    /// Tells a peer of bytes that were written, for every link with at least `least` of them, or where
    /// it waits for the last of them.
    fn report_sent(&mut self, node: usize, least: usize) -> bool {
        let mut told = false;
        let mut index = 0;
        while let Some(&end) = self.nodes[node].reports.get(index) {
            let Some(at) = self.connections.get(end) else {
                self.nodes[node].reports.swap_remove(index);
                continue;
            };
            let is_awaited = at.awaited && at.out_bytes == 0;
            if at.unreported < least && !is_awaited {
                index += 1;
                continue;
            }
            at.awaited &= !is_awaited;
            let (link, bytes) = (at.link, std::mem::take(&mut at.unreported));
            at.report_listed = false;
            self.nodes[node].reports.swap_remove(index);
            if self.nodes[node].end_of(link).is_some() {
                self.hand_over(node, Input::Sent { link, bytes });
                told = true;
            }
        }
        told
    }

    /// A peer wants to hear when a link has written all. What is not listed was told.
    fn await_written(&mut self, node: usize, link: LinkId) {
        if let Some(end) = self.nodes[node].end_of(link)
            && let Some(at) = self.connections.get(end)
        {
            at.awaited = at.report_listed || at.out_bytes > 0;
        }
    }

    fn set_timer(&mut self, node: usize) {
        let now = self.now;
        let at = &mut self.nodes[node];
        if at.state != NodeState::Running {
            return;
        }
        let deadline = if at.is_ahead() {
            at.deadline
        } else {
            at.peer.as_ref().and_then(|peer| peer.poll_timeout())
        };
        let Some(deadline) = deadline else { return };
        let due = at.clock.virtual_time(deadline).max(now);
        // An entry that is due earlier will look again; a later one is left to be stale.
        if at.timer.is_none_or(|scheduled| due < scheduled) {
            at.timer = Some(due);
            self.queue
                .push(due, Happening::Timeout { node: node as u32 });
        }
    }

    fn act(&mut self, node: usize, action: Action, valid: Option<bool>) {
        match action {
            Action::Dial {
                dial,
                peer,
                addresses,
                timeout,
            } => {
                self.begin_dial((node, dial), peer, &addresses, timeout);
            }
            Action::Close { link } => self.close(node, link),
            Action::Send { link, chunks } => self.enqueue(node, link, chunks),
            // Reads cost no time here: what is slow is the link that follows.
            Action::Slow { .. } | Action::Resume { .. } => {}
            Action::AwaitWritten { link } => self.await_written(node, link),
            Action::Deliver(delivery) => {
                self.trace
                    .add(self.now, Kind::Deliver, node, &delivery.payload);
                self.journal.delivered(self.now, node, &delivery);
            }
            Action::Event(event) => {
                let ended = ends(&event);
                self.trace.add(self.now, Kind::Event, node, &[]);
                self.journal.event(self.now, node, event);
                if ended {
                    self.finish(node);
                }
            }
            Action::Verify { id, job } => {
                let valid = valid.unwrap_or_else(|| self.checks.verify(&job));
                self.answers.push((id, valid));
            }
            Action::Store {
                batch,
                namespace,
                ops,
            } => {
                let fits = !self.nodes[node].disk_full;
                let stored = Happening::Stored {
                    node: node as u32,
                    incarnation: self.nodes[node].incarnation,
                    write: Box::new(Write {
                        batch,
                        namespace,
                        ops: fits.then_some(ops),
                    }),
                };
                self.queue.push(self.now + self.costs.store, stored);
            }
        }
    }

    /// A write has come to its end: all of it is stored, or nothing.
    pub(crate) fn on_written(&mut self, node: usize, write: Write) {
        let Write {
            batch,
            namespace,
            ops,
        } = write;
        let result = match ops {
            Some(ops) => {
                self.nodes[node].stored.entries_mut(namespace).apply(ops);
                Ok(())
            }
            None => Err(StoreError::NoRoom("the disk is full".to_owned())),
        };
        self.feed(node, Input::Stored { batch, result });
    }
}
