//! What goes over the API besides the engine's own status types: requests, answers, stream lines.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hedgerow_protocol::{
    Arrival, Delivery, GroupName, GroupSettings, History, JoinOptions, MessageId, Order, PeerKey,
    SettingsPatch,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
    /// Messages accepted before it went wrong, for uploads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

/// What went wrong and what to do about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Answer of `GET /v1/id`, and the line that `hedgerow run` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Who.
    pub peer: PeerKey,
    /// Where it can be dialled, in the order of the addresses it was told to listen on.
    pub listen: Vec<String>,
    /// The API's address: `unix:` and the socket's path.
    pub api: String,
}

/// Which overlay a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OverlayKind {
    /// One parent each: the least traffic.
    Tree,
    /// Several parents each: survives crashes without a pause.
    Mesh,
}

/// How a group should work: in queries and bodies, all optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsRequest {
    /// tree: one parent each; mesh: several (2 unless --redundancy says otherwise)
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayKind>,
    /// Parents each member has: 1 is a tree, 2 to 8 a mesh
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..=i64::from(hedgerow_protocol::REDUNDANCY_MAX)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<u8>,
    /// fifo: each origin's messages in order; unordered: as they come
    #[arg(long, value_name = "fifo|unordered")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Bytes each member retains for repair and late joiners
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// How long each member retains messages (5m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
}

/// Why an overlay and a redundancy do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsConflict {
    /// A tree has one parent.
    #[error("a tree has redundancy 1, not {0}; use overlay mesh")]
    TreeWith(u8),
    /// A mesh has at least two.
    #[error("a mesh has redundancy 2 or more; use overlay tree for 1")]
    MeshWithOne,
}

impl SettingsRequest {
    /// The change it asks for.
    pub fn patch(&self) -> Result<SettingsPatch, SettingsConflict> {
        let redundancy = match (self.overlay, self.redundancy) {
            (Some(OverlayKind::Tree), None | Some(1)) => Some(1),
            (Some(OverlayKind::Tree), Some(k)) => return Err(SettingsConflict::TreeWith(k)),
            (Some(OverlayKind::Mesh), Some(1)) => return Err(SettingsConflict::MeshWithOne),
            (Some(OverlayKind::Mesh), k) => Some(k.unwrap_or(2)),
            (None, k) => k,
        };
        Ok(SettingsPatch {
            redundancy,
            order: self.order,
            retention_bytes: self.retention_bytes,
            retention_ms: self.retention.map(|retention| retention.as_millis() as u64),
        })
    }
}

/// Query of `GET /v1/groups/GROUP/messages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubscribeQuery {
    /// See [`SettingsRequest::overlay`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayKind>,
    /// See [`SettingsRequest::redundancy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<u8>,
    /// See [`SettingsRequest::order`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// See [`SettingsRequest::retention_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// See [`SettingsRequest::retention`].
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// Begin with what was published in the last so long.
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub since: Option<Duration>,
    /// Begin with the last so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
}

impl SubscribeQuery {
    /// The query for these settings and this much history.
    pub fn new(settings: SettingsRequest, since: Option<Duration>, last: Option<u64>) -> Self {
        let SettingsRequest {
            overlay,
            redundancy,
            order,
            retention_bytes,
            retention,
        } = settings;
        Self {
            overlay,
            redundancy,
            order,
            retention_bytes,
            retention,
            since,
            last,
        }
    }

    /// The options for the engine.
    pub fn options(&self) -> Result<JoinOptions, SettingsConflict> {
        let Self {
            overlay,
            redundancy,
            order,
            retention_bytes,
            retention,
            ..
        } = *self;
        let settings = SettingsRequest {
            overlay,
            redundancy,
            order,
            retention_bytes,
            retention,
        };
        let history = match (self.last, self.since) {
            (Some(count), _) => History::Last(count),
            (None, Some(since)) => History::SinceMs(since.as_millis() as u64),
            (None, None) => History::None,
        };
        Ok(JoinOptions {
            settings: settings.patch()?,
            history,
        })
    }
}

/// One message, as `join --jsonl` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLine {
    /// The group.
    pub group: GroupName,
    /// Who published it.
    pub origin: PeerKey,
    /// In which of its lives.
    pub epoch: u64,
    /// Its number there.
    pub seq: u64,
    /// When, ms since the Unix epoch, by the origin's clock.
    pub published_at: u64,
    /// How `payload` is written.
    pub encoding: Encoding,
    /// The content.
    pub payload: String,
    /// Links it crossed.
    pub hops: u16,
    /// How it came.
    pub arrival: Arrival,
}

/// How a payload is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is: it is UTF-8.
    Utf8,
    /// RFC 4648, with padding: it is not.
    Base64,
}

impl From<&Delivery> for MessageLine {
    fn from(delivery: &Delivery) -> Self {
        let (encoding, payload) = match std::str::from_utf8(&delivery.payload) {
            Ok(text) => (Encoding::Utf8, text.to_owned()),
            Err(_) => (Encoding::Base64, BASE64_STANDARD.encode(&delivery.payload)),
        };
        Self {
            group: delivery.group.clone(),
            origin: delivery.id.origin,
            epoch: delivery.id.epoch,
            seq: delivery.id.seq,
            published_at: delivery.published_at,
            encoding,
            payload,
            hops: delivery.hops,
            arrival: delivery.arrival,
        }
    }
}

impl MessageLine {
    /// The content's bytes.
    pub fn bytes(&self) -> Result<std::borrow::Cow<'_, [u8]>, base64::DecodeError> {
        match self.encoding {
            Encoding::Utf8 => Ok(self.payload.as_bytes().into()),
            Encoding::Base64 => Ok(BASE64_STANDARD.decode(&self.payload)?.into()),
        }
    }
}

/// One line of a subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SubscriptionLine {
    /// Messages published from now on are due here.
    Joined {
        /// The group.
        group: GroupName,
    },
    /// A message.
    Message(MessageLine),
    /// Messages that can no longer be had.
    Gap {
        /// The group.
        group: GroupName,
        /// Whose.
        origin: PeerKey,
        /// Which life.
        epoch: u64,
        /// The first lost seq.
        from: u64,
        /// The last lost seq.
        to: u64,
    },
    /// The client read too slowly and was overtaken.
    Lagged {
        /// The group.
        group: GroupName,
        /// Messages it will not get.
        messages: u64,
    },
    /// The group's settings changed.
    Settings {
        /// The group.
        group: GroupName,
        /// What holds now.
        settings: GroupSettings,
        /// Whether explicit settings of this peer lost to another's.
        lost: bool,
    },
    /// The stream ends: the group was left, or the peer stops.
    End {
        /// The group.
        group: GroupName,
        /// `left` or `stopped`.
        reason: String,
    },
}

/// Query of `POST /v1/groups/GROUP/messages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishQuery {
    /// How the body is cut into messages.
    pub split: Split,
    /// Whether to answer only when every live member has everything.
    pub wait: bool,
}

/// How bytes are cut into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// One message.
    #[default]
    None,
    /// A message per line; the line feed is no part of it.
    Lines,
}

/// Answer of `POST /v1/groups/GROUP/messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The group.
    pub group: GroupName,
    /// Messages accepted.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// The first one's name.
    pub first: Option<MessageId>,
    /// The last one's name.
    pub last: Option<MessageId>,
    /// Who has them, when that was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
}

/// Who has everything that was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Members at publication, the most over all messages.
    pub members: usize,
    /// Members at publication that left or vanished without all of it, or were not heard of in
    /// time.
    pub missing: Vec<PeerKey>,
    /// Whether waiting ended by time (`groups.acknowledge_ms`).
    pub timed_out: bool,
}

/// Answer of `PUT` and `DELETE /v1/groups/GROUP/membership`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group.
    pub group: GroupName,
    /// Whether this peer is a member now.
    pub member: bool,
    /// Whether messages published from now on are due here.
    pub joined: bool,
}

/// Answer of `POST /v1/shutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Whether neighbours confirmed that they hold what this peer published.
    pub confirmed: bool,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TraceLine {
    /// A member answered.
    Answer {
        /// Who.
        member: PeerKey,
        /// The way from here to it, this peer first.
        path: Vec<PeerKey>,
        /// From sending the probe to its answer, microseconds.
        round_trip_us: u64,
    },
    /// The end of the trace.
    Summary {
        /// The group.
        group: GroupName,
        /// Members that were live at the start, without this peer.
        members: usize,
        /// How many of them answered.
        answered: usize,
        /// Those that did not.
        missing: Vec<PeerKey>,
    },
}

/// How one thing that was looked at stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warn,
    /// Does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it stands.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing is.
    pub remedy: String,
}

/// A duration as people write it: `500ms`, `10s`, `5m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, like 500ms, 10s or 5m"))
}

mod duration_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    #[allow(clippy::ref_option)] // the form that serde calls
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(&humantime::format_duration(*value)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse_duration(&text))
            .transpose()
            .map_err(serde::de::Error::custom)
    }
}
