//! How records travel: pushed along one tree for all issuers, announced elsewhere, pulled when
//! they do not come, reconciled when hashes stay unequal.

mod delta;
mod news;
mod reconcile;
mod spread;

pub(crate) use news::KnownNews;

use super::Offer;
use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::{LinkId, VerifyId};
use crate::time::Micros;
use crate::wire::SignedRecord;
use crate::wire::frame::{RecordName, RecordPull};
use crate::wire::record::WireRecord;
use std::collections::BTreeMap;
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
/// Records that are to be pulled, over all links.
const PULLS_MAX: usize = 16_384;
/// Records whose signatures are being checked.
const CHECKS_MAX: usize = 8_192;
/// A link with more waiting is not reconciled, bytes.
const CONGESTED_BYTES: usize = 32 << 10;
/// Strangers that neighbours may tell of at once, enough for some hundreds that start together; and
/// how long it takes until they may tell of one more.
const STRANGERS: u64 = 256;
const STRANGER_EVERY: Micros = Micros::from_millis(1_000);

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
    checks: BTreeMap<VerifyId, Check>,
    /// By the hash of the record.
    checking: BTreeMap<u64, VerifyId>,
    /// How far the allowance for strangers is used up.
    strangers_at: Micros,
}

impl RecordSync {
    pub(crate) fn due(&self) -> Option<Micros> {
        self.flush
            .into_iter()
            .chain(self.announce)
            .chain(self.pulls.values().map(|pull| pull.due))
            .min()
    }

    pub(crate) fn checking(&self) -> usize {
        self.checks.len()
    }
}

impl Engine {
    /// The record of `peer` as it travels.
    pub(crate) fn wire_record(&self, peer: PeerKey) -> Option<WireRecord> {
        let record = self.database.get(peer)?;
        let age_ms = self.database.age_ms(peer, self.now.mono);
        Some(WireRecord(record.signed.clone(), record.signature, age_ms))
    }

    pub(crate) fn on_records(&mut self, from: LinkId, records: Vec<WireRecord>) {
        for WireRecord(signed, signature, age_ms) in records {
            if signed.len() > self.config.database.record_bytes_max {
                self.count("records_oversized");
                continue;
            }
            let memo = self.memo.clone();
            let decoded = memo.record(&signed, &signature, || {
                SignedRecord::decode(signed.clone(), signature)
            });
            match decoded {
                Ok(record) => self.on_record(from, record, age_ms),
                Err(error) => return self.on_malformed(from, &error),
            }
        }
    }

    fn on_record(&mut self, from: LinkId, record: Arc<SignedRecord>, age_ms: u64) {
        let peer = record.record.peer;
        if record.record.network != self.network_hash {
            self.count("records_of_other_networks");
            return;
        }
        let limit = self.config.database.refresh_ms * self.config.database.refreshes_kept;
        if age_ms > limit {
            self.count("records_too_old");
            return;
        }
        if self.is_of_a_stranger(from, &record) && !self.may_introduce() {
            self.count("records_of_strangers");
            return;
        }
        self.knows_record(from, peer, record.name());
        match self.database.offer(&record, self.now.mono) {
            Offer::Newer => {}
            Offer::Same => return,
            Offer::Older => return self.push_record(from, peer),
            Offer::Damped => return self.count("records_damped"),
        }
        if self.sync.checks.len() >= CHECKS_MAX {
            self.count("records_unchecked");
            return;
        }
        if self.sync.checking.contains_key(&record.hash) {
            return;
        }
        let id = self.next_verify_id();
        self.sync.checking.insert(record.hash, id);
        let job = record.verify_job();
        self.sync.checks.insert(
            id,
            Check {
                record,
                age_ms,
                from,
            },
        );
        self.actions
            .push_back(crate::io::Action::Verify { id, job });
    }

    /// Whether a record tells of somebody who is not known and is linked to nobody. Others do well
    /// without it until there is a link; and keys cost nothing, so that whoever passes such records
    /// on could fill every database with them.
    fn is_of_a_stranger(&self, from: LinkId, record: &SignedRecord) -> bool {
        let peer = record.record.peer;
        record.record.links.is_empty()
            && self.database.get(peer).is_none()
            && self.links.get(&from).is_none_or(|link| link.peer != peer)
    }

    /// Whether one more stranger may be told of: a token bucket over all links, for what one
    /// neighbour has no room for comes by another.
    fn may_introduce(&mut self) -> bool {
        let now = self.now.mono;
        let at = self.sync.strangers_at.max(now);
        let has_room = at.since(now) < STRANGER_EVERY.times(STRANGERS);
        if has_room {
            self.sync.strangers_at = at + STRANGER_EVERY;
        }
        has_room
    }

    /// The answer to a record's check; `false`: the id is none of a record.
    pub(crate) fn on_record_verified(&mut self, id: VerifyId, valid: bool) -> bool {
        let Some(Check {
            record,
            age_ms,
            from,
        }) = self.sync.checks.remove(&id)
        else {
            return false;
        };
        self.sync.checking.remove(&record.hash);
        if !valid {
            self.count("records_forged");
            let error = crate::wire::WireError::Invalid {
                what: "record",
                why: "bad signature",
            };
            self.on_malformed(from, &error);
            return true;
        }
        self.accept_record(from, record, age_ms);
        true
    }

    fn accept_record(&mut self, from: LinkId, record: Arc<SignedRecord>, age_ms: u64) {
        let peer = record.record.peer;
        if peer == self.me {
            if self.database.offer(&record, self.now.mono) == Offer::Newer {
                self.on_outbid(&record, age_ms);
            }
            return;
        }
        let Ok(former) = self.database.replace(record, age_ms, self.now.mono) else {
            return;
        };
        self.count("records_accepted");
        self.note_own_epoch_of(from, peer);
        self.sync.pulls.remove(&peer.prefix());
        self.sync.accepted = self.now.mono;
        self.on_record_for_groups(peer);
        self.touch_view();
        self.spread_record(peer, former, Some(from));
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

    pub(crate) fn on_record_announce(&mut self, from: LinkId, names: Vec<RecordName>) {
        for name in names {
            let (prefix, epoch, version) = name;
            match self.database.compare_named(prefix, (epoch, version)) {
                (_, Offer::Newer) => self.want_record(from, prefix, (epoch, version)),
                (Some(peer), Offer::Older) => self.push_record(from, peer),
                (Some(peer), Offer::Same) => self.knows_record(from, peer, name),
                _ => {}
            }
        }
    }

    fn want_record(&mut self, from: LinkId, prefix: u64, order: (u64, u64)) {
        let due = self.in_ms(self.config.database.pull_ms);
        let known = self
            .sync
            .pulls
            .get(&prefix)
            .is_some_and(|pull| pull.order >= order);
        if known || self.sync.pulls.len() >= PULLS_MAX {
            return;
        }
        self.sync.pulls.insert(
            prefix,
            RecordPullState {
                order,
                link: from,
                due,
            },
        );
        self.wake_at(due);
    }

    /// Asks for what was announced and has not come.
    fn pull_records(&mut self) {
        let now = self.now.mono;
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
            let Some(pull) = self.sync.pulls.remove(&prefix) else {
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
                    link,
                    RecordPull {
                        prefixes: prefixes.to_vec(),
                    },
                );
            }
        }
    }

    pub(crate) fn on_record_pull(&mut self, from: LinkId, prefixes: &[u64]) {
        let peers: Vec<PeerKey> = prefixes
            .iter()
            .take(NAMES_PER_FRAME)
            .filter_map(|prefix| self.database.peer_of(*prefix))
            .collect();
        self.send_records(from, peers.into_iter());
    }
}
