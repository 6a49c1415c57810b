//! Probes: one along the overlay, an answer from every member back along its way.

use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::{Event, LinkId};
use crate::message::JoinError;
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use crate::time::{Micros, Time};
use crate::wire::frame::{Probe, ProbeAnswer};
use hedgerow_topology::Class;
use std::collections::BTreeMap;

/// Links that a probe may cross.
const PATH_MAX: usize = 64;
/// Probes of this peer that are remembered.
const OWN_MAX: usize = 64;
/// Probe frames handled per second; more are dropped, for nothing depends on them.
const PER_SECOND: u32 = 2_000;

/// Probes sent, and how many frames of probes this second has seen.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    next: u64,
    sent: BTreeMap<u64, (GroupId, Micros)>,
    second: (u64, u32),
}

impl Engine {
    /// Sends a probe along this peer's overlay of `group`; each member answers with an
    /// [`Event::Probe`] that carries the returned number.
    pub fn probe(&mut self, now: Time, group: &GroupName) -> Result<u64, JoinError> {
        self.advance(now);
        let id = GroupId::new(&self.config.network, group);
        let known = self
            .groups
            .get(&id)
            .is_some_and(|group| group.role != Role::Relay);
        if !known {
            return Err(JoinError::NotMember(group.clone()));
        }
        self.probes.next += 1;
        let probe = self.probes.next;
        if self.probes.sent.len() >= OWN_MAX {
            self.probes.sent.pop_first();
        }
        self.probes.sent.insert(probe, (id, self.now.mono));
        self.pass_probe(&Probe {
            group: id,
            probe,
            path: vec![self.me],
        });
        Ok(probe)
    }

    fn pass_probe(&mut self, probe: &Probe) {
        let Some(&origin) = probe.path.first() else {
            return;
        };
        let Some(route) = self.route(probe.group, origin, Class::Normal) else {
            return;
        };
        let children: Vec<PeerKey> = route.children().collect();
        for child in children {
            if let Some(&link) = self.up.get(&child) {
                self.send(link, probe.clone());
            }
        }
    }

    fn may_probe(&mut self) -> bool {
        let second = self.now.mono.0 / 1_000_000;
        if self.probes.second.0 != second {
            self.probes.second = (second, 0);
        }
        self.probes.second.1 += 1;
        if self.probes.second.1 > PER_SECOND {
            self.count("probes_dropped");
        }
        self.probes.second.1 <= PER_SECOND
    }

    pub(crate) fn on_probe(&mut self, from: LinkId, mut probe: Probe) {
        let Some(link) = self.links.get(&from) else {
            return;
        };
        let honest = probe.path.last() == Some(&link.peer)
            && probe.path.len() < PATH_MAX
            && !probe.path.contains(&self.me);
        if !honest || !self.may_probe() {
            return;
        }
        probe.path.push(self.me);
        let Some(group) = self.groups.get(&probe.group) else {
            return;
        };
        if group.role == Role::Member {
            let answer = ProbeAnswer {
                group: probe.group,
                probe: probe.probe,
                path: probe.path.clone(),
            };
            self.send(from, answer);
        }
        self.pass_probe(&probe);
    }

    pub(crate) fn on_probe_answer(&mut self, from: LinkId, answer: ProbeAnswer) {
        let Some(at) = answer.path.iter().position(|peer| *peer == self.me) else {
            return;
        };
        let sender = self.links.get(&from).map(|link| link.peer);
        if answer.path.get(at + 1).copied() != sender || answer.path.len() > PATH_MAX {
            return;
        }
        if at > 0 {
            let back = self.up.get(&answer.path[at - 1]).copied();
            if let Some(link) = back.filter(|_| self.may_probe()) {
                self.send(link, answer);
            }
            return;
        }
        let Some(&(id, sent)) = self.probes.sent.get(&answer.probe) else {
            return;
        };
        if id != answer.group {
            return;
        }
        let Some(&member) = answer.path.last() else {
            return;
        };
        self.event(Event::Probe {
            probe: answer.probe,
            member,
            path: answer.path,
            round_trip_us: self.now.mono.since(sent).0,
        });
    }
}
