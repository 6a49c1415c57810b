//! Pulls of others: what is held is sent, the rest denied.

use super::RANGES_PER_PULL;
use crate::access::{Resource, Verb};
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::multicast::LogKey;
use crate::multicast::flow_of;
use crate::multicast::{Cx, Multicast};
use crate::overlay::links::{FrameContents, Priority};
use crate::wire::Bundle;
use crate::wire::frame::{BundleFrame, NotHeld, Pull, Wanted};
use std::sync::Arc;

/// Entries served for one pull frame: several times what is asked of one link at once.
const ENTRIES_PER_PULL: usize = 8_192;

impl Multicast {
    pub(crate) fn on_pull(&mut self, cx: &mut Cx<'_>, from: LinkId, pull: Pull) {
        let id = pull.group;
        let Some(peer) = cx.net.links.get(&from).map(|link| link.peer) else {
            return;
        };
        // A peer that may not pull is told that nothing is held.
        let is_allowed = cx.core.allows(peer, Verb::Pull, Resource::Group(id));
        if !is_allowed {
            cx.core.count("access_requests_refused");
        }
        let mut room = ENTRIES_PER_PULL;
        for wanted in pull.wanted {
            #[cfg(feature = "planted")]
            if Self::deny_whole(cx, from, id, &wanted) {
                continue;
            }
            let key = (wanted.origin, wanted.epoch);
            let mut bundles: Vec<Arc<Bundle>> = Vec::new();
            let mut hops = 0;
            let asked = wanted.ranges.as_slice();
            let ranges = &asked[..asked.len().min(RANGES_PER_PULL)];
            if ranges.len() < asked.len() {
                // Nobody honest asks for more at once; the rest is neither served nor denied.
                cx.core.count("pulls_cut_short");
            }
            let mut absent = RangeSet::new();
            for &(first, last) in ranges {
                absent.insert(first, last);
            }
            let mut settled = 0;
            let group = self.groups.get(&id).filter(|_| is_allowed);
            if let Some(log) = group.and_then(|group| group.logs.get(&key)) {
                settled = log.settled();
                for &(first, last) in ranges {
                    for entry in log.entries_in(first, last).take(room) {
                        absent.remove(entry.bundle.header.seq, entry.bundle.header.last_seq());
                        hops = hops.max(entry.hops);
                        bundles.push(entry.bundle.clone());
                        room -= 1;
                    }
                }
            }
            for bundle in bundles {
                if !self.serve(cx, from, id, &bundle, hops) {
                    break;
                }
            }
            if room == 0 {
                // The same.
                return cx.core.count("pulls_cut_short");
            }
            Self::deny(cx, from, id, key, &absent, settled);
        }
    }

    /// Queues an answer; `false` when the queue is full: the rest is asked for again.
    fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        to: LinkId,
        id: GroupId,
        bundle: &Arc<Bundle>,
        hops: u16,
    ) -> bool {
        let frame = BundleFrame {
            hops: hops.saturating_add(1),
            pulled: true,
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        };
        let head = frame.encode_head(bundle.payload.len(), &cx.core.frame_ext());
        let header = &bundle.header;
        let lane = Priority::of_repair(header.class());
        let chunks = [head, bundle.payload.clone()];
        let contents = FrameContents {
            flow: flow_of(id, header.origin),
            part: header.epoch,
            last: header.last_seq(),
        };
        if !cx.net.enqueue(cx.core, to, lane, Some(contents), chunks) {
            cx.core.count("pulls_deferred");
            return false;
        }
        cx.core.count("bundles_served");
        let key = (header.origin, header.epoch);
        if let Some(link) = cx.net.links.get_mut(&to) {
            link.bundles[1] += 1;
        }
        if let Some(remote) = self.remote_mut(to, id) {
            remote.has(key, header.seq, header.last_seq());
        }
        true
    }

    /// Says what of a pull is not held: gone for good up to the settled point, else not yet.
    pub(in crate::multicast) fn deny(
        cx: &mut Cx<'_>,
        to: LinkId,
        id: GroupId,
        key: LogKey,
        absent: &RangeSet,
        settled: u64,
    ) {
        for (ranges, gone) in [
            (absent.within(1, settled), true),
            (absent.within(settled + 1, u64::MAX), false),
        ] {
            if !ranges.is_empty() {
                let wanted = Wanted {
                    origin: key.0,
                    epoch: key.1,
                    ranges,
                };
                cx.net.send(
                    cx.core,
                    to,
                    NotHeld {
                        group: id,
                        wanted,
                        gone,
                    },
                );
            }
        }
    }
}
