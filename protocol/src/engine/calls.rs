//! What the application asks for.

use super::Engine;
use crate::base::identity::PeerKey;
use crate::base::message::{
    JoinError, JoinOptions, MessageId, PublishError, PublishOptions, Published, SettingsPatch,
};
use crate::base::name::GroupName;
use crate::base::time::Time;
use crate::patterns::echo::PingError;
use bytes::Bytes;

impl Engine {
    /// Joins a group, or asks for more of its past. `broadcast` too must be joined to be
    /// delivered, though every peer carries it.
    pub fn join(
        &mut self,
        now: Time,
        group: GroupName,
        options: JoinOptions,
    ) -> Result<(), JoinError> {
        self.call(now, |engine| {
            engine
                .multicast
                .join_group(&mut cx!(engine), group, options)
        })
    }

    /// Leaves a group: nothing more is delivered. What this peer published stays to be pulled.
    pub fn leave(&mut self, now: Time, group: &GroupName) -> Result<(), JoinError> {
        self.call(now, |engine| {
            engine.multicast.leave_group(&mut cx!(engine), group)
        })
    }

    /// Changes a group's settings for everybody; this peer must be a member. Live: nothing that
    /// is under way is lost.
    pub fn set_group(
        &mut self,
        now: Time,
        group: &GroupName,
        patch: SettingsPatch,
    ) -> Result<(), JoinError> {
        self.call(now, |engine| {
            engine
                .multicast
                .change_settings(&mut cx!(engine), group, patch)
        })
    }

    /// Publishes a message. A peer that is not a member becomes a sender: part of the overlay,
    /// to whom nothing is delivered. On an error nothing has changed.
    ///
    /// Should a newer record of this identity turn up while a large message is going out, the
    /// message begins anew in the new epoch and is delivered under its name there;
    /// [`Event::Acknowledged`](crate::Event::Acknowledged) has the name given here.
    pub fn publish(
        &mut self,
        now: Time,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, PublishError> {
        self.call(now, |engine| {
            engine
                .multicast
                .publish_one(&mut cx!(engine), group, payload, options)
        })
    }

    /// Publishes messages that wait, in order, as [`Engine::publish`] does one after the other, but
    /// cheaper. It stops at the first that is refused, and before one that takes more than one `seq`.
    /// An error says why the first was refused; nothing has changed then.
    pub fn publish_many(
        &mut self,
        now: Time,
        group: &GroupName,
        messages: &[Bytes],
    ) -> Result<Published, PublishError> {
        self.call(now, |engine| {
            engine
                .multicast
                .publish_many(&mut cx!(engine), group, messages)
        })
    }

    /// Sends a probe along this peer's overlay of `group`; each member answers with an
    /// [`Event::Probe`](crate::Event::Probe) that carries the returned number. It is sent again to
    /// those who do not answer, up to five times, a second apart.
    pub fn probe(&mut self, now: Time, group: &GroupName) -> Result<u64, JoinError> {
        self.call(now, |engine| {
            engine.patterns.probe.begin(&mut pattern_cx!(engine), group)
        })
    }

    /// Sends a ping to one peer, over the view's shortest path; its
    /// [`Event::Pong`](crate::Event::Pong) or [`Event::PingLost`](crate::Event::PingLost) carries the
    /// returned number. It is sent again every second, up to seven times; from the third time on it
    /// avoids the relays that may have kept it.
    pub fn ping(&mut self, now: Time, peer: PeerKey) -> Result<u64, PingError> {
        self.call(now, |engine| {
            engine.patterns.echo.begin(&mut pattern_cx!(engine), peer)
        })
    }

    /// Does what was asked for, and tells what has come of it within.
    fn call<T>(&mut self, now: Time, what: impl FnOnce(&mut Self) -> T) -> T {
        self.advance(now);
        let result = what(self);
        self.settle();
        result
    }
}
