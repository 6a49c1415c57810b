//! Peers that do not behave: an engine behind a mask that drops, alters or adds frames.
//!
//! The engine underneath is a normal one, so a hostile peer is well connected and does
//! everything else as it should, which makes it worse than noise.

mod acknowledgements;
mod crowds;
mod floods;
mod forward;
mod framing;
mod holes;
mod lies;
mod origin;
mod origins;
mod records;
mod time;

use crate::scenario::Behaviour;
use crate::sim::{Mask, Offence, Random};
use bytes::Bytes;
use hedgerow_protocol::wire::stream::FrameDecoder;
use hedgerow_protocol::wire::{BundleHeader, Frame, frame::BundleFrame};
use hedgerow_protocol::{
    Action, Engine, GroupId, GroupName, Input, Keypair, LinkId, MessageId, Micros, Time,
};
use std::collections::VecDeque;

/// Makes the mask of a peer; nothing for one that behaves, or whose offence is no mask.
pub fn mask(behaviour: Behaviour, keypair: Keypair, seed: [u8; 32]) -> Option<Box<dyn Mask>> {
    let random = Random::from_key(seed);
    Some(match behaviour {
        Behaviour::Honest | Behaviour::CopiedKey | Behaviour::EpochAbuse => return None,
        Behaviour::SettingsWar => Box::new(time::SettingsWar::by_turns(keypair, seed)),
        Behaviour::Drop => Box::new(forward::Drop),
        Behaviour::Delay => Box::new(forward::Delay::default()),
        Behaviour::Replay => Box::new(forward::Replay::new(random)),
        Behaviour::BadSignature => Box::new(forward::BadSignature::default()),
        Behaviour::ForgedOrigin => Box::new(origin::Forge::new(keypair, random)),
        Behaviour::Equivocate => Box::new(origin::Equivocate::new(keypair)),
        Behaviour::DataFlood => Box::new(floods::Data),
        Behaviour::RecordFlood => Box::new(floods::Records::new(random)),
        Behaviour::Oversized => Box::new(floods::Oversized::default()),
        Behaviour::Malformed => Box::new(floods::Malformed::new(random)),
        Behaviour::LyingCoordinates => Box::new(lies::Coordinates::new(keypair)),
        Behaviour::LyingDigests => Box::new(lies::Digests),
        Behaviour::OriginFlood => Box::new(origins::Keys::new(random)),
        Behaviour::DigestFlood => Box::new(origins::Names::new(random)),
        Behaviour::Framing => Box::new(framing::Framing::new(keypair)),
        Behaviour::OneAddress => Box::new(crowds::OneAddress::default()),
        Behaviour::SlowHello => Box::new(crowds::SlowHello::default()),
        Behaviour::Holes => Box::new(holes::Holes::new(keypair)),
        Behaviour::LinkedRecordFlood => Box::new(records::Linked::new(random)),
        Behaviour::AgedRecords => Box::new(records::Aged),
        Behaviour::ForgedAcknowledgements => Box::new(acknowledgements::Forge::new(random)),
    })
}

/// The mask of a peer that makes war about settings in one role only.
pub fn settings_war(keypair: Keypair, as_member: bool) -> Box<dyn Mask> {
    Box::new(time::SettingsWar::always(keypair, as_member))
}

/// The mask of a peer that once had the key of another and signed records of lives to come.
pub fn epoch_abuse(victim: Keypair) -> Box<dyn Mask> {
    Box::new(time::EpochAbuse::new(victim))
}

/// The frame in what an engine sends: it sends whole frames only.
fn frame_of(chunks: &[Bytes; 2]) -> Option<Frame> {
    let mut decoder = FrameDecoder::new(usize::MAX);
    let whole = [&chunks[0][..], &chunks[1][..]].concat();
    decoder.push(whole.into());
    Frame::decode(decoder.next_frame().ok()??).ok()?
}

/// A bundle that is about to be sent.
fn bundle_of(action: &Action) -> Option<(LinkId, BundleFrame, BundleHeader, Bytes)> {
    let Action::Send { link, chunks } = action else {
        return None;
    };
    // Only bundles have a payload.
    if chunks[1].is_empty() {
        return None;
    }
    match frame_of(chunks)? {
        Frame::Bundle(frame, payload) => {
            let header = BundleHeader::decode(&frame.signed).ok()?;
            Some((*link, frame, header, payload))
        }
        _ => None,
    }
}

fn send(link: LinkId, frame: &Frame) -> Action {
    let chunks = frame.encode();
    Action::Send { link, chunks }
}

/// Lets an engine believe that what is dropped was written.
fn believe_sent(engine: &mut Engine, now: Time, action: &Action) {
    if let Action::Send { link, chunks } = action {
        let bytes = chunks[0].len() + chunks[1].len();
        engine.handle_input(now, Input::Sent { link: *link, bytes });
    }
}

/// The links that are up.
fn links_up(engine: &Engine) -> Vec<LinkId> {
    let links = engine.links().into_iter();
    links.filter(|link| link.up).map(|link| link.link).collect()
}

/// Notes that what is sent now on a link proves its sender hostile, and which message is broken in
/// it, if one is.
fn note(
    offences: &mut Vec<Offence>,
    now: Time,
    (engine, link): (&Engine, LinkId),
    header: Option<&BundleHeader>,
) {
    let message = header.and_then(|header| {
        let id = MessageId {
            origin: header.origin,
            epoch: header.epoch,
            seq: header.seq,
        };
        Some((group_of(engine, header)?, id))
    });
    let to = engine.links().into_iter().find(|known| known.link == link);
    offences.extend(to.map(|to| Offence {
        at: now.mono,
        to: to.peer,
        message,
    }));
}

/// The name of a bundle's group.
fn group_of(engine: &Engine, header: &BundleHeader) -> Option<GroupName> {
    let network = engine.status().network;
    let mut names = engine.groups().into_iter().filter_map(|group| group.group);
    names.find(|name| GroupId::new(&network, name) == header.group)
}

/// So much later.
fn after(now: Time, ms: u64) -> Time {
    Time {
        mono: now.mono + Micros::from_millis(ms),
        wall_ms: now.wall_ms + ms,
    }
}

/// Actions that a mask puts in the place of others.
type Out = VecDeque<Action>;
