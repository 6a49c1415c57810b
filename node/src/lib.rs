//! A Hedgerow peer as a library: join groups, publish, receive; no broker anywhere.
//!
//! ```
//! use futures::{SinkExt, StreamExt};
//! use hedgerow::{GroupName, JoinOptions, Node};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).spawn().await?;
//! let bob = Node::builder().connect(&alice.listen_addresses()).spawn().await?;
//!
//! let news = GroupName::new("news")?;
//! let mut from_alice = alice.join(&news, JoinOptions::default()).await?;
//! let mut to_bob = bob.join(&news, JoinOptions::default()).await?;
//! assert!(to_bob.joined().await);
//!
//! from_alice.send("good morning".into()).await?;
//! let message = to_bob.next().await.ok_or("bob has stopped")??;
//! assert_eq!(message.payload, "good morning");
//! assert_eq!(message.id.origin, alice.peer());
//!
//! bob.shutdown().await;
//! alice.shutdown().await;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "cli")]
pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;

mod builder;
mod delivery;
mod driver;
mod error;
mod group;
mod node;
mod options;
mod publish_queue;
mod replies;
mod store;
mod transport;

pub use builder::NodeBuilder;
pub use delivery::{Gap, Subscription};
pub use error::NodeError;
pub use group::{Group, Received};
pub use hedgerow_protocol as protocol;
pub use hedgerow_protocol::{
    AckResult, Arrival, Config, ConfigError, Delivery, Event, GroupName, GroupSettings, History,
    JoinError, JoinOptions, Keypair, MessageId, NetworkName, Order, PeerKey, PingError,
    PublishError, PublishOptions, SettingsPatch, status,
};
pub use libp2p::Multiaddr;
pub use node::{Events, EventsMissed, Node, ProbeAnswers};
pub use options::{DeliveryConfig, TransportConfig};
pub use replies::{Pong, ProbeAnswer};
