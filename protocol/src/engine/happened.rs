//! What happens to links, records and the view, told to what stands above them.
//!
//! No part calls what stands above it: it notes what has happened, and the engine tells it as soon as
//! the call that it happened in has ended.

use super::Engine;
use crate::overlay::links::OverlayEvent;
use crate::overlay::records::Adverts;

impl Engine {
    /// Tells what has happened since the last call.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(event) = self.net.next_event() {
                self.patterns.on_overlay(&mut pattern_cx!(self), &event);
                self.on_overlay(event);
            } else if let Some(event) = self.multicast.next_event() {
                self.patterns.on_multicast(&mut pattern_cx!(self), &event);
            } else {
                break;
            }
        }
        if self.net.take_adverts_changed() {
            self.refresh_adverts();
            self.net.consider_record(&mut self.core);
        }
    }

    /// Gathers what the record is to say of groups.
    pub(crate) fn refresh_adverts(&mut self) {
        let groups = self.multicast.stated_groups(cx_ref!(self));
        let linked = self.multicast.linked_groups();
        self.net.advertise(Adverts { groups, linked });
    }

    fn on_overlay(&mut self, event: OverlayEvent) {
        match event {
            OverlayEvent::LinkUp(link) => {
                self.multicast.on_link_up_for_groups(&mut cx!(self), link);
            }
            OverlayEvent::LinkDown(link) => {
                self.multicast.on_link_down_for_groups(&mut cx!(self), link);
                self.multicast
                    .on_link_down_for_baselines(&mut cx!(self), link);
            }
            OverlayEvent::LinkEnded(link) => self.multicast.on_link_ended(link),
            OverlayEvent::HeartbeatDue(link, ask) => {
                let hashes = self.multicast.log_hashes_for(cx_ref!(self), link);
                self.net.send_heartbeat(&mut self.core, link, ask, hashes);
            }
            OverlayEvent::LogHashes(link, hashes) => {
                self.multicast.compare_logs(&mut cx!(self), link, &hashes);
            }
            OverlayEvent::RecordAccepted(peer) => {
                self.multicast.on_record_for_groups(&mut cx!(self), peer);
            }
            OverlayEvent::ViewChanged | OverlayEvent::LostForgotten => {
                self.multicast.wake_publishers(&mut cx!(self));
            }
            OverlayEvent::UplinkFull => {
                let children = self.multicast.most_children(cx_ref!(self));
                self.net.judge_uplink(&mut self.core, children);
            }
            OverlayEvent::OwnEpochChanged(former) => {
                self.multicast.on_own_epoch_changed(&mut cx!(self), former);
            }
            OverlayEvent::IdentityLost => self.stop(false),
        }
    }
}
