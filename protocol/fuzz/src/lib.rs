//! What the fuzz targets do, one function each, so that a crash replays as a plain call.

mod frames;
mod hostile;
mod network;
mod wire;

pub use frames::{KEYS, any, keypair};
pub use hostile::engine;
pub use network::network;
pub use wire::{frame, record};
