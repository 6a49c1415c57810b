//! Peers start, join, are killed.

use super::Real;
use super::ingest::{News, listen};
use super::node::{Files, State, name};
use crate::journal::Change;
use crate::process::{Lifetime, Peer, PeerPlan, Place, ProcessError};
use hedgerow_protocol::{GroupName, SettingsPatch};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Peers that start at the same time; more would only wait for each other's cores.
pub(super) const STARTING_MAX: usize = 8;
/// How long a peer may take until its API accepts calls.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What it takes to start a peer.
struct Start {
    binary: PathBuf,
    place: Arc<dyn Place>,
    plan: PeerPlan,
    files: Files,
    wiped: bool,
    /// Whether no process of this run was there before.
    is_first: bool,
    /// The process that was there before.
    last: Option<Peer>,
    turn: Arc<Semaphore>,
}

impl Start {
    async fn run(self) -> Result<Box<Peer>, ProcessError> {
        // Its turn never ends before the semaphore, which is never closed.
        let _turn = self.turn.acquire_owned().await;
        if let Some(mut last) = self.last {
            last.wait().await?;
        }
        let broken = |source| ProcessError::Io {
            path: self.plan.data_dir.clone(),
            source,
        };
        self.files.write(self.wiped).map_err(broken)?;
        if self.is_first {
            // An earlier run may have left a log; most have not.
            let _ = std::fs::remove_file(self.plan.log_file());
        }
        let peer = Peer::start_in(self.place.as_ref(), &self.binary, self.plan).await?;
        Ok(Box::new(peer))
    }
}

impl Real {
    /// Starts a process; news tells when it is up.
    pub(super) fn start_peer(&mut self, node: usize, wiped: bool) {
        if !matches!(self.nodes[node].state, State::Idle | State::Down) {
            return;
        }
        self.silence(node, false);
        let place = self.place(node);
        let at = &mut self.nodes[node];
        at.state = State::Starting;
        at.life += 1;
        at.joins.clear();
        let start = Start {
            binary: self.binaries[node % 2].clone(),
            place,
            plan: PeerPlan {
                name: name(node),
                data_dir: at.data_dir.clone(),
                log_dir: self.logs.clone(),
                network: self.network.clone(),
                listen: vec![at.listen.clone()],
                connect: at.connect.clone(),
                join: Vec::new(),
                more: Vec::new(),
                lifetime: Lifetime::Owned,
                ready_within: READY_WITHIN,
            },
            files: at.files(),
            wiped,
            is_first: at.life == 1,
            last: at.peer.take(),
            turn: Arc::clone(&self.starting),
        };
        let (life, sender) = (at.life, self.sender.clone());
        let task = self.runtime.spawn(async move {
            let result = start.run().await;
            // Nobody hears it any more when the world ends.
            let _ = sender.send(News::Up { node, life, result });
        });
        at.start = Some(task.abort_handle());
    }

    /// A process is up, or will never be.
    pub(super) fn on_up(&mut self, node: usize, result: Result<Box<Peer>, ProcessError>) {
        self.nodes[node].start = None;
        match result {
            Ok(peer) => {
                self.change(node, Change::Started);
                let at = &mut self.nodes[node];
                at.peer = Some(*peer);
                at.state = State::Running;
                let full = at.disk_full;
                if full {
                    self.signal(node, |peer| peer.fill_disk(true));
                }
                let at = &mut self.nodes[node];
                for (group, settings) in at.joins.clone() {
                    self.listen_to(node, group, settings);
                }
            }
            Err(error) => {
                self.nodes[node].state = State::Idle;
                self.trouble(format!("node {node} did not start: {error}"));
            }
        }
    }

    /// A run that waited in vain for peers to come up is no good.
    pub(super) fn tell_who_is_not_up(&mut self) {
        for node in 0..self.nodes.len() {
            let at = &self.nodes[node];
            if at.state == State::Idle || at.is_up() || self.interrupted {
                continue;
            }
            let missing = at.joining.iter().map(GroupName::as_str);
            let missing = missing.collect::<Vec<_>>().join(", ");
            let state = at.state;
            self.trouble(format!(
                "node {node} is not up ({state:?}, not in: {missing})"
            ));
        }
    }

    /// Joins a group now, or as soon as the peer is up.
    pub(super) fn join_group(&mut self, node: usize, group: GroupName, settings: SettingsPatch) {
        self.nodes[node].joins.insert(group.clone(), settings);
        let is_up = matches!(self.nodes[node].state, State::Running | State::Paused);
        if is_up && !self.nodes[node].streams.contains_key(&group) {
            self.listen_to(node, group, settings);
        }
    }

    fn listen_to(&mut self, node: usize, group: GroupName, settings: SettingsPatch) {
        let at = &mut self.nodes[node];
        let Some(peer) = &at.peer else { return };
        let (api, life, sender) = (peer.api(), at.life, self.sender.clone());
        let (of, deaf) = (group.clone(), at.deaf.subscribe());
        let task = self.runtime.spawn(async move {
            let ended = listen((&api, deaf), node, life, &of, settings, &sender).await;
            let why = ended.map_or_else(|error| error.to_string(), |()| "it ended".to_owned());
            let _ = sender.send(News::Closed {
                node,
                life,
                group: of,
                why,
            });
        });
        at.joining.insert(group.clone());
        at.streams.insert(group, task.abort_handle());
    }

    /// Kills a process at once; it is waited for when its place is needed again.
    pub(super) fn kill_peer(&mut self, node: usize, state: State) {
        if matches!(self.nodes[node].state, State::Idle | State::Down) {
            return;
        }
        if let Some(start) = self.nodes[node].start.take() {
            start.abort();
        }
        self.signal(node, |peer| match peer.process() {
            Some(_) => peer.signal(rustix::process::Signal::KILL),
            None => Ok(()),
        });
        self.stopped(node, state);
    }

    /// Takes note that no process is at a node any more.
    pub(super) fn stopped(&mut self, node: usize, state: State) {
        let at = &mut self.nodes[node];
        for (_, reader) in std::mem::take(&mut at.streams) {
            reader.abort();
        }
        at.joins.clear();
        at.joining.clear();
        at.settle_counts();
        at.life += 1;
        let was_up = std::mem::replace(&mut at.state, state) != State::Starting;
        if was_up {
            self.change(node, Change::Stopped);
        }
    }

    /// Looks for processes that have ended.
    pub(super) fn reap(&mut self) {
        for node in 0..self.nodes.len() {
            let at = &self.nodes[node];
            let gone = at.peer.as_ref().is_some_and(|peer| !peer.is_alive());
            match at.state {
                State::Leaving if gone => self.stopped(node, State::Idle),
                State::Running | State::Paused if gone => {
                    let log = at.peer.as_ref().map(Peer::log_tail).unwrap_or_default();
                    self.stopped(node, State::Idle);
                    self.trouble(format!("node {node} ended by itself: {}", log.trim_end()));
                }
                _ => {}
            }
        }
    }

    /// Ends every process. Their states stay, for whoever asks what was seen last.
    pub(super) fn kill_all(&mut self) {
        let _inside = self.runtime.enter();
        for at in &mut self.nodes {
            if let Some(start) = at.start.take() {
                start.abort();
            }
            for reader in at.streams.values() {
                reader.abort();
            }
            // All are told before any is waited for. One that is gone already is no trouble.
            if let Some(peer) = &at.peer {
                let _ = peer.signal(rustix::process::Signal::KILL);
            }
        }
        for at in &mut self.nodes {
            at.peer = None;
        }
    }
}
