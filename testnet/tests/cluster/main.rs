//! What a network of peers must do, one file per behaviour, in virtual time.

mod support;

mod acknowledged;
mod black_holes;
mod broadcast_to_all;
mod bulk;
mod bundles;
mod capacity;
mod cold_start;
mod equal_payloads;
mod forwarder_dies;
mod history;
mod hub_start;
mod idle;
mod joiner;
mod large_messages;
mod leave_and_rejoin;
mod liars;
mod line_speed;
mod lost_digest;
mod mass_crash;
mod never_back;
mod partition;
mod probes;
mod publish_before_links;
mod relays;
mod restart;
mod sender_only;
mod settings;
mod shunned;
mod shutdown;
mod slow_peer;
mod small_networks;
mod suspended;
mod ten_origins;
mod trace;
