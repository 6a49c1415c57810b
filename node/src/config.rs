//! Configuration: file (TOML) < environment (`HEDGEROW_*`) < flags, each value with its origin.
//!
//! `docs/config.md` explains every key. A key that does not exist is refused with file, line and
//! the nearest one that does; a value that cannot work is refused naming where it came from.

mod layers;
mod paths;
mod settings;
mod show;
mod source;

pub use layers::{Effective, Flag, FlagValue, Origin, Sources, load};
pub use paths::{PathError, Paths, SOCKET_PATH_BYTES_MAX};
pub use settings::{ApiSettings, Settings};
pub use show::{Entry, entries, to_toml};
pub use source::ConfigFileError;

#[cfg(test)]
mod tests;
