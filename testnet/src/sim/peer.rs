//! What the world can drive: an engine, or anything that behaves like one.

use hedgerow_protocol::{Action, Engine, Input, Time};

/// A peer as a state machine, called under the contract of [`Engine`]: every call is followed by
/// draining [`Peer::poll_action`], then [`Peer::poll_timeout`] says when the next is due.
pub trait Peer {
    /// Takes in what happened outside.
    fn handle_input(&mut self, now: Time, input: Input);
    /// Runs what is due.
    fn handle_timeout(&mut self, now: Time);
    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action>;
    /// When [`Peer::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Time>;
}

impl Peer for Engine {
    fn handle_input(&mut self, now: Time, input: Input) {
        Engine::handle_input(self, now, input);
    }
    fn handle_timeout(&mut self, now: Time) {
        Engine::handle_timeout(self, now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        Engine::poll_action(self)
    }
    fn poll_timeout(&self) -> Option<Time> {
        Engine::poll_timeout(self)
    }
}
