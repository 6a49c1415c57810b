//! What goes over the API besides the engine's own status types: requests, answers, stream lines.

mod message;
mod settings;

pub use message::{
    Acknowledged, Encoding, MessageLine, PublishQuery, Published, Split, SubscriptionLine,
};
pub use settings::{
    OverlayKind, SettingsConflict, SettingsRequest, SubscribeQuery, parse_duration,
};

use hedgerow_protocol::{GroupName, PeerKey};
use serde::{Deserialize, Serialize};

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

/// Answer of `POST /v1/ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinged {
    /// From sending to the answer, microseconds.
    pub round_trip_us: u64,
    /// Links that the answer has crossed.
    pub hops: u8,
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
