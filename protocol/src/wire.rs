//! What stands on the wire: frames, records, bundles. Bytes in, checked values out.
//!
//! Nothing here knows what the engine does with a value; a value that decodes is well formed
//! and within the wire's own limits, no more.

pub mod bundle;
mod cut;
pub mod delta;
mod ext;
pub mod frame;
#[cfg(feature = "wire-next")]
pub(crate) mod next;
pub mod record;
pub mod routed;
pub mod stream;

pub use bundle::{Bundle, BundleHeader, Fragment};
pub use frame::Frame;
pub use record::{Record, RecordGroup, RecordLink, SignedRecord};
pub use routed::Routed;
pub use stream::{FRAME_HEAD_BYTES, FrameDecoder, RawFrame};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The wire version this build speaks. Peers of another version are refused by name.
pub const WIRE_VERSION: u16 = 1;
/// The largest frame, head included, bytes: the same for every peer of a wire version, because a
/// peer that took more than the next one would pass on what the next one must refuse. 256 KiB: a
/// fragment of a large message, a fraction of what a link may have unsent.
pub const FRAME_BYTES_MAX: usize = 256 << 10;
/// What this build understands beyond the wire version, a bit each; stated in hellos and records. A bit
/// is never used again for something else.
pub const CAPABILITIES: u64 = delta::RECORD_DELTAS;
/// The last epoch. Epochs are milliseconds since 1970, so this is far beyond any clock, yet far
/// enough below `u64::MAX` that sums never overflow.
pub const EPOCH_MAX: u64 = 1 << 53;
/// The last version of a record within an epoch; the next statement takes a new epoch.
pub const VERSION_MAX: u64 = 1 << 53;

/// Why bytes are no frame, record or bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A frame over the limit.
    #[error("a frame of {bytes} bytes, the limit is {max}")]
    TooLong {
        /// What it states.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A frame too short for what it states to contain.
    #[error("a frame of {bytes} bytes is too short for what it states")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// Not the CBOR that this kind of frame has.
    #[error("not a {what}: {why}")]
    Cbor {
        /// What was expected.
        what: &'static str,
        /// The decoder's word.
        why: String,
    },
    /// Decodes, but breaks a rule.
    #[error("{what}: {why}")]
    Invalid {
        /// What was decoded.
        what: &'static str,
        /// The rule.
        why: &'static str,
    },
}

/// `value` as CBOR (RFC 8949).
pub(crate) fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    to_cbor_with_capacity(value, 128)
}

/// The same, with room for so many bytes before memory is taken again.
fn to_cbor_with_capacity<T: Serialize>(value: &T, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity);
    // Writing to a Vec cannot fail, and our types serialize without error.
    ciborium::into_writer(value, &mut bytes).expect("our own types encode");
    bytes
}

/// The next item of a CBOR sequence: a `what`. The rest is left in `bytes`.
fn decode_item<T: DeserializeOwned>(what: &'static str, bytes: &mut &[u8]) -> Result<T, WireError> {
    let decoded = ciborium::de::from_reader_with_recursion_limit(bytes, 16);
    decoded.map_err(|error| WireError::Cbor {
        what,
        why: error.to_string(),
    })
}

/// Refuses what follows a whole `what`.
fn trailing(what: &'static str, rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(WireError::Cbor {
        what,
        why: format!("{} bytes follow it", rest.len()),
    })
}
