//! Origins without number: throwaway keys that publish, and digests that make origins up.

use super::origin::groups;
use super::{Out, after, links_up, send};
use crate::sim::{Mask, Random};
use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{BundleFrame, Digest, DigestEntry};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame};
use hedgerow_protocol::{Action, Engine, GroupId, Keypair, PeerKey, Time};

/// How often a flood has a wave, ms.
const WAVE_MS: u64 = 100;
/// Throwaway keys in a wave.
const KEYS: usize = 2;
/// Entries of a digest in a wave: half name origins that do not exist, half lives of real ones.
const ENTRIES: usize = 200;

/// Publishes one byte with each of many throwaway keys, in one of its groups after the other.
pub(super) struct Keys {
    random: Random,
    waves: usize,
}

impl Keys {
    pub(super) fn new(random: Random) -> Self {
        Self { random, waves: 0 }
    }
}

impl Mask for Keys {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let network = engine.status().network;
        let groups = groups(engine);
        self.waves += 1;
        if let Some(group) = groups.get(self.waves % groups.len().max(1)) {
            for _ in 0..KEYS {
                let mut secret = [0; 32];
                secret[..8].copy_from_slice(&self.random.bits().to_le_bytes());
                let keypair = Keypair::from_secret(secret);
                let header = BundleHeader {
                    group: GroupId::new(&network, group),
                    origin: keypair.peer(),
                    epoch: now.wall_ms,
                    seq: 1,
                    flags: 0,
                    published_at: now.wall_ms,
                    lengths: vec![1],
                    delays: Vec::new(),
                    fragment: None,
                    previous: [0; 32],
                    // Signing sets it.
                    payload_hash: [0; 32],
                    header_lengths: Vec::new(),
                    ext: BundleExt::default(),
                };
                let bundle = Bundle::sign(header, Bytes::from_static(b"!"), &keypair);
                let frame = BundleFrame {
                    hops: 1,
                    pulled: false,
                    signed: bundle.signed,
                    signature: bundle.signature,
                };
                let frame = Frame::Bundle(frame, bundle.payload);
                for link in links_up(engine) {
                    out.push_back(send(link, &frame));
                }
            }
        }
        Some(after(now, WAVE_MS))
    }
}

/// States that it holds messages of origins, and of lives, that do not exist.
pub(super) struct Names {
    random: Random,
}

impl Names {
    pub(super) fn new(random: Random) -> Self {
        Self { random }
    }

    fn entry(&mut self, now: Time, real: &[PeerKey]) -> DigestEntry {
        let bits = self.random.bits();
        let mut key = [0; 32];
        key[..8].copy_from_slice(&bits.to_le_bytes());
        let origin = match real.len() {
            0 => PeerKey(key),
            _ if bits.is_multiple_of(2) => PeerKey(key),
            many => real[self.random.index(many)],
        };
        DigestEntry {
            origin,
            epoch: now.wall_ms + bits % 1_000,
            floor: 1,
            settled: 1 + bits % 9,
            above: RangeSet::default(),
        }
    }
}

impl Mask for Names {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let network = engine.status().network;
        for group in groups(engine) {
            let members = engine.members(&group).into_iter();
            let real: Vec<PeerKey> = members.map(|member| member.peer).collect();
            let entries = (0..ENTRIES).map(|_| self.entry(now, &real)).collect();
            let frame = Frame::Digest(Digest {
                group: GroupId::new(&network, &group),
                ask: false,
                entries,
            });
            for link in links_up(engine) {
                out.push_back(send(link, &frame));
            }
        }
        Some(after(now, WAVE_MS))
    }
}
