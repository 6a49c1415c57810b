//! A network of peers that do what a test says, and write down what they get.

use bytes::Bytes;
use hedgerow_protocol::{Action, Address, DialId, Input, Keypair, LinkId, Micros, PeerKey, Time};
use hedgerow_testnet::sim::{Bandwidth, Costs, Latency, NetworkModel, Peer, World};
use std::collections::VecDeque;

/// A peer that does what the test says and remembers what happened to it.
#[derive(Default)]
pub(crate) struct Scribe {
    pub(crate) actions: VecDeque<Action>,
    pub(crate) seen: Vec<(Micros, Input)>,
    pub(crate) deadline: Option<Time>,
    pub(crate) timeouts: Vec<Micros>,
}

impl Peer for Scribe {
    fn handle_input(&mut self, now: Time, input: Input) {
        self.seen.push((now.mono, input));
    }
    fn handle_timeout(&mut self, now: Time) {
        self.timeouts.push(now.mono);
        self.deadline = None;
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.deadline
    }
}

pub(crate) struct Net {
    pub(crate) world: World<Scribe>,
    pub(crate) zero: Vec<Micros>,
    pub(crate) dials: u64,
}

impl Net {
    pub(crate) fn new(nodes: usize, seed: u64, change: impl FnOnce(&mut NetworkModel)) -> Self {
        let mut network = NetworkModel {
            latency: Latency::constant_ms(50),
            ..NetworkModel::default()
        };
        change(&mut network);
        let mut net = Self {
            world: World::new(seed, network, Costs::default()),
            zero: vec![],
            dials: 0,
        };
        for node in 0..nodes {
            net.world.add_node(Bandwidth::UNLIMITED, 0);
            net.zero.push(net.world.time(node).mono);
            net.start(node);
        }
        net
    }

    pub(crate) fn plain(nodes: usize) -> Self {
        Self::new(nodes, 1, |_| {})
    }

    pub(crate) fn start(&mut self, node: usize) {
        self.world.start(node, key(node), Scribe::default());
    }

    pub(crate) fn act(&mut self, node: usize, action: Action) {
        self.world
            .call(node, |peer, _| peer.actions.push_back(action))
            .expect("runs");
    }

    pub(crate) fn dial(&mut self, node: usize, to: usize) -> DialId {
        self.dials += 1;
        let dial = DialId(self.dials);
        let addresses = vec![Address::new(&format!("/memory/{to}")).expect("valid")];
        self.act(
            node,
            Action::Dial {
                dial,
                peer: Some(key(to)),
                addresses,
                timeout: ms(5_000),
            },
        );
        dial
    }

    /// A connection, and the links by which both ends name it.
    pub(crate) fn connect(&mut self, node: usize, to: usize) -> (LinkId, LinkId) {
        self.dial(node, to);
        self.world.run_for(1_000);
        let last = |net: &Self, node| {
            net.seen(node)
                .iter()
                .rev()
                .find_map(|(_, input)| match input {
                    Input::Linked { link, .. } => Some(*link),
                    _ => None,
                })
                .expect("linked")
        };
        (last(self, node), last(self, to))
    }

    pub(crate) fn send(&mut self, node: usize, link: LinkId, bytes: impl Into<Bytes>) {
        self.act(
            node,
            Action::Send {
                link,
                chunks: [bytes.into(), Bytes::new()],
            },
        );
    }

    /// What a node got, by virtual time.
    pub(crate) fn seen(&self, node: usize) -> Vec<(Micros, Input)> {
        let peer = self.world.peer(node).expect("runs");
        peer.seen
            .iter()
            .map(|(at, input)| (at.since(self.zero[node]), input.clone()))
            .collect()
    }

    pub(crate) fn received(&self, node: usize, on: LinkId) -> Vec<(Micros, Bytes)> {
        let bytes = self
            .seen(node)
            .into_iter()
            .filter_map(|(at, input)| match input {
                Input::Bytes { link, bytes } if link == on => Some((at, bytes)),
                _ => None,
            });
        bytes.collect()
    }

    pub(crate) fn received_bytes(&self, node: usize, on: LinkId) -> Vec<u8> {
        self.received(node, on)
            .iter()
            .flat_map(|(_, bytes)| bytes.to_vec())
            .collect()
    }

    pub(crate) fn lost_at(&self, node: usize, lost: LinkId) -> Option<Micros> {
        self.seen(node)
            .into_iter()
            .find_map(|(at, input)| match input {
                Input::LinkLost { link } if link == lost => Some(at),
                _ => None,
            })
    }

    pub(crate) fn failed_at(&self, node: usize, failed: DialId) -> Option<Micros> {
        self.seen(node)
            .into_iter()
            .find_map(|(at, input)| match input {
                Input::DialFailed { dial } if dial == failed => Some(at),
                _ => None,
            })
    }

    pub(crate) fn sent(&self, node: usize) -> usize {
        let sent = self.seen(node).into_iter().map(|(_, input)| match input {
            Input::Sent { bytes, .. } => bytes,
            _ => 0,
        });
        sent.sum()
    }
}

pub(crate) fn key(node: usize) -> PeerKey {
    Keypair::from_secret([node as u8 + 1; 32]).peer()
}

pub(crate) fn ms(ms: u64) -> Micros {
    Micros::from_millis(ms)
}
