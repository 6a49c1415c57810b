//! Probes: one along the overlay, an answer from every member back along its way.

use super::{Cx, Module};
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, LinkId, VerifyId};
use crate::base::message::JoinError;
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::multicast::MulticastEvent;
use crate::overlay::links::OverlayEvent;
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

impl Module for Probes {
    fn on_overlay(&mut self, _: &mut Cx<'_>, _: &OverlayEvent) {}

    fn on_multicast(&mut self, _: &mut Cx<'_>, _: &MulticastEvent) {}

    fn on_verified(&mut self, _: &mut Cx<'_>, _: VerifyId, _: bool) {}

    fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.core.now.mono;
        let due: Vec<u64> = (self.asked.iter())
            .filter(|(_, asked)| asked.next.is_some_and(|next| next <= now))
            .map(|(probe, _)| *probe)
            .collect();
        for probe in due {
            let Some(asked) = self.asked.get_mut(&probe) else {
                continue;
            };
            asked.next = None;
            asked.retries += 1;
            if !asked.waiting.is_subset(&asked.answered) {
                cx.core.count(counter!("probes_repeated"));
                self.send(cx, probe);
            }
        }
    }

    fn next_timeout(&self) -> Option<Micros> {
        self.asked.values().filter_map(|asked| asked.next).min()
    }
}

impl Probes {
    /// Sends a probe to all members of a group; gives its number.
    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>, group: &GroupName) -> Result<u64, JoinError> {
        let id = GroupId::new(&cx.core.config.network, group);
        if cx.multicast.role(id).is_none_or(|role| role == Role::Relay) {
            return Err(JoinError::NotMember(group.clone()));
        }
        let graph = cx.multicast.group_graph(cx.below(), id);
        let waiting = graph.map_or_else(BTreeSet::new, |graph| {
            graph.members().filter(|peer| *peer != cx.core.me).collect()
        });
        let probe = self.next + 1;
        if self.asked.len() >= OWN_MAX {
            self.asked.pop_first();
        }
        self.asked.insert(
            probe,
            Asked {
                id,
                waiting,
                answered: BTreeSet::new(),
                retries: 0,
                next: None,
            },
        );
        self.send(cx, probe);
        Ok(probe)
    }

    /// Sends a probe under a number of its own, so that answers tell how long they took.
    fn send(&mut self, cx: &mut Cx<'_>, probe: u64) {
        let now = cx.core.now.mono;
        let again = cx.core.in_ms(RETRY_MS);
        let Some(asked) = self.asked.get_mut(&probe) else {
            return;
        };
        asked.next = (asked.retries < RETRIES).then_some(again);
        self.next += 1;
        let number = self.next;
        if self.sent.len() >= OWN_MAX * (RETRIES as usize + 1) {
            self.sent.pop_first();
        }
        self.sent.insert(number, (probe, now));
        let frame = Probe {
            group: asked.id,
            probe: number,
            path: vec![cx.core.me],
        };
        pass_on(cx, &frame);
        cx.core.wake_at(again);
    }

    fn may_probe(&mut self, cx: &mut Cx<'_>) -> bool {
        let second = cx.core.now.mono.0 / 1_000_000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        if self.second.1 > PER_SECOND {
            cx.core.count(counter!("probes_dropped"));
        }
        self.second.1 <= PER_SECOND
    }

    pub(crate) fn on_probe(&mut self, cx: &mut Cx<'_>, from: LinkId, mut probe: Probe) {
        let Some(sender) = cx.net.peer_of(from) else {
            return;
        };
        let honest = probe.path.last() == Some(&sender)
            && probe.path.len() < PATH_MAX
            && !probe.path.contains(&cx.core.me);
        if !honest || !self.may_probe(cx) {
            return;
        }
        probe.path.push(cx.core.me);
        let Some(role) = cx.multicast.role(probe.group) else {
            return;
        };
        if role == Role::Member {
            let answer = ProbeAnswer {
                group: probe.group,
                probe: probe.probe,
                path: probe.path.clone(),
            };
            cx.net.send(cx.core, from, answer);
        }
        pass_on(cx, &probe);
    }

    pub(crate) fn on_probe_answer(&mut self, cx: &mut Cx<'_>, from: LinkId, answer: ProbeAnswer) {
        let Some(at) = answer.path.iter().position(|peer| *peer == cx.core.me) else {
            return;
        };
        let sender = cx.net.peer_of(from);
        if answer.path.get(at + 1).copied() != sender || answer.path.len() > PATH_MAX {
            return;
        }
        if at > 0 {
            let back = cx.net.link_to(answer.path[at - 1]);
            if let Some(link) = back.filter(|_| self.may_probe(cx)) {
                cx.net.send(cx.core, link, answer);
            }
            return;
        }
        let Some(&(probe, sent)) = self.sent.get(&answer.probe) else {
            return;
        };
        let Some(&member) = answer.path.last() else {
            return;
        };
        let asked = self.asked.get_mut(&probe);
        let is_new = asked
            .filter(|asked| asked.id == answer.group && asked.answered.len() < ANSWERS_MAX)
            .is_some_and(|asked| asked.answered.insert(member));
        if !is_new {
            return;
        }
        cx.core.event(Event::Probe {
            probe,
            member,
            path: answer.path,
            round_trip_us: cx.core.now.mono.since(sent).0,
        });
    }
}

/// Passes a probe on to this peer's children in its origin's tree.
fn pass_on(cx: &mut Cx<'_>, probe: &Probe) {
    let Some(&origin) = probe.path.first() else {
        return;
    };
    let route = cx
        .multicast
        .route(cx.below(), probe.group, origin, Class::Normal);
    let Some(route) = route else {
        return;
    };
    for child in route.children() {
        if let Some(link) = cx.net.link_to(child) {
            cx.net.send(cx.core, link, probe.clone());
        }
    }
}
