//! The answer to a joiner: what is settled here, with proof, and the past that it asked for.

use super::super::LogKey;
use super::super::log::{Entry, ListClock, OriginLog};
use super::LISTED_MAX;
use crate::base::interface::LinkId;
use crate::base::message::History;
use crate::base::name::GroupId;
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast};
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

/// What a joiner asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    history: History,
    /// Only what has been published for longer than this is not due, ms; 0: all that is settled.
    older_ms: u64,
    clock: ListClock,
}

/// A question that could not be answered when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    at: Micros,
    history: History,
    older_ms: u64,
}

impl Multicast {
    pub(super) fn baseline_question(cx: CxRef<'_>, history: History, older_ms: u64) -> Question {
        Question {
            history,
            older_ms,
            clock: Self::list_clock(cx),
        }
    }

    /// The clocks by which entries are listed.
    pub(crate) fn list_clock(cx: CxRef<'_>) -> ListClock {
        ListClock {
            now: cx.core.now.mono,
            network_ms: cx.net.network_ms(cx.core),
        }
    }

    /// Tells a joiner where to begin, if this peer has itself begun; else once it has.
    pub(crate) fn answer_baseline(
        &mut self,
        cx: &mut Cx<'_>,
        to: LinkId,
        id: GroupId,
        history: History,
        older_ms: u64,
    ) {
        let at = cx.core.now.mono;
        let question = Self::baseline_question(cx.as_ref(), history, older_ms);
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if group.role == Role::Relay {
            return;
        }
        if !group.baseline.is_taken() {
            if let Some(remote) = self.remote_mut(to, id) {
                remote.asked = Some(Asked {
                    at,
                    history,
                    older_ms,
                });
            }
            return;
        }
        let alone = group.baseline.is_alone();
        let mut origins = origins(&group.logs, question);
        let left_out = leave_out_longest_proofs(&mut origins, PROOFS_BYTES);
        if left_out > 0 {
            cx.core.count_many(counter!("proofs_left_out"), left_out);
        }
        for mut frame in frames(id, origins) {
            frame.older_ms = older_ms;
            frame.alone = alone;
            cx.net.send(cx.core, to, frame);
        }
    }

    /// Answers what a neighbour asked before this peer could answer.
    pub(super) fn answer_waiting(&mut self, cx: &mut Cx<'_>, to: LinkId, id: GroupId) {
        let asked = self
            .remote_mut(to, id)
            .and_then(|remote| remote.asked.take());
        if let Some(asked) = asked {
            let waited_ms = cx.core.now.mono.since(asked.at).as_millis();
            let older_ms = match asked.older_ms {
                0 => 0,
                older_ms => older_ms.saturating_add(waited_ms),
            };
            self.answer_baseline(cx, to, id, asked.history, older_ms);
        }
    }
}

/// What is settled and what of the past is held, by origin. To a question for what is older, those
/// that hold nothing older are left out: they begin at 1.
pub(super) fn origins(
    logs: &BTreeMap<LogKey, OriginLog>,
    question: Question,
) -> Vec<BaselineOrigin> {
    let Question {
        history,
        older_ms,
        clock,
    } = question;
    let mut past = past_of(logs, history, clock);
    let all = logs.iter().map(|(key, log)| {
        let settled = match older_ms {
            0 => log.settled(),
            ms => log.settled_before(Micros::from_millis(ms), clock.now),
        };
        BaselineOrigin {
            origin: key.0,
            epoch: key.1,
            settled,
            proof: log.head(),
            age_ms: log.age_of(settled, clock.now).as_millis(),
            past: past.remove(key).unwrap_or_default(),
        }
    });
    all.filter(|origin| older_ms == 0 || origin.settled > 0 || !origin.past.is_empty())
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
                older_ms: 0,
                alone: false,
                origins: std::mem::take(&mut batch),
                last: false,
            });
            bytes = 0;
        }
    }
    frames.push(Baseline {
        group,
        older_ms: 0,
        alone: false,
        origins: batch,
        last: true,
    });
    frames
}

/// The messages of the past that `history` asks for, by origin: seq and time of publication.
fn past_of(
    logs: &BTreeMap<LogKey, OriginLog>,
    history: History,
    clock: ListClock,
) -> BTreeMap<LogKey, Vec<(u64, u64)>> {
    match history {
        History::None => BTreeMap::new(),
        History::Last(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            last(logs, count.min(LISTED_MAX), clock)
        }
        History::SinceMs(ms) => {
            // Only where each origin begins matters, however much follows.
            let first = |log| first_within(log, ms, clock).map(|first| vec![first]);
            let firsts = logs.iter();
            let firsts = firsts.filter_map(|(key, log)| Some((*key, first(log)?)));
            firsts.collect()
        }
    }
}

/// The last `count` messages of all logs, by origin.
fn last(
    logs: &BTreeMap<LogKey, OriginLog>,
    count: usize,
    clock: ListClock,
) -> BTreeMap<LogKey, Vec<(u64, u64)>> {
    let mut listed: Vec<Listed> = Vec::new();
    for (key, log) in logs {
        let newest = messages(log, u64::MAX, clock).take(count);
        listed.extend(newest.map(|(seq, at)| (at, *key, seq)));
    }
    listed.sort_unstable_by(|a, b| b.cmp(a));
    let mut past: BTreeMap<LogKey, Vec<(u64, u64)>> = BTreeMap::new();
    for (published_at, key, seq) in listed.into_iter().take(count) {
        past.entry(key).or_default().push((seq, published_at));
    }
    past
}

/// The first message that was published within so many ms and all after it.
fn first_within(log: &OriginLog, ms: u64, clock: ListClock) -> Option<(u64, u64)> {
    messages(log, ms, clock).last()
}

/// The messages held of a log that were published within so many ms, the newest first: seq and
/// time of publication.
fn messages(
    log: &OriginLog,
    within_ms: u64,
    clock: ListClock,
) -> impl Iterator<Item = (u64, u64)> + '_ {
    let begins = |entry: &&Entry| {
        let fragment = entry.bundle.header.fragment;
        fragment.is_none_or(|piece| piece.index == 0)
    };
    let all = log.entries().rev().filter(begins).flat_map(|entry| {
        let indices = (0..entry.bundle.header.lengths.len()).rev();
        indices.map(move |index| (entry, index))
    });
    all.map(|(entry, index)| (entry, index, entry.bundle.header.published_at(index)))
        .take_while(move |(entry, _, at)| log.is_within(entry, *at, within_ms, clock))
        .map(move |(entry, index, at)| {
            let seq = entry.bundle.header.seq + index as u64;
            (seq, clock.listed_at(at, log.published_by(entry)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::PeerKey;
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
            age_ms: u64::MAX,
            past: vec![(u64::MAX, u64::MAX); past],
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
                let bytes: usize = Frame::from(frame)
                    .encode()
                    .iter()
                    .map(bytes::Bytes::len)
                    .sum();
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
