//! What parents owe: a parent that answers heartbeats but forwards nothing loses its children.
//!
//! A child that has to pull what its parent had and should have pushed records a fault of the parent. That the parent
//! had it is known by its digests, or by asking it as well: what it serves to a child that it
//! cannot know to have it by now, it has kept. Faults count only while both ends have had the same
//! graph for a while, for then both compute the same tree, and any push forgives them, also of what
//! has been pulled meanwhile, for a slow parent still pushes; but not the same again, nor what its
//! origin did not sign. A run of faults makes the child state a higher cost of the link, so that its
//! trees go round the parent, and in the end drops it. All of it is forgiven with time.

mod tally;

use super::LogKey;
use super::remote::RemoteLog;
use crate::base::identity::PeerKey;
use crate::base::interface::{LinkEnd, LinkId};
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::base::status::LinkFaults;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::overlay::links::Link;
use crate::wire::Bundle;
use crate::wire::frame::{Pull, Wanted};
use hedgerow_topology::Class;
use std::collections::BTreeMap;
use tally::Tally;

/// The graph has been what it is for so long, ms, before anything is owed.
const EQUAL_MS: u64 = 2_000;
/// Databases have been equal within so long, ms: five heartbeats.
const STALE_MS: u64 = 5_000;
/// A parent is asked what it kept no more often than this, ms.
const QUESTION_MS: u64 = 1_000;
/// Faults count no faster than this, ms: a burst is one.
const APART_MS: u64 = 200;
/// The cost of a link is raised so often; the next run drops it.
const RAISES: u32 = 2;
/// A raised cost falls by a step after so long, ms, when the parent pushes again.
const EASE_PUSHED_MS: u64 = 10_000;
/// Nobody owes anything of a log for so long, ms, after a push of it was left for want of memory.
const REFUSED_MS: u64 = 5_000;
/// Peers with faults that are remembered.
const CHARGED_MAX: usize = 256;

/// An entry that a parent was asked for although somebody else serves it.
#[derive(Clone, Copy, Debug)]
struct Question {
    id: GroupId,
    key: LogKey,
    seq: u64,
    noticed: Micros,
    asked: Micros,
    /// Neither answered nor overtaken by a push.
    open: bool,
}

/// What stands against parents.
#[derive(Debug, Default)]
pub(crate) struct ParentFaults {
    peers: BTreeMap<PeerKey, Tally>,
    /// The last question to each neighbour.
    questions: BTreeMap<PeerKey, Question>,
}

impl ParentFaults {
    pub(crate) fn due(&self) -> Option<Micros> {
        self.peers.values().map(Tally::due).min()
    }

    /// By how many steps the cost of links to peers is raised, where it is.
    fn raised(&self) -> BTreeMap<PeerKey, u32> {
        let raised = self.peers.iter().filter(|(_, tally)| tally.raised > 0);
        raised.map(|(peer, tally)| (*peer, tally.raised)).collect()
    }

    /// What stands against it.
    pub(crate) fn against(&self, peer: PeerKey) -> LinkFaults {
        self.peers
            .get(&peer)
            .map_or_else(LinkFaults::default, |tally| LinkFaults {
                pulled: tally.run,
                raised: tally.raised,
            })
    }
}

impl Multicast {
    /// The cost of links to parents has changed.
    fn note_surcharges(&mut self, cx: &mut Cx<'_>) {
        cx.net.state_surcharges(self.parent_faults.raised());
    }

    /// Whether both ends of a link had computed the same trees for a while at `at`: the group's
    /// graph has long been what it is, and since then the other end's database has equalled ours,
    /// not long ago. (Hashes that always agree would ask for too much: somewhere some peer's
    /// coordinate moves, which is in its record and matters to no tree.)
    pub(crate) fn trees_agreed_at(
        &mut self,
        cx: CxRef<'_>,
        link: LinkId,
        id: GroupId,
        at: Micros,
    ) -> bool {
        let since = self.same_graph_since(cx, id);
        since.is_some_and(|since| Self::trees_agreed_since(cx, link, since, at))
    }

    /// Since when this peer has had the graph of the group that it has now.
    pub(crate) fn same_graph_since(&mut self, cx: CxRef<'_>, id: GroupId) -> Option<Micros> {
        let now = cx.core.now.mono;
        let hash = self.graph_hash(cx, id)?;
        let group = self.groups.get_mut(&id)?;
        if group.graph_seen.0 != hash {
            group.graph_seen = (hash, now);
        }
        Some(group.graph_seen.1)
    }

    /// [`Multicast::trees_agreed_at`] where this peer has had its graph since a moment.
    pub(crate) fn trees_agreed_since(
        cx: CxRef<'_>,
        link: LinkId,
        since: Micros,
        at: Micros,
    ) -> bool {
        let equal = cx.net.link(link).and_then(Link::equal_at);
        since + Micros::from_millis(EQUAL_MS) <= at
            && equal.is_some_and(|equal| {
                let fresh = Micros::from_millis(STALE_MS);
                equal >= since && cx.core.now.mono.since(equal) <= fresh
            })
    }

    /// A bundle had to be pulled that was `noticed` missing then: faults the parents that had
    /// it and should have pushed it.
    pub(crate) fn record_parent_faults(
        &mut self,
        cx: &mut Cx<'_>,
        bundle: &Bundle,
        noticed: Option<Micros>,
    ) {
        let header = &bundle.header;
        let (id, key) = (header.group, (header.origin, header.epoch));
        let Some(noticed) = noticed else { return };
        for parent in self.parents_of(cx.as_ref(), bundle) {
            let known = self
                .remote_log(cx.as_ref(), parent, id, key)
                .is_some_and(|log| log.known.contains(header.seq));
            if known && self.owed(cx, parent, id, key, header.seq, noticed) {
                self.record_fault(cx, parent);
            }
        }
    }

    /// What a neighbour holds of a log.
    fn remote_log(
        &self,
        cx: CxRef<'_>,
        peer: PeerKey,
        id: GroupId,
        key: LogKey,
    ) -> Option<&RemoteLog> {
        let link = cx.net.link_to(peer)?;
        self.remotes.get(link, id)?.logs.get(&key)
    }

    /// Who should push a bundle here.
    fn parents_of(&self, cx: CxRef<'_>, bundle: &Bundle) -> Vec<PeerKey> {
        let header = &bundle.header;
        let Some(route) = self.route(cx, header.group, header.origin, header.class()) else {
            return Vec::new();
        };
        let pushing = if bundle.payload.len() <= cx.core.config.groups.mesh_push_bytes {
            usize::MAX
        } else {
            1
        };
        route
            .parents()
            .take(pushing)
            // An origin harms only itself.
            .filter(|parent| *parent != header.origin)
            .collect()
    }

    /// Something missing is pulled from `server`: asks the parent for the first of it as well, now
    /// and then, for it may have kept it.
    pub(crate) fn question_parent(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        wanted: &Wanted,
        server: LinkId,
    ) {
        let now = cx.core.now.mono;
        let key = (wanted.origin, wanted.epoch);
        let Some(seq) = wanted.ranges.first() else {
            return;
        };
        let parent = self
            .route(cx.as_ref(), id, wanted.origin, Class::Normal)
            .and_then(|route| route.parents().next());
        let Some(parent) = parent.filter(|parent| *parent != wanted.origin) else {
            return;
        };
        let pause = Micros::from_millis(QUESTION_MS);
        let asked = self
            .parent_faults
            .questions
            .get(&parent)
            .map(|last| last.asked);
        let Some(link) = cx.net.link_to(parent).filter(|link| *link != server) else {
            return;
        };
        let noticed = self
            .groups
            .get(&id)
            .and_then(|group| group.log_or_sought(key)?.missing.since(seq));
        let Some(noticed) = noticed else { return };
        if asked.is_some_and(|asked| now.since(asked) < pause)
            || !self.owed(cx, parent, id, key, seq, noticed)
        {
            return;
        }
        let questions = &mut self.parent_faults.questions;
        if questions.len() >= CHARGED_MAX {
            questions.retain(|_, question| now.since(question.asked) < pause);
        }
        questions.insert(
            parent,
            Question {
                id,
                key,
                seq,
                noticed,
                asked: now,
                open: true,
            },
        );
        cx.core.count(counter!("parents_questioned"));
        let wanted = Wanted {
            ranges: RangeSet::of(seq, seq),
            ..wanted.clone()
        };
        let wanted = vec![wanted];
        cx.net.send(cx.core, link, Pull { group: id, wanted });
    }

    /// A neighbour has answered a pull: if it was asked as a parent, it had what it should have
    /// pushed.
    pub(crate) fn on_served(&mut self, cx: &mut Cx<'_>, from: LinkId, bundle: &Bundle) {
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        let header = &bundle.header;
        let Some(question) = self
            .parent_faults
            .questions
            .get_mut(&peer)
            .filter(|question| {
                question.open
                    && (question.id, question.key) == (header.group, (header.origin, header.epoch))
                    && (header.seq..=header.last_seq()).contains(&question.seq)
            })
        else {
            return;
        };
        question.open = false;
        let Question {
            id,
            key,
            seq,
            noticed,
            ..
        } = *question;
        if self.parents_of(cx.as_ref(), bundle).contains(&peer)
            && self.owed(cx, peer, id, key, seq, noticed)
        {
            self.record_fault(cx, peer);
        }
    }

    /// Whether `parent`, if it has the entry, got it while it knew that this peer is its child.
    fn owed(
        &mut self,
        cx: &mut Cx<'_>,
        parent: PeerKey,
        id: GroupId,
        key: LogKey,
        seq: u64,
        noticed: Micros,
    ) -> bool {
        let Some(link) = cx.net.link_to(parent) else {
            return false;
        };
        let log = self.groups.get(&id).and_then(|group| group.logs.get(&key));
        let refused = log.and_then(|log| log.refused);
        let pause = Micros::from_millis(REFUSED_MS);
        if refused.is_some_and(|at| cx.core.now.mono.since(at) < pause)
            || !self.trees_agreed_at(cx.as_ref(), link, id, noticed)
        {
            return false;
        }
        let Some(link) = cx.net.link(link) else {
            return false;
        };
        // A frame that is coming in may be what is owed.
        !link.is_amid_frame()
            && self
                .remote_log(cx.as_ref(), parent, id, key)
                .is_none_or(|log| log.owed_from <= seq)
    }

    fn record_fault(&mut self, cx: &mut Cx<'_>, parent: PeerKey) {
        let now = cx.core.now.mono;
        let peers = &mut self.parent_faults.peers;
        if peers.len() >= CHARGED_MAX && !peers.contains_key(&parent) {
            return cx.core.count(counter!("parent_faults_untracked"));
        }
        let tally = peers.entry(parent).or_insert_with(|| Tally::new(now));
        if tally.run > 0 && now.since(tally.last) < Micros::from_millis(APART_MS) {
            return;
        }
        let complete = tally.add(now);
        let raised = tally.raised;
        if complete {
            tally.run = 0;
            tally.changed = now;
            tally.raises += 1;
            tally.raised = (raised + 1).min(RAISES);
        }
        let due = tally.due();
        cx.core.count(counter!("parent_faults"));
        cx.core.wake_at(due);
        if !complete {
            return;
        }
        tracing::warn!(peer = %parent, raised, "a parent forwards nothing");
        if raised < RAISES {
            cx.core.count(counter!("parents_raised"));
            self.note_surcharges(cx);
        } else {
            Self::drop_parent(cx, parent);
        }
    }

    /// Drops the link to a parent, unless it is all that connects this peer.
    fn drop_parent(cx: &mut Cx<'_>, parent: PeerKey) {
        let Some(link) = cx.net.link_to(parent) else {
            return;
        };
        if cx.net.is_bridge_to(parent) || cx.net.links_up().len() < 2 {
            return cx.core.count(counter!("parents_needed"));
        }
        cx.core.count(counter!("parents_dropped"));
        cx.net.cool(cx.core, parent);
        cx.net.penalise(cx.core, parent);
        cx.net.close_link(cx.core, link, LinkEnd::Withheld);
    }

    /// A bundle that was pushed finds no memory here. One beyond the window is another matter:
    /// anybody can make that up.
    pub(crate) fn note_refused(&mut self, cx: CxRef<'_>, bundle: &Bundle) {
        let now = cx.core.now.mono;
        let window = cx.core.config.groups.window;
        let header = &bundle.header;
        let log = self
            .groups
            .get_mut(&header.group)
            .and_then(|group| group.logs.get_mut(&(header.origin, header.epoch)));
        if let Some(log) = log
            && header.last_seq() <= log.settled().saturating_add(window)
        {
            log.refused = Some(now);
        }
    }

    /// A neighbour has pushed what is here already: late, or again.
    pub(crate) fn forgive_late(&mut self, cx: &mut Cx<'_>, link: LinkId, bundle: &Bundle) {
        let header = &bundle.header;
        let key = (header.origin, header.epoch);
        let came = self
            .groups
            .get(&header.group)
            .and_then(|group| group.logs.get(&key)?.entry(header.seq))
            .filter(|held| held.bundle.hash == bundle.hash && held.bundle.payload == bundle.payload)
            .map(|held| held.came);
        if let Some(came) = came {
            self.forgive(cx, link, header.origin, came);
        }
    }

    /// A neighbour has pushed what came here, verified, at `came`. Unless it is its own, it
    /// forwards.
    pub(crate) fn forgive(&mut self, cx: &mut Cx<'_>, link: LinkId, origin: PeerKey, came: Micros) {
        if self.parent_faults.peers.is_empty() && self.parent_faults.questions.is_empty() {
            return;
        }
        let now = cx.core.now.mono;
        let peer = cx.net.peer_of(link);
        let Some(peer) = peer.filter(|peer| *peer != origin) else {
            return;
        };
        if let Some(question) = self.parent_faults.questions.get_mut(&peer)
            && came >= question.noticed
        {
            question.open = false;
        }
        let Some(tally) = self.parent_faults.peers.get_mut(&peer) else {
            return;
        };
        if !tally.forgive(came, now) {
            return;
        }
        let pause = Micros::from_millis(EASE_PUSHED_MS);
        if tally.raised > 0 && now.since(tally.changed) >= pause {
            tally.raised -= 1;
            tally.changed = now;
            self.note_surcharges(cx);
        }
    }

    pub(crate) fn on_parent_faults_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.core.now.mono;
        let mut eased = false;
        self.parent_faults.peers.retain(|_, tally| {
            if tally.due() > now {
                return true;
            }
            if tally.raised == 0 {
                return false;
            }
            tally.raised -= 1;
            tally.changed = now;
            eased = true;
            true
        });
        if eased {
            self.note_surcharges(cx);
        }
    }
}

#[cfg(test)]
mod tests;
