//! Rules that every run is judged by, one file each.
//!
//! [`delivery`], [`duplicates`], [`order`], [`gaps`], [`unjoined`] and [`ends`] judge a
//! [`crate::journal::Journal`];
//! [`views`], [`bounds`] and [`links`] judge [`Snapshot`]s of the peers that run, and [`silent`] whether
//! there are any. None of them knows how the peers were run.

mod bounds;
mod delivery;
mod duplicates;
mod ends;
mod gaps;
mod joins;
mod links;
mod order;
mod silent;
mod snapshot;
mod views;

pub use bounds::bounds;
pub use delivery::{Delivery, Judged, Keeps, delivery, undelivered};
pub use duplicates::{duplicates, each_duplicate};
pub use ends::ends;
pub use gaps::{gaps, silent_losses};
pub(crate) use joins::asked;
pub use joins::unjoined;
pub use links::{Wire, links};
pub use order::{each_disorder, order};
pub use silent::silent;
pub use snapshot::Snapshot;
pub use views::{sight, views};

use std::fmt;

/// What a check found against the rules: how much, and the first few in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many violations.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// Examples kept of each kind.
const EXAMPLES_MAX: usize = 8;

impl Findings {
    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
        self
    }

    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violations", self.count)?;
        self.examples
            .iter()
            .try_for_each(|example| write!(f, "\n  {example}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::journal::Journal;
    use bytes::Bytes;
    use hedgerow_protocol::{
        Arrival, Delivery, Event, GroupName, Headers, Keypair, MessageId, Micros, PeerKey,
    };

    /// A journal written by hand: nodes that are in one group from the start.
    pub(super) struct Story {
        pub(super) journal: Journal,
        group: GroupName,
        at: u64,
    }

    impl Story {
        pub(super) fn new(nodes: usize) -> Self {
            let mut journal = Journal::default();
            let group = GroupName::new("news").expect("a name");
            for node in 0..nodes {
                journal.add_node();
                let joined = Event::Joined {
                    group: group.clone(),
                    from_neighbour: true,
                };
                journal.event(Micros(0), node, joined);
            }
            Self {
                journal,
                group,
                at: 0,
            }
        }

        fn key(node: usize) -> PeerKey {
            Keypair::from_secret([node as u8 + 1; 32]).peer()
        }

        pub(super) fn publish(&mut self, node: usize, seq: u64) -> MessageId {
            self.at += 1;
            let id = MessageId {
                origin: Self::key(node),
                epoch: 1,
                seq,
            };
            let (at, payload) = (Micros(self.at), Bytes::from_static(b"x"));
            self.journal.published(at, node, &self.group, id, payload);
            self.deliver(node, id);
            id
        }

        pub(super) fn deliver(&mut self, node: usize, id: MessageId) {
            self.at += 1;
            let delivery = Delivery {
                group: self.group.clone(),
                id,
                published_at: 0,
                payload: Bytes::from_static(b"x"),
                headers: Headers::default(),
                hops: 1,
                arrival: Arrival::Pushed,
            };
            self.journal.delivered(Micros(self.at), node, &delivery);
        }

        pub(super) fn tell_gap(&mut self, node: usize, from: u64, to: u64) {
            let gap = Event::Gap {
                group: self.group.clone(),
                origin: Self::key(0),
                epoch: 1,
                from,
                to,
            };
            self.journal.event(Micros(self.at), node, gap);
        }
    }
}
