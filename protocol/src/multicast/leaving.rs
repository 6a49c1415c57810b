//! Whether neighbours hold what this peer has published, before it leaves the network.

use super::LogKey;
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::frame::Digest;

/// So many neighbours must hold what this peer published, if there are so many.
pub(crate) const HOLDERS: usize = 2;

impl Multicast {
    /// The groups in which this peer has published in this life, and up to which entry.
    fn published(&self, cx: CxRef<'_>) -> Vec<(GroupId, LogKey, u64)> {
        let key = (cx.core.me, cx.net.epoch());
        self.groups
            .iter()
            .filter_map(|(id, group)| {
                let log = group.logs.get(&key)?;
                (log.high() > 0).then(|| (*id, key, log.high()))
            })
            .collect()
    }

    /// Whether neighbours hold all that this peer has published, or members have acknowledged it, which
    /// `is_acknowledged` knows of a group, epoch and entry.
    pub(crate) fn is_confirmed(
        &self,
        cx: CxRef<'_>,
        is_acknowledged: impl Fn(GroupId, u64, u64) -> bool,
    ) -> bool {
        if !self.releasing.is_empty() || !self.batching.is_empty() {
            return false;
        }
        self.published(cx).into_iter().all(|(id, key, high)| {
            let holders = cx
                .net
                .links_up()
                .filter_map(|link| self.remotes.get(link, id)?.stated.get(&key))
                .filter(|settled| **settled >= high)
                .count();
            let possible = self.group_links(cx, id).count();
            // Members that have acknowledged it need not be asked, and may have left since.
            is_acknowledged(id, key.1, high) || holders >= HOLDERS.min(possible.max(1))
        })
    }

    pub(crate) fn ask_holders(&mut self, cx: &mut Cx<'_>) {
        for (id, _, _) in self.published(cx.as_ref()) {
            let links: Vec<LinkId> = self
                .group_links(cx.as_ref(), id)
                .map(|(_, link)| link)
                .collect();
            for link in links {
                cx.net.send(
                    cx.core,
                    link,
                    Digest {
                        group: id,
                        ask: true,
                        entries: Vec::new(),
                    },
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::base::message::PublishOptions;
    use crate::multicast::fixture::{Peer, held, news};
    use bytes::Bytes;

    fn is_confirmed(peer: &Peer, is_acknowledged: bool) -> bool {
        peer.look(|groups, cx| groups.is_confirmed(cx, |_, _, _| is_acknowledged))
    }

    #[test]
    fn what_was_published_is_confirmed_by_two_holders_or_by_acknowledgements() {
        let mut peer = Peer::member();
        let links = [2, 3, 4].map(|number| peer.subscriber(number));
        assert!(is_confirmed(&peer, false), "nothing was published");
        let payload = Bytes::from_static(b"x");
        let options = PublishOptions::default();
        let published = peer.call(|groups, cx| groups.publish_one(cx, &news(), payload, options));
        published.expect("taken");
        assert!(is_confirmed(&peer, true));
        for link in &links[..2] {
            assert!(!is_confirmed(&peer, false));
            let mut entry = held(1, 1, 1, &[]);
            entry.epoch = peer.net.epoch();
            peer.tell(*link, vec![entry]);
        }
        assert!(is_confirmed(&peer, false));
    }
}
