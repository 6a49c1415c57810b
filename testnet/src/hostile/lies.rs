//! Peers that state what is not so.

use super::{Out, believe_sent, frame_of, send};
use crate::sim::Mask;
use hedgerow_protocol::wire::frame::Records;
use hedgerow_protocol::wire::record::WireRecord;
use hedgerow_protocol::wire::{Frame, SignedRecord};
use hedgerow_protocol::{Action, Engine, Keypair, Time};

/// A record as it travels.
pub(super) fn wire(record: &SignedRecord) -> WireRecord {
    WireRecord::new(record.signed.clone(), record.signature, 0)
}

/// Next to everybody: the middle of the world.
const NEAR: [f32; 5] = [0.0, 0.0, 0.0, 0.1, 0.01];
/// What it says its links take, microseconds.
const NEAR_US: u32 = 100;

/// States a coordinate next to everybody and links that take no time, so as to attract children.
pub(super) struct Coordinates {
    keypair: Keypair,
}

impl Coordinates {
    pub(super) fn new(keypair: Keypair) -> Self {
        Self { keypair }
    }

    fn lie(&self, record: WireRecord) -> WireRecord {
        let WireRecord {
            signed,
            signature,
            age_ms,
        } = record;
        match SignedRecord::decode(signed.clone(), signature) {
            Ok(mine) if mine.record.peer == self.keypair.peer() => {
                let mut record = mine.record;
                record.coordinate = NEAR;
                for link in &mut record.links {
                    link.rtt_us = NEAR_US;
                }
                let lie = SignedRecord::sign(record, &self.keypair);
                WireRecord::new(lie.signed, lie.signature, age_ms)
            }
            _ => WireRecord::new(signed, signature, age_ms),
        }
    }
}

impl Mask for Coordinates {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        let Action::Send { link, chunks } = &action else {
            return out.push_back(action);
        };
        if !chunks[1].is_empty() {
            return out.push_back(action);
        }
        let lie = match frame_of(chunks) {
            Some(Frame::Heartbeat(mut heartbeat)) => {
                heartbeat.coordinate = NEAR;
                // It held the stamp longer, it says, so the way takes less.
                heartbeat.held_us = heartbeat.held_us.saturating_add(50_000);
                Frame::Heartbeat(heartbeat)
            }
            Some(Frame::Hello(mut hello)) => {
                hello.record = hello.record.map(|record| self.lie(record));
                Frame::Hello(hello)
            }
            // What turns one true record into another would give a true one: the lie goes whole.
            Some(Frame::RecordDeltas(mut frame)) => {
                let me = self.keypair.peer().prefix();
                let told = frame.deltas.len();
                frame.deltas.retain(|delta| delta.name.0 != me);
                if frame.deltas.len() < told
                    && let Some(record) = engine.own_record()
                {
                    let records = vec![self.lie(wire(record))];
                    out.push_back(send(*link, &Frame::Records(Records { records })));
                }
                Frame::RecordDeltas(frame)
            }
            Some(Frame::Records(mut frame)) => {
                let records = std::mem::take(&mut frame.records).into_iter();
                frame.records = records.map(|record| self.lie(record)).collect();
                Frame::Records(frame)
            }
            _ => return out.push_back(action),
        };
        believe_sent(engine, now, &action);
        out.push_back(send(*link, &lie));
    }

    fn timeout(&mut self, _: Time, _: &mut Engine, _: &mut Out) -> Option<Time> {
        None
    }
}

/// How much more it says it has.
const MORE: u64 = 1_000;

/// States that it holds what it does not, even what nobody has published.
pub(super) struct Digests;

impl Mask for Digests {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        if let Action::Send { link, chunks } = &action
            && chunks[1].is_empty()
            && let Some(Frame::Digest(mut digest)) = frame_of(chunks)
        {
            for entry in &mut digest.entries {
                entry.floor = 1;
                entry.settled = entry.settled.saturating_add(MORE);
            }
            believe_sent(engine, now, &action);
            out.push_back(send(*link, &Frame::Digest(digest)));
            return;
        }
        out.push_back(action);
    }

    fn timeout(&mut self, _: Time, _: &mut Engine, _: &mut Out) -> Option<Time> {
        None
    }
}
