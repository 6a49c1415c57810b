//! Records that are asked of a link because much is lacking, so many at a time: what is asked for
//! must neither fill the other end's queue nor come faster than it can be checked.

use super::NAMES_PER_FRAME;
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::records::Offer;
use crate::wire::frame::RecordPull;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Records asked of a link and not yet come: 256 KiB of usual ones.
pub(super) const WINDOW: usize = 512;
/// Records that wait to be asked of a link.
const WAITING_MAX: usize = 8_192;
/// Without any answer for so long nothing more is expected of what was asked, ms.
pub(super) const ANSWER_MS: u64 = 3_000;
/// Records that are missed; see [`Missing`].
const MISSING_MAX: usize = 1_024;

/// (epoch, version) of what is held at the other end.
type Order = (u64, u64);

/// What is asked of a link.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// By key prefix.
    waiting: BTreeMap<u64, Order>,
    asked: BTreeSet<u64>,
    /// When the next answer must have come.
    due: Option<Micros>,
}

impl Requests {
    fn contains(&self, prefix: u64) -> bool {
        self.asked.contains(&prefix) || self.waiting.contains_key(&prefix)
    }

    /// Whether everything has come, or will not.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.waiting.is_empty()
    }
}

/// Peers that somebody in the view states a link to and of whom no record is held: their records
/// came too early and were refused, or are on their way. Should they not have come a moment later,
/// whoever told of the link is asked for them.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// In the order in which they are due.
    peers: VecDeque<(Micros, LinkId, PeerKey)>,
}

impl Missing {
    pub(super) fn due(&self) -> Option<Micros> {
        self.peers.front().map(|(due, ..)| *due)
    }
}

impl Overlay {
    /// Asks for a record with many others, unless it is asked of another link already.
    pub(super) fn request_record(&mut self, from: LinkId, prefix: u64, order: Order) {
        if self
            .links
            .values()
            .any(|link| link.requests.contains(prefix))
        {
            return;
        }
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        if link.requests.waiting.len() < WAITING_MAX {
            link.requests.waiting.insert(prefix, order);
        }
    }

    /// Asks for what waits, as far as the window goes.
    pub(super) fn ask_records(&mut self, core: &mut Core, from: LinkId) {
        let due = core.in_ms(ANSWER_MS);
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        let requests = &mut link.requests;
        let mut prefixes = Vec::new();
        while requests.asked.len() < WINDOW
            && let Some((prefix, order)) = requests.waiting.pop_first()
        {
            let (_, offer) = self.database.compare_named(prefix, order);
            if offer == Offer::Newer {
                requests.asked.insert(prefix);
                prefixes.push(prefix);
            }
        }
        if prefixes.is_empty() {
            return;
        }
        requests.due = Some(due);
        for prefixes in prefixes.chunks(NAMES_PER_FRAME) {
            let prefixes = prefixes.to_vec();
            self.send(core, from, RecordPull { prefixes });
        }
        core.wake_at(due);
    }

    /// A record has come; gives whether it was asked for with others.
    pub(super) fn note_answer(&mut self, core: &Core, from: LinkId, prefix: u64) -> bool {
        let due = core.in_ms(ANSWER_MS);
        let Some(link) = self.links.get_mut(&from) else {
            return false;
        };
        let is_answer = link.requests.asked.remove(&prefix);
        if is_answer {
            link.requests.due = Some(due).filter(|_| !link.requests.asked.is_empty());
        }
        is_answer
    }

    /// Records have come: others may be asked for, and the next page of a comparison.
    pub(super) fn go_on_asking(&mut self, core: &mut Core, from: LinkId) {
        let Some(link) = self.links.get(&from) else {
            return;
        };
        if link.requests.asked.len() <= WINDOW / 2 && !link.requests.waiting.is_empty() {
            self.ask_records(core, from);
        }
        self.go_on_reconciling(core, from);
    }

    /// When the next request must have been answered.
    pub(crate) fn requests_due(&self) -> Option<Micros> {
        let links = self.links.values();
        links.filter_map(|link| link.requests.due).min()
    }

    pub(super) fn on_requests_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let late = |requests: &Requests| requests.due.is_some_and(|due| due <= now);
        let links = self.links.values();
        let late: Vec<LinkId> = links
            .filter(|link| late(&link.requests))
            .map(|link| link.id)
            .collect();
        for id in late {
            if let Some(link) = self.links.get_mut(&id) {
                // The other end does not hold them any more, or does not answer.
                link.requests.asked.clear();
                link.requests.due = None;
            }
            self.ask_records(core, id);
            self.go_on_reconciling(core, id);
        }
        self.ask_missing(core);
    }

    /// Takes note of peers that `peer`, which is inside the view, states a link to and whose records
    /// are not held.
    pub(super) fn note_missing_records(&mut self, core: &mut Core, from: LinkId, peer: PeerKey) {
        let due = core.in_ms(core.config.database.pull_ms);
        let Some(record) = self.database.get(peer).cloned() else {
            return;
        };
        for link in &record.record.links {
            let other = link.peer;
            let was_refused = self.sync.admission.take_refused(other.prefix());
            let is_lacking = match self.database.get(other) {
                Some(_) => was_refused && self.database.is_outside(other),
                None => true,
            };
            if is_lacking && self.sync.missing.peers.len() < MISSING_MAX {
                self.sync.missing.peers.push_back((due, from, other));
                core.wake_at(due);
            }
        }
    }

    fn ask_missing(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let mut asked = BTreeSet::new();
        while let Some(&(due, from, peer)) = self.sync.missing.peers.front()
            && due <= now
        {
            self.sync.missing.peers.pop_front();
            let held = self.database.get(peer).map(|record| record.order());
            if held.is_none() || self.database.is_outside(peer) {
                // Whatever is newer will do.
                let (epoch, version) = held.unwrap_or_default();
                let order = (epoch, version.saturating_add(1));
                self.request_record(from, peer.prefix(), order);
                asked.insert(from);
            }
        }
        for from in asked {
            self.ask_records(core, from);
        }
    }
}
