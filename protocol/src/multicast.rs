//! Groups and their messages, on top of the overlay: logs, forwarding, repair, delivery.
//!
//! The way of a message: `receive` (is it new?) → `verifying` (is it the origin's?) → `log`
//! (keep it) → `forward` (to whom?) → `deliver` (to the application). What was missed comes by
//! `digest` and `pull`; what cannot be had is a gap.

mod abandoned;
mod baseline;
mod deliver;
mod digest;
mod equivocation;
mod events;
mod evidence;
#[cfg(test)]
pub(crate) mod fixture;
mod forward;
mod group;
mod inflight;
mod leaving;
mod log;
mod logs;
mod membership;
mod missing;
mod outlook;
mod overlays;
mod parent_faults;
mod past;
#[cfg(feature = "planted")]
mod planted;
mod publish;
mod pull;
mod receive;
mod refused;
mod remote;
mod retention;
mod settings;
mod sought;
mod timers;
mod verifying;

pub(crate) use baseline::{Asked, BaselineState, ProofChecks};
pub(crate) use digest::PendingAnnouncement;
pub(crate) use equivocation::EquivocationChecks;
pub(crate) use events::MulticastEvent;
pub(crate) use evidence::Evidence;
pub(crate) use group::Group;
pub(crate) use leaving::HOLDERS;
pub(crate) use log::OriginLog;
pub(crate) use overlays::Overlays;
pub(crate) use parent_faults::ParentFaults;
pub(crate) use publish::OwnLog;
pub(crate) use remote::Remotes;
pub(crate) use retention::Retention;
pub(crate) use verifying::BundleChecks;

use crate::base::identity::PeerKey;
use crate::base::name::{GroupId, GroupName};
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::FlowId;
use hedgerow_topology::Class;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// However short retention is, everybody knows for so long at least that a message existed, ms: links
/// that were cut come back within that time, and who was behind them is told what it has missed.
const KNOWN_MS: u64 = 30_000;

/// Names a log in a group: origin and epoch.
pub(crate) type LogKey = (PeerKey, u64);

/// One origin's messages in one group take turns with those of others.
fn flow_of(group: GroupId, origin: PeerKey) -> FlowId {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(&group.0);
    bytes[16..].copy_from_slice(&origin.0);
    FlowId(bytes)
}

/// All groups.
#[derive(Default)]
pub(crate) struct Multicast {
    groups: BTreeMap<GroupId, Group>,
    /// What neighbours are and hold in groups.
    remotes: Remotes,
    checks: BundleChecks,
    equivocation_checks: EquivocationChecks,
    proof_checks: ProofChecks,
    evidence: Evidence,
    /// Where this peer's seqs ended in groups that are closed, in this epoch.
    finished: BTreeMap<GroupId, OwnLog>,
    parent_faults: ParentFaults,
    /// Groups whose publisher was told `Busy`, and for messages of which class.
    busy: BTreeMap<(GroupId, Class), GroupName>,
    /// Whether one of those waits for memory.
    starved: bool,
    /// Groups with bundles that wait to be released.
    releasing: BTreeSet<GroupId>,
    /// Groups with messages that wait to share a bundle.
    batching: BTreeSet<GroupId>,
    /// Groups of which a pattern wants to know what is handed over.
    watched: BTreeSet<GroupId>,
    /// What has happened and was not told yet.
    events: VecDeque<MulticastEvent>,
    /// Bytes of entries held over all groups.
    held_bytes: usize,
    /// Of those, bytes handed over and retained for others.
    retained_bytes: usize,
}

/// What groups see and ask for while they are called.
pub(crate) struct Cx<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) net: &'a mut Overlay,
}

/// The same, to look only.
#[derive(Clone, Copy)]
pub(crate) struct CxRef<'a> {
    pub(crate) core: &'a Core,
    pub(crate) net: &'a Overlay,
}

impl Cx<'_> {
    pub(crate) fn as_ref(&self) -> CxRef<'_> {
        CxRef {
            core: self.core,
            net: self.net,
        }
    }
}
