//! What a run gives: `results.json`, `timeline.csv`, `junit.xml`, `picture.json`.

mod junit;
mod layout;
mod picture;
mod timeline;

pub use junit::junit;
pub use layout::places;
pub use picture::{Curves, Moment, Picture, QUANTILES, When, histogram, quantiles};
pub use timeline::{Tick, read_timeline, timeline};

use crate::measure::Spread;
use crate::scenario::{Metric, Op, RelativeTo, Span, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of `results.json`.
pub const SCHEMA: u32 = 1;

/// Why a run failed; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// A peer, or the world, panicked.
    Crash,
    /// A message came twice, out of order, altered or from nobody; or memory passed a limit.
    Safety,
    /// Something due was not delivered, views differ or links leak when the quiet time ends.
    Liveness,
    /// An assert does not hold.
    Assert,
}

/// A run's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub scenario: String,
    /// Which world ran it.
    pub backend: String,
    /// What decided everything random.
    pub seed: u64,
    /// Nodes, those included that never ran.
    pub nodes: usize,
    /// Whether nothing failed.
    pub passed: bool,
    /// What failed.
    pub failure: Option<Failure>,
    /// Equal runs, equal hashes; worlds with real time have none.
    pub trace_hash: Option<String>,
    /// The verdicts.
    pub asserts: Vec<Verdict>,
    /// By group.
    pub groups: BTreeMap<String, GroupResult>,
    /// What peers say to each other beside payloads.
    pub control: Control,
    /// The links at the end.
    pub overlay: OverlayShape,
    /// Everything that was sent.
    pub traffic: TrafficResult,
    /// How fast views became one.
    pub convergence: Convergence,
    /// The most that one peer held.
    pub memory: Memory,
    /// What became of nodes that do not behave.
    pub hostile: Hostile,
    /// What those that behave counted, all together, by the names of their counters.
    #[serde(default)]
    pub counted: BTreeMap<String, u64>,
    /// What was found against the rules, in words.
    pub findings: Vec<String>,
    /// What a reader must know to read the figures right.
    pub notes: Vec<String>,
    /// From moment 0, in s: beginning and end of every fault.
    pub faults: Vec<FaultTime>,
    /// The command that runs this again.
    pub replay: String,
    /// What happened in the simulator: arrivals, timeouts, checks and the like. Nothing elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Simulated time, warm-up included.
    pub virtual_s: f64,
    /// Real time.
    pub wall_s: f64,
    /// The most memory that the process held.
    pub peak_rss_mib: f64,
}

/// One assert, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was measured.
    pub metric: Metric,
    /// In which group.
    pub group: Option<String>,
    /// When.
    pub window: Window,
    /// At which nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// How it compares.
    pub op: Op,
    /// With what.
    pub value: f64,
    /// How soon after its publication a message had to come to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// For how long its receiver had to stay for a message to be due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survived: Option<Span>,
    /// To what both are relative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_to: Option<RelativeTo>,
    /// What it was; nothing if there was nothing to measure.
    pub observed: Option<f64>,
    /// Whether it holds.
    pub passed: bool,
    /// Whether it is only aimed at.
    pub goal: bool,
    /// What others reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Who does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Verdict {
    /// What must hold, in words: `>= 0.9 within 2s`.
    pub fn bound(&self, number: impl Fn(f64) -> String) -> String {
        let within = self.within.map(|within| format!(" within {within}"));
        let survived = self
            .survived
            .map(|survived| format!(" survived {survived}"));
        let relative = self.relative_to.map_or("", |_| " of the baseline");
        let (value, within) = (number(self.value), within.unwrap_or_default());
        let survived = survived.unwrap_or_default();
        format!("{} {value}{within}{survived}{relative}", self.op)
    }

    /// What others reach, and who; nothing where the scenario names nobody.
    pub fn others(&self, number: impl Fn(f64) -> String) -> String {
        match (self.reference, &self.source) {
            (None, _) => String::new(),
            (Some(reference), None) => number(reference),
            (Some(reference), Some(source)) => format!("{} ({source})", number(reference)),
        }
    }
}

/// Three percentiles and the most, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// The median.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<Spread> for Latencies {
    fn from(spread: Spread) -> Self {
        let ms = |micros: hedgerow_protocol::Micros| micros.0 as f64 / 1e3;
        Self {
            p50: ms(spread.p50),
            p90: ms(spread.p90),
            p99: ms(spread.p99),
            max: ms(spread.max),
        }
    }
}

/// One group's figures; `docs/scenarios.md` defines them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct GroupResult {
    pub published: u64,
    pub expected: u64,
    pub delivered: u64,
    pub delivery_ratio: f64,
    #[serde(default)]
    pub delivery_ratio_joined: Option<f64>,
    pub reach: f64,
    pub app_duplicates: u64,
    pub order_violations: u64,
    pub foreign: u64,
    pub gaps: u64,
    pub payload_copies: u64,
    #[serde(default)]
    pub received: u64,
    pub rmr: Option<f64>,
    pub ldh_max: u16,
    pub ldh_mean: f64,
    pub latency_ms: Latencies,
    pub stretch_mean: f64,
    pub stretch_last: f64,
    pub rdp_median: f64,
    pub repaired: u64,
    pub repair_ms: Latencies,
    pub settled_ms: Option<f64>,
}

impl GroupResult {
    /// The value at a metric's path; nothing when there was nothing to measure.
    pub fn get(&self, metric: &str) -> Option<f64> {
        let counted = [
            "published",
            "expected",
            "delivered",
            "app_duplicates",
            "order_violations",
            "foreign",
            "gaps",
            "payload_copies",
            "received",
            "repaired",
            // These are nothing by themselves.
            "delivery_ratio_joined",
            "rmr",
            "settled_ms",
        ];
        let measurable = if counted.contains(&metric) {
            true
        } else if matches!(metric, "delivery_ratio" | "reach") {
            self.expected > 0
        } else {
            self.received > 0
        };
        measurable.then(|| number_at(self, metric)).flatten()
    }
}

/// The number at a path with dots.
pub(crate) fn number_at(value: &impl Serialize, path: &str) -> Option<f64> {
    let json = serde_json::to_value(value).ok()?;
    json.pointer(&format!("/{}", path.replace('.', "/")))?
        .as_f64()
}

/// Frames without payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct Control {
    pub bytes_per_node_s: f64,
    pub frames_per_node_s: f64,
    pub record_frames_per_node_s: f64,
}

/// The graph of links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct OverlayShape {
    pub degree_mean: f64,
    pub degree_max: usize,
    pub diameter_hops: Option<u32>,
    pub articulation_points: usize,
    #[serde(default)]
    pub links_broken: usize,
}

/// All bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct TrafficResult {
    pub bytes_per_node_s: f64,
    pub wire_amplification: Option<f64>,
}

/// Views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct Convergence {
    pub view_ms: Option<f64>,
}

/// Memory of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct Memory {
    pub retained_mib_max: f64,
    pub queued_mib_max: f64,
    #[serde(default)]
    pub records_max: usize,
}

/// Nodes that do not behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the fields are the metrics, defined in docs/scenarios.md"
)]
pub struct Hostile {
    pub nodes: usize,
    #[serde(default)]
    pub offenders: usize,
    pub cut_off_ratio: Option<f64>,
    #[serde(default)]
    pub banned_ratio: Option<f64>,
    #[serde(default)]
    pub wronged: u64,
    #[serde(default)]
    pub twins: usize,
    pub reports: u64,
}

/// When a fault began and ended, s from moment 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultTime {
    /// What.
    pub kind: crate::scenario::FaultKind,
    /// From.
    pub from_s: f64,
    /// To.
    pub to_s: f64,
    /// How many nodes or links it hit.
    pub hit: usize,
}

impl Results {
    /// Asserts that are only aimed at and do not hold.
    pub fn short(&self) -> usize {
        self.asserts
            .iter()
            .filter(|verdict| verdict.goal && !verdict.passed)
            .count()
    }

    /// Writes all files into a directory, which is made; what is there is overwritten.
    pub fn write(&self, dir: &Path, ticks: &[Tick], picture: &Picture) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        std::fs::write(dir.join("results.json"), json)?;
        std::fs::write(dir.join("timeline.csv"), timeline(ticks)?)?;
        std::fs::write(dir.join("picture.json"), serde_json::to_vec(picture)?)?;
        std::fs::write(dir.join("junit.xml"), junit(self)?)
    }
}
