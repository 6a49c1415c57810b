//! A scenario file as it is written: every key, its default, what it is. `docs/scenarios.md` and
//! the check for unknown keys are made from these comments and types.

use super::fault::Fault;
use super::metric::Metric;
use super::selector::Selector;
use super::value::{Share, Size, Span};
use hedgerow_protocol::Order;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// The run as a whole.
    pub scenario: Run,
    /// The network between nodes.
    #[serde(default)]
    pub topology: Topology,
    /// Engine settings of every node, by the keys of docs/config.md.
    #[serde(default)]
    #[schemars(with = "EngineSettings")]
    pub config: toml::Table,
    /// Nodes, one table a class.
    #[serde(default)]
    pub nodes: Vec<Nodes>,
    /// Groups.
    #[serde(default)]
    pub group: Vec<Group>,
    /// Who publishes what.
    #[serde(default)]
    pub workload: Vec<Workload>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
    /// What must hold.
    #[serde(default)]
    pub assert: Vec<Assert>,
    /// Keys that have other values under `--ci`, written as for `--set`.
    #[serde(default)]
    #[schemars(with = "OverrideTable")]
    pub ci: toml::Table,
}

/// Stands for a table of engine settings in the schema.
#[derive(JsonSchema)]
#[schemars(extend("x-table" = "engine"))]
pub(super) struct EngineSettings {}

/// Stands for a table of overrides in the schema.
#[derive(JsonSchema)]
#[schemars(extend("x-table" = "overrides"))]
pub(super) struct OverrideTable {}

/// `[scenario]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Run {
    /// Its name; by default the file's.
    pub name: String,
    /// What it is about, in a line.
    pub about: String,
    /// Decides everything random.
    pub seed: u64,
    /// From the start of the peers to moment 0, from which all other times count.
    pub warmup: Span,
    /// From moment 0 to the moment at which all faults are healed.
    pub duration: Span,
    /// After that: everything due must be delivered and all views be one before it ends.
    pub quiet: Span,
    /// Which world runs it.
    pub backend: Backend,
    /// Whether peers begin with the links and databases that a long life would have given them; real
    /// ones begin cold and are waited for.
    pub warm_start: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            name: String::new(),
            about: String::new(),
            seed: 1,
            warmup: Span::seconds(20),
            duration: Span::seconds(30),
            quiet: Span::seconds(30),
            backend: Backend::Sim,
            warm_start: false,
        }
    }
}

/// Which world runs a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Engines in virtual time.
    #[default]
    Sim,
    /// Real processes on loopback.
    Process,
    /// Real processes, each in a network namespace.
    Netns,
}

impl Backend {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Process => "process",
            Self::Netns => "netns",
        }
    }
}

/// `[topology]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Topology {
    /// One-way delays; one of its keys. By default `regions`, where the world has delays.
    pub latency: Latency,
    /// Up to so much is added to every delay.
    pub jitter: Span,
    /// Share of packets that get lost. Streams show it as delay.
    pub loss: Share,
    /// Access lines; nothing said, unlimited.
    pub bandwidth: Bandwidth,
    /// Whom peers know when they start: `random:N` earlier ones, `hub`, `chain`, `ring`, `none`.
    pub start: Start,
    /// Peers start at random moments within so long.
    pub start_within: Span,
    /// Wall clocks are off by up to so much either way.
    pub clock_skew: Span,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            latency: Latency::default(),
            jitter: Span::default(),
            loss: Share::default(),
            bandwidth: Bandwidth::default(),
            start: Start::Random(2),
            start_within: Span::default(),
            clock_skew: Span::default(),
        }
    }
}

/// `[topology.latency]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Latency {
    /// The built-in matrix: twelve regions of the world, node after node, with published round-trip times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<bool>,
    /// A file with a square of round-trip times in ms, separated by commas or tabs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<PathBuf>,
    /// The same for all pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<Span>,
    /// Least and most: each pair has its own, drawn once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniform: Option<[Span; 2]>,
    /// Time counted in hops: every link takes 1 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop_count: Option<bool>,
}

/// `[topology.bandwidth]`, and the same of one class of nodes
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bandwidth {
    /// Mbit/s out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_mbit: Option<f64>,
    /// Mbit/s in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_mbit: Option<f64>,
}

/// Whom peers know when they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// So many random earlier ones.
    Random(usize),
    /// All know the first.
    Hub,
    /// Each knows the one before it.
    Chain,
    /// The same, and the first knows the last.
    Ring,
    /// Nobody.
    None,
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        match start {
            Start::Random(count) => return format!("random:{count}"),
            Start::Hub => "hub",
            Start::Chain => "chain",
            Start::Ring => "ring",
            Start::None => "none",
        }
        .to_owned()
    }
}

impl TryFrom<String> for Start {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let random = text.strip_prefix("random:").map(str::parse);
        Ok(match (text.as_str(), random) {
            (_, Some(Ok(count))) => Self::Random(count),
            ("hub", _) => Self::Hub,
            ("chain", _) => Self::Chain,
            ("ring", _) => Self::Ring,
            ("none", _) => Self::None,
            _ => {
                return Err(format!(
                    "{text:?} is none of random:N, hub, chain, ring, none"
                ));
            }
        })
    }
}

impl JsonSchema for Start {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Start".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// `[[nodes]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nodes {
    /// Its name in selectors.
    pub id: String,
    /// How many nodes.
    pub count: usize,
    /// Engine settings of these nodes, over those in `[config]`.
    #[serde(default)]
    #[schemars(with = "EngineSettings")]
    pub config: toml::Table,
    /// Their access lines, instead of the topology's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// How they behave.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Whether they run from the beginning; others wait for a `start` or `churn` fault.
    #[serde(default = "yes")]
    pub started: bool,
}

fn yes() -> bool {
    true
}

/// How nodes behave.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// As they should.
    #[default]
    Honest,
    /// Pass on nothing of others.
    Drop,
    /// Pass everything on late.
    Delay,
    /// Send old payloads again and again.
    Replay,
    /// Publish in others' names.
    ForgedOrigin,
    /// Pass payloads on with broken signatures.
    BadSignature,
    /// State false coordinates and round-trip times.
    LyingCoordinates,
    /// State false digests.
    LyingDigests,
    /// Publish two payloads under one name.
    Equivocate,
    /// Flood records.
    RecordFlood,
    /// Flood payloads.
    DataFlood,
    /// Publish one byte with each of many throwaway keys.
    OriginFlood,
    /// Flood digests that name origins and lives that do not exist.
    DigestFlood,
    /// Send frames over the limit.
    Oversized,
    /// Send bytes that are no frames.
    Malformed,
    /// Run with another node's key.
    CopiedKey,
    /// Fill frames and lists to the last byte.
    Framing,
    /// Leave out every second number of what they publish.
    Holes,
    /// Acknowledge in others' names.
    ForgedAcknowledgements,
    /// Flood records that state a link.
    LinkedRecordFlood,
    /// Tell others' records to be old.
    AgedRecords,
    /// Change groups' settings all the time, some of them as members, others as strangers.
    SettingsWar,
    /// State records of later lives of another node, whose key it once had.
    EpochAbuse,
    /// Connect without saying hello.
    SlowHello,
    /// Crowd one peer from one address.
    OneAddress,
}

/// `[[group]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its name; `broadcast` is there without being named.
    pub name: String,
    /// So many groups of this kind: NAME-1, NAME-2 and so on; NAME stands for all of them; at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<usize>,
    /// Which links carry messages.
    #[serde(default)]
    pub overlay: Overlay,
    /// Parents every member has; by default 1 in a tree, 2 in a mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<u8>,
    /// Order of delivery: `fifo` or `unordered`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub order: Order,
    /// Who is in it.
    #[serde(default = "Selector::all")]
    pub members: Selector,
    /// How long members keep messages for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// How much members keep for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_size: Option<Size>,
}

/// Which links carry a group's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlay {
    /// One parent each.
    #[default]
    Tree,
    /// Several parents each.
    Mesh,
}

/// `[[workload]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// In which group.
    #[serde(default = "broadcast")]
    pub group: String,
    /// Who publishes, in turn; a bare pick is of the group's members.
    #[serde(default = "Selector::all")]
    pub publishers: Selector,
    /// When the first message comes.
    #[serde(default)]
    pub at: Span,
    /// Messages a second, all publishers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// So many messages at once, as fast as publishers may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// With `burst`: again after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Bytes of a message, 8 to the least `groups.message_bytes_max` of all nodes.
    #[serde(default = "hundred_bytes")]
    pub size: Size,
    /// Stops after so many messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Stops after so long; by default when the scenario's duration ends.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
}

fn broadcast() -> String {
    hedgerow_protocol::BROADCAST.to_owned()
}

fn hundred_bytes() -> Size {
    Size(100)
}

/// `[[assert]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Assert {
    /// What is measured: a field of results.json, with dots.
    pub metric: Metric,
    /// In which group; by default the only one that has a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// For messages published, and what else happened, when: `all`, during the faults (`fault`), after them (`after`), in the quiet time (`quiet`), in which nothing is published.
    #[serde(default)]
    pub window: Window,
    /// At which nodes; by default all that behave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Selector>,
    /// How it compares.
    pub op: Op,
    /// With what.
    pub value: f64,
    /// Of a group: only what came at most so long after its publication counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// Of a group: a message is due to all who stayed a member for this long after its publication, whatever became of them later, unless its publisher stopped within 1 s; by default to those who stay to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survived: Option<Span>,
    /// `baseline`: what is compared is the quotient of this run and one without faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_to: Option<RelativeTo>,
    /// What others reach in this set-up: shown beside what is observed, decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Who reached the `reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether it is only aimed at: reported, not failing.
    #[serde(default)]
    pub goal: bool,
}

/// Part of a run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From moment 0 to the end.
    #[default]
    All,
    /// From the first fault's beginning to the last one's end.
    Fault,
    /// From the last fault's end to the end of the run.
    After,
    /// The quiet time.
    Quiet,
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Op {
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Above.
    #[serde(rename = ">")]
    Above,
    /// Below.
    #[serde(rename = "<")]
    Below,
    /// Equal.
    #[serde(rename = "==")]
    Equal,
}

impl Op {
    /// Whether `observed` stands to `value` as this says.
    #[allow(
        clippy::float_cmp,
        reason = "equal means equal: counts, and ratios that are 0 or 1"
    )]
    pub fn holds(self, observed: f64, value: f64) -> bool {
        match self {
            Self::AtLeast => observed >= value,
            Self::AtMost => observed <= value,
            Self::Above => observed > value,
            Self::Below => observed < value,
            Self::Equal => observed == value,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::Below => "<",
            Self::Equal => "==",
        }
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an assert's value is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RelativeTo {
    /// The same seed with faults off.
    Baseline,
}
