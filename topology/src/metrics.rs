//! Measures of an overlay, by the definitions of the literature.
//!
//! | measure | definition | source |
//! |---|---|---|
//! | stretch, RDP | delay along the overlay / direct delay | Chu, Rao, Zhang, "A Case for End System Multicast", SIGMETRICS 2000 |
//! | link stress | identical copies that cross one link of the underlay | the same |
//! | tree cost | sum of the delays of the tree's links (resource usage) | the same |
//! | RMR | payload copies received / (peers reached - 1) - 1 | Leitao, Pereira, Rodrigues, "Epidemic Broadcast Trees", SRDS 2007 |
//! | LDH | hops of the last delivery | the same |

mod delivery;
mod shape;
mod stress;

pub use delivery::{Delivery, Pair, StretchTotal, deliver};
pub use shape::{Shape, diameter_hops, shape_of};
pub use stress::{LinkStress, link_stress, tree_cost_us};
