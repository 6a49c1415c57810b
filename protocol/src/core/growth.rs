//! What this engine says beyond the arrays of wire version 1, and what it skips of others.

use super::Core;
use crate::wire::CAPABILITIES;
use crate::wire::bundle::BundleExt;
use crate::wire::frame::FrameExt;
use crate::wire::record::{GroupExt, Record, RecordExt};

#[cfg(feature = "wire-next")]
use crate::wire::next;

/// Gives what a later version adds where this engine speaks it, and nothing otherwise.
macro_rules! add {
    ($engine:ident, $what:ident) => {{
        #[cfg(feature = "wire-next")]
        if $engine.config.wire_next {
            return next::$what();
        }
        Default::default()
    }};
}

#[allow(
    clippy::unused_self,
    reason = "only builds with `wire-next` look at the configuration"
)]
impl Core {
    /// What this engine understands beyond the wire version.
    pub(crate) fn capabilities(&self) -> u64 {
        #[cfg(feature = "wire-next")]
        if self.config.wire_next {
            return CAPABILITIES | next::CAPABILITY;
        }
        CAPABILITIES
    }

    pub(crate) fn frame_ext(&self) -> FrameExt {
        add!(self, frame)
    }

    pub(crate) fn record_ext(&self) -> RecordExt {
        add!(self, record)
    }

    pub(crate) fn group_ext(&self) -> GroupExt {
        add!(self, group)
    }

    pub(crate) fn bundle_ext(&self) -> BundleExt {
        add!(self, bundle)
    }

    /// A group in which this peer has a role that no build of today knows.
    #[cfg(feature = "wire-next")]
    pub(crate) fn group_of_unknown_role(&self) -> Option<crate::wire::RecordGroup> {
        self.config.wire_next.then(|| crate::wire::RecordGroup {
            name: next::GROUP.parse().expect("a name"),
            role: next::ROLE,
            settings_version: 0,
            settings: None,
            ext: self.group_ext(),
        })
    }

    /// Whether this engine knows what only builds with `wire-next` have.
    pub(crate) fn knows_next(&self) -> bool {
        #[cfg(feature = "wire-next")]
        return self.config.wire_next;
        #[cfg(not(feature = "wire-next"))]
        false
    }

    pub(crate) fn count_unknown_fields(&mut self, fields: u32) {
        if fields > 0 {
            self.count_many(counter!("fields_unknown"), fields.into());
        }
    }

    pub(crate) fn count_unknown_in(&mut self, record: &Record) {
        let (fields, roles) = record.unknown(self.knows_next());
        self.count_unknown_fields(fields);
        if roles > 0 {
            self.count_many(counter!("roles_unknown"), roles.into());
        }
    }
}
