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
}

/// A time in which messages of a group were due to a node: from being told that it has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// When the node was told `joined`.
    pub from: Micros,
    /// When it left, or stopped; `None` while it lasts.
    pub until: Option<Micros>,
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
        self.nodes[node].events.push((at, event));
    }

    /// Writes down what was done to a node.
    pub fn change(&mut self, at: Micros, node: usize, change: Change) {
        self.nodes[node].changes.push((at, change));
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
        let mut ends = node.changes.iter().filter(|(_, change)| match change {
            Change::Stopped | Change::Shutdown => true,
            Change::Leave(left) => left == group,
            _ => false,
        });
        let mut next_end = ends.next();
        let mut memberships: Vec<Membership> = Vec::new();
        for (at, event) in &node.events {
            if !matches!(event, Event::Joined { group: joined, .. } if joined == group) {
                continue;
            }
            while let Some((end, _)) = next_end
                && end < at
            {
                next_end = ends.next();
            }
            // Asking for more history while in the group starts no second membership.
            let until = next_end.map(|(end, _)| *end);
            if memberships.last().is_none_or(|last| last.until != until) {
                memberships.push(Membership { from: *at, until });
            }
        }
        memberships
    }

    /// Whether messages of `group` published at `at` were due to `node`, and still are.
    pub fn is_due(&self, node: usize, group: &GroupName, at: Micros) -> bool {
        self.memberships(node, group)
            .last()
            .is_some_and(|m| m.from <= at && m.until.is_none())
    }
}
