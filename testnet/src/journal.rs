//! What happened in a run, in a form that does not depend on how the peers were run.

use bytes::Bytes;
use hedgerow_protocol::{Arrival, Delivery, Event, GroupName, MessageId, Micros};
use std::collections::HashMap;

/// A message that was published, or that turned up.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its group.
    pub group: GroupName,
    /// Its name.
    pub id: MessageId,
    /// Who published it and when; `None` for one that nobody is known to have published.
    pub published: Option<Publication>,
    /// The content as published, or as it first turned up.
    pub payload: Bytes,
}

/// Who published a message and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The node.
    pub node: usize,
    /// When.
    pub at: Micros,
}

/// One message handed to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When.
    pub at: Micros,
    /// Index into [`Journal::messages`].
    pub message: u32,
    /// Links it crossed.
    pub hops: u16,
    /// How it came.
    pub arrival: Arrival,
    /// Whether the content is that of the publication.
    pub intact: bool,
}

/// What was done to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was started.
    Started,
    /// It stopped: killed, crashed or done with leaving.
    Stopped,
    /// It was suspended.
    Paused,
    /// It went on.
    Resumed,
    /// It was asked to join.
    Join(GroupName),
    /// It was asked to leave.
    Leave(GroupName),
    /// It was asked to leave the network.
    Shutdown,
}

/// What one node did and went through, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct NodeJournal {
    /// Messages handed to its application.
    pub receipts: Vec<Receipt>,
    /// What its engine told.
    pub events: Vec<(Micros, Event)>,
    /// What was done to it.
    pub changes: Vec<(Micros, Change)>,
    /// For each event, the messages seen anywhere before it: the order within one instant.
    messages_before: Vec<u32>,
    /// For each change, the node's own events before it.
    events_before: Vec<usize>,
}

impl NodeJournal {
    /// What was done to the node before its event at `index`, in order.
    pub(crate) fn changes_before(&self, index: usize) -> impl DoubleEndedIterator<Item = &Change> {
        let until = self.events_before.partition_point(|&at| at <= index);
        self.changes[..until].iter().map(|(_, change)| change)
    }
}

/// A time in which messages of a group were due to a node: from being told that it has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// When the node was told `joined`.
    pub from: Micros,
    /// Index of the first message that can have been published after that moment.
    pub first_message: u32,
    /// When it left, or stopped; `None` while it lasts.
    pub until: Option<Micros>,
}

impl Membership {
    /// Whether the message at `index`, published at `at`, is due to a member that stays.
    /// What was published in the instant of joining, but before, is not.
    pub fn is_due(&self, index: u32, at: Micros) -> bool {
        let after = self.from < at || self.from == at && self.first_message <= index;
        after && self.until.is_none()
    }
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// All messages, in the order in which they were first seen.
    pub messages: Vec<Message>,
    /// By node.
    pub nodes: Vec<NodeJournal>,
    // Looked up, never iterated.
    index: HashMap<(GroupName, MessageId), u32>,
}

impl Journal {
    /// Makes room for one more node.
    pub fn add_node(&mut self) {
        self.nodes.push(NodeJournal::default());
    }

    /// Writes down a publication.
    pub fn published(
        &mut self,
        at: Micros,
        node: usize,
        group: &GroupName,
        id: MessageId,
        payload: Bytes,
    ) -> u32 {
        let published = Some(Publication { node, at });
        let message = self.intern(group, id, payload);
        self.messages[message as usize].published = published;
        message
    }

    /// Writes down a delivery.
    pub fn delivered(&mut self, at: Micros, node: usize, delivery: &Delivery) {
        let message = self.intern(&delivery.group, delivery.id, delivery.payload.clone());
        let intact = self.messages[message as usize].payload == delivery.payload;
        let (hops, arrival) = (delivery.hops, delivery.arrival);
        self.nodes[node].receipts.push(Receipt {
            at,
            message,
            hops,
            arrival,
            intact,
        });
    }

    /// Writes down an event.
    pub fn event(&mut self, at: Micros, node: usize, event: Event) {
        let messages_before = self.messages.len() as u32;
        self.nodes[node].events.push((at, event));
        self.nodes[node].messages_before.push(messages_before);
    }

    /// Writes down what was done to a node.
    pub fn change(&mut self, at: Micros, node: usize, change: Change) {
        let node = &mut self.nodes[node];
        node.changes.push((at, change));
        node.events_before.push(node.events.len());
    }

    fn intern(&mut self, group: &GroupName, id: MessageId, payload: Bytes) -> u32 {
        if let Some(&index) = self.index.get(&(group.clone(), id)) {
            return index;
        }
        let index = self.messages.len() as u32;
        self.messages.push(Message {
            group: group.clone(),
            id,
            published: None,
            payload,
        });
        self.index.insert((group.clone(), id), index);
        index
    }

    /// The message of a receipt.
    pub fn message(&self, receipt: &Receipt) -> &Message {
        &self.messages[receipt.message as usize]
    }

    /// The times in which messages of `group` were due to `node`, in order.
    pub fn memberships(&self, node: usize, group: &GroupName) -> Vec<Membership> {
        let node = &self.nodes[node];
        let is_end = |change: &Change| match change {
            Change::Stopped | Change::Shutdown => true,
            Change::Leave(left) => left == group,
            _ => false,
        };
        let mut ends = (node.changes.iter().zip(&node.events_before))
            .filter(|((_, change), _)| is_end(change))
            .map(|((at, _), events_before)| (*at, *events_before))
            .peekable();
        let mut memberships: Vec<Membership> = Vec::new();
        let joins = node.events.iter().zip(&node.messages_before).enumerate();
        for (index, ((at, event), first_message)) in joins {
            if !matches!(event, Event::Joined { group: joined, .. } if joined == group) {
                continue;
            }
            while ends
                .next_if(|(_, events_before)| *events_before <= index)
                .is_some()
            {}
            // Asking for more history while in the group starts no second membership.
            let until = ends.peek().map(|(end, _)| *end);
            if memberships.last().is_none_or(|last| last.until != until) {
                memberships.push(Membership {
                    from: *at,
                    first_message: *first_message,
                    until,
                });
            }
        }
        memberships
    }
}
