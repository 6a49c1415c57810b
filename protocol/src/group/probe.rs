//! Probes: one along the overlay, an answer from every member back along its way.

use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::{Event, LinkId};
use crate::message::JoinError;
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use crate::time::Micros;
use crate::wire::frame::{Probe, ProbeAnswer};
use hedgerow_topology::Class;
use std::collections::{BTreeMap, BTreeSet};

/// Links that a probe may cross.
const PATH_MAX: usize = 64;
/// Probes of this peer that are remembered.
const OWN_MAX: usize = 64;
/// Members whose answers to one probe are told.
const ANSWERS_MAX: usize = 1 << 16;
/// Probe frames handled per second; more are dropped, for nothing depends on them.
const PER_SECOND: u32 = 2_000;

/// A probe that not all have answered is sent again after so long, ms, and so often: a frame is
/// lost with its link, and trees follow within a few seconds.
const RETRY_MS: u64 = 1_000;
const RETRIES: u32 = 5;

/// A probe of this peer, as its caller knows it.
#[derive(Debug)]
struct Asked {
    id: GroupId,
    waiting: BTreeSet<PeerKey>,
    answered: BTreeSet<PeerKey>,
    retries: u32,
    /// When it is sent again; `None`: no more.
    next: Option<Micros>,
}

/// Probes sent, and how many frames of probes this second has seen.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    next: u64,
    asked: BTreeMap<u64, Asked>,
    /// By number on the wire: which probe it is of, and when it was sent.
    sent: BTreeMap<u64, (u64, Micros)>,
    second: (u64, u32),
}

impl Probes {
    pub(crate) fn due(&self) -> Option<Micros> {
        self.asked.values().filter_map(|asked| asked.next).min()
    }
}

impl Engine {
    pub(crate) fn send_new_probe(&mut self, group: &GroupName) -> Result<u64, JoinError> {
        let id = GroupId::new(&self.config.network, group);
        let known = self
            .groups
            .get(&id)
            .is_some_and(|group| group.role != Role::Relay);
        if !known {
            return Err(JoinError::NotMember(group.clone()));
        }
        let waiting = self.group_graph(id).map_or_else(BTreeSet::new, |graph| {
            graph.members().filter(|peer| *peer != self.me).collect()
        });
        let probe = self.probes.next + 1;
        if self.probes.asked.len() >= OWN_MAX {
            self.probes.asked.pop_first();
        }
        self.probes.asked.insert(
            probe,
            Asked {
                id,
                waiting,
                answered: BTreeSet::new(),
                retries: 0,
                next: None,
            },
        );
        self.send_probe(probe);
        Ok(probe)
    }

    /// Sends a probe under a number of its own, so that answers tell how long they took.
    fn send_probe(&mut self, probe: u64) {
        let now = self.now.mono;
        let again = self.in_ms(RETRY_MS);
        let probes = &mut self.probes;
        let Some(asked) = probes.asked.get_mut(&probe) else {
            return;
        };
        asked.next = (asked.retries < RETRIES).then_some(again);
        probes.next += 1;
        let number = probes.next;
        if probes.sent.len() >= OWN_MAX * (RETRIES as usize + 1) {
            probes.sent.pop_first();
        }
        probes.sent.insert(number, (probe, now));
        let frame = Probe {
            group: asked.id,
            probe: number,
            path: vec![self.me],
        };
        self.pass_probe(&frame);
        self.wake_at(again);
    }

    pub(crate) fn on_probes_timeout(&mut self) {
        let now = self.now.mono;
        let due: Vec<u64> = self
            .probes
            .asked
            .iter()
            .filter(|(_, asked)| asked.next.is_some_and(|next| next <= now))
            .map(|(probe, _)| *probe)
            .collect();
        for probe in due {
            let Some(asked) = self.probes.asked.get_mut(&probe) else {
                continue;
            };
            asked.next = None;
            asked.retries += 1;
            if !asked.waiting.is_subset(&asked.answered) {
                self.count("probes_repeated");
                self.send_probe(probe);
            }
        }
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
        let Some(&(probe, sent)) = self.probes.sent.get(&answer.probe) else {
            return;
        };
        let Some(&member) = answer.path.last() else {
            return;
        };
        let asked = self.probes.asked.get_mut(&probe);
        let is_new = asked
            .filter(|asked| asked.id == answer.group && asked.answered.len() < ANSWERS_MAX)
            .is_some_and(|asked| asked.answered.insert(member));
        if !is_new {
            return;
        }
        self.event(Event::Probe {
            probe,
            member,
            path: answer.path,
            round_trip_us: self.now.mono.since(sent).0,
        });
    }
}
