//! Acknowledgements that their members never gave.

use super::origin::groups;
use super::{Out, after, links_up, send};
use crate::sim::{Mask, Random};
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::frame::{Acknowledge, MemberAck};
use hedgerow_protocol::{Action, Engine, GroupId, MessageId, PeerKey, Time};

/// How often, ms, and how many at a time.
const EVERY_MS: u64 = 200;
const ACKNOWLEDGEMENTS: usize = 200;

/// Says in others' names that messages have come, so that each link checks signatures for nothing.
pub(super) struct Forge {
    random: Random,
    /// The last message of somebody else that it got.
    seen: Option<MessageId>,
}

impl Forge {
    pub(super) fn new(random: Random) -> Self {
        let seen = None;
        Self { random, seen }
    }
}

impl Mask for Forge {
    fn action(&mut self, _: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        if let Action::Deliver(delivery) = &action
            && delivery.id.origin != engine.peer()
        {
            self.seen = Some(delivery.id);
        }
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let linked = engine.links().into_iter().filter(|link| link.up);
        let members: Vec<PeerKey> = linked.map(|link| link.peer).collect();
        if let Some(seen) = self.seen
            && !members.is_empty()
        {
            let network = engine.status().network;
            for group in groups(engine) {
                let acks = (0..ACKNOWLEDGEMENTS).map(|_| {
                    let member = members[self.random.index(members.len())];
                    let mut signature = [0; 64];
                    signature[..8].copy_from_slice(&self.random.bits().to_le_bytes());
                    MemberAck {
                        member,
                        up_to: seen.seq,
                        lost: RangeSet::new(),
                        signature,
                    }
                });
                let frame = Acknowledge {
                    group: GroupId::new(&network, &group),
                    origin: seen.origin,
                    epoch: seen.epoch,
                    members: acks.collect(),
                };
                for link in links_up(engine) {
                    out.push_back(send(link, &frame.clone().into()));
                }
            }
        }
        Some(after(now, EVERY_MS))
    }
}
