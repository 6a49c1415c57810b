//! How groups should work and how much of the past is wanted, in queries and bodies.

use hedgerow_protocol::{History, JoinOptions, Order, SettingsPatch};
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
