//! The engine: one peer, driven from outside.

use crate::config::Config;
use crate::identity::{Keypair, PeerKey};
use crate::io::{Action, Input};
use crate::message::{
    JoinError, JoinOptions, MessageId, PublishError, PublishOptions, SettingsPatch,
};
use crate::name::GroupName;
use crate::status::{
    Counters, GroupStatus, LinkStatus, MemberStatus, OverlayStatus, Status,
};
use crate::time::Time;
use bytes::Bytes;

/// One peer. Every mutation is followed by draining [`Engine::poll_action`] until `None`; then
/// [`Engine::poll_timeout`] says when [`Engine::handle_timeout`] is due.
pub struct Engine {
    peer: PeerKey,
}

#[allow(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Engine {
    /// A peer with this identity. `rng_seed` decides every random choice it will make.
    pub fn new(identity: Keypair, config: Config, rng_seed: [u8; 32], now: Time) -> Self {
        Self { peer: identity.peer() }
    }
    /// Who this is.
    pub fn peer(&self) -> PeerKey { self.peer }
    /// Joins a group, or widens a membership by more history. `broadcast` too must be joined to be delivered.
    pub fn join(&mut self, now: Time, group: GroupName, options: JoinOptions) -> Result<(), JoinError> { Ok(()) }
    /// Leaves a group: nothing more is delivered.
    pub fn leave(&mut self, now: Time, group: &GroupName) -> Result<(), JoinError> { Ok(()) }
    /// Changes a group's settings for everybody; this peer must be a member.
    pub fn set_group(&mut self, now: Time, group: &GroupName, patch: SettingsPatch) -> Result<(), JoinError> { Ok(()) }
    /// Publishes a message; a peer that is not a member becomes a sender.
    pub fn publish(&mut self, now: Time, group: &GroupName, payload: Bytes, options: PublishOptions) -> Result<MessageId, PublishError> { Err(PublishError::Busy) }
    /// Sends a probe along the overlay of `group`; each member answers with an `Event::Probe` carrying the returned number.
    pub fn probe(&mut self, now: Time, group: &GroupName) -> Result<u64, JoinError> { Ok(0) }
    /// Begins to leave the network; ends with `Event::Stopped`.
    pub fn shutdown(&mut self, now: Time) {}
    /// Takes in what happened outside.
    pub fn handle_input(&mut self, now: Time, input: Input) {}
    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Time) {}
    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> { None }
    /// When `handle_timeout` is due next.
    pub fn poll_timeout(&self) -> Option<Time> { None }
    /// A glance.
    pub fn status(&self) -> Status { todo!() }
    /// All links, by peer.
    pub fn links(&self) -> Vec<LinkStatus> { vec![] }
    /// All groups, by name.
    pub fn groups(&self) -> Vec<GroupStatus> { vec![] }
    /// A group's members (senders too, see `role`), by key; of `broadcast`: all peers known.
    pub fn members(&self, group: &GroupName) -> Vec<MemberStatus> { vec![] }
    /// The overlay that carries `origin`'s messages in `group`, by default this peer's own.
    pub fn overlay(&self, group: &GroupName, origin: Option<PeerKey>) -> Option<OverlayStatus> { None }
    /// Counters since the start.
    pub fn counters(&self) -> Counters { Counters::default() }
    /// Dialable addresses of known peers, most useful first: what a driver remembers for the next start.
    pub fn known_addresses(&self, most: usize) -> Vec<(PeerKey, Vec<crate::name::Address>)> { vec![] }
}
