//! A deterministic discrete-event simulation of peers.
//!
//! Engines are called in virtual time; the bytes they send travel over modelled connections:
//! ordered, reliable streams with latency, jitter, limited bandwidth and, where packets are lost,
//! the delay of sending them again. The same seed gives the same [`World::trace_hash`] on every
//! machine: one versioned generator per purpose, events ordered by (time, sequence), no iteration
//! over anything unordered, no floating point outside of parsing.
//!
//! Layers, lowest first: [`Latency`] and access links say how long bytes take; connections carry
//! them; [`World`] drives any [`Peer`]; [`Sim`] drives engines and is what tests use.
//!
//! ```
//! use hedgerow_testnet::sim::{Latency, Sim, StartGraph};
//!
//! let sim = Sim::builder()
//!     .seed(7)
//!     .nodes(3)
//!     .latency(Latency::constant_ms(20))
//!     .start_graph(StartGraph::Chain)
//!     .build();
//! assert_eq!(sim.len(), 3);
//! ```

mod access;
mod builder;
mod checks;
mod closing;
mod connection;
mod dial;
mod driver;
mod fault;
mod latency;
mod lookahead;
mod loss;
mod node;
mod parallel_choice;
mod partition;
mod peer;
mod prediction;
mod queue;
mod random;
mod sim_peer;
mod speculative_call;
mod start;
mod swarm;
mod trace;
mod transport;
mod warm;
mod workers;
mod world;

pub use access::Bandwidth;
pub use builder::SimBuilder;
pub use latency::{Latency, Matrix, MatrixError};
pub(crate) use loss::{Loss, either};
pub use node::{NodeState, Traffic, Way};
#[cfg(feature = "process")]
pub(crate) use partition::Sides;
#[cfg(feature = "process")]
pub(crate) use peer::Counted;
pub use peer::{Copies, Peer, RECORD_FRAMES, Tally};
pub use random::Random;
pub use sim_peer::{Mask, Offence, SimPeer};
pub use start::StartGraph;
pub use swarm::Sim;
pub use trace::TraceHash;
pub use world::{Costs, NetworkModel, World};
