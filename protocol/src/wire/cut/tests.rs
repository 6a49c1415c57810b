use super::super::FRAME_BYTES_MAX;
use super::super::frame::{BaselineOrigin, DigestEntry, MemberAck, Refuse, SignedHeader};
use super::super::record::WireRecord;
use super::super::stream::FrameDecoder;
use super::*;
use crate::base::identity::PeerKey;
use crate::base::name::{ADDRESS_BYTES_MAX, Address, GroupId};
use crate::base::ranges::RangeSet;
use bytes::Bytes;

const GROUP: GroupId = GroupId([7; 16]);
const ORIGIN: PeerKey = PeerKey([9; 32]);

/// Every second number from here on, which CBOR writes in nine bytes each.
fn holes(ranges: u64) -> RangeSet {
    let from = 1 << 40;
    let ranges = (0..ranges).map(|at| (from + 2 * at, from + 2 * at));
    RangeSet::try_from(ranges.collect::<Vec<_>>()).expect("ascending")
}

fn wanted(ranges: u64) -> Wanted {
    Wanted {
        origin: ORIGIN,
        epoch: 1,
        ranges: holes(ranges),
    }
}

fn length(frame: &Frame) -> usize {
    frame.encode().iter().map(Bytes::len).sum()
}

/// What the engine sends in the place of a frame.
fn cut(frame: Frame) -> Vec<Frame> {
    if length(&frame) <= FRAME_BYTES_MAX {
        return vec![frame];
    }
    let halves = frame.halves().expect("has a list");
    halves.into_iter().flat_map(cut).collect()
}

/// A frame of each kind with a list, longer than the wire takes.
fn oversized() -> Vec<Frame> {
    let names: Vec<(u64, u64, u64)> = (0..20_000).map(|at| (at << 49, u64::MAX, at)).collect();
    let record = WireRecord::new(Bytes::from(vec![1; 10_000]), [1; 64], 3);
    let origin = BaselineOrigin {
        origin: ORIGIN,
        epoch: 1,
        settled: 5,
        proof: Some(SignedHeader {
            signed: Bytes::from(vec![2; 10_000]),
            signature: [2; 64],
        }),
        age_ms: u64::MAX,
        past: vec![(u64::MAX, u64::MAX); 8_192],
    };
    let entry = DigestEntry {
        origin: ORIGIN,
        epoch: 1,
        floor: 1,
        settled: 1,
        above: holes(20_000),
    };
    let ack = MemberAck {
        member: ORIGIN,
        up_to: 1,
        lost: holes(1_000),
        signature: [3; 64],
    };
    vec![
        Records {
            records: vec![record; 64],
        }
        .into(),
        RecordAnnounce {
            names: names.clone(),
        }
        .into(),
        RecordPull {
            prefixes: vec![u64::MAX; 60_000],
        }
        .into(),
        Baseline {
            group: GROUP,
            older_ms: u64::MAX,
            alone: true,
            origins: vec![origin; 3],
            last: true,
        }
        .into(),
        Digest {
            group: GROUP,
            ask: true,
            entries: vec![entry],
        }
        .into(),
        Pull {
            group: GROUP,
            wanted: vec![wanted(20_000)],
        }
        .into(),
        NotHeld {
            group: GROUP,
            wanted: wanted(20_000),
            gone: true,
        }
        .into(),
        Acknowledge {
            group: GROUP,
            origin: ORIGIN,
            epoch: 1,
            members: vec![ack; 20],
        }
        .into(),
    ]
}

#[test]
fn every_frame_with_a_list_is_cut_until_it_fits() {
    for frame in oversized() {
        assert!(length(&frame) > FRAME_BYTES_MAX, "{}", frame.name());
        let parts = cut(frame.clone());
        assert!(parts.len() > 1);
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        for part in &parts {
            for chunk in part.encode() {
                decoder.push(chunk);
            }
            let raw = decoder.next_frame().expect("within the limit");
            let decoded = Frame::decode(raw.expect("whole")).expect("well formed");
            assert_eq!(decoded.as_ref(), Some(part), "{}", frame.name());
        }
    }
}

#[test]
fn the_parts_of_a_frame_say_what_it_said() {
    for frame in oversized() {
        let parts = cut(frame.clone());
        match &frame {
            Frame::NotHeld(whole) => {
                let mut ranges = RangeSet::new();
                for part in &parts {
                    let Frame::NotHeld(part) = part else {
                        panic!("another kind");
                    };
                    assert!(part.gone);
                    ranges.extend(&part.wanted.ranges);
                }
                assert_eq!(ranges, whole.wanted.ranges);
            }
            Frame::Baseline(_) => {
                let last = parts.iter().map(|part| match part {
                    Frame::Baseline(part) => part.last,
                    _ => panic!("another kind"),
                });
                let last: Vec<bool> = last.collect();
                assert_eq!(last.iter().filter(|last| **last).count(), 1);
                assert_eq!(last.last(), Some(&true));
            }
            Frame::Digest(_) => {
                let asks = parts.iter().filter(|part| match part {
                    Frame::Digest(part) => part.ask,
                    _ => panic!("another kind"),
                });
                assert_eq!(asks.count(), 1, "one answer is wanted");
            }
            _ => {}
        }
    }
}

#[test]
fn what_cannot_be_cut_fits() {
    use crate::base::name::{GroupName, NetworkName};
    use crate::wire::bundle::HEADER_BYTES_MAX;
    use crate::wire::frame::{Equivocation, Heartbeat, Hello, Probe, Proof, SignedHeader};
    use crate::wire::routed::{AVOID_MAX, BODY_BYTES_MAX, Routed, TTL_MAX};
    let address = Address::new(&"a".repeat(ADDRESS_BYTES_MAX)).expect("valid");
    let longest_name = "n".repeat(128);
    let frames: Vec<Frame> = vec![
        Hello {
            wire: 1,
            network: NetworkName::new(&longest_name).expect("valid"),
            epoch: u64::MAX,
            capabilities: u64::MAX,
            needs: Vec::new(),
            wants: u16::MAX,
            record: Some(WireRecord::new(vec![1; 16_384].into(), [1; 64], u64::MAX)),
        }
        .into(),
        Heartbeat {
            stamp_us: u64::MAX,
            echo_us: u64::MAX,
            held_us: u64::MAX,
            ask: true,
            coordinate: [1.0; 5],
            wall_ms: u64::MAX,
            database: u64::MAX,
            groups: vec![(GROUP, u64::MAX); 1_024],
        }
        .into(),
        Refuse {
            alternatives: vec![(ORIGIN, vec![address; 8]); 8],
        }
        .into(),
        Equivocation {
            first: vec![1; HEADER_BYTES_MAX].into(),
            first_signature: [1; 64],
            second: vec![1; HEADER_BYTES_MAX].into(),
            second_signature: [1; 64],
        }
        .into(),
        Proof {
            header: SignedHeader {
                signed: vec![1; HEADER_BYTES_MAX].into(),
                signature: [1; 64],
            },
            age_ms: u64::MAX,
        }
        .into(),
        Probe {
            group: GROUP,
            probe: u64::MAX,
            path: vec![ORIGIN; 64],
        }
        .into(),
        Routed {
            to: ORIGIN,
            from: ORIGIN,
            ttl: TTL_MAX,
            class: 1,
            avoid: vec![ORIGIN; AVOID_MAX],
            protocol: u16::MAX,
            body: vec![1; BODY_BYTES_MAX].into(),
        }
        .into(),
        crate::wire::frame::Subscribe {
            group: GroupName::new(&longest_name).expect("valid"),
            role: 1,
            baseline: true,
            history: crate::base::message::History::Last(u64::MAX),
            older_ms: u64::MAX,
        }
        .into(),
    ];
    for frame in frames {
        assert!(length(&frame) <= FRAME_BYTES_MAX, "{}", frame.name());
    }
}
