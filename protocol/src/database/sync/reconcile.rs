//! Two databases compared: buckets of hashes, then the records that differ.

use super::{CONGESTED_BYTES, NAMES_PER_FRAME};
use crate::database::Offer;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::time::Micros;
use crate::wire::frame::{BucketRecords, Buckets, RecordPull};
use std::collections::BTreeMap;

/// Ends that have differed for so many times the wait are reconciled while records still come.
const LONG_UNEQUAL: u64 = 5;
/// What has been announced by a neighbour has been pulled after so many such waits.
const ANNOUNCES: u64 = 3;

impl Engine {
    /// Starts finding out where two databases differ.
    pub(crate) fn reconcile(&mut self, id: LinkId) {
        let now = self.now.mono;
        let hashes = self.database.buckets().to_vec();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.reconciled = Some(now);
        link.unequal_since = None;
        self.count("reconciliations");
        self.send(id, Buckets { hashes });
    }

    pub(crate) fn on_buckets(&mut self, from: LinkId, hashes: &[u64]) {
        if hashes.len() != 256 {
            let error = crate::wire::WireError::Invalid {
                what: "buckets",
                why: "not 256 hashes",
            };
            return self.on_malformed(from, &error);
        }
        let differing: Vec<u8> = (0..=255_u8)
            .filter(|&bucket| {
                self.database.buckets()[usize::from(bucket)] != hashes[usize::from(bucket)]
            })
            .collect();
        // Frames of whole buckets, cut where one gets long.
        let mut frame = BucketRecords {
            buckets: Vec::new(),
            names: Vec::new(),
        };
        for bucket in differing {
            frame.buckets.push(bucket);
            frame.names.extend(self.database.names_in(bucket));
            if frame.names.len() >= NAMES_PER_FRAME {
                let full = BucketRecords {
                    buckets: std::mem::take(&mut frame.buckets),
                    names: std::mem::take(&mut frame.names),
                };
                self.send(from, full);
            }
        }
        if !frame.buckets.is_empty() {
            self.send(from, frame);
        }
    }

    pub(crate) fn on_bucket_records(&mut self, from: LinkId, frame: BucketRecords) {
        let mut theirs: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (prefix, epoch, version) in frame.names {
            theirs.insert(prefix, (epoch, version));
        }
        let mut lacking = Vec::new();
        for bucket in frame.buckets {
            for (prefix, epoch, version) in self.database.names_in(bucket) {
                match theirs.remove(&prefix) {
                    Some(order) if order > (epoch, version) => {
                        theirs.insert(prefix, order);
                    }
                    Some(order) if order == (epoch, version) => {}
                    _ => lacking.extend(self.database.peer_of(prefix)),
                }
            }
        }
        self.send_records(from, lacking.into_iter());
        let prefixes: Vec<u64> = theirs
            .iter()
            .filter(|(prefix, order)| {
                let (_, offer) = self.database.compare_named(**prefix, **order);
                offer == Offer::Newer
            })
            .map(|(prefix, _)| *prefix)
            .collect();
        for prefixes in prefixes.chunks(NAMES_PER_FRAME) {
            self.send(
                from,
                RecordPull {
                    prefixes: prefixes.to_vec(),
                },
            );
        }
    }

    /// Reconciles a link whose ends have differed for a while in which no record has come from
    /// anywhere: while records travel, ends differ by those that are on their way. A link whose
    /// ends differ for long is reconciled all the same.
    pub(crate) fn compare_databases(&mut self, id: LinkId, theirs: u64) {
        let now = self.now.mono;
        // Where records are announced later, their absence tells nothing before.
        let announced = self.announce_wait().times(ANNOUNCES);
        let unequal = Micros::from_millis(self.config.database.unequal_ms).max(announced);
        let pause = Micros::from_millis(self.config.database.reconcile_ms);
        let ours = self.database.hash();
        let accepted = self.sync.accepted;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if theirs == ours {
            link.unequal_since = None;
            return;
        }
        if link.queue.total() > CONGESTED_BYTES {
            // What was heard is old, and more would only make it older.
            link.unequal_since = None;
            return;
        }
        let since = *link.unequal_since.get_or_insert(now);
        let rested = link.reconciled.is_none_or(|last| now.since(last) >= pause);
        let still = now.since(since.max(accepted)) >= unequal;
        let long = now.since(since) >= unequal.times(LONG_UNEQUAL);
        if (still || long) && rested {
            self.reconcile(id);
        }
    }
}
