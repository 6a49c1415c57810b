//! The node's own numbers: what lies around the engine.

use crate::Multiaddr;
use serde::{Deserialize, Serialize};

/// Where to listen and how connections are bounded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Addresses to listen on; port 0 takes a free one. Without any, this peer only dials.
    pub listen: Vec<Multiaddr>,
    /// Further addresses at which this peer can be dialled (port forwarding), stated first.
    pub external: Vec<Multiaddr>,
    /// Find peers on the local network by multicast DNS (RFC 6762). Off: a library opens no
    /// multicast socket unasked.
    pub mdns: bool,
    /// Connections from outside, at once. 160: `links.links_max` and room for those that are
    /// refused by name or only fetch the database.
    pub incoming_max: u32,
    /// Connections to one peer at once. 4: crossing dials, and a restarted peer's new ones.
    pub per_peer_max: u32,
    /// Incoming connections that have not yet proven who they are.
    pub pending_max: u32,
    /// How long the two ends may take to agree on the link's substream, ms. 10 s, as for the
    /// handshake on it (`links.handshake_ms`).
    pub substream_ms: u64,
    /// A connection without a link's substream ends after so long, ms. Over TCP it ends
    /// when the two have not agreed (`substream_ms`).
    pub idle_ms: u64,
    /// How long a closed link may take to write what it still has, ms.
    pub close_ms: u64,
    /// Read from a link at once, at most, bytes. 64 KiB: a Noise message.
    pub read_bytes: usize,
    /// What the kernel may hold of a TCP connection without having sent it, bytes (Linux's
    /// `TCP_NOTSENT_LOWAT`; 0: as the system has it). 16 KiB: a quarter of a second on a line of 0.5 Mbit/s.
    pub unsent_bytes: u32,
    /// What is to be passed on while half of the links to the next peers are full is read so
    /// fast, bytes a second, until they are not: so a publisher feels the slowest hop. 16 MiB/s:
    /// what a slow peer at the end of a full link can cost those before it.
    pub backpressure_bytes_per_s: usize,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            external: Vec::new(),
            mdns: false,
            incoming_max: 160,
            per_peer_max: 4,
            pending_max: 64,
            substream_ms: 10_000,
            idle_ms: 5_000,
            close_ms: 1_000,
            read_bytes: 64 << 10,
            unsent_bytes: 16 << 10,
            backpressure_bytes_per_s: 16 << 20,
        }
    }
}

/// What is kept of each group's deliveries for local subscribers.
///
/// Payloads are shared with the engine's log, so most of this costs no memory of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Messages kept per group. A subscriber that falls further behind gets a gap.
    pub messages_max: usize,
    /// Payload bytes kept per group; the newest message is kept whatever its size.
    pub bytes_max: usize,
    /// How long a message is kept, ms. 5 min: as the default retention of a group.
    pub keep_ms: u64,
    /// Messages accepted from local publishers of a group and not yet taken by the engine.
    pub publish_queue_messages_max: usize,
    /// Their bytes; a single message may be larger.
    pub publish_queue_bytes_max: usize,
    /// Events kept for a subscriber of [`crate::Node::events`] that is behind.
    pub events_max: usize,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            messages_max: 1 << 18,
            bytes_max: 64 << 20,
            keep_ms: 300_000,
            publish_queue_messages_max: 1_024,
            publish_queue_bytes_max: 4 << 20,
            events_max: 1_024,
        }
    }
}
