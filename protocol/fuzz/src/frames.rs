//! Well-formed frames with arbitrary content, as peers with keys of their own can send them.

use arbitrary::{Result, Unstructured};
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::bundle::{FLAG_ACKNOWLEDGE, FLAG_BULK};
use hedgerow_protocol::wire::delta::{RecordDelta, RecordDeltas};
use hedgerow_protocol::wire::frame::{
    Acknowledge, AskAcknowledge, AskProof, Baseline, BaselineOrigin, BucketRecords, Buckets,
    BundleFrame, Bye, Digest, DigestEntry, Equivocation, Heartbeat, Hello, MemberAck, NotHeld,
    Probe, ProbeAnswer, Proof, Pull, RecordAnnounce, RecordPull, Records, Refuse, SignedHeader,
    Subscribe, Wanted, Wants,
};
use hedgerow_protocol::wire::record::GroupExt;
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::record::{
    LaterSetting, Record, RecordGroup, RecordLink, WireRecord, WireSettings,
};
use hedgerow_protocol::wire::routed::{AVOID_MAX, Echo, Routed, TTL_MAX};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Fragment, Frame, SignedRecord, WIRE_VERSION};
use hedgerow_protocol::{Address, GroupId, GroupName, History, Keypair, NetworkName, PeerKey};
use std::sync::OnceLock;

/// Identities in play; the engine under test is number 0.
pub const KEYS: usize = 6;
const GROUPS: usize = 6;

type Input<'a, 'b> = &'a mut Unstructured<'b>;

/// One of the identities.
pub fn keypair(index: usize) -> Keypair {
    static PAIRS: OnceLock<Vec<Keypair>> = OnceLock::new();
    let pairs = PAIRS.get_or_init(|| {
        (0..KEYS)
            .map(|key| Keypair::from_secret([key as u8 + 1; 32]))
            .collect()
    });
    pairs[index].clone()
}

fn peer(input: Input<'_, '_>) -> Result<PeerKey> {
    Ok(keypair(input.int_in_range(0..=KEYS - 1)?).peer())
}

/// One of a few groups; the last is `broadcast`.
pub fn group(input: Input<'_, '_>) -> Result<GroupName> {
    let group = input.int_in_range(0..=GROUPS)?;
    Ok(if group == GROUPS {
        GroupName::broadcast()
    } else {
        group_name(group)
    })
}

fn group_name(group: usize) -> GroupName {
    GroupName::new(&format!("group {group}")).expect("valid")
}

fn group_id(input: Input<'_, '_>) -> Result<GroupId> {
    Ok(GroupId::new(&NetworkName::default(), &group(input)?))
}

/// Mostly small numbers, now and then the extremes.
fn number(input: Input<'_, '_>) -> Result<u64> {
    Ok(match input.int_in_range(0..=15)? {
        0 => u64::MAX,
        1 => (1 << 62) - 1,
        2 => input.arbitrary()?,
        3..=6 => input.int_in_range(0..=300)?,
        _ => input.int_in_range(0..=6)?,
    })
}

fn epoch(input: Input<'_, '_>) -> Result<u64> {
    Ok(match input.int_in_range(0..=7)? {
        0 => number(input)?.max(1),
        _ => 1_700_000_000_000 + input.int_in_range(0..=3)?,
    })
}

fn few<T>(input: Input<'_, '_>, of: impl Fn(Input<'_, '_>) -> Result<T>) -> Result<Vec<T>> {
    (0..input.int_in_range(0..=4)?).map(|_| of(input)).collect()
}

fn ranges(input: Input<'_, '_>) -> Result<Vec<(u64, u64)>> {
    let mut at = number(input)?;
    let mut ranges = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let from = at;
        let to = from.saturating_add(input.int_in_range(0..=40)?);
        ranges.push((from, to));
        at = to.saturating_add(2 + input.int_in_range(0..=5)?);
        if at >= 1 << 62 {
            break;
        }
    }
    Ok(ranges)
}

/// A first frame, mostly of the right network and version.
pub fn hello(key: usize, input: Input<'_, '_>) -> Result<Frame> {
    let network = if input.ratio(1, 16)? {
        "elsewhere"
    } else {
        "hedgerow"
    };
    let record = if input.arbitrary()? {
        Some(record(key, input)?)
    } else {
        None
    };
    Ok(Frame::Hello(Hello {
        wire: if input.ratio(1, 16)? {
            input.arbitrary()?
        } else {
            WIRE_VERSION
        },
        network: NetworkName::new(network).expect("valid"),
        epoch: epoch(input)?,
        capabilities: input.arbitrary::<u8>()?.into(),
        wants: input.arbitrary::<u8>()?.into(),
        record,
        needs: if input.ratio(1, 16)? {
            vec!["a feature".to_owned()]
        } else {
            Vec::new()
        },
    }))
}

fn record(key: usize, input: Input<'_, '_>) -> Result<WireRecord> {
    let me = keypair(key).peer();
    let mut links = few(input, |input| {
        Ok(RecordLink {
            peer: peer(input)?,
            rtt_us: input.arbitrary::<u32>()?,
        })
    })?;
    links.retain(|link| link.peer != me);
    links.sort_by_key(|link| link.peer);
    links.dedup_by_key(|link| link.peer);
    let mut groups = few(input, |input| {
        let later = few(input, |input| {
            Ok(LaterSetting {
                name: ["a", "b-2", "C"][usize::from(input.int_in_range(0_u8..=2)?)].to_owned(),
                value: vec![input.arbitrary::<u8>()?].into(),
            })
        })?;
        let settings = WireSettings {
            redundancy: input.int_in_range(0..=9)?,
            order: input.int_in_range(0..=2)?,
            retention_bytes: 1 << 20,
            retention_ms: 60_000,
            later: if input.ratio(1, 8)? {
                later
            } else {
                Vec::new()
            },
        };
        Ok(RecordGroup {
            name: group(input)?,
            role: input.int_in_range(0..=3)?,
            settings_version: number(input)?,
            settings: input.arbitrary::<bool>()?.then_some(settings),
            ext: GroupExt::default(),
        })
    })?;
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups.dedup_by(|a, b| a.name == b.name);
    let address = |port: u8| Address::new(&format!("/memory/{port}")).expect("valid");
    let record = Record {
        network: NetworkName::default().hash(),
        peer: me,
        epoch: epoch(input)?,
        version: number(input)?.max(1),
        left: input.ratio(1, 16)?,
        algorithm: input.int_in_range(0..=3)?,
        capacity: input.int_in_range(1..=12)?,
        coordinate: [1.0, f32::from(input.arbitrary::<i8>()?), 0.0, 5.0, 0.5],
        addresses: few(input, |input| Ok(address(input.arbitrary()?)))?,
        groups,
        links,
        capabilities: 0,
        ext: RecordExt::default(),
    };
    let signed = SignedRecord::sign(record, &keypair(key));
    Ok(WireRecord::new(
        signed.signed,
        signed.signature,
        number(input)?,
    ))
}

/// What turns one of a peer's records into another; sometimes not quite.
fn record_delta(key: usize, input: Input<'_, '_>) -> Result<Option<RecordDelta>> {
    let decode = |WireRecord {
                      signed, signature, ..
                  }| SignedRecord::decode(signed, signature).ok();
    let (base, next) = (decode(record(key, input)?), decode(record(key, input)?));
    let (Some(base), Some(next)) = (base, next) else {
        return Ok(None);
    };
    let Some(mut delta) = RecordDelta::between(&base, &next, number(input)?) else {
        return Ok(None);
    };
    match input.int_in_range(0..=7)? {
        0 => delta.hash ^= 1,
        1 => delta.bytes = input.arbitrary()?,
        2 => delta.block.truncate(input.int_in_range(0..=64)?),
        3 => delta.signature[0] ^= 1,
        _ => {}
    }
    Ok(Some(delta))
}

fn bundle(key: usize, now_ms: u64, input: Input<'_, '_>) -> Result<Bundle> {
    let count = if input.ratio(1, 4)? {
        input.int_in_range(1..=5)?
    } else {
        1
    };
    let mut lengths = Vec::new();
    for _ in 0..count {
        let large = input.ratio(1, 16)?;
        lengths.push(if large {
            5_000
        } else {
            input.int_in_range(0..=60)?
        });
    }
    let seq = number(input)?.clamp(1, (1 << 62) - 1);
    let fragment = if count == 1 && input.ratio(1, 4)? {
        let count = input.int_in_range(2..=6)?;
        let index = input.int_in_range(0..=count - 1)?;
        (seq > u64::from(index)).then_some(Fragment { index, count })
    } else {
        None
    };
    let total: u32 = lengths.iter().sum();
    let header_lengths = match input.int_in_range(0..=7)? {
        0 => vec![input.int_in_range(0..=9)?; lengths.len()],
        1 => vec![0; lengths.len()],
        _ => Vec::new(),
    };
    let header = BundleHeader {
        group: group_id(input)?,
        origin: keypair(key).peer(),
        epoch: epoch(input)?,
        seq,
        flags: input.arbitrary::<u8>()? & (FLAG_BULK | FLAG_ACKNOWLEDGE),
        published_at: now_ms.saturating_add(number(input)?).saturating_sub(3_000),
        delays: if input.arbitrary()? {
            vec![1; lengths.len()]
        } else {
            Vec::new()
        },
        lengths,
        header_lengths,
        fragment,
        previous: if seq == 1 {
            [0; 32]
        } else {
            [input.int_in_range(1..=3)?; 32]
        },
        payload_hash: [0; 32],
        ext: BundleExt::default(),
    };
    let payload = vec![input.arbitrary()?; total as usize].into();
    Ok(Bundle::sign(header, payload, &keypair(key)))
}

fn wanted(input: Input<'_, '_>) -> Result<Option<Wanted>> {
    let (origin, epoch) = (peer(input)?, epoch(input)?);
    Ok(ranges(input)?.try_into().ok().map(|ranges| Wanted {
        origin,
        epoch,
        ranges,
    }))
}

fn digest_entry(input: Input<'_, '_>) -> Result<Option<DigestEntry>> {
    let (origin, epoch) = (peer(input)?, epoch(input)?);
    let (floor, settled) = (number(input)?, number(input)?);
    let above = ranges(input)?.try_into().ok();
    Ok(above.map(|above| DigestEntry {
        origin,
        epoch,
        floor,
        settled,
        above,
    }))
}

fn history(input: Input<'_, '_>) -> Result<History> {
    Ok(match input.int_in_range(0..=2)? {
        0 => History::None,
        1 => History::Last(number(input)?),
        _ => History::SinceMs(number(input)?),
    })
}

fn names(input: Input<'_, '_>) -> Result<Vec<(u64, u64, u64)>> {
    few(input, |input| {
        Ok((peer(input)?.prefix(), epoch(input)?, number(input)?))
    })
}

/// Mostly within the rules, and mostly an echo.
fn routed(input: Input<'_, '_>) -> Result<Routed> {
    let echo = Echo {
        answer: input.arbitrary()?,
        number: number(input)?,
    };
    let is_echo = input.ratio(3, 4)?;
    let mut avoid = few(input, peer)?;
    if input.ratio(1, 16)? {
        avoid.resize(AVOID_MAX + 1, keypair(0).peer());
    }
    Ok(Routed {
        to: peer(input)?,
        from: peer(input)?,
        ttl: match input.int_in_range(0..=15)? {
            0 => input.arbitrary()?,
            1 => 1,
            _ => TTL_MAX,
        },
        class: input.int_in_range(0..=2)?,
        avoid,
        protocol: if is_echo { 1 } else { input.arbitrary()? },
        body: if is_echo {
            echo.encode()
        } else {
            input.arbitrary::<Vec<u8>>()?.into()
        },
    })
}

/// Any frame that the peer with this key can write.
pub fn any(key: usize, now_ms: u64, input: Input<'_, '_>) -> Result<Frame> {
    // Others' records and bundles are passed on as well as one's own.
    let author = if input.arbitrary()? {
        key
    } else {
        input.int_in_range(1..=KEYS - 1)?
    };
    Ok(match input.int_in_range(0..=28)? {
        0 => hello(key, input)?,
        1 => Frame::Heartbeat(Heartbeat {
            stamp_us: number(input)?,
            echo_us: number(input)?,
            held_us: number(input)?,
            ask: input.arbitrary()?,
            coordinate: std::array::from_fn(|axis| axis as f32),
            wall_ms: number(input)?,
            database: number(input)?,
            groups: few(input, |input| Ok((group_id(input)?, number(input)?)))?,
        }),
        2..=4 => Frame::Records(Records {
            records: few(input, |input| record(author, input))?,
        }),
        5 => Frame::RecordAnnounce(RecordAnnounce {
            names: names(input)?,
        }),
        6 => Frame::RecordPull(RecordPull {
            prefixes: few(input, |input| Ok(peer(input)?.prefix()))?,
        }),
        7 => {
            let buckets = if input.ratio(7, 8)? {
                256
            } else {
                input.int_in_range(0..=300)?
            };
            Frame::Buckets(Buckets {
                hashes: vec![number(input)?; buckets],
                from: number(input)?,
            })
        }
        8 => Frame::BucketRecords(BucketRecords {
            buckets: few(input, |input| input.arbitrary())?,
            names: names(input)?,
            from: number(input)?,
            until: input.arbitrary()?,
        }),
        9 => Frame::Wants(Wants {
            wants: input.arbitrary()?,
        }),
        24 => Frame::RecordDeltas(RecordDeltas {
            deltas: few(input, |input| record_delta(author, input))?
                .into_iter()
                .flatten()
                .collect(),
        }),
        10 => Frame::Refuse(Refuse {
            alternatives: few(input, |input| Ok((peer(input)?, Vec::new())))?,
        }),
        11 => Frame::Bye(Bye {
            reason: "tired".into(),
        }),
        12..=14 => {
            let bundle = bundle(author, now_ms, input)?;
            let (hops, pulled) = (input.arbitrary()?, input.arbitrary()?);
            let (signed, signature) = (bundle.signed, bundle.signature);
            Frame::Bundle(
                BundleFrame {
                    hops,
                    pulled,
                    signed,
                    signature,
                },
                bundle.payload,
            )
        }
        15 => Frame::Subscribe(Subscribe {
            group: group(input)?,
            role: input.int_in_range(0..=4)?,
            baseline: input.arbitrary()?,
            history: history(input)?,
            older_ms: number(input)?,
        }),
        16 => {
            let origin = |input: Input<'_, '_>| {
                let past = few(input, |input| Ok((number(input)?, number(input)?)))?;
                let proof = bundle(author, now_ms, input)?;
                let header = &proof.header;
                let (origin, epoch, settled) = (header.origin, header.epoch, header.seq);
                let (signed, signature) = (proof.signed.clone(), proof.signature);
                let proof = Some(SignedHeader { signed, signature });
                let age_ms = number(input)?;
                if input.ratio(3, 4)? {
                    return Ok(BaselineOrigin {
                        origin,
                        epoch,
                        settled,
                        proof,
                        age_ms,
                        past,
                    });
                }
                let proof = proof.filter(|_| settled % 2 == 0);
                let (origin, settled) = (peer(input)?, number(input)?);
                Ok(BaselineOrigin {
                    origin,
                    epoch,
                    settled,
                    proof,
                    age_ms,
                    past,
                })
            };
            Frame::Baseline(Baseline {
                group: group_id(input)?,
                older_ms: number(input)?,
                alone: input.arbitrary()?,
                origins: few(input, origin)?,
                last: input.arbitrary()?,
            })
        }
        17 => Frame::Digest(Digest {
            group: group_id(input)?,
            ask: input.arbitrary()?,
            entries: few(input, digest_entry)?.into_iter().flatten().collect(),
        }),
        18 => Frame::Pull(Pull {
            group: group_id(input)?,
            wanted: few(input, wanted)?.into_iter().flatten().collect(),
        }),
        19 => {
            let (group, gone) = (group_id(input)?, input.arbitrary()?);
            match wanted(input)? {
                Some(wanted) => Frame::NotHeld(NotHeld {
                    group,
                    wanted,
                    gone,
                }),
                None => Frame::Wants(Wants { wants: 0 }),
            }
        }
        20 => {
            let member = |input: Input<'_, '_>| {
                let (peer, up_to) = (peer(input)?, number(input)?);
                let lost = ranges(input)?.try_into().ok();
                Ok(lost.map(|lost| MemberAck {
                    member: peer,
                    up_to,
                    lost,
                    signature: [3; 64],
                }))
            };
            Frame::Acknowledge(Acknowledge {
                group: group_id(input)?,
                origin: peer(input)?,
                epoch: epoch(input)?,
                members: few(input, member)?.into_iter().flatten().collect(),
            })
        }
        21 => Frame::AskAcknowledge(AskAcknowledge {
            group: group_id(input)?,
            origin: peer(input)?,
            epoch: epoch(input)?,
            seq: number(input)?,
            hops: input.arbitrary::<u8>()?.into(),
        }),
        22 => {
            let (a, b) = (
                bundle(author, now_ms, input)?,
                bundle(author, now_ms, input)?,
            );
            Frame::Equivocation(Equivocation {
                first: a.signed,
                first_signature: a.signature,
                second: b.signed,
                second_signature: b.signature,
            })
        }
        23 => Frame::AskProof(AskProof {
            group: group_id(input)?,
            origin: peer(input)?,
            epoch: epoch(input)?,
            seq: number(input)?,
        }),
        25 => {
            let bundle = bundle(author, now_ms, input)?;
            Frame::Proof(Proof {
                header: SignedHeader {
                    signed: bundle.signed,
                    signature: bundle.signature,
                },
                age_ms: number(input)?,
            })
        }
        26 | 27 => Frame::Routed(routed(input)?),
        _ => {
            let (group, probe) = (group_id(input)?, number(input)?);
            let path = few(input, peer)?;
            if input.arbitrary()? {
                Frame::Probe(Probe { group, probe, path })
            } else {
                Frame::ProbeAnswer(ProbeAnswer { group, probe, path })
            }
        }
    })
}
