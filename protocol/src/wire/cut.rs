//! Frames that would be too long, as shorter ones that together say the same.
//!
//! Senders put lists together by number, and what an entry weighs is often up to others. So the
//! limit of the wire is kept here, for every kind of frame, and not by a constant in each sender.

use super::delta::RecordDeltas;
use super::frame::{
    Acknowledge, Baseline, Digest, Frame, NotHeld, Pull, RecordAnnounce, RecordPull, Records,
    Wanted,
};

impl Frame {
    /// Two frames that together say what this one says; `None` where it has no list to cut.
    pub(crate) fn halves(self) -> Option<[Self; 2]> {
        Some(match self {
            Self::Records(frame) => {
                halves_of(frame.records, no_part)?.map(|records| Records { records }.into())
            }
            Self::RecordDeltas(frame) => {
                halves_of(frame.deltas, no_part)?.map(|deltas| RecordDeltas { deltas }.into())
            }
            Self::RecordAnnounce(frame) => {
                halves_of(frame.names, no_part)?.map(|names| RecordAnnounce { names }.into())
            }
            Self::RecordPull(frame) => {
                halves_of(frame.prefixes, no_part)?.map(|prefixes| RecordPull { prefixes }.into())
            }
            Self::Baseline(frame) => {
                let Baseline {
                    group,
                    older_ms,
                    alone,
                    origins,
                    last,
                } = frame;
                let halves = halves_of(origins, |origin| {
                    let parts = halves_of(origin.past.clone(), no_part)?;
                    Some(parts.map(|past| {
                        let mut part = origin.clone();
                        part.past = past;
                        part
                    }))
                })?;
                let [first, second] = halves.map(|origins| Baseline {
                    group,
                    older_ms,
                    alone,
                    origins,
                    last: false,
                });
                [first.into(), Baseline { last, ..second }.into()]
            }
            Self::Digest(frame) => {
                let Digest {
                    group,
                    ask,
                    entries,
                } = frame;
                let halves = halves_of(entries, |entry| {
                    Some(entry.above.halves()?.map(|above| {
                        let mut part = entry.clone();
                        part.above = above;
                        part
                    }))
                })?;
                let [first, second] = halves.map(|entries| Digest {
                    group,
                    ask: false,
                    entries,
                });
                [Digest { ask, ..first }.into(), second.into()]
            }
            Self::Pull(frame) => {
                let group = frame.group;
                halves_of(frame.wanted, halves_of_wanted)?
                    .map(|wanted| Pull { group, wanted }.into())
            }
            Self::NotHeld(frame) => {
                let NotHeld {
                    group,
                    wanted,
                    gone,
                } = frame;
                halves_of_wanted(&wanted)?.map(|wanted| {
                    NotHeld {
                        group,
                        wanted,
                        gone,
                    }
                    .into()
                })
            }
            Self::Acknowledge(frame) => {
                let Acknowledge {
                    group,
                    origin,
                    epoch,
                    members,
                } = frame;
                halves_of(members, no_part)?.map(|members| {
                    Acknowledge {
                        group,
                        origin,
                        epoch,
                        members,
                    }
                    .into()
                })
            }
            // One statement each; how long they can get is bounded where they are made.
            Self::Hello(_)
            | Self::Heartbeat(_)
            | Self::Buckets(_)
            | Self::Wants(_)
            | Self::Refuse(_)
            | Self::Bye(_)
            | Self::Subscribe(_)
            | Self::AskAcknowledge(_)
            | Self::OriginRefused(_)
            | Self::AskProof(_)
            | Self::Proof(_)
            | Self::Equivocation(_)
            | Self::Probe(_)
            | Self::ProbeAnswer(_)
            | Self::Routed(_)
            // Senders cut these into pages.
            | Self::BucketRecords(_)
            | Self::Bundle(..) => return None,
        })
    }
}

/// The two halves of a list. An only item is cut in two by `parts`, if it can be.
fn halves_of<T>(mut list: Vec<T>, parts: impl FnOnce(&T) -> Option<[T; 2]>) -> Option<[Vec<T>; 2]> {
    if let [only] = &list[..] {
        return parts(only).map(|parts| parts.map(|part| vec![part]));
    }
    let rest = list.split_off(list.len() / 2);
    (!list.is_empty()).then_some([list, rest])
}

/// For items that are whole or nothing.
fn no_part<T>(_: &T) -> Option<[T; 2]> {
    None
}

fn halves_of_wanted(wanted: &Wanted) -> Option<[Wanted; 2]> {
    Some(wanted.ranges.halves()?.map(|ranges| Wanted {
        ranges,
        ..wanted.clone()
    }))
}

#[cfg(test)]
mod tests;
