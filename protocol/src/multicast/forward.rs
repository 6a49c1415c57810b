//! To whom a bundle goes: a pure function of the group's graph, the origin, the class and me.

use super::flow_of;
use super::remote::RemoteGroup;
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, LinkId};
use crate::base::name::GroupId;
use crate::multicast::{Cx, Multicast};
use crate::overlay::links::{FrameContents, Priority};
use crate::wire::Bundle;
use crate::wire::frame::BundleFrame;
use hedgerow_topology::Class;
use std::sync::Arc;

impl Multicast {
    /// Pushes a bundle to this peer's children and leaves the rest to announcements.
    pub(crate) fn forward(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        bundle: &Arc<Bundle>,
        hops: u16,
        from: Option<LinkId>,
    ) {
        let header = &bundle.header;
        let class = header.class();
        let Some(route) = self.route(cx.as_ref(), id, header.origin, class) else {
            return;
        };
        let mut targets: Vec<PeerKey> = route.children().collect();
        if bundle.payload.len() <= cx.core.config.groups.mesh_push_bytes {
            targets.extend(route.extra_children());
            // Who has less room than it should may have been relieved of just these.
            if cx.net.capacity() >= cx.core.config.links.capacity
                && let Some(former) = self.former_route(cx.as_ref(), id, header.origin, class)
            {
                let children = former.children();
                targets.extend(children.filter(|peer| !route.leads_to(*peer)));
            }
        }
        let frame = BundleFrame {
            hops: hops.saturating_add(1),
            pulled: false,
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        };
        let head = frame.encode_head(bundle.payload.len(), &cx.core.frame_ext());
        let (mut all, mut congested) = (0, 0);
        for peer in targets {
            let Some(link) = cx.net.link_to(peer) else {
                continue;
            };
            if Some(link) != from {
                let is_pushed = self.push_bundle(cx, link, id, bundle, &head);
                if is_pushed && class == Class::Normal && header.origin == cx.core.me {
                    self.note_carrier(cx.as_ref(), id, link);
                }
                let lane = Priority::of(class);
                let link = cx.net.link(link);
                all += 1;
                congested += usize::from(link.is_some_and(|link| link.is_congested(lane)));
            }
        }
        // The same rule as for who publishes: half of the links to the next peers.
        if let Some(link) = from
            && congested > 0
            && congested * 2 >= all
        {
            let bytes = head.len() + bundle.payload.len();
            cx.core.count(counter!("bundles_slowed"));
            cx.net.note_slowed(link);
            cx.core.actions.push_back(Action::Slow { link, bytes });
        }
    }

    /// Queues a bundle for a neighbour that does not have it; says whether it was queued. A full queue
    /// turns lazy: the neighbour is told of it and pulls at its own pace.
    fn push_bundle(
        &mut self,
        cx: &mut Cx<'_>,
        id: LinkId,
        group: GroupId,
        bundle: &Arc<Bundle>,
        head: &bytes::Bytes,
    ) -> bool {
        let header = &bundle.header;
        let key = (header.origin, header.epoch);
        let (first, last) = (header.seq, header.last_seq());
        let now = cx.core.now.mono;
        // Whoever claims what it does not hold would come by it late, and its children too.
        if self
            .remote_mut(id, group)
            .is_some_and(|remote| !remote.is_ignored(now) && remote.covers(key, first, last))
        {
            return false;
        }
        let lane = Priority::of(header.class());
        let has_room = cx
            .net
            .has_queue_room(cx.core, id, lane, head.len() + bundle.payload.len());
        let Some(link) = cx.net.link_mut(id) else {
            return false;
        };
        if !has_room {
            link.turn_lazy();
            cx.core.count(counter!("bundles_left_to_pull"));
            return false;
        }
        link.note_bundle_sent();
        let chunks = [head.clone(), bundle.payload.clone()];
        let contents = FrameContents {
            flow: flow_of(group, key.0),
            part: key.1,
            last,
        };
        cx.net.enqueue(cx.core, id, lane, Some(contents), chunks);
        if let Some(remote) = self.remote_mut(id, group) {
            remote.has(key, first, last);
        }
        true
    }

    /// What a neighbour is in a group, if it has said so.
    pub(crate) fn remote_mut(&mut self, link: LinkId, id: GroupId) -> Option<&mut RemoteGroup> {
        self.remotes.get_mut(link, id)
    }
}

#[cfg(test)]
mod tests;
