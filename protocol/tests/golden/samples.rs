//! One of every frame, with values that CBOR writes in several lengths.

use bytes::Bytes;
use hedgerow_protocol::wire::bundle::{BundleExt, FLAG_ACKNOWLEDGE, Fragment};
use hedgerow_protocol::wire::delta::{RECORD_DELTAS, RecordDelta, RecordDeltas};
use hedgerow_protocol::wire::frame::{
    Acknowledge, AskAcknowledge, AskProof, Baseline, BaselineOrigin, BucketRecords, Buckets,
    BundleFrame, Bye, Digest, DigestEntry, Equivocation, Heartbeat, Hello, MemberAck, NotHeld,
    OriginRefused, Probe, ProbeAnswer, Proof, Pull, RecordAnnounce, RecordPull, Records, Refuse,
    SignedHeader, Subscribe, Wanted, Wants,
};
use hedgerow_protocol::wire::record::{
    GroupExt, LaterSetting, Record, RecordExt, RecordGroup, RecordLink, WireRecord, WireSettings,
};
use hedgerow_protocol::wire::routed::{Echo, Routed, TTL_MAX};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame, SignedRecord, WIRE_VERSION};
use hedgerow_protocol::{GroupId, GroupName, History, Keypair, NetworkName, PeerKey};

const GROUP: GroupId = GroupId([0x67; 16]);
const EPOCH: u64 = 1_764_500_000_000;

fn keypair(number: u8) -> Keypair {
    Keypair::from_secret([number; 32])
}

fn peer(number: u8) -> PeerKey {
    keypair(number).peer()
}

fn name(name: &str) -> GroupName {
    name.parse().expect("a name")
}

fn record(version: u64) -> SignedRecord {
    let mut links = vec![
        RecordLink {
            peer: peer(2),
            rtt_us: 1_234,
        },
        RecordLink {
            peer: peer(3),
            rtt_us: 70_000,
        },
    ];
    links.sort_by_key(|link| link.peer);
    let settings = WireSettings {
        redundancy: 2,
        order: 1,
        retention_bytes: 64 << 20,
        retention_ms: 300_000,
        later: Vec::new(),
    };
    let group = |name: GroupName, role, settings: Option<WireSettings>| RecordGroup {
        name,
        role,
        settings_version: settings.as_ref().map_or(0, |_| EPOCH),
        settings,
        ext: GroupExt::default(),
    };
    let record = Record {
        network: NetworkName::default().hash(),
        peer: peer(1),
        epoch: EPOCH,
        version,
        left: false,
        algorithm: 1,
        capabilities: RECORD_DELTAS,
        capacity: 8,
        coordinate: [1.5, -2.25, 3.0, 0.5, 0.25],
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".parse().expect("an address")],
        groups: vec![
            group(name("alerts"), 2, None),
            group(name("news"), 1, Some(settings.clone())),
            group(
                name("sealed"),
                1,
                Some(WireSettings {
                    later: vec![LaterSetting {
                        name: "sealing".to_owned(),
                        value: Bytes::from_static(&[0x01]),
                    }],
                    ..settings
                }),
            ),
        ],
        links,
        ext: RecordExt::default(),
    };
    SignedRecord::sign(record, &keypair(1))
}

fn wire_record(version: u64) -> WireRecord {
    let record = record(version);
    WireRecord::new(record.signed, record.signature, 1_500)
}

fn bundle(seq: u64, header_lengths: Vec<u32>, fragment: Option<Fragment>) -> Bundle {
    let lengths = match fragment {
        Some(_) => vec![300],
        None => vec![5, 295],
    };
    let delays = match fragment {
        Some(_) => Vec::new(),
        None => vec![0, 40],
    };
    let header = BundleHeader {
        group: GROUP,
        origin: peer(1),
        epoch: EPOCH,
        seq,
        flags: FLAG_ACKNOWLEDGE,
        published_at: EPOCH + 1,
        lengths,
        header_lengths,
        delays,
        fragment,
        previous: if seq == 1 { [0; 32] } else { [9; 32] },
        payload_hash: [0; 32],
        ext: BundleExt::default(),
    };
    Bundle::sign(header, Bytes::from(vec![0x68; 300]), &keypair(1))
}

fn bundle_frame(bundle: &Bundle) -> Frame {
    let frame = BundleFrame {
        hops: 3,
        pulled: true,
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    };
    Frame::Bundle(frame, bundle.payload.clone())
}

fn signed_header(bundle: &Bundle) -> SignedHeader {
    SignedHeader {
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    }
}

fn wanted() -> Wanted {
    Wanted {
        origin: peer(1),
        epoch: EPOCH,
        ranges: vec![(1, 3), (300, 70_000)].try_into().expect("ascending"),
    }
}

/// Frames by the name that their line has.
pub(crate) fn all() -> Vec<(String, Frame)> {
    let first = bundle(1, Vec::new(), None);
    let with_headers = bundle(1, vec![0, 20], None);
    let fragment = bundle(7, vec![12], Some(Fragment { index: 0, count: 3 }));
    let delta = RecordDelta::between(&record(1), &record(2), 20).expect("shorter");
    let named: [(&str, Frame); 28] = [
        (
            "Hello",
            Hello {
                wire: WIRE_VERSION,
                network: NetworkName::default(),
                epoch: EPOCH,
                capabilities: RECORD_DELTAS,
                needs: Vec::new(),
                wants: 0x102,
                record: Some(wire_record(1)),
            }
            .into(),
        ),
        (
            "Hello-that-needs",
            Hello {
                wire: WIRE_VERSION,
                network: NetworkName::default(),
                epoch: EPOCH,
                capabilities: u64::MAX,
                needs: vec!["a-feature".to_owned()],
                wants: 0,
                record: None,
            }
            .into(),
        ),
        (
            "Heartbeat",
            Heartbeat {
                stamp_us: 5_000_000,
                echo_us: 4_000_000,
                held_us: 300,
                ask: true,
                coordinate: [0.0, 1.0, 2.0, 0.5, 0.125],
                wall_ms: EPOCH + 2,
                database: u64::MAX,
                groups: vec![(GROUP, 42)],
            }
            .into(),
        ),
        (
            "Records",
            Records {
                records: vec![wire_record(1), wire_record(2)],
            }
            .into(),
        ),
        (
            "RecordAnnounce",
            RecordAnnounce {
                names: vec![record(1).name()],
            }
            .into(),
        ),
        (
            "RecordPull",
            RecordPull {
                prefixes: vec![peer(1).prefix(), 0],
            }
            .into(),
        ),
        (
            "Buckets",
            Buckets {
                hashes: (0..256).collect(),
                from: 1 << 56,
            }
            .into(),
        ),
        (
            "BucketRecords",
            BucketRecords {
                buckets: vec![0, 24, 255],
                names: vec![record(1).name()],
                from: 0,
                until: Some(1 << 63),
            }
            .into(),
        ),
        ("Wants", Wants { wants: 5 }.into()),
        (
            "Refuse",
            Refuse {
                alternatives: vec![(
                    peer(2),
                    vec!["/ip4/192.0.2.2/tcp/4001".parse().expect("one")],
                )],
            }
            .into(),
        ),
        (
            "Bye",
            Bye {
                reason: "Unwanted".to_owned(),
            }
            .into(),
        ),
        (
            "RecordDeltas",
            RecordDeltas {
                deltas: vec![delta],
            }
            .into(),
        ),
        (
            "Subscribe",
            Subscribe {
                group: name("news"),
                role: 1,
                baseline: true,
                history: History::Last(20),
                older_ms: 1_000,
            }
            .into(),
        ),
        (
            "Subscribe-since",
            Subscribe {
                group: name("news"),
                role: 2,
                baseline: false,
                history: History::SinceMs(60_000),
                older_ms: 0,
            }
            .into(),
        ),
        (
            "Baseline",
            Baseline {
                group: GROUP,
                older_ms: 10,
                alone: false,
                origins: vec![BaselineOrigin {
                    origin: peer(1),
                    epoch: EPOCH,
                    settled: 2,
                    proof: Some(signed_header(&first)),
                    age_ms: 500,
                    past: vec![(1, EPOCH + 1)],
                }],
                last: true,
            }
            .into(),
        ),
        (
            "Digest",
            Digest {
                group: GROUP,
                ask: true,
                entries: vec![DigestEntry {
                    origin: peer(1),
                    epoch: EPOCH,
                    floor: 1,
                    settled: 4,
                    above: vec![(6, 6), (9, 300)].try_into().expect("ascending"),
                }],
            }
            .into(),
        ),
        (
            "Pull",
            Pull {
                group: GROUP,
                wanted: vec![wanted()],
            }
            .into(),
        ),
        (
            "NotHeld",
            NotHeld {
                group: GROUP,
                wanted: wanted(),
                gone: true,
            }
            .into(),
        ),
        ("Bundle", bundle_frame(&first)),
        ("Bundle-with-headers", bundle_frame(&with_headers)),
        ("Bundle-of-a-fragment", bundle_frame(&fragment)),
        (
            "Acknowledge",
            Acknowledge {
                group: GROUP,
                origin: peer(1),
                epoch: EPOCH,
                members: vec![MemberAck {
                    member: peer(2),
                    up_to: 70,
                    lost: vec![(3, 4)].try_into().expect("ascending"),
                    signature: [7; 64],
                }],
            }
            .into(),
        ),
        (
            "AskAcknowledge",
            AskAcknowledge {
                group: GROUP,
                origin: peer(1),
                epoch: EPOCH,
                seq: 70,
                hops: 2,
            }
            .into(),
        ),
        (
            "Fork",
            Equivocation {
                first: first.signed.clone(),
                first_signature: first.signature,
                second: with_headers.signed.clone(),
                second_signature: with_headers.signature,
            }
            .into(),
        ),
        (
            "Probe",
            Probe {
                group: GROUP,
                probe: 3,
                path: vec![peer(1), peer(2)],
            }
            .into(),
        ),
        (
            "ProbeAnswer",
            ProbeAnswer {
                group: GROUP,
                probe: 3,
                path: vec![peer(1), peer(2), peer(3)],
            }
            .into(),
        ),
        (
            "OriginRefused",
            OriginRefused {
                group: GROUP,
                origin: peer(1),
                epoch: EPOCH,
            }
            .into(),
        ),
        (
            "AskProof",
            AskProof {
                group: GROUP,
                origin: peer(1),
                epoch: EPOCH,
                seq: 9,
            }
            .into(),
        ),
    ];
    let mut all: Vec<(String, Frame)> = named.map(|(name, frame)| (name.to_owned(), frame)).into();
    let proof = Proof {
        header: signed_header(&first),
        age_ms: 250,
    };
    all.push(("Proof".to_owned(), proof.into()));
    let echo = Echo {
        answer: false,
        number: 300,
    };
    let routed = Routed {
        to: peer(3),
        from: peer(1),
        ttl: TTL_MAX,
        class: 0,
        avoid: vec![peer(2)],
        protocol: 1,
        body: echo.encode(),
    };
    all.push(("Routed".to_owned(), routed.into()));
    all
}
