//! Frames and lists of just the length at which others could stumble.

use super::origin::groups;
use super::{Out, after, links_up, send};
use crate::sim::Mask;
use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BUNDLE_MESSAGES_MAX;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{BundleFrame, Pull, Wanted};
use hedgerow_protocol::wire::{Bundle, BundleHeader, FRAME_BYTES_MAX, Frame};
use hedgerow_protocol::{Action, Engine, GroupId, Keypair, Time};

/// How often, ms.
const EVERY_MS: u64 = 1_000;
/// Ranges of which a denial would be longer than a frame.
const RANGES: u64 = 13_793;
/// After so many hops CBOR writes the next number of them in one more byte.
const HOPS: u16 = 23;

/// Messages without a byte, each a little later than the first: their header is longer than it may be.
const TOO_LONG: usize = BUNDLE_MESSAGES_MAX;

/// Sends bundles whose frame is full to the last byte, bundles with headers longer than they may be, and
/// pulls of more ranges than a denial could hold, to one of its groups after the other.
pub(super) struct Framing {
    keypair: Keypair,
    /// Bundles signed so far: each begins another life of this peer.
    lives: u64,
    /// Its groups have their turns.
    turn: usize,
}

impl Framing {
    pub(super) fn new(keypair: Keypair) -> Self {
        Self {
            keypair,
            lives: 0,
            turn: 0,
        }
    }

    /// The first bundle of a life of this peer that nobody has heard of.
    fn bundle(&mut self, group: GroupId, now: Time, lengths: Vec<u32>, delays: Vec<u32>) -> Bundle {
        self.lives += 1;
        let payload = vec![b'!'; lengths.iter().sum::<u32>() as usize];
        let header = BundleHeader {
            group,
            origin: self.keypair.peer(),
            epoch: now.wall_ms + self.lives,
            seq: 1,
            flags: 0,
            published_at: now.wall_ms,
            lengths,
            delays,
            fragment: None,
            previous: [0; 32],
            // Signing sets it.
            payload_hash: [0; 32],
            header_lengths: Vec::new(),
            ext: BundleExt::default(),
        };
        Bundle::sign(header, payload.into(), &self.keypair)
    }
}

fn frame(bundle: Bundle) -> Frame {
    let frame = BundleFrame {
        hops: HOPS,
        pulled: false,
        signed: bundle.signed,
        signature: bundle.signature,
    };
    Frame::Bundle(frame, bundle.payload)
}

impl Mask for Framing {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let network = engine.status().network;
        let groups = groups(engine);
        self.turn += 1;
        if let Some(group) = groups.get(self.turn % groups.len().max(1)) {
            let group = GroupId::new(&network, group);
            let measure = frame(self.bundle(group, now, vec![200_000], Vec::new()));
            let around = measure.encode().iter().map(Bytes::len).sum::<usize>() - 200_000;
            let full = vec![(FRAME_BYTES_MAX - around) as u32];
            let wanted = (0..RANGES).map(|at| ((1 << 40) + 2 * at, (1 << 40) + 2 * at));
            let wanted = Wanted {
                origin: engine.peer(),
                epoch: engine.epoch(),
                ranges: RangeSet::try_from(wanted.collect::<Vec<_>>()).unwrap_or_default(),
            };
            let pull = Pull {
                group,
                wanted: vec![wanted],
            };
            let frames = [
                frame(self.bundle(group, now, full, Vec::new())),
                frame(self.bundle(group, now, vec![0; TOO_LONG], vec![1 << 20; TOO_LONG])),
                pull.into(),
            ];
            for link in links_up(engine) {
                out.extend(frames.iter().map(|frame| send(link, frame)));
            }
        }
        Some(after(now, EVERY_MS))
    }
}
