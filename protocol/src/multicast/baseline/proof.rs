//! Proofs in a neighbour's answer: each settled point needs a header that its origin signed.
//!
//! Answers are worked off one after the other, so that a neighbour's frames keep their order.

use crate::base::interface::{Action, LinkId, VerifyId};
use crate::base::name::GroupId;
use crate::base::shares::Shares;
use crate::base::verify::{Domain, VerifyJob};
use crate::core::Checked;
use crate::multicast::{Cx, Multicast};
use crate::wire::bundle::HEADER_BYTES_MAX;
use crate::wire::frame::{Baseline, BaselineOrigin};
use crate::wire::{BundleHeader, WireError};
use std::collections::{BTreeSet, VecDeque};

/// Signatures being checked at once.
const CHECKS_MAX: usize = 32;
/// Frames waiting; beyond, answers are ignored: what is older than a join is delivered then.
const FRAMES_MAX: usize = 256;

/// Answers whose proofs are being checked.
#[derive(Debug, Default)]
pub(crate) struct ProofChecks {
    frames: VecDeque<(LinkId, Baseline)>,
    /// How many frames of each link wait.
    shares: Shares,
    /// Origins of the first frame whose checks have begun.
    begun: usize,
    checks: BTreeSet<VerifyId>,
}

impl ProofChecks {
    /// Whether an answer about this group is being checked.
    pub(crate) fn is_about(&self, id: GroupId) -> bool {
        self.frames.iter().any(|(_, frame)| frame.group == id)
    }

    /// Takes the first frame, whose checks are done. The first of another link is next, so that
    /// links take turns; the frames of each keep their order.
    fn next_frame(&mut self) -> Option<(LinkId, Baseline)> {
        let (from, frame) = self.frames.pop_front()?;
        self.shares.give_back(from);
        let others = self.frames.iter().position(|(other, _)| *other != from);
        if let Some(next) = others.and_then(|at| self.frames.remove(at)) {
            self.frames.push_front(next);
        }
        Some((from, frame))
    }
}

impl Multicast {
    pub(crate) fn on_baseline(&mut self, cx: &mut Cx<'_>, from: LinkId, mut frame: Baseline) {
        let now = cx.core.now.mono;
        let group = self.groups.get(&frame.group);
        if !group.is_some_and(|group| group.baseline.is_waiting(now)) {
            return cx.core.count(counter!("baselines_unasked"));
        }
        let id = frame.group;
        for origin in &mut frame.origins {
            if origin.proof.is_none() {
                origin.settled = 0;
            } else if !is_about(origin, id) {
                let error = WireError::Invalid {
                    what: "baseline",
                    why: "a proof of something else",
                };
                return cx.net.on_malformed(cx.core, from, &error);
            }
        }
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        if !self.proof_checks.shares.take(from, peer, FRAMES_MAX) {
            return cx.core.count(counter!("baselines_unchecked"));
        }
        self.proof_checks.frames.push_back((from, frame));
        self.prove_on(cx);
    }

    /// Begins as many checks as may run, and takes frames whose checks are done.
    fn prove_on(&mut self, cx: &mut Cx<'_>) {
        while let Some((_, frame)) = self.proof_checks.frames.front() {
            if let Some(origin) = frame.origins.get(self.proof_checks.begun) {
                if self.proof_checks.checks.len() >= CHECKS_MAX {
                    return;
                }
                self.proof_checks.begun += 1;
                if let Some(job) = job(origin) {
                    let id = cx.core.next_verify_id(Checked::Baseline);
                    self.proof_checks.checks.insert(id);
                    cx.core.actions.push_back(Action::Verify { id, job });
                }
            } else if self.proof_checks.checks.is_empty() {
                self.proof_checks.begun = 0;
                if let Some((from, frame)) = self.proof_checks.next_frame() {
                    self.on_proven_baseline(cx, from, frame);
                }
            } else {
                return;
            }
        }
    }

    /// The answer to a check.
    pub(crate) fn on_baseline_verified(&mut self, cx: &mut Cx<'_>, id: VerifyId, valid: bool) {
        if !self.proof_checks.checks.remove(&id) {
            return;
        }
        if !valid && let Some(from) = self.proof_checks.frames.front().map(|(from, _)| *from) {
            cx.core.count(counter!("baselines_forged"));
            let error = WireError::Invalid {
                what: "baseline",
                why: "bad signature",
            };
            cx.net.on_malformed(cx.core, from, &error);
            self.on_link_down_for_baselines(cx, from);
        }
        self.prove_on(cx);
    }

    /// What a neighbour said that is gone is not waited for.
    pub(crate) fn on_link_down_for_baselines(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let proof_checks = &mut self.proof_checks;
        if proof_checks
            .frames
            .front()
            .is_some_and(|(from, _)| *from == link)
        {
            proof_checks.checks.clear();
            proof_checks.begun = 0;
        }
        let ProofChecks { frames, shares, .. } = proof_checks;
        frames.retain(|(from, _)| {
            let stays = *from != link;
            if !stays {
                shares.give_back(link);
            }
            stays
        });
        self.prove_on(cx);
    }
}

/// Whether the proof is of this origin's log and reaches as far as what it is to prove.
fn is_about(origin: &BaselineOrigin, group: GroupId) -> bool {
    let Some(proof) = &origin.proof else {
        return false;
    };
    let decoded = BundleHeader::decode(&proof.signed);
    decoded.is_ok_and(|header| {
        proof.signed.len() <= HEADER_BYTES_MAX
            && header.group == group
            && (header.origin, header.epoch) == (origin.origin, origin.epoch)
            && header.last_seq() >= origin.settled
    })
}

fn job(origin: &BaselineOrigin) -> Option<VerifyJob> {
    let proof = origin.proof.as_ref()?;
    Some(VerifyJob {
        signer: origin.origin.into(),
        digest: Domain::Bundle.digest(&proof.signed),
        signature: proof.signature,
        payload: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::interface::Event;
    use crate::base::message::History;
    use crate::multicast::fixture::{EPOCH, ORIGIN, Peer, key, sign, signed_header};
    use crate::wire::Bundle;

    fn origin(settled: u64, proof: Option<&Bundle>) -> BaselineOrigin {
        BaselineOrigin {
            origin: key(ORIGIN).peer(),
            epoch: EPOCH,
            settled,
            proof: proof.map(signed_header),
            age_ms: 0,
            past: Vec::new(),
        }
    }

    fn answer(peer: &Peer, origins: Vec<BaselineOrigin>) -> Baseline {
        Baseline {
            group: peer.id,
            older_ms: 0,
            alone: false,
            origins,
            last: true,
        }
    }

    fn has_joined(peer: &Peer) -> bool {
        let mut events = peer.events.iter();
        events.any(|event| matches!(event, Event::Joined { .. }))
    }

    #[test]
    fn what_nobody_asked_for_is_not_checked() {
        let mut peer = Peer::member();
        peer.checks_wait = true;
        let link = peer.subscriber(2);
        let all = peer.messages(ORIGIN, 1);
        let said = answer(&peer, vec![origin(1, Some(&all[0]))]);
        peer.say(link, said);
        assert!(peer.waiting.is_empty());
        assert_eq!(peer.counted("baselines_unasked"), 1);
    }

    #[test]
    fn a_proof_of_something_else_ends_the_link_and_is_not_checked() {
        let mut peer = Peer::joiner(History::None);
        let all = peer.messages(ORIGIN, 2);
        let mut of_group = peer.header(ORIGIN, 1);
        of_group.group.0[0] ^= 1;
        let mut of_life = peer.header(ORIGIN, 1);
        of_life.epoch += 1;
        let of_origin = peer.header(ORIGIN + 1, 1);
        let proofs = [
            sign(ORIGIN, of_group),
            sign(ORIGIN, of_life),
            sign(ORIGIN + 1, of_origin),
        ];
        let cases = proofs.iter().map(|proof| (1, proof)).chain([(3, &all[1])]);
        for (number, (settled, proof)) in (20..).zip(cases) {
            let link = peer.subscriber(number);
            peer.checks_wait = true;
            let said = answer(&peer, vec![origin(settled, Some(proof))]);
            peer.say(link, said);
            assert!(peer.closed.contains(&link), "{proof:?}");
            assert!(peer.waiting.is_empty() && !has_joined(&peer));
        }
        // More than is needed is a proof as well.
        let link = peer.subscriber(2);
        let said = answer(&peer, vec![origin(1, Some(&all[1]))]);
        peer.say(link, said);
        peer.check();
        assert!(has_joined(&peer));
    }

    #[test]
    fn an_answer_counts_once_all_of_it_is_checked_a_few_at_a_time() {
        let mut peer = Peer::joiner(History::None);
        peer.checks_wait = true;
        let link = peer.subscriber(2);
        let all = peer.messages(ORIGIN, 1);
        let many = CHECKS_MAX + 8;
        let said = answer(&peer, vec![origin(1, Some(&all[0])); many]);
        peer.say(link, said);
        assert_eq!(peer.waiting.len(), CHECKS_MAX);
        peer.check();
        assert_eq!(peer.waiting.len(), many - CHECKS_MAX);
        assert!(!has_joined(&peer));
        peer.check();
        assert!(has_joined(&peer));
    }

    #[test]
    fn the_answer_of_a_link_that_has_ended_is_not_waited_for() {
        let mut peer = Peer::joiner(History::None);
        peer.checks_wait = true;
        let (gone, other) = (peer.subscriber(2), peer.subscriber(3));
        let all = peer.messages(ORIGIN, 3);
        let said = answer(&peer, vec![origin(3, Some(&all[2]))]);
        peer.say(gone, said);
        let said = answer(&peer, vec![origin(2, Some(&all[1]))]);
        peer.say(other, said);
        let id = peer.id;
        assert!(peer.multicast.proof_checks.is_about(id));
        let late = std::mem::take(&mut peer.waiting);
        peer.lose(gone);
        for (check, _) in late {
            peer.verified(check, false);
        }
        assert_eq!(
            peer.counted("baselines_forged"),
            0,
            "nobody is blamed for it"
        );
        peer.check();
        assert!(has_joined(&peer));
        assert_eq!(peer.log(ORIGIN).settled(), 2);
    }

    #[test]
    fn a_link_does_not_take_the_room_of_others() {
        let mut peer = Peer::joiner(History::Last(1));
        peer.checks_wait = true;
        let (greedy, other) = (peer.subscriber(2), peer.subscriber(3));
        let all = peer.messages(ORIGIN, 1);
        let mut said = answer(&peer, vec![origin(1, Some(&all[0]))]);
        said.last = false;
        for _ in 0..FRAMES_MAX {
            peer.say(greedy, said.clone());
        }
        let refused = peer.counted("baselines_unchecked");
        assert!(refused > 0);
        peer.say(other, said);
        assert_eq!(peer.counted("baselines_unchecked"), refused);
    }

    #[test]
    fn links_take_turns_and_the_frames_of_each_keep_their_order() {
        let peer = Peer::member();
        let mut checks = ProofChecks::default();
        for (link, settled) in [(2, 1), (2, 2), (2, 3), (3, 4), (3, 5)] {
            let frame = answer(&peer, vec![origin(settled, None)]);
            checks.frames.push_back((LinkId(link), frame));
        }
        let mut order = Vec::new();
        while let Some((_, frame)) = checks.next_frame() {
            order.push(frame.origins[0].settled);
        }
        assert_eq!(order, [1, 4, 2, 5, 3]);
    }
}
