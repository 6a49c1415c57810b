//! `[[fault]]`: what goes wrong, and which keys each kind takes.

use super::selector::Selector;
use super::value::{Share, Span};
use hedgerow_protocol::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a restarted process is gone when nothing is said.
const RESTART: Micros = Micros::from_millis(1_000);

/// `[[fault]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When.
    #[serde(default)]
    pub at: Span,
    /// For how long; by default until everything is healed, of a `restart` 1s.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// Again after so long, each time with other random nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// With `every`: no longer after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// Whom it hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
    /// `start`: at random moments within so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// `restart`, and what comes back after `for`: with an empty data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wipe: Option<bool>,
    /// `leave` and `join`: which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `churn`: share of the nodes that go, each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave: Option<Share>,
    /// `churn`: share of the nodes that come (back), each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Share>,
    /// `churn`: share of those who go that crash instead of leaving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Share>,
    /// `churn`: instead of `leave`, mean length of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Span>,
    /// `churn` with `session`: how lengths are distributed, by default `exponential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
    /// `partition`: sets of nodes that reach each other only within; `rest` is everybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<Vec<Selector>>,
    /// `partition`: only what the first set sends to the others is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_way: Option<bool>,
    /// `partition`: nodes that reach all sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Selector>,
    /// `latency`: added to every delay of these nodes; `partition`: between the sets, instead of silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// `latency`, `reorder`: up to so much is added, anew each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// `loss`, `duplicate`, `reorder`, `corrupt`: share of the packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// `loss`: so many packets in a row on average, 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<f64>,
    /// `bandwidth`: what is left of the nodes' bandwidth, above 0, at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `bandwidth`: Mbit/s out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_mbit: Option<f64>,
    /// `bandwidth`: Mbit/s in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_mbit: Option<f64>,
    /// `reset`, `half-open`, `flap`: so many links, of the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<usize>,
    /// `flap`: from one loss to the next; the link is down half of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Span>,
    /// `flap`: other links at every loss, of those that are up then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<bool>,
    /// `clock`: the wall clock jumps so far ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Span>,
    /// `clock`: the wall clock jumps so far back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Span>,
}

/// How lengths of sessions are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lengths {
    /// Whoever has been there for long goes as soon as others.
    Exponential,
    /// Many are short, some very long: shape 1/2, as measured in file-sharing networks (0.4 to 0.6;
    /// Stutzbach and Rejaie, "Understanding churn in peer-to-peer networks", IMC 2006).
    Weibull,
    /// All are of one length.
    Fixed,
}

/// What goes wrong.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The host falls silent.
    Crash,
    /// The process dies; its host says so.
    Kill,
    /// The peer leaves the network in good order.
    Term,
    /// The process sleeps.
    Pause,
    /// The process is killed and started again.
    Restart,
    /// Nodes that do not run are started.
    Start,
    /// Members leave a group.
    Leave,
    /// Nodes join a group.
    Join,
    /// Nodes go and come all the time.
    Churn,
    /// Sets of nodes do not reach each other.
    Partition,
    /// Ways become longer.
    Latency,
    /// Packets get lost.
    Loss,
    /// Packets come twice.
    Duplicate,
    /// Packets overtake each other.
    Reorder,
    /// Packets are altered on the way.
    Corrupt,
    /// Access lines become narrow.
    Bandwidth,
    /// Connections are reset at both ends.
    Reset,
    /// One end forgets a connection.
    HalfOpen,
    /// Ways between pairs of neighbours come and go.
    Flap,
    /// The process reads nothing.
    SlowReader,
    /// The wall clock jumps.
    Clock,
    /// Nothing can be stored.
    DiskFull,
}

/// The keys every kind takes.
const COMMON: [&str; 3] = ["kind", "at", "target"];

/// Keys of a kind besides the common ones: those it must have, of which one is enough for each
/// list, and those it may have.
struct Keys {
    one_of: &'static [&'static [&'static str]],
    may: &'static [&'static str],
}

impl FaultKind {
    /// All that there are.
    pub const ALL: [Self; 22] = [
        Self::Crash,
        Self::Kill,
        Self::Term,
        Self::Pause,
        Self::Restart,
        Self::Start,
        Self::Leave,
        Self::Join,
        Self::Churn,
        Self::Partition,
        Self::Latency,
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Bandwidth,
        Self::Reset,
        Self::HalfOpen,
        Self::Flap,
        Self::SlowReader,
        Self::Clock,
        Self::DiskFull,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Leave => "leave",
            Self::Join => "join",
            Self::Churn => "churn",
            Self::Partition => "partition",
            Self::Latency => "latency",
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Corrupt => "corrupt",
            Self::Bandwidth => "bandwidth",
            Self::Reset => "reset",
            Self::HalfOpen => "half-open",
            Self::Flap => "flap",
            Self::SlowReader => "slow-reader",
            Self::Clock => "clock",
            Self::DiskFull => "disk-full",
        }
    }

    fn keys(self) -> Keys {
        let (one_of, may): (&[&[&str]], &[&str]) = match self {
            Self::Crash | Self::Kill | Self::Term | Self::Restart => {
                (&[&["target"]], &["for", "every", "until", "wipe"])
            }
            Self::Pause | Self::SlowReader | Self::DiskFull => {
                (&[&["target"]], &["for", "every", "until"])
            }
            Self::Start => (&[&["target"]], &["within", "every", "until"]),
            Self::Leave | Self::Join => (&[&["target"], &["group"]], &["for", "every", "until"]),
            Self::Churn => (
                &[&["leave", "join", "session"]],
                &[
                    "for", "every", "until", "leave", "join", "crash", "session", "lengths", "wipe",
                ],
            ),
            Self::Partition => (
                &[&["sets"]],
                &["for", "every", "until", "one_way", "bridge", "delay"],
            ),
            Self::Latency => (&[&["delay", "jitter"]], &["for", "every", "until"]),
            Self::Loss => (&[&["share"]], &["for", "every", "until", "run"]),
            Self::Duplicate | Self::Corrupt => (&[&["share"]], &["for", "every", "until"]),
            Self::Reorder => (&[&["share"], &["jitter"]], &["for", "every", "until"]),
            Self::Bandwidth => (
                &[&["target"], &["factor", "up_mbit", "down_mbit"]],
                &["for", "every", "until"],
            ),
            Self::Reset | Self::HalfOpen => (&[], &["every", "until", "links"]),
            Self::Flap => (
                &[&["links"], &["period"]],
                &["for", "every", "until", "again"],
            ),
            Self::Clock => (
                &[&["target"], &["ahead", "back"]],
                &["for", "every", "until"],
            ),
        };
        Keys { one_of, may }
    }
}

impl Fault {
    /// How long it is at work each time; `None`: until everything is healed.
    pub fn length(&self) -> Option<Micros> {
        match self.kind {
            // What has happened is over: nothing is left to heal.
            FaultKind::Reset | FaultKind::HalfOpen => Some(Micros(0)),
            FaultKind::Restart => Some(self.lasts.map_or(RESTART, |lasts| lasts.0)),
            _ => self.lasts.map(|lasts| lasts.0),
        }
    }

    /// The first key that does not fit the kind (`None` for one that is missing), and why.
    pub(crate) fn misfit(&self) -> Option<(Option<String>, String)> {
        let table = toml::Table::try_from(self).unwrap_or_default();
        let Keys { one_of, may } = self.kind.keys();
        let kind = self.kind.as_str();
        for key in table.keys() {
            let known = COMMON.contains(&key.as_str())
                || may.contains(&key.as_str())
                || one_of.iter().any(|keys| keys.contains(&key.as_str()));
            if !known {
                let mut all: Vec<&str> = one_of.concat();
                all.extend(may);
                all.sort_unstable();
                all.dedup();
                let all = all.join(", ");
                let what = format!("a {kind} fault takes no `{key}`; it takes {all}");
                return Some((Some(key.clone()), what));
            }
        }
        if self.delay.is_some() && self.one_way == Some(true) && self.sets.is_some() {
            let what = "a partition with `delay` is slow both ways; `one_way` is for cuts";
            return Some((Some("one_way".to_owned()), what.to_owned()));
        }
        if self.lengths.is_some() && self.session.is_none() {
            let what = "`lengths` are of sessions: `session` says how long they are";
            return Some((Some("lengths".to_owned()), what.to_owned()));
        }
        if self.leave.is_some() && self.session.is_some() {
            let what = "`leave` and `session` both say how many go: one of them is enough";
            return Some((Some("leave".to_owned()), what.to_owned()));
        }
        let piles_up = matches!(self.kind, FaultKind::Churn | FaultKind::Flap);
        if piles_up && self.every.is_some() && self.lasts.is_none() {
            let what = "with `every`, `for` says how long each lasts: they would add up";
            return Some((Some("every".to_owned()), what.to_owned()));
        }
        if self.until.is_some() && self.every.is_none() {
            return Some((Some("until".to_owned()), "`until` needs `every`".to_owned()));
        }
        let missing = one_of
            .iter()
            .find(|keys| !keys.iter().any(|key| table.contains_key(*key)))?;
        Some((
            None,
            format!("a {kind} fault needs `{}`", missing.join("` or `")),
        ))
    }
}
