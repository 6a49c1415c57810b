//! What goes into the engine and what comes out: the contract with its driver.

use crate::base::identity::PeerKey;
use crate::base::message::{AckResult, Delivery, GroupSettings};
use crate::base::name::{Address, GroupName};
use crate::base::store::{BatchId, Namespace, StoreError, StoreOp};
use crate::base::time::Micros;
use crate::base::verify::VerifyJob;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names a transport connection; the driver numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// Names a dial that the engine asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DialId(pub u64);

/// Names a signature check that the engine asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyId(pub u64);

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection stands, authenticated as `peer`, with an ordered reliable byte stream each
    /// way. `dial` is the dial it answers; `None` for inbound ones.
    Linked {
        /// The driver's name for it.
        link: LinkId,
        /// Who is at the other end, proven by the transport.
        peer: PeerKey,
        /// The dial it answers.
        dial: Option<DialId>,
        /// The address it was dialled at or came from: for people, and for limits per address
        /// ([`crate::LimitConfig`]).
        address: Option<Address>,
    },
    /// A connection ended, by the other end, the transport, or after [`Action::Close`].
    LinkLost {
        /// Which.
        link: LinkId,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Which.
        dial: DialId,
    },
    /// The next bytes of a connection's stream, cut anywhere.
    Bytes {
        /// Which connection.
        link: LinkId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The transport has written `bytes` of what [`Action::Send`] gave it. May be told in larger
    /// steps, but all of it before timers run: what was pushed and is not written for a second
    /// looks like a line that is full.
    Sent {
        /// Which connection.
        link: LinkId,
        /// How many bytes since the last such input.
        bytes: usize,
    },
    /// The answer to [`Action::Verify`].
    Verified {
        /// Which check.
        id: VerifyId,
        /// Whether the signature and the payload hash hold.
        valid: bool,
    },
    /// The answer to [`Action::Store`].
    Stored {
        /// Which batch.
        batch: BatchId,
        /// `Ok` once all of it is durable. On an error nothing more is done for it: the engine decides
        /// whether and when it asks again.
        result: Result<(), StoreError>,
    },
    /// The addresses at which this peer can be dialled have changed.
    Addresses(Vec<Address>),
    /// A peer was found near by (mDNS) or is remembered: an address worth a try.
    Discovered(Vec<Address>),
}

/// What the driver must do. Drain with [`crate::Engine::poll_action`] after every call.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect to any of `addresses`; answer with [`Input::Linked`] or [`Input::DialFailed`].
    Dial {
        /// Names the dial.
        dial: DialId,
        /// Who must answer; `None` when only the address is known.
        peer: Option<PeerKey>,
        /// Where, best first.
        addresses: Vec<Address>,
        /// How long it is worth a try. A connection that stands later is welcome too.
        timeout: Micros,
    },
    /// End a connection after writing what was sent; [`Input::LinkLost`] may follow or not.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Write the chunks in order to a connection's stream; report progress by [`Input::Sent`].
    Send {
        /// Which connection.
        link: LinkId,
        /// Bytes to write, in order; at most two chunks, head and payload.
        chunks: [Bytes; 2],
    },
    /// What came on this link cannot be passed on as fast as it comes: read so many of its bytes
    /// no faster than slow links should make a peer (`transport.backpressure_bytes_per_s`). So the
    /// other end feels it, and in the end whoever publishes. Advice: memory is bounded without.
    Slow {
        /// Which connection.
        link: LinkId,
        /// How many bytes came and were passed on while others waited.
        bytes: usize,
    },
    /// What was read slowly can be passed on again: read it as fast as it comes.
    Resume {
        /// Which connection.
        link: LinkId,
    },
    /// Messages wait for what this link has still to write: report all that is written, by
    /// [`Input::Sent`], as soon as nothing is left to write, at once if nothing is.
    AwaitWritten {
        /// Which connection.
        link: LinkId,
    },
    /// Hand a message to the application.
    Deliver(Delivery),
    /// Tell the application and the operator.
    Event(Event),
    /// Check a signature, on any thread, in any order; answer with [`Input::Verified`].
    Verify {
        /// Names the check.
        id: VerifyId,
        /// What to check.
        job: VerifyJob,
    },
    /// Change what is stored: all of these changes, in order, or none, also where the power fails.
    /// Answer with [`Input::Stored`] once they are durable, and once only. What is stored is given to the
    /// next engine ([`crate::Engine::restored`]).
    ///
    /// The engine asks for the next batch of a namespace once the last one is answered; a batch that
    /// failed is asked for again before any later one, under the same number.
    Store {
        /// Names the batch.
        batch: BatchId,
        /// The module that owns the keys.
        namespace: Namespace,
        /// The changes: at most [`crate::store::BATCH_OPS_MAX`] with
        /// [`crate::store::BATCH_BYTES_MAX`] bytes.
        ops: Vec<StoreOp>,
    },
}

/// Why a link ended or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkEnd {
    /// The transport ended it.
    Transport,
    /// Nothing came for too long.
    Silence,
    /// The handshake did not finish in time.
    HandshakeTimeout,
    /// Neither end wants it.
    Unwanted,
    /// Replaced by a better one.
    Shed,
    /// A second connection to the same peer.
    Duplicate,
    /// The peer restarted and came back.
    Replaced,
    /// The other end is full.
    Refused,
    /// This peer is full.
    Full,
    /// The other end says goodbye.
    Left,
    /// Another network's name.
    OtherNetwork,
    /// A wire version that this build does not speak, or a feature that the other end needs and this
    /// build does not have.
    Incompatible,
    /// Bytes that are no frames, or frames that break the rules.
    Malformed,
    /// Its peer has proven not to keep the rules, and is banned for a while.
    Banned,
    /// The policy of this peer does not admit it.
    Denied,
    /// It could not take even control frames.
    Stuck,
    /// Its origin was proven to equivocate.
    Equivocation,
    /// It kept what it should have forwarded.
    Withheld,
    /// This engine stops.
    Stopped,
}

/// A running peer that uses an identity which another one uses too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityUser {
    /// Its epoch, as last heard.
    pub epoch: u64,
    /// Where it is: what its record states, or where its connection comes from.
    pub addresses: Vec<Address>,
}

/// What the application or an operator may want to know.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A link is up.
    LinkUp {
        /// The connection.
        link: LinkId,
        /// The neighbour.
        peer: PeerKey,
    },
    /// A link that was up, or a handshake, ended.
    LinkDown {
        /// The connection.
        link: LinkId,
        /// The neighbour.
        peer: PeerKey,
        /// Why.
        reason: LinkEnd,
    },
    /// The view changed.
    ViewChanged {
        /// Peers in it, this one included.
        peers: usize,
        /// Its hash: equal views, equal hashes. In hex where it is written.
        #[serde(serialize_with = "crate::base::status::hex")]
        hash: u64,
    },
    /// Messages published from now on are due to this member.
    Joined {
        /// The group.
        group: GroupName,
        /// Whether a joined neighbour gave the baseline; else nobody was there.
        from_neighbour: bool,
    },
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
    /// The group's settings are now these.
    Settings {
        /// The group.
        group: GroupName,
        /// What holds.
        settings: GroupSettings,
        /// Whether explicit settings of this peer lost to another's.
        lost: bool,
    },
    /// A group that this peer was in has got a setting that this build does not understand. It is in
    /// the group no more, and carries it for others.
    SettingUnsupported {
        /// The group.
        group: GroupName,
        /// The setting.
        setting: String,
    },
    /// A publisher that was told `Busy` may try again.
    Sendable {
        /// The group.
        group: GroupName,
    },
    /// The result of an acknowledged publication.
    Acknowledged {
        /// The group.
        group: GroupName,
        /// What became of it.
        #[serde(flatten)]
        result: AckResult,
    },
    /// One member's answer to a probe.
    Probe {
        /// Names the probe.
        probe: u64,
        /// Who answers.
        member: PeerKey,
        /// The way from here to it, this peer first.
        path: Vec<PeerKey>,
        /// From sending the probe to its answer, microseconds.
        round_trip_us: u64,
    },
    /// The answer to a ping. The peer's identity is not proven: relays could have answered for it.
    Pong {
        /// Names the ping.
        ping: u64,
        /// Who answers.
        peer: PeerKey,
        /// From sending to the answer, microseconds.
        round_trip_us: u64,
        /// Links that the answer has crossed.
        hops: u8,
    },
    /// A ping was sent again and again, and not answered.
    PingLost {
        /// Names the ping.
        ping: u64,
        /// The peer that did not answer.
        peer: PeerKey,
    },
    /// A neighbour has no room for what this peer publishes in a group: `groups.origins_max` logs
    /// of other publishers, all in use, or 64 later lives of this identity. At most one a second.
    OriginRefused {
        /// The group.
        group: GroupName,
        /// Which neighbour.
        peer: PeerKey,
    },
    /// An origin signed two different messages under one name and is cut off.
    Equivocation {
        /// The group.
        group: GroupName,
        /// Who.
        origin: PeerKey,
        /// Which life.
        epoch: u64,
    },
    /// Another running peer uses this peer's identity, and its epoch is higher; this engine has
    /// stopped.
    IdentityInUse {
        /// The identity: this peer's key.
        peer: PeerKey,
        /// This peer's epoch.
        epoch: u64,
        /// What the other one says about itself.
        other: IdentityUser,
    },
    /// Two running peers seem to use one identity, and this engine goes on: the identity is a
    /// neighbour's, or this peer's own where the other one must stop. Told at most once a minute
    /// for each identity.
    IdentityConflict {
        /// The identity.
        peer: PeerKey,
        /// Who uses it: the neighbours' links to them, or, of this peer's own identity, the other
        /// one's record.
        users: Vec<IdentityUser>,
    },
    /// Something could not be stored; the engine asks again. As long as the own epoch is not stored,
    /// nothing is sent under it.
    StoreFailed {
        /// The module that asked for it.
        namespace: Namespace,
        /// What the driver said.
        why: String,
        /// How often in a row.
        failures: u32,
        /// When it is asked for again, ms from now.
        retry_ms: u64,
    },
    /// This peer's wall clock differs from its neighbours' by more than ten minutes. Nothing
    /// follows from it but that times are shown wrong.
    ClockOff {
        /// How far it is ahead of network time, ms; negative: behind.
        off_ms: i64,
    },
    /// Leaving is done; the driver may end.
    Stopped {
        /// Whether neighbours confirmed that they hold what this peer published.
        confirmed: bool,
    },
}
