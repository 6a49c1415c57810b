//! What users see of messages and groups: names, settings, options, results.

use crate::base::headers::Headers;
use crate::base::identity::PeerKey;
use crate::base::name::{GroupName, NameError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Names one message within a group.
///
/// `seq` counts an origin's log entries in a group and epoch from 1 without holes; a message
/// in `n` fragments takes `n` of them and is named by its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Who published it.
    pub origin: PeerKey,
    /// Which life of the origin.
    pub epoch: u64,
    /// Which message of that life in this group.
    pub seq: u64,
}

/// What became of an acknowledged publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AckResult {
    /// The message.
    pub id: MessageId,
    /// Members that have it.
    pub have: usize,
    /// Members at publication, in the view or linked. Zero: nobody else was known in the group, so
    /// nobody is known to have the message.
    pub of: usize,
    /// The members that have it.
    pub holders: Vec<PeerKey>,
    /// Members at publication that left, vanished, or reported it as a gap.
    pub missing: Vec<PeerKey>,
    /// Whether waiting ended by time.
    pub timed_out: bool,
}

/// What became of messages that were published together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The name of the first; the others follow by `seq`.
    pub first: MessageId,
    /// How many were taken, of those that were given.
    pub count: usize,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.epoch, self.seq)
    }
}

/// In which order a member hands messages to its application.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Each origin's messages in the order of publication.
    #[default]
    Fifo,
    /// As they come.
    Unordered,
}

impl FromStr for Order {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fifo" => Ok(Self::Fifo),
            "unordered" => Ok(Self::Unordered),
            _ => Err(format!("unknown order {text:?}: fifo or unordered")),
        }
    }
}

/// How a group works; the same at all members once settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Parents every member has: 1 is a tree, 2 and more a mesh.
    pub redundancy: u8,
    /// Order of delivery.
    pub order: Order,
    /// Bytes each member retains for pulls and late joiners. What a peer has published itself stays for
    /// five seconds in any case, up to the size of the largest message: a new publisher is in nobody's
    /// tree yet.
    pub retention_bytes: u64,
    /// How long each member retains, ms.
    pub retention_ms: u64,
}

/// The largest redundancy of a mesh.
pub const REDUNDANCY_MAX: u8 = 8;

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            redundancy: 1,
            order: Order::Fifo,
            retention_bytes: 64 << 20,
            retention_ms: 300_000,
        }
    }
}

/// In the words in which settings are given.
impl fmt::Display for GroupSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
            (1, "ms"),
        ];
        let overlay = if self.redundancy == 1 { "tree" } else { "mesh" };
        let order = match self.order {
            Order::Fifo => "fifo",
            Order::Unordered => "unordered",
        };
        let ms = self.retention_ms;
        let whole = UNITS.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "ms"));
        write!(
            f,
            "overlay {overlay}, redundancy {}, order {order}, retention {}{name}, \
             retention-bytes {}",
            self.redundancy,
            ms / unit,
            self.retention_bytes
        )
    }
}

/// A change of some settings, the others as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsPatch {
    /// See [`GroupSettings::redundancy`].
    pub redundancy: Option<u8>,
    /// See [`GroupSettings::order`].
    pub order: Option<Order>,
    /// See [`GroupSettings::retention_bytes`].
    pub retention_bytes: Option<u64>,
    /// See [`GroupSettings::retention_ms`].
    pub retention_ms: Option<u64>,
}

impl SettingsPatch {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This change, and what `earlier` changes besides.
    pub fn or(self, earlier: Self) -> Self {
        Self {
            redundancy: self.redundancy.or(earlier.redundancy),
            order: self.order.or(earlier.order),
            retention_bytes: self.retention_bytes.or(earlier.retention_bytes),
            retention_ms: self.retention_ms.or(earlier.retention_ms),
        }
    }

    /// `settings` with this change; `None` when a value is out of range.
    pub fn apply(&self, settings: GroupSettings) -> Option<GroupSettings> {
        let changed = GroupSettings {
            redundancy: self.redundancy.unwrap_or(settings.redundancy),
            order: self.order.unwrap_or(settings.order),
            retention_bytes: self.retention_bytes.unwrap_or(settings.retention_bytes),
            retention_ms: self.retention_ms.unwrap_or(settings.retention_ms),
        };
        changed.is_valid().then_some(changed)
    }
}

impl GroupSettings {
    /// Whether the values can work.
    pub fn is_valid(&self) -> bool {
        (1..=REDUNDANCY_MAX).contains(&self.redundancy)
            && self.retention_bytes <= 1 << 40
            && self.retention_ms <= 366 * 86_400_000
    }
}

/// The largest [`History::Last`]: a neighbour lists each of these messages in its answer.
/// [`History::SinceMs`] has no such limit.
pub const HISTORY_LAST_MAX: u64 = 8_192;

/// How much of the past a joiner asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// Nothing: what is published from now on.
    #[default]
    None,
    /// The last so many messages by time of publication, as far as they are retained; at most
    /// [`HISTORY_LAST_MAX`].
    Last(u64),
    /// What was published in the last so many milliseconds, as far as it is retained.
    SinceMs(u64),
}

/// How to join a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinOptions {
    /// Explicit settings; they create the group or must equal what it has.
    pub settings: SettingsPatch,
    /// How much of the past to deliver.
    pub history: History,
}

/// Why a join was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The group exists with other settings.
    #[error("the group exists with other settings: {current}")]
    SettingsDiffer {
        /// What the group has.
        current: GroupSettings,
    },
    /// A value is out of range.
    #[error(
        "settings out of range: redundancy 1 to {REDUNDANCY_MAX}, retention up to 1 TiB and 366 days"
    )]
    SettingsInvalid,
    /// Too many groups.
    #[error("already in {max} groups, the limit (groups.groups_max)")]
    TooManyGroups {
        /// The limit.
        max: usize,
    },
    /// More messages of the past than neighbours list.
    #[error("the last {count} messages are more than {max}, the limit; join with `since` instead")]
    HistoryTooLong {
        /// What was asked for.
        count: u64,
        /// [`HISTORY_LAST_MAX`].
        max: u64,
    },
    /// The group has a setting that this build does not understand.
    #[error(
        "the group has the setting `{setting}`, which this version of Hedgerow does not know; a \
         later one does"
    )]
    Unsupported {
        /// The setting.
        setting: String,
    },
    /// Not in the group.
    #[error("not a member of group {0}")]
    NotMember(GroupName),
    /// The engine leaves or has stopped.
    #[error("this peer is leaving the network")]
    Stopped,
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// How to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishOptions {
    /// Ask every member to acknowledge; [`crate::Event::Acknowledged`] tells the result.
    pub acknowledge: bool,
    /// What the message says about itself beside its content.
    pub headers: Headers,
}

/// Why a message was not accepted; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Over the limit.
    #[error("message of {bytes} bytes, the limit is {max} (groups.message_bytes_max)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Half of the own child links are full, or some of a large message waits for those who were
    /// lost; try again after [`crate::Event::Sendable`].
    #[error("busy: the links to the next peers are full")]
    Busy,
    /// Too many groups.
    #[error("already in {max} groups, the limit (groups.groups_max)")]
    TooManyGroups {
        /// The limit.
        max: usize,
    },
    /// The group has a setting that this build does not understand.
    #[error(
        "the group has the setting `{setting}`, which this version of Hedgerow does not know; a \
         later one does"
    )]
    Unsupported {
        /// The setting.
        setting: String,
    },
    /// The engine leaves or has stopped.
    #[error("this peer is leaving the network")]
    Stopped,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Published here.
    Local,
    /// Pushed along the overlay.
    Pushed,
    /// Pulled after it was missed, or retained from before the join.
    Pulled,
}

/// A message for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The group.
    pub group: GroupName,
    /// Its name.
    pub id: MessageId,
    /// When its origin published it, ms since the Unix epoch, by the origin's clock.
    pub published_at: u64,
    /// What its publisher says about it.
    pub headers: Headers,
    /// The content.
    pub payload: Bytes,
    /// Links it crossed to come here.
    pub hops: u16,
    /// How it came.
    pub arrival: Arrival,
}
