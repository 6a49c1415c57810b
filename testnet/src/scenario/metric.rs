//! What asserts can speak of: fields of `results.json`.

use hedgerow_protocol::status::COUNTERS;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A number in `results.json`, by its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Metric(Cow<'static, str>);

/// Fields that each group has.
pub const OF_A_GROUP: [&str; 27] = [
    "published",
    "expected",
    "delivered",
    "delivery_ratio",
    "delivery_ratio_joined",
    "reach",
    "app_duplicates",
    "order_violations",
    "gaps",
    "payload_copies",
    "received",
    "rmr",
    "ldh_max",
    "ldh_mean",
    "latency_ms.p50",
    "latency_ms.p90",
    "latency_ms.p99",
    "latency_ms.max",
    "stretch_mean",
    "stretch_last",
    "rdp_median",
    "repaired",
    "repair_ms.p50",
    "repair_ms.p99",
    "repair_ms.max",
    "settled_ms",
    "foreign",
];

/// Fields that the run has.
pub const OF_THE_RUN: [&str; 24] = [
    "control.bytes_per_node_s",
    "control.frames_per_node_s",
    "control.record_frames_per_node_s",
    "overlay.degree_mean",
    "overlay.degree_max",
    "overlay.diameter_hops",
    "overlay.articulation_points",
    "overlay.links_broken",
    "traffic.bytes_per_node_s",
    "traffic.wire_amplification",
    "convergence.view_ms",
    "memory.retained_mib_max",
    "memory.queued_mib_max",
    "memory.records_max",
    "hostile.offenders",
    "hostile.cut_off_ratio",
    "hostile.banned_ratio",
    "hostile.wronged",
    "hostile.twins",
    "hostile.reports",
    "events",
    "virtual_s",
    "wall_s",
    "peak_rss_mib",
];

/// Before the name of an engine's counter: the sum over all peers that behave.
const COUNTED: &str = "counted.";

impl Metric {
    /// Its path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an engine's counter.
    pub fn is_counted(&self) -> bool {
        self.0.starts_with(COUNTED)
    }

    /// Whether every group has its own.
    pub fn is_of_a_group(&self) -> bool {
        OF_A_GROUP.contains(&self.as_str())
    }

    /// Whether a part of the run has its own.
    pub fn is_of_a_window(&self) -> bool {
        let counted = ["control.", "traffic."];
        self.is_of_a_group() || counted.iter().any(|part| self.0.starts_with(part))
    }

    /// Whether it is of messages by when they were published, and not of what happened when.
    pub fn is_of_publications(&self) -> bool {
        let by_time = [
            "app_duplicates",
            "order_violations",
            "foreign",
            "gaps",
            "payload_copies",
            "rmr",
            // Of the last fault, in every window.
            "settled_ms",
        ];
        let of_group = self.is_of_a_group() && !by_time.contains(&self.as_str());
        of_group || self.as_str() == "traffic.wire_amplification"
    }

    /// Whether it is about the process that simulates, and not about what is simulated.
    pub fn is_of_the_simulator(&self) -> bool {
        ["wall_s", "peak_rss_mib"].contains(&self.as_str())
    }

    /// All that there are.
    pub fn all() -> impl Iterator<Item = Cow<'static, str>> {
        let fields = OF_A_GROUP.into_iter().chain(OF_THE_RUN);
        let counters = COUNTERS.into_iter().map(|name| format!("{COUNTED}{name}"));
        fields.map(Cow::Borrowed).chain(counters.map(Cow::Owned))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Metric {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(metric) = Self::all().find(|metric| *metric == text) {
            return Ok(Self(metric));
        }
        if let Some(counter) = text.strip_prefix(COUNTED) {
            return Err(match super::keys::nearest(counter, COUNTERS) {
                Some(known) => format!("unknown counter {counter:?}; the nearest is \"{known}\""),
                None => format!("unknown counter {counter:?}; docs/api.md lists all"),
            });
        }
        let fields = OF_A_GROUP.into_iter().chain(OF_THE_RUN);
        Err(match super::keys::nearest(text, fields) {
            Some(known) => format!("unknown metric {text:?}; the nearest is \"{known}\""),
            None => format!("unknown metric {text:?}; docs/scenarios.md lists all"),
        })
    }
}

impl JsonSchema for Metric {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Metric".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::all().collect::<Vec<_>>() })
    }
}
