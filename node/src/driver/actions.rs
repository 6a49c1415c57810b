//! Doing what the engine asks for.

use super::{Done, Driver, Phase};
use crate::NodeError;
use crate::delivery::Gap;
use crate::replies::{Pong, ProbeAnswer};
use crate::transport::Request;
use hedgerow_protocol::{
    Action, Address, BatchId, DialId, Event, GroupName, IdentityUser, Input, Namespace,
    SettingsPatch, StoreError, StoreOp,
};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;

impl Driver {
    /// Drains the engine.
    pub(super) fn perform(&mut self) {
        let now = Instant::now();
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.on_action(action, now);
            }
            let Some((id, job)) = self.verifier.take_lone() else {
                break;
            };
            let valid = job.run();
            let verified = Input::Verified { id, valid };
            self.engine.handle_input(self.clock.now(), verified);
        }
        self.rings.flush(now);
        self.verifier.start();
    }

    fn on_action(&mut self, action: Action, now: Instant) {
        match action {
            Action::Send { link, chunks } => {
                if let Some(handle) = self.links.get(&link) {
                    self.tally.count_sent(&chunks);
                    handle.send(chunks);
                }
            }
            Action::AwaitWritten { link } => {
                if let Some(handle) = self.links.get(&link)
                    && !handle.await_written()
                {
                    let bytes = handle.take_sent();
                    let written = Input::Sent { link, bytes };
                    self.engine.handle_input(self.clock.now(), written);
                }
            }
            Action::Slow { link, bytes } => {
                if let Some(handle) = self.links.get(&link) {
                    handle.slow(bytes);
                }
            }
            Action::Resume { link } => {
                if let Some(handle) = self.links.get(&link) {
                    handle.resume();
                }
            }
            Action::Deliver(delivery) => {
                self.tally.delivered += 1;
                self.rings.deliver(delivery, now);
            }
            Action::Verify { id, job } => self.verifier.push(id, job),
            Action::Event(event) => self.on_event(event, now),
            Action::Dial {
                dial,
                peer,
                addresses,
                timeout,
            } => {
                self.tally.dials += 1;
                self.request(
                    dial,
                    Request::Dial {
                        dial,
                        peer,
                        addresses,
                        timeout: Duration::from_micros(timeout.0),
                    },
                );
            }
            Action::Close { link } => {
                if let Some(handle) = self.links.remove(&link) {
                    handle.close();
                }
            }
            Action::Store {
                batch,
                namespace,
                ops,
            } => self.store(batch, namespace, ops),
        }
    }

    /// Asks the swarm without waiting for it: a dial that finds no room has failed.
    fn request(&mut self, dial: DialId, request: Request) {
        match self.transport.requests.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.tally.dials_failed += 1;
                self.engine
                    .handle_input(self.clock.now(), Input::DialFailed { dial });
            }
        }
    }

    /// Stores a batch elsewhere: the disk may take its time. Whether it is tried again is the engine's
    /// choice.
    fn store(&self, batch: BatchId, namespace: Namespace, ops: Vec<StoreOp>) {
        let (store, done) = (self.store.clone(), self.done.clone());
        tokio::spawn(async move {
            let write = move || store.apply(namespace, ops);
            let result = match tokio::task::spawn_blocking(write).await {
                Ok(result) => result.map_err(|error| store_error(&error)),
                Err(error) => Err(StoreError::Failed(error.to_string())),
            };
            // The node may have stopped.
            let _ = done.send(Done::Stored(batch, result)).await;
        });
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        log(&event);
        match &event {
            Event::Gap {
                group,
                origin,
                epoch,
                from,
                to,
            } => {
                self.tally.gaps += 1;
                let gap = Gap::Lost {
                    origin: *origin,
                    epoch: *epoch,
                    from: *from,
                    to: *to,
                };
                self.rings.push(group, Err(gap), now);
            }
            Event::Joined { group, .. } => {
                if let Some(ring) = self.rings.get(group) {
                    ring.set_joined();
                }
            }
            Event::Settings { group, .. } => self.remember_settings(group),
            // A stored membership stays: a later version takes it up again.
            Event::SettingUnsupported { group, .. } => {
                self.members.remove(group);
                self.rings.close(group);
            }
            Event::Sendable { group } => {
                if let Some(publish_queue) = self.blocked.remove(group) {
                    self.publish_queues.relist(&publish_queue);
                }
            }
            Event::Acknowledged { group, result } => {
                if let Some(waiting) = self.acknowledging.remove(&(group.clone(), result.id)) {
                    // The caller may have gone.
                    let _ = waiting.send(result.clone());
                }
            }
            Event::Probe {
                probe,
                member,
                path,
                round_trip_us,
            } => {
                if let Some(answers) = self.probes.get(probe) {
                    let answer = ProbeAnswer {
                        member: *member,
                        path: path.clone(),
                        round_trip_us: *round_trip_us,
                    };
                    // Who has gone wants no answers; who reads too slowly loses them.
                    if let Err(TrySendError::Full(_)) = answers.try_send(answer) {
                        self.tally.probe_answers_dropped += 1;
                    }
                }
            }
            Event::Pong {
                ping,
                peer,
                round_trip_us,
                hops,
            } => {
                if let Some(waiting) = self.pings.remove(ping) {
                    // The caller may have gone.
                    let _ = waiting.send(Some(Pong {
                        peer: *peer,
                        round_trip_us: *round_trip_us,
                        hops: *hops,
                    }));
                }
            }
            Event::PingLost { ping, .. } => {
                if let Some(waiting) = self.pings.remove(ping) {
                    let _ = waiting.send(None);
                }
            }
            Event::IdentityInUse { .. } | Event::Stopped { .. } if self.phase != Phase::Aborted => {
                self.phase = Phase::Stopped;
            }
            _ => {}
        }
        // Nobody may listen.
        let _ = self.events.send(event);
    }

    /// A kept group is rejoined with the settings that hold, not with those it began with.
    pub(crate) fn remember_settings(&mut self, group: &GroupName) {
        if let Some(settings) = self.settings(group) {
            let (store, group) = (self.store.clone(), group.clone());
            tokio::task::spawn_blocking(move || {
                // Not kept, or left meanwhile, it is not brought back.
                if let Err(error) = store.update_group(&group, settings) {
                    tracing::warn!(%error, "the group's new settings are not stored");
                }
            });
        }
    }

    /// A group's settings as they hold here, all explicit.
    pub(super) fn settings(&self, group: &GroupName) -> Option<SettingsPatch> {
        let status = self.engine.group(group)?;
        // Settings that nobody has chosen stay unchosen.
        if status.settings_version == 0 {
            return Some(SettingsPatch::default());
        }
        let settings = status.settings;
        Some(SettingsPatch {
            redundancy: Some(settings.redundancy),
            order: Some(settings.order),
            retention_bytes: Some(settings.retention_bytes),
            retention_ms: Some(settings.retention_ms),
        })
    }
}

/// What an operator would ask about.
fn log(event: &Event) {
    match event {
        Event::LinkUp { link, peer } => {
            tracing::info!(link = link.0, neighbour = %peer, "link up");
        }
        Event::LinkDown { link, peer, reason } => {
            tracing::info!(link = link.0, neighbour = %peer, ?reason, "link down");
        }
        Event::ViewChanged { peers, hash } => {
            tracing::debug!(peers, hash = %format_args!("{hash:016x}"), "view changed");
        }
        Event::Joined {
            group,
            from_neighbour,
        } => tracing::info!(%group, from_neighbour, "joined"),
        Event::Gap {
            group,
            origin,
            epoch,
            from,
            to,
        } => {
            tracing::warn!(%group, %origin, epoch, from, to, "gap");
        }
        Event::Settings {
            group,
            settings,
            lost,
        } => {
            tracing::info!(%group, %settings, lost, "group settings");
        }
        Event::SettingUnsupported { group, setting } => {
            tracing::error!(
                %group,
                setting,
                "the group has a setting that this version does not know; left it"
            );
        }
        Event::OriginRefused { group, peer } => {
            tracing::warn!(%group, %peer, "a neighbour has no room for what is published here");
        }
        Event::Equivocation {
            group,
            origin,
            epoch,
        } => {
            tracing::warn!(%group, %origin, epoch, "equivocation: cut off");
        }
        Event::IdentityInUse { peer, epoch, other } => {
            tracing::error!(
                %peer,
                epoch,
                other_epoch = other.epoch,
                other_addresses = %addresses(other),
                "another running peer uses this identity, and started later; stopping"
            );
        }
        Event::IdentityConflict { peer, users } => {
            let users: Vec<String> = users
                .iter()
                .map(|user| format!("epoch {} at {}", user.epoch, addresses(user)))
                .collect();
            tracing::warn!(%peer, users = %users.join("; "), "two running peers use one identity");
        }
        Event::StoreFailed {
            namespace,
            why,
            failures,
            retry_ms,
        } => {
            tracing::error!(
                namespace = namespace.name(),
                why,
                failures,
                retry_ms,
                "not stored; trying again"
            );
        }
        Event::ClockOff { off_ms } => {
            tracing::warn!(
                off_ms,
                "the clock differs from the neighbours' clocks; set it (NTP)"
            );
        }
        Event::Stopped { confirmed } => tracing::info!(confirmed, "left"),
        Event::Sendable { .. }
        | Event::Acknowledged { .. }
        | Event::Probe { .. }
        | Event::Pong { .. }
        | Event::PingLost { .. } => {}
    }
}

/// What the engine is told of a failed write. The words name the file.
fn store_error(error: &NodeError) -> StoreError {
    let why = error.to_string();
    match error {
        NodeError::DataDir { source, .. } if is_lack_of_room(source.kind()) => {
            StoreError::NoRoom(why)
        }
        _ => StoreError::Failed(why),
    }
}

fn is_lack_of_room(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// Where a user of an identity is, in words.
fn addresses(user: &IdentityUser) -> String {
    let addresses: Vec<&str> = user.addresses.iter().map(Address::as_str).collect();
    if addresses.is_empty() {
        return "an unknown address".to_owned();
    }
    addresses.join(", ")
}
