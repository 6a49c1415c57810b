//! Offences of those who publish.

use super::{Out, after, bundle_of, links_up, note, send};
use crate::sim::{Mask, Offence, Random};
use bytes::Bytes;
use hedgerow_protocol::status::Role;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::BundleFrame;
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame};
use hedgerow_protocol::{
    Action, Engine, GroupId, GroupName, Keypair, MessageId, PublishOptions, Time,
};

/// How often something is published, ms.
const PUBLISH_MS: u64 = 500;

/// The groups in which a peer is a member.
pub(super) fn groups(engine: &Engine) -> Vec<GroupName> {
    let groups = engine.groups().into_iter();
    groups
        .filter(|group| group.role == Role::Member)
        .filter_map(|group| group.group)
        .collect()
}

/// Publishes in others' names, signed with its own key.
pub(super) struct Forge {
    keypair: Keypair,
    random: Random,
    /// The last message of somebody else that it got; who passes nothing on gets them, too.
    seen: Option<(GroupName, MessageId)>,
    offences: Vec<Offence>,
}

impl Forge {
    pub(super) fn new(keypair: Keypair, random: Random) -> Self {
        Self {
            keypair,
            random,
            seen: None,
            offences: Vec::new(),
        }
    }
}

impl Mask for Forge {
    fn action(&mut self, _: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        if let Action::Deliver(delivery) = &action
            && delivery.id.origin != engine.peer()
        {
            self.seen = Some((delivery.group.clone(), delivery.id));
        }
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        if let Some((group, seen)) = &self.seen {
            // The next message of that origin, or one far ahead.
            let ahead = self.random.between(1, 1_000);
            let payload = Bytes::from_static(b"forged, and it must not be believed");
            let header = BundleHeader {
                group: GroupId::new(&engine.status().network, group),
                origin: seen.origin,
                epoch: seen.epoch,
                seq: seen.seq + ahead,
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
            let frame = Frame::Bundle(
                BundleFrame {
                    hops: 1,
                    pulled: false,
                    signed: bundle.signed,
                    signature: bundle.signature,
                },
                bundle.payload,
            );
            for link in links_up(engine) {
                note(&mut self.offences, now, (engine, link), None);
                out.push_back(send(link, &frame));
            }
        }
        Some(after(now, PUBLISH_MS))
    }

    fn offences(&self) -> &[Offence] {
        &self.offences
    }
}

/// Publishes two payloads under one name: one to some neighbours, one to the others.
pub(super) struct Equivocate {
    keypair: Keypair,
    number: u64,
}

impl Equivocate {
    pub(super) fn new(keypair: Keypair) -> Self {
        let number = 0;
        Self { keypair, number }
    }
}

impl Mask for Equivocate {
    fn action(&mut self, _: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        match bundle_of(&action) {
            Some((link, frame, header, payload))
                if header.origin == engine.peer() && link.0 % 2 == 1 =>
            {
                let mut other = payload.to_vec();
                if let Some(first) = other.first_mut() {
                    *first ^= 0xff;
                }
                let bundle = Bundle::sign(header, other.into(), &self.keypair);
                let frame = BundleFrame {
                    signed: bundle.signed,
                    signature: bundle.signature,
                    ..frame
                };
                out.push_back(send(link, &Frame::Bundle(frame, bundle.payload)));
            }
            _ => out.push_back(action),
        }
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, _: &mut Out) -> Option<Time> {
        for group in groups(engine) {
            self.number += 1;
            let payload = format!("one of two, number {}", self.number);
            // Refused or not: an offender minds neither.
            let _ = engine.publish(now, &group, payload.into(), PublishOptions::default());
        }
        Some(after(now, PUBLISH_MS))
    }
}
