//! The answer to a joiner: what is settled here, with proof, and the past that it asked for.

use super::super::LogKey;
use super::super::log::OriginLog;
use super::LISTED_MAX;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::message::History;
use crate::name::GroupId;
use crate::status::Role;
use crate::wire::frame::{Baseline, BaselineOrigin};
use std::collections::BTreeMap;

/// Bytes of proofs and of the listed past in one frame, roughly; the last origin may exceed them.
const FRAME_BYTES: usize = 64 << 10;
/// Bytes around an origin's proof, and of each message of its past.
const ORIGIN_BYTES: usize = 160;
const PAST_BYTES: usize = 19;
/// Bytes of proofs in one answer: an origin whose header is longer than most goes without one
/// where not all have room. 16,384 honest origins take 5 MB, and an answer must stay below what may
/// wait on a link. What is not proven begins at 1: the joiner gets more of the past, and loses
/// nothing.
const PROOFS_BYTES: usize = 6 << 20;

/// One message of the past: time of publication, log, seq.
type Listed = (u64, LogKey, u64);

impl Engine {
    /// Tells a joiner where to begin, if this peer has itself begun.
    pub(crate) fn answer_baseline(&mut self, to: LinkId, id: GroupId, history: History) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if group.role == Role::Relay || !group.baseline.is_taken() {
            return;
        }
        let mut origins = origins(&group.logs, history, self.now.wall_ms);
        let left_out = leave_out_longest_proofs(&mut origins, PROOFS_BYTES);
        if left_out > 0 {
            self.count_many("proofs_left_out", left_out);
        }
        for frame in frames(id, origins) {
            self.send(to, frame);
        }
    }
}

/// What is settled and what of the past is held, by origin.
pub(super) fn origins(
    logs: &BTreeMap<LogKey, OriginLog>,
    history: History,
    wall_ms: u64,
) -> Vec<BaselineOrigin> {
    let mut past = past_of(logs, history, wall_ms);
    logs.iter()
        .map(|(key, log)| BaselineOrigin {
            origin: key.0,
            epoch: key.1,
            settled: log.settled(),
            proof: log.head(),
            past: past.remove(key).unwrap_or_default(),
            complete: reaches_back(log, history, wall_ms),
        })
        .collect()
}

fn proof_bytes(origin: &BaselineOrigin) -> usize {
    let proof = origin.proof.as_ref();
    proof.map_or(0, |proof| proof.signed.len())
}

/// Takes the longest proofs out until the others have no more than `room` bytes; gives how many.
fn leave_out_longest_proofs(origins: &mut [BaselineOrigin], room: usize) -> u64 {
    if origins.iter().map(proof_bytes).sum::<usize>() <= room {
        return 0;
    }
    let mut by_length: Vec<&mut BaselineOrigin> = origins.iter_mut().collect();
    by_length.sort_by_key(|origin| proof_bytes(origin));
    let (mut bytes, mut left_out) = (0, 0);
    for origin in by_length {
        bytes += proof_bytes(origin);
        if bytes > room {
            origin.proof = None;
            left_out += 1;
        }
    }
    left_out
}

fn frames(group: GroupId, origins: Vec<BaselineOrigin>) -> Vec<Baseline> {
    let mut frames: Vec<Baseline> = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for origin in origins {
        bytes += ORIGIN_BYTES + proof_bytes(&origin) + origin.past.len() * PAST_BYTES;
        batch.push(origin);
        if bytes >= FRAME_BYTES {
            frames.push(Baseline {
                group,
                origins: std::mem::take(&mut batch),
                last: false,
            });
            bytes = 0;
        }
    }
    frames.push(Baseline {
        group,
        origins: batch,
        last: true,
    });
    frames
}

/// Whether what is held of a log reaches back as far as `history`: everything it asks for is
/// listed.
fn reaches_back(log: &OriginLog, history: History, wall_ms: u64) -> bool {
    let History::SinceMs(ms) = history else {
        return true;
    };
    let from_wall_ms = wall_ms.saturating_sub(ms);
    match log.entries().next() {
        Some(oldest) => {
            let header = &oldest.bundle.header;
            header.seq == 1 || header.published_at < from_wall_ms
        }
        None => (log.head_published_at()).is_none_or(|published_at| published_at < from_wall_ms),
    }
}

/// The messages of the past that `history` asks for, by origin: seq and time of publication.
fn past_of(
    logs: &BTreeMap<LogKey, OriginLog>,
    history: History,
    wall_ms: u64,
) -> BTreeMap<LogKey, Vec<(u64, u64)>> {
    let (count, from_wall_ms) = match history {
        History::None => return BTreeMap::new(),
        History::Last(count) => (usize::try_from(count).unwrap_or(usize::MAX), 0),
        History::SinceMs(ms) => (usize::MAX, wall_ms.saturating_sub(ms)),
    };
    let count = count.min(LISTED_MAX);
    let mut listed: Vec<Listed> = Vec::new();
    for (key, log) in logs {
        list(*key, log, count, from_wall_ms, &mut listed);
    }
    listed.sort_unstable_by(|a, b| b.cmp(a));
    let mut past: BTreeMap<LogKey, Vec<(u64, u64)>> = BTreeMap::new();
    if matches!(history, History::SinceMs(_)) {
        // Only where each origin begins matters.
        for (published_at, key, seq) in listed {
            past.insert(key, vec![(seq, published_at)]);
        }
    } else {
        for (published_at, key, seq) in listed.into_iter().take(count) {
            past.entry(key).or_default().push((seq, published_at));
        }
    }
    past
}

/// The newest messages of a log, at most `count`, published since `from_wall_ms`.
fn list(key: LogKey, log: &OriginLog, count: usize, from_wall_ms: u64, listed: &mut Vec<Listed>) {
    let mut messages = 0;
    for entry in log.entries().rev() {
        let header = &entry.bundle.header;
        if header.fragment.is_some_and(|fragment| fragment.index > 0) {
            continue;
        }
        for index in (0..header.lengths.len()).rev() {
            let published_at = header.published_at(index);
            if messages >= count || published_at < from_wall_ms {
                return;
            }
            listed.push((published_at, key, header.seq + index as u64));
            messages += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerKey;
    use crate::wire::FRAME_BYTES_MAX;
    use crate::wire::Frame;
    use crate::wire::bundle::HEADER_BYTES_MAX;
    use crate::wire::frame::SignedHeader;

    fn origin(number: u64, proof_bytes: usize, past: usize) -> BaselineOrigin {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        BaselineOrigin {
            origin: PeerKey(key),
            epoch: u64::MAX,
            settled: u64::MAX,
            proof: Some(SignedHeader {
                signed: vec![1; proof_bytes].into(),
                signature: [1; 64],
            }),
            past: vec![(u64::MAX, u64::MAX); past],
            complete: true,
        }
    }

    #[test]
    fn an_answer_about_long_headers_goes_in_frames_that_fit() {
        let group = GroupId([1; 16]);
        for (proof_bytes, past) in [
            (HEADER_BYTES_MAX, 0),
            (HEADER_BYTES_MAX, LISTED_MAX),
            (250, 0),
        ] {
            let origins: Vec<_> = (0..600).map(|at| origin(at, proof_bytes, past)).collect();
            let frames = frames(group, origins.clone());
            let told: usize = frames.iter().map(|frame| frame.origins.len()).sum();
            assert_eq!(told, origins.len());
            assert!(frames.iter().rev().skip(1).all(|frame| !frame.last));
            assert!(frames.last().is_some_and(|frame| frame.last));
            for frame in frames {
                let bytes: usize = Frame::from(frame).encode().iter().map(|c| c.len()).sum();
                assert!(bytes <= FRAME_BYTES_MAX, "{bytes}");
            }
        }
    }

    #[test]
    fn long_proofs_make_way_for_short_ones() {
        let mut origins: Vec<_> = (0..100)
            .map(|at| origin(at, if at % 2 == 0 { 10_000 } else { 250 }, 0))
            .collect();
        assert_eq!(leave_out_longest_proofs(&mut origins, 20_000), 50);
        let proven = |origin: &&BaselineOrigin| origin.proof.is_some();
        assert_eq!(origins.iter().filter(proven).count(), 50);
        assert!(origins.iter().all(|origin| proof_bytes(origin) <= 250));
    }
}
