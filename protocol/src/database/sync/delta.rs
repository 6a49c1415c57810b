//! Records pushed as what turns the one before into them, where that is shorter; and made from it.
//!
//! A record that has come so is the same as one that came whole: the same bytes, the same check.
//! Who does not hold the one before asks for the whole.

use super::RECORDS_PER_FRAME;
use crate::database::Offer;
use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::LinkId;
use crate::wire::SignedRecord;
use crate::wire::delta::{RECORD_DELTAS, RecordDelta, RecordDeltas};
use crate::wire::record::content_hash;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Engine {
    /// Sends the records of `peers` as deltas; those are given back that must go whole.
    pub(super) fn send_deltas(
        &mut self,
        to: LinkId,
        peers: BTreeSet<PeerKey>,
    ) -> BTreeSet<PeerKey> {
        let knows = (self.links.get(&to)).is_some_and(|link| link.features & RECORD_DELTAS != 0);
        if !knows || self.sync.replaced.is_empty() {
            return peers;
        }
        let mut whole = BTreeSet::new();
        let mut deltas = Vec::new();
        for peer in peers {
            match self.delta_of(peer) {
                Some(delta) => deltas.push(delta),
                None => {
                    whole.insert(peer);
                }
            }
        }
        for deltas in deltas.chunks(RECORDS_PER_FRAME) {
            let deltas = deltas.to_vec();
            self.send(to, RecordDeltas { deltas });
        }
        whole
    }

    fn delta_of(&self, peer: PeerKey) -> Option<RecordDelta> {
        let base = self.sync.replaced.get(&peer)?;
        let record = self.database.get(peer)?;
        let delta = self.memo.delta(base, record)?;
        Some(RecordDelta {
            age_ms: self.database.age_ms(peer, self.now.mono),
            ..delta
        })
    }

    pub(crate) fn on_record_deltas(&mut self, from: LinkId, deltas: Vec<RecordDelta>) {
        for delta in deltas {
            let (prefix, epoch, version) = delta.name;
            let peer = self.database.peer_of(prefix);
            if self.database.compare(peer, (epoch, version)) == Offer::Older {
                if let Some(peer) = peer {
                    self.push_record(from, peer);
                }
                continue;
            }
            let held = peer.and_then(|peer| self.database.get(peer));
            if let Some(record) = held.filter(|record| record.hash == delta.hash) {
                self.knows_record(from, record.record.peer);
                continue;
            }
            if self.sync.checking.contains(&delta.hash) {
                continue;
            }
            if delta.bytes as usize > self.config.database.record_bytes_max {
                self.count("records_oversized");
                continue;
            }
            match self.made_from_base(peer, &delta) {
                Some(Ok(record)) => {
                    self.count("records_by_delta");
                    self.on_record(from, record, delta.age_ms);
                }
                Some(Err(error)) => return self.on_malformed(from, &error),
                None => {
                    self.count("records_without_base");
                    self.want_record(from, prefix, (epoch, version), self.now.mono);
                }
            }
        }
    }

    /// The record that a delta gives. `None`: what it changes is not held.
    fn made_from_base(
        &self,
        peer: Option<PeerKey>,
        delta: &RecordDelta,
    ) -> Option<Result<Arc<SignedRecord>, crate::wire::WireError>> {
        let held = peer.and_then(|peer| self.database.get(peer));
        let base = held
            .filter(|record| record.hash == delta.base)
            .or_else(|| self.record_in_check(delta.base))?;
        if let Some(record) = self.memo.given_by(delta) {
            return Some(Ok(record));
        }
        let signed = delta.apply(base)?;
        // Of two bases with one hash, somebody else may hold the other: that is no offence.
        if content_hash(&signed) != delta.hash {
            return None;
        }
        Some(self.memo.record(&signed.clone(), &delta.signature, || {
            SignedRecord::decode(signed, delta.signature)
        }))
    }

    /// A record whose signature is being checked: the next one often comes before that is done.
    fn record_in_check(&self, hash: u64) -> Option<&Arc<SignedRecord>> {
        if !self.sync.checking.contains(&hash) {
            return None;
        }
        let mut checks = self.sync.checks.values();
        checks
            .find(|check| check.record.hash == hash)
            .map(|check| &check.record)
    }
}
