//! Heartbeats: life, RTT, coordinates, and hashes that tell when two ends differ.

use super::{Link, Stage};
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::wire::frame::Heartbeat;
use crate::wire::record::{coordinate_from_wire, coordinate_to_wire};
use rand_chacha::rand_core::Rng;

/// Of the two ends of a link one sends a heartbeat by its clock and the other answers it at once,
/// unless its own last one is younger than half of the interval: so an answer's echo has not lain
/// anywhere, and each end wakes once for both. The one that answers leaves the next to the other,
/// for so many quarters of the interval.
const ANSWERED_QUARTERS: u64 = 5;

impl Overlay {
    /// A frame of a kind that no build of today knows.
    #[cfg(feature = "wire-next")]
    pub(crate) fn send_unknown_frame(
        &mut self,
        core: &mut Core,
        link: crate::base::interface::LinkId,
    ) {
        if core.config.wire_next {
            self.enqueue(
                core,
                link,
                crate::overlay::links::Priority::Control,
                None,
                crate::wire::next::unknown_frame(),
            );
        }
    }

    /// A heartbeat is due; `ask` wants an answer at once, for a first RTT.
    pub(crate) fn beat(&mut self, core: &mut Core, id: LinkId, ask: bool) {
        let next = core.in_ms(core.config.links.heartbeat_ms);
        if let Some(link) = self.links.get_mut(&id) {
            link.next_heartbeat = next;
            self.happened(OverlayEvent::HeartbeatDue(id, ask));
            core.wake_at(next);
        }
    }

    /// Sends a heartbeat with the log hashes of groups.
    pub(crate) fn send_heartbeat(
        &mut self,
        core: &mut Core,
        id: LinkId,
        ask: bool,
        groups: Vec<(GroupId, u64)>,
    ) {
        let now = core.now.mono;
        let database = self.database.hash();
        let coordinate = coordinate_to_wire(&self.own.coordinate);
        let wall_ms = core.now.wall_ms;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let (echo_us, held_us) = match link.echo {
            Some((stamp, came)) => (stamp, now.since(came).0),
            None => (0, 0),
        };
        // Stamps are never 0, which stands for none.
        let heartbeat = Heartbeat {
            stamp_us: now.0 + 1,
            echo_us,
            held_us,
            ask,
            coordinate,
            wall_ms,
            database,
            groups,
        };
        self.send(core, id, heartbeat);
        #[cfg(feature = "wire-next")]
        self.send_unknown_frame(core, id);
    }

    /// Sends the heartbeats that are due, and those that soon would be: one wake for several.
    pub(crate) fn send_due_heartbeats(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let is_due = |link: &Link, by: Micros| link.is_up() && link.next_heartbeat <= by;
        if !self.links.values().any(|link| is_due(link, now)) {
            return;
        }
        self.note_slow_transports(core);
        let soon = core.in_ms(core.config.links.heartbeat_ms / 4);
        let due: Vec<LinkId> = self
            .links
            .values()
            .filter(|link| is_due(link, soon))
            .map(|link| link.id)
            .collect();
        for id in due {
            self.beat(core, id, false);
        }
    }

    fn answer_heartbeat(&mut self, core: &mut Core, id: LinkId, asked: bool) {
        let interval_ms = core.config.links.heartbeat_ms;
        let soon = core.in_ms(interval_ms / 2);
        let leave_until = core.in_ms(interval_ms * ANSWERED_QUARTERS / 4);
        let next = self.links.get(&id).map(|link| link.next_heartbeat);
        if next.is_some_and(|next| asked || next <= soon) {
            self.beat(core, id, false);
            if let Some(link) = self.links.get_mut(&id) {
                link.next_heartbeat = leave_until;
            }
        }
    }

    pub(crate) fn on_heartbeat(&mut self, core: &mut Core, id: LinkId, heartbeat: Heartbeat) {
        let now = core.now.mono;
        let window = Micros::from_millis(core.config.links.rtt_window_ms);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.stage != Stage::Up {
            return;
        }
        link.echo = Some((heartbeat.stamp_us, now));
        let is_first = link.rtt.stated_us().is_none();
        let sent = heartbeat.echo_us.saturating_sub(1);
        // An echo from before the link, or from the future, is no measurement.
        let measured = heartbeat.echo_us > 0 && sent >= link.opened.0 && sent <= now.0;
        if measured {
            let rtt_us = (now.0 - sent).saturating_sub(heartbeat.held_us);
            let restated = link.rtt.measure(now, rtt_us, window);
            if let Some(minimum) = link.rtt.minimum_us() {
                let remote = coordinate_from_wire(heartbeat.coordinate);
                let nudge = core.rng.next_u64();
                let rtt_ms = minimum as f32 / 1_000.0;
                self.own.coordinate.update(&remote, rtt_ms, nudge);
                self.own.coordinate.steady(&mut self.own.steady);
                self.consider_coordinate(core);
            }
            if restated {
                self.consider_record(core);
            }
            // Later ones change little and wait for the next look at the choice.
            if restated && is_first {
                self.chooser.touch(now);
                core.wake_at(now);
            }
        }
        self.on_clock(core, id, heartbeat.wall_ms);
        self.answer_heartbeat(core, id, heartbeat.ask);
        if heartbeat.database == self.database.hash()
            && let Some(link) = self.links.get_mut(&id)
        {
            link.equal_at = Some(now);
        }
        self.compare_databases(core, id, heartbeat.database);
        self.happened(OverlayEvent::LogHashes(id, heartbeat.groups));
    }

    pub(crate) fn on_wants(&mut self, core: &mut Core, id: LinkId, wants: u16) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.their_wants = super::reason_from_wire(wants);
        self.touch_choice_for_wants(core);
    }
}

#[cfg(test)]
mod tests;
