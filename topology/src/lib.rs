//! Overlay computation for Hedgerow: pure functions on graphs of peers and links.
//!
//! | module | answers |
//! |---|---|
//! | [`coordinate`] | how far is a peer that I have no link to? |
//! | [`neighbours`] | whom do I want links to? |
//! | [`graph`], [`subgraph`], [`cuts`] | who is in, and where is the view thin? |
//! | [`tree`], [`relay`] | which links carry a message from this origin? |
//! | [`path`] | over whom does a frame for one peer go? |
//! | [`mesh`] | which further links, so that one death cuts nobody off? |
//! | [`model`] | which mesh do all these choices together lead to? |
//! | [`metrics`] | how good is it, by the definitions of the literature? |
//! | [`export`] | what does it look like? |
//!
//! Nothing here knows messages, sockets, clocks or randomness. Every function depends on its
//! arguments alone and breaks every tie, so peers that hold the same view come to the same answer
//! without a word about it. That needs three rules, kept throughout: peers are indexed in
//! ascending order of key, so ties by index are ties by key; weights are whole microseconds, and
//! floating point (coordinates only) uses + - * / and square root, which IEEE 754 rounds alike on
//! every machine; no hash map is ever iterated where its order could show.

mod adjacency;
pub mod coordinate;
pub mod cuts;
pub mod export;
pub mod graph;
pub mod mesh;
pub mod metrics;
pub mod model;
pub mod neighbours;
pub mod path;
pub mod relay;
pub mod subgraph;
pub mod tree;

pub use petgraph;

pub use coordinate::Coordinate;
pub use cuts::Cuts;
pub use graph::{HOP_US, LinkGraph, PeerNode, is_connected, link_weight_us};
pub use mesh::{Mesh, redundant_mesh};
pub use neighbours::{
    Admission, Candidate, Considered, Limits, LinkUse, Reason, Side, Situation, Want, admit,
    confirms_ring, group_wants, is_closable, ring_walk, shed, wants,
};
pub use path::{NextHops, Without, next_hops, shortest_path};
pub use relay::relay_tree;
pub use subgraph::{Subgraph, component_of};
pub use tree::{Class, Tree, shortest_path_tree};
