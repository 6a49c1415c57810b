//! An origin that leaves out every second number.

use super::origin::groups;
use super::{Out, after, links_up, send};
use crate::sim::Mask;
use bytes::Bytes;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::BundleFrame;
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame};
use hedgerow_protocol::{Action, Engine, GroupId, Keypair, Time};

/// How often, ms, and how many bundles at a time.
const EVERY_MS: u64 = 100;
const BUNDLES: usize = 50;

/// Publishes so that its log is nothing but holes, each of which others will look for.
pub(super) struct Holes {
    keypair: Keypair,
    seq: u64,
}

impl Holes {
    pub(super) fn new(keypair: Keypair) -> Self {
        Self { keypair, seq: 0 }
    }

    fn bundle(&mut self, group: GroupId, epoch: u64, now: Time) -> Frame {
        self.seq += 2;
        let payload = Bytes::from_static(b"after a hole");
        let header = BundleHeader {
            group,
            origin: self.keypair.peer(),
            epoch,
            seq: self.seq,
            flags: 0,
            published_at: now.wall_ms,
            lengths: vec![payload.len() as u32],
            delays: Vec::new(),
            fragment: None,
            previous: [7; 32],
            // Signing sets it.
            payload_hash: [0; 32],
            header_lengths: Vec::new(),
            ext: BundleExt::default(),
        };
        let bundle = Bundle::sign(header, payload, &self.keypair);
        let frame = BundleFrame {
            hops: 1,
            pulled: false,
            signed: bundle.signed,
            signature: bundle.signature,
        };
        Frame::Bundle(frame, bundle.payload)
    }
}

impl Mask for Holes {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let (network, epoch) = (engine.status().network, engine.epoch());
        if let Some(group) = groups(engine).first() {
            let group = GroupId::new(&network, group);
            let links = links_up(engine);
            for _ in 0..BUNDLES {
                let bundle = self.bundle(group, epoch, now);
                out.extend(links.iter().map(|link| send(*link, &bundle)));
            }
        }
        Some(after(now, EVERY_MS))
    }
}
