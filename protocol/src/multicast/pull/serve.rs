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
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        // A peer that may not pull is told that nothing is held.
        let is_allowed = cx.core.allows(peer, Verb::Pull, Resource::Group(id));
        if !is_allowed {
            cx.core.count(counter!("access_requests_refused"));
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
                cx.core.count(counter!("pulls_cut_short"));
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
                return cx.core.count(counter!("pulls_cut_short"));
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
            cx.core.count(counter!("pulls_deferred"));
            return false;
        }
        cx.core.count(counter!("bundles_served"));
        let key = (header.origin, header.epoch);
        if let Some(link) = cx.net.link_mut(to) {
            link.note_bundle_sent();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::config::Config;
    use crate::multicast::fixture::{ORIGIN, Peer, bundle_frame, log_key, sign, wanted};
    use crate::wire::frame::Frame;

    /// A member that holds 1, 2 and 5 of an origin's log; another neighbour asks it.
    fn holding(config: Config) -> (Peer, LinkId, Vec<Bundle>) {
        let mut peer = Peer::member_with(config);
        let (from, asks) = (peer.subscriber(2), peer.subscriber(3));
        let all = peer.messages(ORIGIN, 6);
        for at in [0, 1, 4] {
            peer.push(from, &all[at]);
        }
        peer.heard(asks);
        (peer, asks, all)
    }

    fn ask(peer: &mut Peer, from: LinkId, ranges: &[(u64, u64)]) -> Vec<Frame> {
        let group = peer.id;
        let wanted = vec![wanted(ORIGIN, ranges)];
        peer.say(from, Pull { group, wanted });
        peer.heard(from)
    }

    fn denial(peer: &Peer, ranges: &[(u64, u64)], gone: bool) -> Frame {
        let (group, wanted) = (peer.id, wanted(ORIGIN, ranges));
        Frame::from(NotHeld {
            group,
            wanted,
            gone,
        })
    }

    #[test]
    fn what_is_held_is_served_and_the_rest_denied_for_good_up_to_the_settled_point() {
        let (mut peer, link, all) = holding(Config::default());
        let served = |at: usize| bundle_frame(&all[at], 2, true);
        let answer = ask(&mut peer, link, &[(1, 1), (3, 6)]);
        let denied = denial(&peer, &[(3, 4), (6, 6)], false);
        assert_eq!(answer, [served(0), served(4), denied]);
        peer.log_mut(ORIGIN).give_up(3, 4);
        let answer = ask(&mut peer, link, &[(3, 4), (6, 6)]);
        let expected = [
            denial(&peer, &[(3, 4)], true),
            denial(&peer, &[(6, 6)], false),
        ];
        assert_eq!(answer, expected);
        assert_eq!(peer.counted("bundles_served"), 2);
    }

    #[test]
    fn of_a_log_that_is_not_here_nothing_is_denied_for_good() {
        let mut peer = Peer::member();
        let link = peer.subscriber(3);
        let answer = ask(&mut peer, link, &[(1, 9)]);
        assert_eq!(answer, [denial(&peer, &[(1, 9)], false)]);
    }

    #[test]
    fn what_was_served_is_no_news_to_the_neighbour() {
        let (mut peer, link, _) = holding(Config::default());
        ask(&mut peer, link, &[(1, 2), (5, 5)]);
        let remote = peer.multicast.remotes.get(link, peer.id).expect("a member");
        assert!(remote.covers(log_key(ORIGIN), 1, 2));
        let id = peer.id;
        peer.wait_ms(1_000);
        peer.call(|groups, cx| groups.announce(cx, id));
        assert_eq!(peer.heard(link), []);
    }

    #[test]
    fn what_a_full_queue_has_no_room_for_is_neither_served_nor_denied() {
        let mut config = Config::default();
        // One frame is being written, and one waits.
        config.flow.unsent_bytes = 1;
        config.flow.repair_queue_bytes = 0;
        let (mut peer, link, all) = holding(config);
        peer.push(LinkId(1), &all[5]);
        peer.heard(link);
        peer.writes_wait = true;
        assert_eq!(
            ask(&mut peer, link, &[(1, 6)]),
            [bundle_frame(&all[0], 2, true)]
        );
        // The first that has no room ends it: what follows would overtake it.
        assert_eq!(peer.counted("pulls_deferred"), 1);
        assert_eq!(peer.counted("bundles_served"), 2);
        peer.write(link);
        let rest = [
            denial(&peer, &[(3, 4)], false),
            bundle_frame(&all[1], 2, true),
        ];
        assert_eq!(peer.heard(link), rest);
    }

    #[test]
    fn a_bundle_that_is_asked_for_in_part_is_served_whole() {
        let mut peer = Peer::member();
        let (from, asks) = (peer.subscriber(2), peer.subscriber(3));
        let mut header = peer.header(ORIGIN, 1);
        header.lengths = vec![1; 5];
        let bundle = sign(ORIGIN, header);
        peer.push(from, &bundle);
        peer.heard(asks);
        assert_eq!(
            ask(&mut peer, asks, &[(3, 4)]),
            [bundle_frame(&bundle, 2, true)]
        );
    }
}
