//! The Hedgerow peer as a state machine.
//!
//! Bytes and time go in, bytes and events come out. Nothing here touches a socket, a clock, a
//! thread, the environment or ambient randomness, so whatever happens in production can be
//! replayed. The one type to know is [`Engine`].

// The names of counters come first: they are used in all that follows.
#[macro_use]
mod core;

mod access;
mod base;
mod engine;
mod multicast;
mod overlay;
mod patterns;
mod unicast;
pub mod wire;

pub use base::{
    headers, identity, interface, message, name, ranges, source, status, store, time, verify,
};
pub use core::config;

#[cfg(feature = "planted")]
pub use config::Planted;
pub use config::{
    Config, ConfigError, DatabaseConfig, FlowConfig, GroupConfig, LimitConfig, LinkConfig,
    ShutdownConfig,
};
pub use engine::Engine;
#[cfg(feature = "warm")]
pub use engine::{WarmChoice, WarmDatabase, WarmLink};
pub use headers::{HEADER_KEY_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, HeaderError, Headers};
pub use identity::{Keypair, ParsePeerError, PeerKey, Signer};
pub use interface::{Action, DialId, Event, IdentityUser, Input, LinkEnd, LinkId, VerifyId};
pub use message::{
    AckResult, Arrival, Delivery, GroupSettings, HISTORY_LAST_MAX, History, JoinError, JoinOptions,
    MessageId, Order, PublishError, PublishOptions, Published, REDUNDANCY_MAX, SettingsPatch,
};
pub use name::{Address, BROADCAST, GroupId, GroupName, NameError, NetworkName, is_invisible};
pub use overlay::cache::SharedCache;
pub use patterns::echo::PingError;
pub use source::{Prefix, Source};
pub use store::{BatchId, Namespace, StoreError, StoreOp, Stored};
pub use time::{Micros, Time};
pub use verify::{Domain, VerifyJob};
