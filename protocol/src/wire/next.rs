//! What a later version may add to the wire: fields, capabilities, roles and kinds of frames.
//!
//! Only builds with the feature `wire-next` have this, and no user has one. An engine whose
//! [`Config::wire_next`](crate::Config::wire_next) is set writes all of it, so that builds as they are
//! today can be tested with what will come.

use super::bundle::BundleExt;
use super::frame::FrameExt;
use super::record::{GroupExt, RecordExt};
use super::stream;
use bytes::Bytes;

/// A field's value: nested, so that whoever skips it must look inside.
pub(crate) type Next = (u64, Vec<String>);

/// A capability that no build of today has.
pub(crate) const CAPABILITY: u64 = 1 << 63;
/// A role that no build of today knows.
pub(crate) const ROLE: u8 = 77;
/// The group that is stated with it.
pub(crate) const GROUP: &str = "wire-next";
/// A kind of frame that no build of today knows.
const KIND: u8 = 200;

/// A value of each field.
pub(crate) fn value() -> Next {
    (7, vec!["a field".into(), "of a later version".into()])
}

/// Further fields of a frame.
pub(crate) fn frame() -> FrameExt {
    FrameExt {
        next: Some(value()),
        ..FrameExt::default()
    }
}

/// Further fields of a record.
pub(crate) fn record() -> RecordExt {
    RecordExt {
        next: Some(value()),
        ..RecordExt::default()
    }
}

/// Further fields of a group.
pub(crate) fn group() -> GroupExt {
    GroupExt {
        next: Some(value()),
        ..GroupExt::default()
    }
}

/// Further fields of a bundle.
pub(crate) fn bundle() -> BundleExt {
    BundleExt {
        next: Some(value()),
        ..BundleExt::default()
    }
}

/// A frame of a kind that no build of today knows, as it stands on the stream.
pub(crate) fn unknown_frame() -> [Bytes; 2] {
    let header = super::to_cbor(&value());
    [stream::encode_head(KIND, &header, 0), Bytes::new()]
}
