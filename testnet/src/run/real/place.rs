//! Where peers run: their addresses, and how their processes are started.

#[cfg(target_os = "linux")]
use super::hosts::Hosts;
use crate::process::{Here, Place};
use crate::run::Cast;
use crate::scenario::{Backend, Scenario};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

/// The network of hosts.
#[cfg(target_os = "linux")]
const NETWORK: [u8; 2] = [10, 77];
/// The port that every peer listens on, at an address of its own.
const PORT: u16 = 4001;
/// Bound at a block's first address while the block is in use.
const LOCK_PORT: u16 = 47_471;

/// The places of all nodes.
#[derive(Debug)]
pub(super) enum Places {
    /// A block of 65,536 loopback addresses, 127.BLOCK.x.y.
    Loopback {
        block: u8,
        /// Keeps the block from other runs on this machine.
        _lock: TcpListener,
    },
    /// A host a node, joined by a switch.
    #[cfg(target_os = "linux")]
    Hosts(Hosts),
}

impl Places {
    /// The places that a scenario's nodes need; what is missing, in words.
    pub(super) fn new(scenario: &Scenario, cast: &Cast) -> Result<Self, String> {
        match scenario.file.scenario.backend {
            Backend::Sim | Backend::Process => loopback(),
            #[cfg(target_os = "linux")]
            Backend::Netns => hosts(scenario, cast).map(Self::Hosts),
            #[cfg(not(target_os = "linux"))]
            Backend::Netns => Err("network namespaces are Linux's".to_owned()),
        }
    }

    /// What stands between the nodes, where that is ours.
    #[cfg(target_os = "linux")]
    pub(super) fn hosts(&self) -> Option<&Hosts> {
        match self {
            Self::Hosts(hosts) => Some(hosts),
            Self::Loopback { .. } => None,
        }
    }

    /// Where a node's peer listens, and is dialled.
    pub(super) fn address(&self, node: usize) -> String {
        let ip = match self {
            Self::Loopback { block, .. } => host([127, *block], node),
            #[cfg(target_os = "linux")]
            Self::Hosts(_) => host(NETWORK, node),
        };
        format!("/ip4/{ip}/tcp/{PORT}")
    }

    /// How a node's processes are started.
    pub(super) fn of(&self, node: usize) -> Arc<dyn Place> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Hosts(hosts) => hosts.place(node),
            Self::Loopback { .. } => Arc::new(Here),
        }
    }
}

/// A host for each node, and the switch that the scenario describes.
#[cfg(target_os = "linux")]
fn hosts(scenario: &Scenario, cast: &Cast) -> Result<Hosts, String> {
    use crate::run::setup;
    use crate::switch::{Switch, Ways};
    let topology = &scenario.file.topology;
    let ways = Ways {
        latency: setup::latency(scenario),
        seed: scenario.file.scenario.seed,
        jitter: topology.jitter.0,
        loss_ppm: topology.loss.ppm(),
    };
    let addresses: Vec<Ipv4Addr> = (0..cast.len()).map(|node| host(NETWORK, node)).collect();
    let mut switch = Switch::new(ways, &addresses);
    for (class, (_, nodes)) in scenario.file.nodes.iter().zip(&cast.classes) {
        let line = class.bandwidth.unwrap_or(topology.bandwidth);
        for node in nodes.clone() {
            switch.set_bandwidth(node, setup::bandwidth(line));
        }
    }
    Hosts::new(&addresses, switch)
}

/// The address of a node in a /16: from x.y.1.1 on.
fn host(net: [u8; 2], node: usize) -> Ipv4Addr {
    let [high, low] = [1 + node / 250, 1 + node % 250];
    Ipv4Addr::new(net[0], net[1], high as u8, low as u8)
}

/// A block of loopback addresses that nobody else uses.
fn loopback() -> Result<Places, String> {
    let first = std::process::id() % 250;
    for offset in 0..250 {
        let block = 2 + ((first + offset) % 250) as u8;
        let lock = TcpListener::bind((Ipv4Addr::new(127, block, 0, 1), LOCK_PORT));
        if let Ok(lock) = lock {
            return Ok(Places::Loopback { block, _lock: lock });
        }
    }
    Err("no block of loopback addresses (127.x.0.0/16) is free".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_blocks_of_their_own() {
        let (one, other) = (loopback().expect("free"), loopback().expect("free"));
        assert_ne!(one.address(0), other.address(0));
    }

    #[test]
    fn every_node_has_its_address() {
        assert_eq!(host([127, 9], 0), Ipv4Addr::new(127, 9, 1, 1));
        assert_eq!(host([127, 9], 249), Ipv4Addr::new(127, 9, 1, 250));
        assert_eq!(host([127, 9], 250), Ipv4Addr::new(127, 9, 2, 1));
    }
}
