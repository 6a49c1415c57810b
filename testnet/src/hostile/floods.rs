//! Too much, too large, or nothing that can be read.

use super::origin::groups;
use super::{Out, after, links_up, note, send};
use crate::sim::{Mask, Offence, Random};
use bytes::Bytes;
use hedgerow_protocol::wire::frame;
use hedgerow_protocol::wire::record::ALGORITHM_VERSION;
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::{Frame, Record, SignedRecord};
use hedgerow_protocol::{Action, Engine, Keypair, PublishOptions, Time};

/// How often a flood has a wave, ms.
const WAVE_MS: u64 = 100;
/// Bytes of a payload in a flood, and how many a wave has.
const PAYLOAD: (usize, usize) = (1 << 10, 20);
/// Records of peers that do not exist in a wave.
const RECORDS: usize = 2;

/// Publishes as much as it can.
pub(super) struct Data;

impl Mask for Data {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, _: &mut Out) -> Option<Time> {
        for group in groups(engine) {
            for _ in 0..PAYLOAD.1 {
                let payload = Bytes::from(vec![b'!'; PAYLOAD.0]);
                // It stops when the engine says so: more would harm its own links only.
                let _ = engine.publish(now, &group, payload, PublishOptions::default());
            }
        }
        Some(after(now, WAVE_MS))
    }
}

/// States records of peers that do not exist.
pub(super) struct Records {
    random: Random,
}

impl Records {
    pub(super) fn new(random: Random) -> Self {
        Self { random }
    }
}

impl Mask for Records {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let network = engine.own_record().map(|own| own.record.network);
        if let Some(network) = network {
            let mut records = Vec::new();
            for _ in 0..RECORDS {
                let mut secret = [0; 32];
                secret[..8].copy_from_slice(&self.random.bits().to_le_bytes());
                let keypair = Keypair::from_secret(secret);
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
                    groups: Vec::new(),
                    links: Vec::new(),
                    capabilities: 0,
                    ext: RecordExt::default(),
                };
                records.push(super::lies::wire(&SignedRecord::sign(record, &keypair)));
            }
            let frame = Frame::from(frame::Records { records });
            for link in links_up(engine) {
                out.push_back(send(link, &frame));
            }
        }
        Some(after(now, WAVE_MS))
    }
}

/// How often a neighbour gets what it cannot read, ms.
const NONSENSE_MS: u64 = 1_000;

/// Announces frames of a gigabyte.
#[derive(Default)]
pub(super) struct Oversized {
    offences: Vec<Offence>,
}

impl Mask for Oversized {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        for link in links_up(engine) {
            let mut head = vec![0; 64];
            head[..4].copy_from_slice(&(1u32 << 30).to_be_bytes());
            let chunks = [head.into(), Bytes::new()];
            note(&mut self.offences, now, (engine, link), None);
            out.push_back(Action::Send { link, chunks });
        }
        Some(after(now, NONSENSE_MS))
    }

    fn offences(&self) -> &[Offence] {
        &self.offences
    }
}

/// Kinds of frames that have a header which must be read. Kinds that a build does not know are
/// skipped, so that later builds can add some: they prove nothing.
const KNOWN_KINDS: [u8; 22] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
];

/// Sends bytes that are no frames.
pub(super) struct Malformed {
    random: Random,
    offences: Vec<Offence>,
}

impl Malformed {
    pub(super) fn new(random: Random) -> Self {
        let offences = Vec::new();
        Self { random, offences }
    }
}

impl Mask for Malformed {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        for link in links_up(engine) {
            // A length that fits, a known kind, and for a header what no CBOR begins with, then
            // noise.
            let kind = KNOWN_KINDS[self.random.index(KNOWN_KINDS.len())];
            let mut bytes = vec![0, 0, 0, 60, kind, 0, 0, 0, 55, 0xff];
            while bytes.len() < 64 {
                bytes.push(self.random.bits() as u8);
            }
            let chunks = [bytes.into(), Bytes::new()];
            note(&mut self.offences, now, (engine, link), None);
            out.push_back(Action::Send { link, chunks });
        }
        Some(after(now, NONSENSE_MS))
    }

    fn offences(&self) -> &[Offence] {
        &self.offences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedgerow_protocol::wire::stream::FrameDecoder;

    /// An honest peer must be able to tell: what a later build might send is skipped, not punished.
    #[test]
    fn no_kind_of_nonsense_can_be_read_or_skipped() {
        for kind in KNOWN_KINDS {
            let mut decoder = FrameDecoder::new(usize::MAX);
            let head = [0, 0, 0, 6, kind, 0, 0, 0, 1, 0xff];
            decoder.push(Bytes::copy_from_slice(&head));
            let raw = decoder.next_frame().expect("a frame").expect("a whole one");
            assert!(Frame::decode(raw).is_err(), "kind {kind}");
        }
    }
}
