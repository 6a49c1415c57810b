//! What happens to links, records and the view, for what stands above them.
//!
//! Nothing here calls up: what has happened is noted, and the engine tells it as soon as the call that it
//! happened in has ended.

use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::overlay::Overlay;

/// What has happened below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OverlayEvent {
    /// A link is up.
    LinkUp(LinkId),
    /// A link that was up carries nothing more.
    LinkDown(LinkId),
    /// A connection has ended.
    LinkEnded(LinkId),
    /// A heartbeat is due on a link, which asks for an answer or not.
    HeartbeatDue(LinkId, bool),
    /// A neighbour has told the hashes of its logs.
    LogHashes(LinkId, Vec<(GroupId, u64)>),
    /// A newer record of this peer is held.
    RecordAccepted(PeerKey),
    /// The view is another one.
    ViewChanged,
    /// Peers that were lost are not waited for any more.
    LostForgotten,
    /// The uplink may be full: how many children it feeds decides how far to lower the capacity.
    UplinkFull,
    /// This peer goes on in a new epoch after this one.
    OwnEpochChanged(u64),
    /// Another running peer has this peer's identity.
    IdentityLost,
}

impl Overlay {
    pub(crate) fn happened(&mut self, event: OverlayEvent) {
        self.events.push_back(event);
    }

    /// What the record says of groups has changed, or the cost of a link.
    pub(crate) fn record_changed(&mut self) {
        self.adverts_changed = true;
    }
}
