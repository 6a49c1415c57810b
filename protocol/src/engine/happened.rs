//! What happens to links, records and the view, told to what stands above them.
//!
//! Links and records never call up: they note what has happened, and the engine tells it as soon as the
//! call that it happened in has ended.

use super::Engine;
use crate::database::Adverts;
use crate::identity::PeerKey;
use crate::io::LinkId;
use crate::name::GroupId;

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

impl Engine {
    pub(crate) fn happened(&mut self, event: OverlayEvent) {
        self.events.push_back(event);
    }

    /// What the record says of groups has changed, or the cost of a link.
    pub(crate) fn record_changed(&mut self) {
        self.adverts_changed = true;
    }

    /// Tells what has happened since the last call.
    pub(crate) fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.on_overlay(event);
        }
        if std::mem::take(&mut self.adverts_changed) {
            self.refresh_adverts();
            self.consider_record();
        }
    }

    /// Gathers what the record is to say of groups.
    pub(crate) fn refresh_adverts(&mut self) {
        let groups = self.stated_groups();
        let linked = self.linked_groups();
        self.adverts = Adverts { groups, linked };
    }

    fn on_overlay(&mut self, event: OverlayEvent) {
        match event {
            OverlayEvent::LinkUp(link) => self.on_link_up_for_groups(link),
            OverlayEvent::LinkDown(link) => {
                self.on_link_down_for_groups(link);
                self.on_link_down_for_baselines(link);
            }
            OverlayEvent::LinkEnded(link) => self.remotes.forget(link),
            OverlayEvent::HeartbeatDue(link, ask) => {
                let hashes = self.log_hashes_for(link);
                self.send_heartbeat(link, ask, hashes);
            }
            OverlayEvent::LogHashes(link, hashes) => self.compare_logs(link, &hashes),
            OverlayEvent::RecordAccepted(peer) => self.on_record_for_groups(peer),
            OverlayEvent::ViewChanged => self.on_view_changed_for_groups(),
            OverlayEvent::LostForgotten => self.wake_publishers(),
            OverlayEvent::UplinkFull => {
                let children = self.most_children();
                self.judge_uplink(children);
            }
            OverlayEvent::OwnEpochChanged(former) => self.on_own_epoch_changed(former),
            OverlayEvent::IdentityLost => self.stop(false),
        }
    }
}
