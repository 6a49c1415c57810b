//! Whether a bundle is its origin's: checks under way, each content once.

use crate::base::interface::{Action, LinkId, VerifyId};
use crate::base::message::Arrival;
use crate::base::shares::Shares;
use crate::core::Checked;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::bundle::Hash;
use crate::wire::{Bundle, WireError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bundle whose signature is being checked.
#[derive(Debug)]
struct Pending {
    bundle: Arc<Bundle>,
    from: LinkId,
    hops: u16,
    pulled: bool,
    /// Known to contradict what is held: only its signature matters, as evidence.
    evidence: bool,
    /// Others who have pushed the same meanwhile.
    pushers: Vec<LinkId>,
}

/// Hash of the signed bytes, signature and payload. The payload is compared as well: whether it is
/// what was signed is not known yet, and a wrong one must not keep the right one out.
type Content = (Hash, [u8; 64], Bytes);

fn content(bundle: &Bundle) -> Content {
    (bundle.hash, bundle.signature, bundle.payload.clone())
}

/// Bundles whose signatures are being checked.
#[derive(Debug, Default)]
pub(crate) struct BundleChecks {
    pending: BTreeMap<VerifyId, Pending>,
    /// What they are, so that a second copy is not checked as well.
    content: BTreeMap<Content, VerifyId>,
    shares: Shares,
}

impl BundleChecks {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The same bundle whose check is under way.
    fn same_as(&mut self, content: &Content) -> Option<&mut Pending> {
        let id = self.content.get(content)?;
        self.pending.get_mut(id)
    }
}

impl Multicast {
    pub(super) fn verify_bundle(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        bundle: Bundle,
        hops: u16,
        pulled: bool,
        evidence: bool,
    ) {
        let content = content(&bundle);
        if let Some(pending) = self.checks.same_as(&content) {
            if !pulled && !pending.pushers.contains(&from) {
                pending.pushers.push(from);
            }
            return cx.core.count(counter!("bundles_duplicate"));
        }
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        let (room, places) = (
            cx.core.config.memory().checks,
            Self::check_bytes(cx.as_ref(), &bundle),
        );
        if !(self.checks.shares).take_many(from, peer, places, room) {
            return self.leave_unchecked(cx, &bundle, pulled);
        }
        let id = cx.core.next_verify_id(Checked::Bundle);
        self.checks.content.insert(content, id);
        let job = bundle.verify_job(cx.net.signer(bundle.header.origin));
        let bundle = Arc::new(bundle);
        self.checks.pending.insert(
            id,
            Pending {
                bundle,
                from,
                hops,
                pulled,
                evidence,
                pushers: Vec::new(),
            },
        );
        cx.core.actions.push_back(Action::Verify { id, job });
    }

    /// What the check of a bundle takes of the memory for checks: what it weighs, and so much that
    /// no more than `flow.verifying_max` have room.
    fn check_bytes(cx: CxRef<'_>, bundle: &Bundle) -> usize {
        let least = cx.core.config.memory().checks / cx.core.config.flow.verifying_max.max(1);
        bundle.weight().max(least)
    }

    /// Not lost: it is pulled again once there is room.
    fn leave_unchecked(&mut self, cx: &mut Cx<'_>, bundle: &Bundle, pulled: bool) {
        let now = cx.core.now.mono;
        let header = &bundle.header;
        cx.core.count(counter!("bundles_unchecked"));
        if !pulled {
            self.note_refused(cx.as_ref(), bundle);
        }
        if let Some(group) = self.groups.get_mut(&header.group)
            && let Some(log) = group.logs.get_mut(&(header.origin, header.epoch))
        {
            let lacking = log.unsettled(header.seq, header.last_seq());
            log.missing.add(&lacking, now);
            self.schedule_repair(cx, header.group, now);
        }
    }

    pub(crate) fn on_bundle_verified(&mut self, cx: &mut Cx<'_>, id: VerifyId, valid: bool) {
        let Some(pending) = self.checks.pending.remove(&id) else {
            return;
        };
        self.checks.content.remove(&content(&pending.bundle));
        let bytes = Self::check_bytes(cx.as_ref(), &pending.bundle);
        let peer = self.checks.shares.give_back_many(pending.from, bytes);
        if !valid {
            cx.core.count(counter!("bundles_forged"));
            if let Some(peer) = peer {
                cx.net.on_forgery(cx.core, pending.from, peer, "bundle");
            }
            // The others have sent just the same, so they have not checked it either.
            for link in pending.pushers {
                let (what, why) = ("bundle", "bad signature");
                cx.net
                    .on_malformed(cx.core, link, &WireError::Invalid { what, why });
            }
            return;
        }
        if pending.evidence || self.contradicts(&pending.bundle) {
            return self.on_contradiction(cx, &pending.bundle);
        }
        let arrival = if pending.pulled {
            Arrival::Pulled
        } else {
            Arrival::Pushed
        };
        self.accept_bundle(
            cx,
            &pending.bundle,
            pending.hops,
            arrival,
            Some(pending.from),
        );
        for link in pending.pushers {
            self.forgive_late(cx, link, &pending.bundle);
        }
        self.wake_starved_publishers(cx);
    }
}
