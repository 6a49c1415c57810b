//! An origin for which there is no room: the application, whoever pushed it and the publisher
//! hear of it.

use super::log::Next;
use crate::base::interface::{Event, LinkId};
use crate::base::name::GroupId;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast, MulticastEvent};
use crate::wire::Bundle;
use crate::wire::bundle::FLAG_ACKNOWLEDGE;
use crate::wire::frame::OriginRefused;

/// A neighbour is told, and listened to, no more often than this, ms.
const PAUSE_MS: u64 = 1_000;

impl Multicast {
    /// There is no room for a log of this verified bundle: it is told as a gap, once, and a
    /// publisher that wants to hear of its members hears that this one does not have it.
    pub(super) fn refuse_bundle(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        bundle: &Bundle,
        from: Option<LinkId>,
    ) {
        let header = &bundle.header;
        let (origin, epoch) = (header.origin, header.epoch);
        let key = (origin, epoch);
        if let Some(from) = from
            && self.may_speak_of_refusal(cx.as_ref(), id, from, 0)
        {
            let refused = OriginRefused {
                group: id,
                origin,
                epoch,
            };
            cx.net.send(cx.core, from, refused);
        }
        let (first, to) = (header.seq, header.last_seq());
        let most = self.past_max(cx.as_ref());
        let Some(group) = (self.groups.get_mut(&id)).filter(|group| group.is_delivering()) else {
            return;
        };
        let from = first.max(group.past.high(key) + 1);
        group.past.insert(key, to, true, most);
        if let Some(name) = group.name.clone().filter(|_| from <= to) {
            self.hand_over(cx, &name, id, origin, epoch, Next::Gap { from, to });
        }
        if header.has(FLAG_ACKNOWLEDGE) {
            self.events.push_back(MulticastEvent::NeverHeld {
                group: id,
                key,
                from: first,
                to,
            });
        }
    }

    /// Whether a neighbour may be told (0) or listened to (1) again.
    fn may_speak_of_refusal(
        &mut self,
        cx: CxRef<'_>,
        id: GroupId,
        link: LinkId,
        way: usize,
    ) -> bool {
        let now = cx.core.now.mono;
        let pause = Micros::from_millis(PAUSE_MS);
        let Some(remote) = self.remote_mut(link, id) else {
            return false;
        };
        let last = &mut remote.refused[way];
        let may = last.is_none_or(|last| now.since(last) >= pause);
        if may {
            *last = Some(now);
        }
        may
    }

    pub(crate) fn on_origin_refused(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        refused: &OriginRefused,
    ) {
        let id = refused.group;
        if (refused.origin, refused.epoch) != (cx.core.me, cx.net.epoch()) {
            // Its publisher hears of it by acknowledgements only.
            return;
        }
        let Some(name) = self.groups.get(&id).and_then(|group| group.name.clone()) else {
            return;
        };
        if !self.may_speak_of_refusal(cx.as_ref(), id, from, 1) {
            return;
        }
        if let Some(peer) = cx.net.peer_of(from) {
            tracing::warn!(group = %name, %peer, "has no room for what is published here");
            cx.core.event(Event::OriginRefused { group: name, peer });
        }
    }
}
