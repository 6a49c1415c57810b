//! Equivocation: two bundles of one origin that cannot both be honest. The proof is passed on,
//! and the origin is cut off.

use super::LogKey;
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, Event, LinkEnd, LinkId, VerifyId};
use crate::base::shares::Shares;
use crate::base::time::Micros;
use crate::base::verify::{Domain, VerifyJob};
use crate::core::Checked;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::bundle::HEADER_BYTES_MAX;
use crate::wire::frame::Equivocation;
use crate::wire::{Bundle, BundleHeader, WireError};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Proofs whose signatures are being checked.
const CHECKS_MAX: usize = 64;
/// Origins cut off; beyond, proofs are still passed on, but not remembered.
const CUT_OFF_MAX: usize = 65_536;

/// Proofs being checked, one signature after the other.
#[derive(Debug, Default)]
pub(crate) struct EquivocationChecks {
    checks: BTreeMap<VerifyId, (Equivocation, LinkId, bool)>,
    shares: Shares,
}

fn hash(signed: &[u8]) -> [u8; 32] {
    *blake3::hash(signed).as_bytes()
}

/// Whether the two headers cannot both be an honest origin's.
fn is_proof(first: (&BundleHeader, &[u8]), second: (&BundleHeader, &[u8])) -> bool {
    let ((a, a_signed), (b, b_signed)) = (first, second);
    let same_log = a.group == b.group && a.origin == b.origin && a.epoch == b.epoch;
    let overlap = a.seq <= b.last_seq() && b.seq <= a.last_seq();
    let differ = a_signed != b_signed;
    let broken_chain = |a: &BundleHeader, a_signed: &[u8], b: &BundleHeader| {
        a.last_seq() + 1 == b.seq && b.previous != hash(a_signed)
    };
    same_log && differ && (overlap || broken_chain(a, a_signed, b) || broken_chain(b, b_signed, a))
}

impl Multicast {
    /// Whether a verified bundle contradicts one that is held.
    pub(crate) fn contradicts(&self, bundle: &Bundle) -> bool {
        self.contradicted(bundle).is_some()
    }

    fn contradicted(&self, bundle: &Bundle) -> Option<(Bytes, [u8; 64])> {
        let header = &bundle.header;
        let key = (header.origin, header.epoch);
        let log = self.groups.get(&header.group)?.logs.get(&key)?;
        let from = header.seq.saturating_sub(1).max(1);
        log.entries_in(from, header.last_seq() + 1)
            .map(|entry| &entry.bundle)
            .find(|held| is_proof((&held.header, &held.signed), (header, &bundle.signed)))
            .map(|held| (held.signed.clone(), held.signature))
    }

    pub(crate) fn on_contradiction(&mut self, cx: &mut Cx<'_>, bundle: &Bundle) {
        let Some((first, first_signature)) = self.contradicted(bundle) else {
            return;
        };
        let equivocation = Equivocation {
            first,
            first_signature,
            second: bundle.signed.clone(),
            second_signature: bundle.signature,
        };
        self.cut_off(cx, &equivocation, None);
    }

    pub(crate) fn on_equivocation(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        equivocation: Equivocation,
    ) {
        let decoded = BundleHeader::decode(&equivocation.first)
            .and_then(|first| Ok((first, BundleHeader::decode(&equivocation.second)?)));
        let (first, second) = match decoded {
            Ok(headers) => headers,
            Err(error) => return cx.net.on_malformed(cx.core, from, &error),
        };
        if Self::is_cut_off(cx.as_ref(), (first.origin, first.epoch)) {
            return;
        }
        let travels = [&equivocation.first, &equivocation.second]
            .map(|signed| signed.len() <= HEADER_BYTES_MAX);
        if travels != [true; 2] {
            return cx.core.count(counter!("proofs_refused"));
        }
        if !is_proof(
            (&first, &equivocation.first),
            (&second, &equivocation.second),
        ) {
            cx.core.count(counter!("proofs_refused"));
            let (what, why) = ("equivocation", "the headers do not contradict each other");
            return cx
                .net
                .on_malformed(cx.core, from, &WireError::Invalid { what, why });
        }
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        if !self.equivocation_checks.shares.take(from, peer, CHECKS_MAX) {
            return cx.core.count(counter!("proofs_unchecked"));
        }
        let job = job(
            first.origin,
            &equivocation.first,
            equivocation.first_signature,
        );
        self.check_equivocation(cx, equivocation, from, false, job);
    }

    fn check_equivocation(
        &mut self,
        cx: &mut Cx<'_>,
        equivocation: Equivocation,
        from: LinkId,
        half_done: bool,
        job: VerifyJob,
    ) {
        let id = cx.core.next_verify_id(Checked::Equivocation);
        self.equivocation_checks
            .checks
            .insert(id, (equivocation, from, half_done));
        cx.core.actions.push_back(Action::Verify { id, job });
    }

    /// The answer to a check.
    pub(crate) fn on_equivocation_verified(&mut self, cx: &mut Cx<'_>, id: VerifyId, valid: bool) {
        let Some((equivocation, from, half_done)) = self.equivocation_checks.checks.remove(&id)
        else {
            return;
        };
        if valid
            && !half_done
            && let Ok(header) = BundleHeader::decode(&equivocation.second)
        {
            let job = job(
                header.origin,
                &equivocation.second,
                equivocation.second_signature,
            );
            self.check_equivocation(cx, equivocation, from, true, job);
            return;
        }
        let peer = self.equivocation_checks.shares.give_back(from);
        if valid {
            self.cut_off(cx, &equivocation, Some(from));
        } else {
            cx.core.count(counter!("proofs_refused"));
            if let Some(peer) = peer {
                cx.net.on_forgery(cx.core, from, peer, "equivocation");
            }
        }
    }

    /// Whether an origin has contradicted itself in this life or a later one.
    pub(super) fn is_cut_off(cx: CxRef<'_>, (origin, epoch): LogKey) -> bool {
        let cut = cx.net.cut_off(origin);
        cut.is_some_and(|cut| epoch <= cut)
    }

    /// Believes no more of the origin, tells everybody why, ends its link.
    fn cut_off(&mut self, cx: &mut Cx<'_>, equivocation: &Equivocation, from: Option<LinkId>) {
        let Ok(header) = BundleHeader::decode(&equivocation.first) else {
            return;
        };
        let (origin, epoch) = (header.origin, header.epoch);
        if Self::is_cut_off(cx.as_ref(), (origin, epoch)) {
            return;
        }
        if cx.net.is_ahead_of_time(cx.core, epoch) {
            // It would end the lives of the next years as well.
            return cx.core.count(counter!("epochs_ahead"));
        }
        cx.net.note_cut_off(origin, epoch, CUT_OFF_MAX);
        cx.core.count(counter!("origins_cut_off"));
        tracing::warn!(%origin, epoch, "equivocation: the origin is cut off");
        for (id, group) in &mut self.groups {
            group.sought.remove(&(origin, epoch));
            if let Some(log) = group.logs.get_mut(&(origin, epoch)) {
                log.missing.remove(0, u64::MAX);
                log.progress = Micros(0);
                tracing::debug!(group = ?id, "nothing more is pulled of it");
            }
        }
        if let Some(group) = self
            .groups
            .get(&header.group)
            .and_then(|group| group.name.clone())
        {
            cx.core.event(Event::Equivocation {
                group,
                origin,
                epoch,
            });
        }
        let links: Vec<(PeerKey, LinkId)> = cx.net.neighbours().collect();
        for (peer, link) in links {
            if peer == origin {
                cx.net.close_link(cx.core, link, LinkEnd::Equivocation);
            } else if Some(link) != from {
                cx.net.send(cx.core, link, equivocation.clone());
            }
        }
    }
}

fn job(signer: PeerKey, signed: &Bytes, signature: [u8; 64]) -> VerifyJob {
    VerifyJob {
        signer: signer.into(),
        digest: Domain::Bundle.digest(signed),
        signature,
        payload: None,
    }
}
