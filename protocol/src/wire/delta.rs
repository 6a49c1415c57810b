//! A record as what turns the one before it into it: most of a new record stands in the old one,
//! and of what does not most is the signature.

use super::frame::RecordName;
use super::record::SignedRecord;
use bytes::Bytes;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Bit of [`Hello::capabilities`](super::frame::Hello::capabilities): who states it understands
/// [`RecordDeltas`].
pub const RECORD_DELTAS: u64 = 1;
/// What a delta has beside its bytes and a whole record does not: a name and two hashes.
const OVERHEAD_BYTES: usize = 40;

/// Records, each for those who hold the one before it.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordDeltas {
    /// Up to a frame full of them.
    pub deltas: Vec<RecordDelta>,
}

/// What turns one record into another of the same peer.
///
/// Nobody signs it: the record that it gives is signed.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordDelta {
    /// The record that it gives.
    pub name: RecordName,
    /// [`SignedRecord::hash`] of the record that it changes.
    pub base: u64,
    /// That of the record that it gives.
    pub hash: u64,
    /// How long the signed bytes of that are.
    pub bytes: u32,
    /// They, as an LZ4 block whose dictionary are the signed bytes of the base
    /// (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>).
    pub block: Bytes,
    /// Their signature.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
    /// How long ago the record was issued, ms, as far as the sender knows; only grows.
    pub age_ms: u64,
}

impl RecordDelta {
    /// What turns `base` into `record`; `None` where the record itself is no longer.
    pub fn between(base: &SignedRecord, record: &SignedRecord, age_ms: u64) -> Option<Self> {
        let block = lz4_flex::block::compress_with_dict(&record.signed, &base.signed);
        (block.len() + OVERHEAD_BYTES < record.signed.len()).then(|| Self {
            name: record.name(),
            base: base.hash,
            hash: record.hash,
            bytes: u32::try_from(record.signed.len()).unwrap_or(u32::MAX),
            block: block.into(),
            signature: record.signature,
            age_ms,
        })
    }

    /// The signed bytes of the record that it gives. The caller has looked at [`Self::bytes`], and
    /// looks at [`Self::hash`]. `None`: not from this base.
    pub fn apply(&self, base: &SignedRecord) -> Option<Bytes> {
        let bytes = self.bytes as usize;
        let signed = lz4_flex::block::decompress_with_dict(&self.block, bytes, &base.signed);
        signed.ok().filter(|s| s.len() == bytes).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::{Keypair, PeerKey};
    use crate::wire::record::{ALGORITHM_VERSION, RecordExt};
    use crate::wire::{Record, RecordLink, to_cbor};
    use proptest::prelude::*;

    /// The record of key 1 with links to these peers.
    fn record(version: u64, links: &[(u8, u32)]) -> SignedRecord {
        let keypair = Keypair::from_secret([1; 32]);
        let mut links: Vec<RecordLink> = (links.iter())
            .map(|(seed, rtt_us)| RecordLink {
                peer: PeerKey(*blake3::hash(&[*seed]).as_bytes()),
                rtt_us: *rtt_us,
            })
            .collect();
        links.sort_by_key(|link| link.peer);
        links.dedup_by_key(|link| link.peer);
        let record = Record {
            network: [7; 16],
            peer: keypair.peer(),
            epoch: 1_700_000_000,
            version,
            left: false,
            algorithm: ALGORITHM_VERSION,
            capabilities: 0,
            capacity: 8,
            coordinate: [1.5, 2.25, -3.125, 0.5, 0.25],
            addresses: vec!["/ip4/10.1.2.3/tcp/4001".parse().expect("valid")],
            groups: Vec::new(),
            links,
            ext: RecordExt::default(),
        };
        SignedRecord::sign(record, &keypair)
    }

    const EIGHT: [(u8, u32); 8] = [
        (0, 40_000),
        (1, 41_000),
        (2, 42_000),
        (3, 43_000),
        (4, 44_000),
        (5, 45_000),
        (6, 46_000),
        (7, 47_000),
    ];

    #[test]
    fn one_link_more_or_less_costs_a_fraction_of_the_record() {
        let before = record(1, &EIGHT[..7]);
        let mut moved = EIGHT;
        for (_, rtt_us) in &mut moved {
            *rtt_us += 17;
        }
        for (links, most) in [(&moved[..6], 0.4), (&moved[..], 0.5)] {
            let after = record(2, links);
            let delta = RecordDelta::between(&before, &after, 3).expect("shorter");
            assert_eq!(delta.apply(&before), Some(after.signed.clone()));
            let share = to_cbor(&delta).len() as f64 / (after.signed.len() + 66 + 4) as f64;
            assert!(share < most, "{share}");
        }
    }

    #[test]
    fn what_shares_nothing_goes_whole() {
        let mut before = record(1, &EIGHT);
        before.signed = Bytes::from_static(b"abc");
        assert_eq!(RecordDelta::between(&before, &record(2, &EIGHT), 0), None);
    }

    proptest! {
        #[test]
        fn a_delta_gives_the_record(
            before in prop::collection::vec((0_u8..40, 0_u32..100_000), 0..30),
            after in prop::collection::vec((0_u8..40, 0_u32..100_000), 0..30),
        ) {
            let (before, after) = (record(1, &before), record(2, &after));
            if let Some(delta) = RecordDelta::between(&before, &after, 0) {
                prop_assert_eq!(delta.apply(&before), Some(after.signed.clone()));
            }
        }

        #[test]
        fn whatever_block_comes_nothing_panics_and_nothing_is_longer_than_said(
            block in prop::collection::vec(any::<u8>(), 0..300),
            bytes in 0_u32..1_000,
        ) {
            let before = record(1, &EIGHT);
            let mut delta = RecordDelta::between(&before, &record(2, &EIGHT), 0).expect("shorter");
            delta.block = block.into();
            delta.bytes = bytes;
            if let Some(signed) = delta.apply(&before) {
                prop_assert_eq!(signed.len(), bytes as usize);
            }
        }
    }
}
