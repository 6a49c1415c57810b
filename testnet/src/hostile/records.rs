//! Records that state more than is so, and ages that nobody has signed.

use super::lies::wire;
use super::{Out, after, believe_sent, frame_of, links_up, send};
use crate::sim::{Mask, Random};
use hedgerow_protocol::wire::record::ALGORITHM_VERSION;
use hedgerow_protocol::wire::record::GroupExt;
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::{Frame, Record, RecordGroup, RecordLink, SignedRecord, frame};
use hedgerow_protocol::{Action, Engine, GroupName, Keypair, Time};

/// How often a flood has a wave, ms, and how many records one has.
const WAVE_MS: u64 = 100;
const RECORDS: usize = 2;
/// Groups in a record: some 12 KB.
const GROUPS: usize = 96;

/// States records of peers that do not exist, each with a link that nobody else states.
pub(super) struct Linked {
    random: Random,
    groups: Vec<RecordGroup>,
}

impl Linked {
    pub(super) fn new(random: Random) -> Self {
        let group = |number: usize| RecordGroup {
            name: GroupName::new(&format!("{number:0>120}")).expect("short and printable"),
            role: 1,
            settings_version: 0,
            settings: None,
            ext: GroupExt::default(),
        };
        Self {
            random,
            groups: (0..GROUPS).map(group).collect(),
        }
    }

    fn invented(&mut self) -> Keypair {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&self.random.bits().to_le_bytes());
        Keypair::from_secret(secret)
    }

    fn record(&mut self, network: [u8; 16], now: Time) -> SignedRecord {
        let keypair = self.invented();
        let link = RecordLink {
            peer: self.invented().peer(),
            rtt_us: 10_000,
        };
        let record = Record {
            network,
            peer: keypair.peer(),
            epoch: now.wall_ms,
            version: 1,
            left: false,
            algorithm: ALGORITHM_VERSION,
            capacity: 8,
            coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
            addresses: Vec::new(),
            groups: self.groups.clone(),
            links: vec![link],
            capabilities: 0,
            ext: RecordExt::default(),
        };
        SignedRecord::sign(record, &keypair)
    }
}

impl Mask for Linked {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        if let Some(network) = engine.own_record().map(|own| own.record.network) {
            let records = (0..RECORDS).map(|_| wire(&self.record(network, now)));
            let frame = Frame::from(frame::Records {
                records: records.collect(),
            });
            for link in links_up(engine) {
                out.push_back(send(link, &frame));
            }
        }
        Some(after(now, WAVE_MS))
    }
}

/// Tells others' records to be nearly as old as records may be.
pub(super) struct Aged;

/// A second less than three refreshes of ten minutes.
const AGE_MS: u64 = 1_799_000;

impl Mask for Aged {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        let aged = match &action {
            Action::Send { link, chunks } if chunks[1].is_empty() => match frame_of(chunks) {
                Some(Frame::Records(mut frame)) => {
                    for record in &mut frame.records {
                        record.age_ms = AGE_MS;
                    }
                    Some(send(*link, &Frame::Records(frame)))
                }
                Some(Frame::RecordDeltas(mut frame)) => {
                    for delta in &mut frame.deltas {
                        delta.age_ms = AGE_MS;
                    }
                    Some(send(*link, &Frame::RecordDeltas(frame)))
                }
                _ => None,
            },
            _ => None,
        };
        match aged {
            Some(aged) => {
                believe_sent(engine, now, &action);
                out.push_back(aged);
            }
            None => out.push_back(action),
        }
    }

    fn timeout(&mut self, _: Time, _: &mut Engine, _: &mut Out) -> Option<Time> {
        None
    }
}
