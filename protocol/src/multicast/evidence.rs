//! What neighbours know of entries that nobody near holds: that their origin signed them, and since
//! when at least they have been published.
//!
//! Digests carry no signature, so what only they speak of is no gap. Before it is forgotten, the
//! neighbours that state to have settled it are asked for the last header of that log, one after the
//! other. A header that is its origin's makes the log where there is none yet, and what it proves to
//! exist is told as a gap: whoever was away for longer than messages are kept learns what it has missed.
//!
//! The answer also tells whether entries are older than the join of this peer. One that joined among
//! newcomers lacks what none of them ever had, and what was published before it joined is not due.

use super::{Group, LogKey};
use crate::base::interface::{Action, LinkId, VerifyId};
use crate::base::name::GroupId;
use crate::base::shares::Shares;
use crate::base::time::Micros;
use crate::base::verify::{Domain, VerifyJob};
use crate::core::Checked;
use crate::multicast::{Cx, Multicast};
use crate::overlay::links::Priority;
use crate::wire::BundleHeader;
use crate::wire::bundle::HEADER_BYTES_MAX;
use crate::wire::frame::{AskProof, Frame, Proof, SignedHeader};
use std::collections::BTreeMap;

/// Signatures being checked at once.
const CHECKS_MAX: usize = 64;

/// The neighbours that have been asked about the missing entries of a log.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    asked: Vec<LinkId>,
    /// The last of these entries.
    to: u64,
    /// When the last neighbour was asked, while its answer has not come.
    waits_since: Option<Micros>,
}

/// A header whose signature is being checked.
#[derive(Debug)]
struct Check {
    from: LinkId,
    header: SignedHeader,
    /// The last entry of the question.
    to: u64,
    /// The neighbour's word on when all entries up to there had been published.
    published_by: Micros,
}

/// Headers being checked.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    checks: BTreeMap<VerifyId, Check>,
    shares: Shares,
}

impl Group {
    fn inquiry(&mut self, key: LogKey) -> Option<&mut Inquiry> {
        Some(&mut self.log_or_sought_mut(key)?.inquiry)
    }
}

impl Multicast {
    /// Asks neighbours for what they know of entries up to `to`, which they state to have settled. Says
    /// whether there is something to wait for: `false` when everybody who could know has been asked.
    pub(super) fn inquire(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        key: LogKey,
        to: u64,
        links: &[LinkId],
    ) -> bool {
        let now = cx.core.now.mono;
        let patience = Micros::from_millis(cx.core.config.groups.pull_timeout_ms);
        let remotes = &self.remotes;
        let Some(log) = (self.groups.get_mut(&id)).and_then(|group| group.log_or_sought_mut(key))
        else {
            return false;
        };
        let inquiry = &mut log.inquiry;
        if inquiry.to != to {
            *inquiry = Inquiry {
                to,
                ..Inquiry::default()
            };
        }
        inquiry.asked.retain(|link| links.contains(link));
        if (inquiry.waits_since).is_some_and(|since| now.since(since) < patience) {
            return true;
        }
        let states_more = |link: &LinkId| {
            let remote = remotes.get(*link, id)?;
            let stated = remote.stated.get(&key)?;
            (*stated >= to.min(log.proven + 1) && !remote.is_ignored(now)).then_some(())
        };
        let next = (links.iter())
            .find(|link| !inquiry.asked.contains(link) && states_more(link).is_some());
        let Some(link) = next.copied() else {
            return false;
        };
        inquiry.asked.push(link);
        inquiry.waits_since = Some(now);
        cx.core.count(counter!("proofs_asked"));
        cx.net.send(
            cx.core,
            link,
            AskProof {
                group: id,
                origin: key.0,
                epoch: key.1,
                seq: to,
            },
        );
        true
    }

    /// Answers a neighbour that asks for evidence. A peer without the log stays silent, and the neighbour
    /// asks others.
    pub(crate) fn on_ask_proof(&mut self, cx: &mut Cx<'_>, from: LinkId, ask: &AskProof) {
        let now = cx.core.now.mono;
        let key = (ask.origin, ask.epoch);
        let log = self
            .groups
            .get(&ask.group)
            .and_then(|group| group.logs.get(&key));
        let Some((log, header)) = log.and_then(|log| Some((log, log.head()?))) else {
            return;
        };
        let age_ms = log.age_of(ask.seq.min(log.settled()), now).as_millis();
        let frame = Frame::from(Proof { header, age_ms });
        if !cx.net.enqueue(
            cx.core,
            from,
            Priority::Repair,
            None,
            frame.encode_with(&cx.core.frame_ext()),
        ) {
            cx.core.count(counter!("pulls_deferred"));
        }
    }

    /// Evidence, if this peer has asked for it.
    pub(crate) fn on_proof(&mut self, cx: &mut Cx<'_>, from: LinkId, proof: Proof) {
        let header = match BundleHeader::decode(&proof.header.signed) {
            Ok(header) if proof.header.signed.len() <= HEADER_BYTES_MAX => header,
            Ok(_) => return cx.core.count(counter!("proofs_refused")),
            Err(error) => return cx.net.on_malformed(cx.core, from, &error),
        };
        let (id, key) = (header.group, (header.origin, header.epoch));
        let Some(inquiry) = self
            .groups
            .get_mut(&id)
            .and_then(|group| group.inquiry(key))
        else {
            return cx.core.count(counter!("proofs_unasked"));
        };
        if inquiry.waits_since.is_none() || inquiry.asked.last() != Some(&from) {
            return cx.core.count(counter!("proofs_unasked"));
        }
        let to = inquiry.to;
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        if !self.evidence.shares.take(from, peer, CHECKS_MAX) {
            return cx.core.count(counter!("proofs_unchecked"));
        }
        let job = VerifyJob {
            signer: cx.net.signer(header.origin),
            digest: Domain::Bundle.digest(&proof.header.signed),
            signature: proof.header.signature,
            payload: None,
        };
        let check = Check {
            from,
            header: proof.header,
            to,
            published_by: cx.core.now.mono - Micros::from_millis(proof.age_ms),
        };
        let id = cx.core.next_verify_id(Checked::Proof);
        self.evidence.checks.insert(id, check);
        cx.core.actions.push_back(Action::Verify { id, job });
    }

    /// The answer to a check.
    pub(crate) fn on_proof_verified(&mut self, cx: &mut Cx<'_>, id: VerifyId, valid: bool) {
        let Some(check) = self.evidence.checks.remove(&id) else {
            return;
        };
        let peer = self.evidence.shares.give_back(check.from);
        if valid {
            self.take_evidence(cx, &check);
        } else {
            cx.core.count(counter!("proofs_refused"));
            if let Some(peer) = peer {
                cx.net.on_forgery(cx.core, check.from, peer, "proof");
            }
        }
    }

    fn take_evidence(&mut self, cx: &mut Cx<'_>, check: &Check) {
        let now = cx.core.now.mono;
        let Ok(header) = BundleHeader::decode(&check.header.signed) else {
            return;
        };
        let (id, key) = (header.group, (header.origin, header.epoch));
        if Self::is_cut_off(cx.as_ref(), key) {
            return;
        }
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let is_older = group
            .joined
            .is_some_and(|joined| check.published_by < joined);
        let Some(log) = self.log_mut(cx, id, key) else {
            return;
        };
        log.inquiry.waits_since = None;
        log.note_head(&check.header);
        let last = header.last_seq();
        log.proven = log.proven.max(last);
        // Entries that are older than the join are not due, and nothing waits for them.
        let to = check.to.min(last);
        if is_older && log.is_unread() {
            log.rebase(to);
            log.note_published(to, check.published_by);
        }
        cx.core.count(counter!("proofs_taken"));
        self.log_changed(cx, id, key);
        self.deliver_log(cx, id, key);
        self.schedule_repair(cx, id, now);
    }
}
