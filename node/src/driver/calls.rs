//! What the handles ask for.

use super::clock::wall_ms;
use super::{Driver, PEERS_SAVED, Phase};
use crate::NodeError;
use crate::delivery::Subscription;
use crate::replies::{Pong, ProbeAnswer};
use bytes::Bytes;
use hedgerow_protocol::status::Counters;
use hedgerow_protocol::{
    Address, Engine, GroupName, History, Input, JoinError, JoinOptions, MessageId, PeerKey,
    PublishError, PublishOptions, SettingsPatch,
};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Answers to a probe that wait to be read; further ones are lost.
const PROBE_ANSWERS: usize = 4_096;

/// Probes whose answers are waited for at once.
const PROBES: usize = 64;

/// Says what became of a write, or of a look at what is stored.
type Written<T = ()> = oneshot::Receiver<Result<T, NodeError>>;

impl Driver {
    /// The engine, to be asked.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Joins a group and subscribes; a further subscriber's history comes from its ring.
    pub(crate) fn join(
        &mut self,
        group: &GroupName,
        options: JoinOptions,
    ) -> Result<Subscription, NodeError> {
        let now = self.clock.now();
        let JoinOptions { settings, history } = options;
        if self.members.contains(group) {
            let check = JoinOptions {
                settings,
                history: History::None,
            };
            self.engine.join(now, group.clone(), check)?;
            let ring = self.rings.get_or_create(group).clone();
            return Ok(Subscription::new(ring, history, now.wall_ms));
        }
        self.engine.join(now, group.clone(), options)?;
        self.members.insert(group.clone());
        // Attached before the engine is drained: it misses nothing.
        let ring = self.rings.get_or_create(group).clone();
        Ok(Subscription::new(ring, History::None, now.wall_ms))
    }

    /// Rejoins the kept groups at the start.
    pub(super) fn rejoin(&mut self) {
        for (group, settings) in self.store.groups() {
            let options = JoinOptions {
                settings,
                history: History::None,
            };
            match self.join(&group, options) {
                Ok(_) => tracing::info!(%group, "rejoined"),
                Err(error) => tracing::error!(%group, %error, "not rejoined"),
            }
        }
    }

    /// Subscribes without joining.
    pub(crate) fn subscribe(&mut self, group: &GroupName, history: History) -> Subscription {
        let ring = self.rings.get_or_create(group).clone();
        Subscription::new(ring, history, wall_ms())
    }

    /// Stores a membership.
    pub(crate) fn keep(&mut self, group: &GroupName) -> Result<Written, NodeError> {
        if !self.members.contains(group) {
            return Err(JoinError::NotMember(group.clone()).into());
        }
        let settings = self.settings(group).unwrap_or_default();
        let group = group.clone();
        Ok(self.write(move |store| store.save_group(group, settings)))
    }

    /// Stores a membership that is joined afterwards, unless that would be refused. The answer is
    /// what was stored before, for [`Driver::restore_kept`].
    pub(crate) fn keep_first(
        &self,
        group: &GroupName,
        options: JoinOptions,
    ) -> Result<Written<Option<SettingsPatch>>, NodeError> {
        self.engine.check_join(group, &options)?;
        let present = self
            .settings(group)
            .filter(|_| self.members.contains(group));
        let group = group.clone();
        Ok(self.write(move |store| {
            let mut stored = store.groups().into_iter();
            let former = stored.find_map(|(name, settings)| (name == group).then_some(settings));
            let settings = options.settings.or(present.or(former).unwrap_or_default());
            store.save_group(group, settings)?;
            Ok(former)
        }))
    }

    /// Stores what was stored before [`Driver::keep_first`].
    pub(crate) fn restore_kept(&self, group: GroupName, former: Option<SettingsPatch>) -> Written {
        self.write(move |store| match former {
            Some(settings) => store.save_group(group, settings),
            None => store.remove_group(&group),
        })
    }

    /// Whether a membership is stored. The store may be writing: it is not waited for here.
    pub(crate) fn is_kept(&self, group: &GroupName) -> Written<bool> {
        let group = group.clone();
        self.write(move |store| Ok(store.has_group(&group)))
    }

    /// Forgets a kept group, before it is left. Refused where there is nothing to leave.
    pub(crate) fn forget(&self, group: &GroupName) -> Written {
        let is_member = self.members.contains(group);
        let group = group.clone();
        self.write(move |store| {
            if !is_member && !store.has_group(&group) {
                return Err(JoinError::NotMember(group).into());
            }
            store.remove_group(&group)
        })
    }

    /// Leaves a group that has been forgotten.
    pub(crate) fn leave(&mut self, group: &GroupName) -> Result<(), NodeError> {
        match self.engine.leave(self.clock.now(), group) {
            // It could not be rejoined, or was left meanwhile.
            Ok(()) | Err(JoinError::NotMember(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.members.remove(group);
        self.rings.close(group);
        Ok(())
    }

    /// Whether the disk takes what is to be stored.
    pub(crate) fn probe_store(&self) -> Written {
        self.write(crate::store::Store::probe)
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::store::Store) -> Result<T, NodeError> + Send + 'static,
    ) -> Written<T> {
        let (reply, written) = oneshot::channel();
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || {
            let result = work(&store);
            drop(store);
            // A caller that has gone does not want to know.
            let _ = reply.send(result);
        });
        written
    }

    /// Changes a group's settings.
    pub(crate) fn set_group(
        &mut self,
        group: &GroupName,
        patch: SettingsPatch,
    ) -> Result<(), NodeError> {
        self.engine.set_group(self.clock.now(), group, patch)?;
        self.perform();
        self.remember_settings(group);
        Ok(())
    }

    /// Publishes past the group's publish queue, unless others wait there.
    pub(crate) fn try_publish(
        &mut self,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, NodeError> {
        if self.blocked.contains_key(group) {
            return Err(PublishError::Busy.into());
        }
        Ok(self
            .engine
            .publish(self.clock.now(), group, payload, options)?)
    }

    /// Sends a probe.
    pub(crate) fn probe(
        &mut self,
        group: &GroupName,
    ) -> Result<mpsc::Receiver<ProbeAnswer>, NodeError> {
        if self.probes.len() >= PROBES {
            self.probes.retain(|_, answers| !answers.is_closed());
        }
        if self.probes.len() >= PROBES {
            return Err(NodeError::TooManyProbes { max: PROBES });
        }
        let probe = self.engine.probe(self.clock.now(), group)?;
        let (answers, inbox) = mpsc::channel(PROBE_ANSWERS);
        self.probes.insert(probe, answers);
        Ok(inbox)
    }

    /// Sends a ping; `None` comes if it is lost. The engine limits how many wait.
    pub(crate) fn ping(
        &mut self,
        peer: PeerKey,
    ) -> Result<oneshot::Receiver<Option<Pong>>, NodeError> {
        let ping = self.engine.ping(self.clock.now(), peer)?;
        let (reply, answer) = oneshot::channel();
        self.pings.insert(ping, reply);
        Ok(answer)
    }

    /// Names addresses worth a try.
    pub(crate) fn discovered(&mut self, addresses: Vec<Address>) {
        self.engine
            .handle_input(self.clock.now(), Input::Discovered(addresses));
    }

    /// The engine's counters and the node's own.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.engine.counters();
        let own = [
            ("node_connections", self.tally.links),
            ("node_control_bytes", self.tally.control_bytes),
            ("node_control_frames", self.tally.control_frames),
            ("node_delivered", self.tally.delivered),
            ("node_connections_denied", self.transport.denied()),
            ("node_dials", self.tally.dials),
            ("node_dials_failed", self.tally.dials_failed),
            ("node_discovered", self.tally.discovered),
            ("node_gaps", self.tally.gaps),
            ("node_overtaken", self.rings.overtaken()),
            (
                "node_probe_answers_dropped",
                self.tally.probe_answers_dropped,
            ),
            ("node_ring_bytes", self.rings.bytes() as u64),
            ("node_sent_bytes", self.tally.sent_bytes),
            ("node_subscribers", self.rings.subscribers() as u64),
            ("node_verify_batches", self.verifier.batches),
            ("node_verify_jobs", self.verifier.jobs),
        ];
        counters.values.extend(own);
        counters
    }

    /// Begins to leave the network.
    pub(crate) fn begin_shutdown(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Leaving(Instant::now() + self.leave_limit);
            tracing::info!("leaving");
            self.engine.shutdown(self.clock.now());
        }
    }

    /// Stops without a word.
    pub(crate) fn abort(&mut self) {
        self.phase = Phase::Aborted;
    }

    /// Stores the peers known now, in the background.
    pub(super) fn save_peers(&self) {
        let peers = self.engine.known_addresses(PEERS_SAVED);
        // An error is told by the write at the end.
        drop(self.write(move |store| store.save_peers(peers)));
    }
}
