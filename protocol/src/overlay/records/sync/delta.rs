//! Records pushed as what turns the one before into them, where that is shorter; and made from it.
//!
//! A record that has come so is the same as one that came whole: the same bytes, the same check.
//! Who does not hold the one before asks for the whole.

use super::spread::in_frames;
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::records::Offer;
use crate::wire::delta::{RECORD_DELTAS, RecordDelta, RecordDeltas};
use crate::wire::frame::RecordPull;
use crate::wire::record::{RECORD_BYTES_MAX, content_hash};
use crate::wire::{FRAME_BYTES_MAX, SignedRecord, WireError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a delta comes to.
enum Made {
    Record(Arc<SignedRecord>),
    /// What it changes is not held.
    NoBase,
    /// It gives something else than it says.
    SomethingElse,
    Malformed(WireError),
}

impl Overlay {
    /// Sends the records of `peers` as deltas; those are given back that must go whole.
    pub(super) fn send_deltas(
        &mut self,
        core: &mut Core,
        to: LinkId,
        peers: BTreeSet<PeerKey>,
    ) -> BTreeSet<PeerKey> {
        let knows =
            (self.links.get(&to)).is_some_and(|link| link.capabilities & RECORD_DELTAS != 0);
        if !knows || self.sync.replaced.is_empty() {
            return peers;
        }
        let mut whole = BTreeSet::new();
        let mut deltas = Vec::new();
        for peer in peers {
            match self.delta_of(core, peer) {
                Some(delta) => deltas.push(delta),
                None => {
                    whole.insert(peer);
                }
            }
        }
        let room = FRAME_BYTES_MAX / 2;
        for deltas in in_frames(deltas, room, |delta| delta.block.len()) {
            self.send(core, to, RecordDeltas { deltas });
        }
        whole
    }

    fn delta_of(&self, core: &Core, peer: PeerKey) -> Option<RecordDelta> {
        let base = self.sync.replaced.get(&peer)?;
        let record = self.database.get(peer)?;
        let delta = self.cache.delta(base, record)?;
        Some(RecordDelta {
            age_ms: self.database.age_ms(peer, core.now.mono),
            ..delta
        })
    }

    pub(crate) fn on_record_deltas(
        &mut self,
        core: &mut Core,
        from: LinkId,
        deltas: Vec<RecordDelta>,
    ) {
        let mut lacking = Vec::new();
        for delta in deltas {
            if !self.is_news(core, from, &delta) {
                continue;
            }
            if delta.bytes as usize > RECORD_BYTES_MAX {
                core.count(counter!("records_oversized"));
                continue;
            }
            match self.made_from_base(from, &delta) {
                Made::Record(record) => {
                    core.count(counter!("records_by_delta"));
                    self.on_record(core, from, record, delta.age_ms);
                    continue;
                }
                Made::Malformed(error) => return self.on_malformed(core, from, &error),
                Made::NoBase => {}
                // Who passed it on may hold another base of the same hash: that is no offence. But
                // to find out again and again would cost more than the whole.
                Made::SomethingElse => {
                    if let Some(link) = self.links.get_mut(&from) {
                        link.gave_wrong_delta = true;
                    }
                }
            }
            core.count(counter!("records_without_base"));
            lacking.push(delta.name.0);
        }
        self.go_on_asking(core, from);
        // Its holder is asked, whatever others have announced.
        if !lacking.is_empty() {
            self.send(core, from, RecordPull { prefixes: lacking });
        }
    }

    /// Whether a delta gives a record that would be taken and is not being checked already. Of two
    /// with one name everybody keeps the same one, as [`Database::offer`](super::super::Database)
    /// decides; who sends what is older gets what is held.
    fn is_news(&mut self, core: &mut Core, from: LinkId, delta: &RecordDelta) -> bool {
        let (prefix, epoch, version) = delta.name;
        let (peer, offer) = self.database.compare_named(prefix, (epoch, version));
        let hash = || {
            let held = self.database.named(prefix);
            held.map_or(u64::MAX, |record| record.hash)
        };
        let offer = match offer {
            Offer::Same if delta.hash > hash() => Offer::Newer,
            Offer::Same if delta.hash < hash() => Offer::Older,
            offer => offer,
        };
        match (offer, peer) {
            (Offer::Newer, _) => !self.sync.checking.contains_key(&delta.hash),
            (Offer::Older, Some(peer)) => {
                self.push_record(core, from, peer);
                false
            }
            (_, peer) => {
                if let Some(peer) = peer {
                    self.knows_record(from, peer, delta.name);
                }
                if let Some(held) = self.database.named(prefix).cloned()
                    && held.hash == delta.hash
                    && delta.age_ms <= self.database.keep_ms()
                    && self.database.lower_age(&held, delta.age_ms, core.now.mono)
                {
                    core.count(counter!("ages_lowered"));
                }
                false
            }
        }
    }

    fn made_from_base(&self, from: LinkId, delta: &RecordDelta) -> Made {
        let held = self.database.named(delta.name.0);
        let base = held
            .filter(|record| record.hash == delta.base)
            .or_else(|| self.record_in_check(delta.base));
        let is_trusted = |id| (self.links.get(&id)).is_some_and(|link| !link.gave_wrong_delta);
        let Some(base) = base.filter(|_| is_trusted(from)) else {
            return Made::NoBase;
        };
        if let Some(record) = self.cache.given_by(delta) {
            return Made::Record(record);
        }
        let signed = delta.apply(base);
        let Some(signed) = signed.filter(|signed| content_hash(signed) == delta.hash) else {
            return Made::SomethingElse;
        };
        let decode = || SignedRecord::decode(signed.clone(), delta.signature);
        match self.cache.record(&signed, &delta.signature, decode) {
            Ok(record) if record.name() == delta.name => Made::Record(record),
            Ok(_) => Made::SomethingElse,
            Err(error) => Made::Malformed(error),
        }
    }

    /// A record whose signature is being checked: the next one often comes before that is done.
    fn record_in_check(&self, hash: u64) -> Option<&Arc<SignedRecord>> {
        let id = self.sync.checking.get(&hash)?;
        self.sync.checks.get(id).map(|check| &check.record)
    }
}
