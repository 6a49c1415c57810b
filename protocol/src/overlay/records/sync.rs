//! How records travel: pushed along one tree for all issuers, announced elsewhere, pulled when
//! they do not come, reconciled when hashes stay unequal.

mod admit;
mod delta;
mod news;
mod reconcile;
mod requests;
mod spread;

pub(crate) use news::KnownNews;
pub(crate) use reconcile::Comparison;
pub(crate) use requests::Requests;

use super::{Offer, Standing, checked_bytes};
use crate::base::identity::PeerKey;
use crate::base::interface::{LinkId, VerifyId};
use crate::base::shares::Shares;
use crate::base::time::Micros;
use crate::core::{Checked, Core};
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::wire::SignedRecord;
use crate::wire::frame::{RecordName, RecordPull};
use crate::wire::record::{RECORD_BYTES_MAX, WireRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Records wait so long to travel together, and announcements, which are only the net below
/// them, ms; where views rest between changes, no less than these parts of that time.
const BATCH_MS: u64 = 10;
const BATCH_SHARE: u64 = 90;
const ANNOUNCE_MS: u64 = 100;
const ANNOUNCE_SHARE: u64 = 9;
/// Records and announcements in one frame.
const RECORDS_PER_FRAME: usize = 64;
const NAMES_PER_FRAME: usize = 4_096;
/// Announced records that are to be pulled, over all links and from one of them.
const PULLS_MAX: usize = 16_384;
const PULLS_PER_LINK: usize = PULLS_MAX / 4;
/// A link with more waiting is not reconciled, bytes.
const CONGESTED_BYTES: usize = 32 << 10;

#[derive(Debug)]
struct RecordPullState {
    order: (u64, u64),
    link: LinkId,
    due: Micros,
}

/// A record whose signature is being checked.
#[derive(Debug)]
struct Check {
    record: Arc<SignedRecord>,
    age_ms: u64,
    from: LinkId,
    /// Whether it came with many others that were asked for.
    is_bulk: bool,
}

/// Records on their way.
#[derive(Debug, Default)]
pub(crate) struct RecordSync {
    /// When a record was last taken in.
    accepted: Micros,
    /// Whom others' records are pushed to.
    tree: Option<spread::RecordTree>,
    flush: Option<Micros>,
    /// What was held before what is to be pushed now.
    replaced: BTreeMap<PeerKey, Arc<SignedRecord>>,
    /// What is to be announced, and when.
    news: news::News,
    announce: Option<Micros>,
    /// By key prefix.
    pulls: BTreeMap<u64, RecordPullState>,
    /// How many of those there are for each link.
    pulls_of: BTreeMap<LinkId, usize>,
    checks: BTreeMap<VerifyId, Check>,
    /// By the hash of the record.
    checking: BTreeMap<u64, VerifyId>,
    admission: admit::Admission,
    missing: requests::Missing,
    /// To whom the view states links that are not inside it, and when that was looked up.
    linked: Option<(Micros, Arc<BTreeSet<u64>>)>,
    /// Memory of the records whose signatures are being checked, bytes.
    shares: Shares,
}

impl RecordSync {
    pub(crate) fn due(&self) -> Option<Micros> {
        self.flush
            .into_iter()
            .chain(self.announce)
            .chain(self.pulls.values().map(|pull| pull.due))
            .chain(self.missing.due())
            .min()
    }

    fn remove_pull(&mut self, prefix: u64) -> Option<RecordPullState> {
        let pull = self.pulls.remove(&prefix)?;
        if let Some(count) = self.pulls_of.get_mut(&pull.link) {
            *count -= 1;
            if *count == 0 {
                self.pulls_of.remove(&pull.link);
            }
        }
        Some(pull)
    }

    pub(crate) fn checking(&self) -> usize {
        self.checks.len()
    }
}

impl Overlay {
    /// The record of `peer` as it travels.
    pub(crate) fn wire_record(&self, core: &Core, peer: PeerKey) -> Option<WireRecord> {
        let record = self.database.get(peer)?;
        let age_ms = self.database.age_ms(peer, core.now.mono);
        Some(WireRecord::new(
            record.signed.clone(),
            record.signature,
            age_ms,
        ))
    }

    pub(crate) fn on_records(&mut self, core: &mut Core, from: LinkId, records: Vec<WireRecord>) {
        for WireRecord {
            signed,
            signature,
            age_ms,
        } in records
        {
            if signed.len() > RECORD_BYTES_MAX {
                core.count(counter!("records_oversized"));
                continue;
            }
            let cache = self.cache.clone();
            let decoded = cache.record(&signed, &signature, || {
                SignedRecord::decode(signed.clone(), signature)
            });
            match decoded {
                Ok(record) => self.on_record(core, from, record, age_ms),
                Err(error) => return self.on_malformed(core, from, &error),
            }
        }
        self.go_on_asking(core, from);
    }

    fn on_record(&mut self, core: &mut Core, from: LinkId, record: Arc<SignedRecord>, age_ms: u64) {
        let peer = record.record.peer;
        let is_bulk = self.note_answer(core, from, peer.prefix());
        if record.record.network != core.network_hash {
            core.count(counter!("records_of_other_networks"));
            return;
        }
        if age_ms > self.database.keep_ms() {
            core.count(counter!("records_too_old"));
            return;
        }
        self.knows_record(from, peer, record.name());
        match self.offer_in_time(core, &record) {
            Offer::Older => return self.push_record(core, from, peer),
            // Of this peer's own it matters who signed it.
            Offer::Ahead if peer == core.me => {}
            Offer::Ahead => return self.on_record_ahead(core, from, &record),
            Offer::Damped => return core.count(counter!("records_damped")),
            Offer::Newer => {}
            _ => {
                if self.database.lower_age(&record, age_ms, core.now.mono) {
                    core.count(counter!("ages_lowered"));
                }
                return;
            }
        }
        if self.sync.checking.contains_key(&record.hash) {
            return;
        }
        let Some(sender) = self.links.get(&from).map(|link| link.peer) else {
            return;
        };
        if !self.may_check(core, from, &record, age_ms) {
            return;
        }
        let checked = checked_bytes(&core.config);
        if !(self.sync.shares).take_many(from, sender, record.memory_bytes, checked) {
            core.count(counter!("records_unchecked"));
            return;
        }
        let id = core.next_verify_id(Checked::Record);
        self.sync.checking.insert(record.hash, id);
        let job = record.verify_job();
        self.sync.checks.insert(
            id,
            Check {
                record,
                age_ms,
                from,
                is_bulk,
            },
        );
        core.actions
            .push_back(crate::base::interface::Action::Verify { id, job });
    }

    /// The answer to the check of a record.
    pub(crate) fn on_record_verified(&mut self, core: &mut Core, id: VerifyId, valid: bool) {
        let Some(Check {
            record,
            age_ms,
            from,
            is_bulk,
        }) = self.sync.checks.remove(&id)
        else {
            return;
        };
        self.sync.checking.remove(&record.hash);
        let sender = (self.sync.shares).give_back_many(from, record.memory_bytes);
        if !valid {
            core.count(counter!("records_forged"));
            if let Some(sender) = sender {
                self.on_forgery(core, from, sender, "record");
            }
            return;
        }
        self.accept_record(core, from, record, age_ms, is_bulk);
    }

    fn accept_record(
        &mut self,
        core: &mut Core,
        from: LinkId,
        record: Arc<SignedRecord>,
        age_ms: u64,
        is_bulk: bool,
    ) {
        let peer = record.record.peer;
        core.count_unknown_in(&record.record);
        if peer == core.me {
            let (epoch, _) = record.order();
            match self.offer_in_time(core, &record) {
                Offer::Newer if record.order() > (self.own.epoch, 0) => {
                    self.on_identity_conflict(core, &record, age_ms);
                }
                Offer::Ahead => {
                    self.note_own_ahead(core, epoch);
                    self.on_record_ahead(core, from, &record);
                }
                _ => {}
            }
            return;
        }
        self.let_ahead_give_way(core, &record);
        let standing = self.standing_of(core, &record);
        let place = record.place;
        let (me, up) = (core.me, &self.up);
        let keep = |peer| peer == me || up.contains_key(&peer);
        let former = self
            .database
            .replace(record, age_ms, core.now.mono, standing, keep);
        let former = match former {
            Ok(former) => former,
            Err(offer) => return Self::count_refused(core, offer),
        };
        core.count(counter!("records_accepted"));
        self.note_own_epoch_of(core, from, peer);
        self.sync.remove_pull(peer.prefix());
        if standing != Standing::Outside {
            self.sync.accepted = core.now.mono;
            if former.as_ref().is_none_or(|former| former.place != place) {
                self.note_missing_records(core, from, peer);
            }
        }
        self.happened(OverlayEvent::RecordAccepted(peer));
        self.touch_view(core);
        self.spread_record(core, peer, former, Some(from), is_bulk);
    }

    /// The other end of `from` has this record: it need not be told.
    fn knows_record(&mut self, from: LinkId, peer: PeerKey, name: RecordName) {
        if let Some(link) = self.links.get_mut(&from) {
            link.record_push.remove(&peer);
            if !self.sync.news.is_empty() {
                link.known_news.add(name);
            }
        }
    }

    pub(crate) fn on_record_announce(
        &mut self,
        core: &mut Core,
        from: LinkId,
        names: Vec<RecordName>,
    ) {
        for name in names {
            let (prefix, epoch, version) = name;
            match self.database.compare_named(prefix, (epoch, version)) {
                (_, Offer::Newer) => self.want_record(core, from, prefix, (epoch, version)),
                (Some(peer), Offer::Older) => self.push_record(core, from, peer),
                (Some(peer), Offer::Same) => self.knows_record(from, peer, name),
                _ => {}
            }
        }
    }

    fn want_record(&mut self, core: &mut Core, from: LinkId, prefix: u64, order: (u64, u64)) {
        let due = core.in_ms(core.config.database.pull_ms);
        let known = self
            .sync
            .pulls
            .get(&prefix)
            .is_some_and(|pull| pull.order >= order);
        let of_link = self.sync.pulls_of.get(&from).copied().unwrap_or(0);
        if known || self.sync.pulls.len() >= PULLS_MAX || of_link >= PULLS_PER_LINK {
            return;
        }
        self.sync.remove_pull(prefix);
        *self.sync.pulls_of.entry(from).or_default() += 1;
        self.sync.pulls.insert(
            prefix,
            RecordPullState {
                order,
                link: from,
                due,
            },
        );
        core.wake_at(due);
    }

    /// Asks for what was announced and has not come.
    fn pull_records(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let mut asks: BTreeMap<LinkId, Vec<u64>> = BTreeMap::new();
        let due: Vec<u64> = self
            .sync
            .pulls
            .iter()
            .filter(|(_, pull)| pull.due <= now)
            .map(|(prefix, _)| *prefix)
            .collect();
        for prefix in due {
            // Asked once: should the answer not come, hashes stay unequal and are reconciled.
            let Some(pull) = self.sync.remove_pull(prefix) else {
                continue;
            };
            let (_, offer) = self.database.compare_named(prefix, pull.order);
            if offer == Offer::Newer {
                asks.entry(pull.link).or_default().push(prefix);
            }
        }
        for (link, prefixes) in asks {
            for prefixes in prefixes.chunks(NAMES_PER_FRAME) {
                self.send(
                    core,
                    link,
                    RecordPull {
                        prefixes: prefixes.to_vec(),
                    },
                );
            }
        }
    }

    pub(crate) fn on_record_pull(&mut self, core: &mut Core, from: LinkId, prefixes: &[u64]) {
        for prefix in prefixes.iter().take(NAMES_PER_FRAME) {
            if let Some(peer) = self.database.peer_of(*prefix) {
                self.owe_record(from, peer);
            }
        }
        self.send_owed_records(core, from);
    }
}

#[cfg(test)]
mod tests;
