//! The Hedgerow peer as a state machine.
//!
//! Bytes and time go in, bytes and events come out. Nothing here touches a socket, a clock, a
//! thread, the environment or ambient randomness, so whatever happens in production can be
//! replayed. The one type to know is [`Engine`].

pub mod config;
pub mod headers;
pub mod identity;
pub mod io;
pub mod memo;
pub mod message;
pub mod name;
pub mod ranges;
pub mod source;
pub mod status;
pub mod time;
pub mod verify;
pub mod wire;

mod database;
mod engine;
mod group;
mod links;
mod network_time;
mod shares;

pub use config::{
    Config, ConfigError, DatabaseConfig, FlowConfig, GroupConfig, LimitConfig, LinkConfig,
};
pub use engine::{Engine, WarmChoice, WarmDatabase, WarmLink};
#[cfg(feature = "planted")]
pub use group::Planted;
pub use headers::{HEADER_KEY_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, HeaderError, Headers};
pub use identity::{Keypair, ParsePeerError, PeerKey, Signer};
pub use io::{
    Action, DialId, Event, IdentityUser, Input, LinkEnd, LinkId, Persist, PersistId, VerifyId,
};
pub use memo::Memo;
pub use message::{
    Arrival, Delivery, GroupSettings, HISTORY_LAST_MAX, History, JoinError, JoinOptions, MessageId,
    Order, PublishError, PublishOptions, REDUNDANCY_MAX, SettingsPatch,
};
pub use name::{Address, BROADCAST, GroupId, GroupName, NameError, NetworkName, is_invisible};
pub use source::{Prefix, Source};
pub use time::{Micros, Time};
pub use verify::{Domain, VerifyJob};
