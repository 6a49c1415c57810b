//! What happens in groups, told to patterns. Multicast calls none of them.

use super::LogKey;
use crate::base::message::MessageId;
use crate::base::name::{GroupId, GroupName};

/// What patterns may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MulticastEvent {
    /// This peer has published a message whose acknowledgements are awaited.
    Published {
        group: GroupId,
        message: MessageId,
        /// Its last entry.
        last: u64,
    },
    /// A message that this peer published, and that was not released as a whole, has other numbers:
    /// epoch and first seq, then and now.
    Renumbered {
        group: GroupId,
        former: (u64, u64),
        now: (u64, u64),
    },
    /// Another origin wants to hear that this peer has its entries up to there.
    AcknowledgementWanted {
        group: GroupId,
        key: LogKey,
        last: u64,
    },
    /// The same of entries for which this peer has no room.
    NeverHeld {
        group: GroupId,
        key: LogKey,
        from: u64,
        to: u64,
    },
    /// More was handed over in a group that is watched ([`super::Multicast::watch`]).
    HandedOver { group: GroupId },
    /// A log is gone.
    LogClosed { group: GroupId, key: LogKey },
    /// A group is gone, with all its logs.
    GroupClosed {
        group: GroupId,
        name: Option<GroupName>,
    },
}
