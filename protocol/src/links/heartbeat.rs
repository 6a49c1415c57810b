//! Heartbeats: life, RTT, coordinates, and hashes that tell when two ends differ.

use super::Stage;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::time::Micros;
use crate::wire::frame::Heartbeat;
use rand_chacha::rand_core::Rng;

impl Engine {
    /// Sends a heartbeat; `ask` wants an answer at once, for a first RTT.
    pub(crate) fn send_heartbeat(&mut self, id: LinkId, ask: bool) {
        let groups = self.log_hashes_for(id);
        let now = self.now.mono;
        let next = self.in_ms(self.config.links.heartbeat_ms);
        let database = self.database.hash();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.next_heartbeat = next;
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
            database,
            groups,
        };
        self.send(id, heartbeat);
        self.wake_at(next);
    }

    pub(crate) fn on_heartbeat(&mut self, id: LinkId, heartbeat: &Heartbeat) {
        let now = self.now.mono;
        let window = Micros::from_millis(self.config.links.rtt_window_ms);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.stage != Stage::Up {
            return;
        }
        link.echo = Some((heartbeat.stamp_us, now));
        let peer = link.peer;
        let sent = heartbeat.echo_us.saturating_sub(1);
        // An echo from before the link, or from the future, is no measurement.
        let measured = heartbeat.echo_us > 0 && sent >= link.opened.0 && sent <= now.0;
        if measured {
            let rtt_us = (now.0 - sent).saturating_sub(heartbeat.held_us);
            let restated = link.rtt.measure(now, rtt_us, window);
            if let Some(minimum) = link.rtt.minimum_us() {
                self.learn_coordinate(peer, minimum);
            }
            if restated {
                self.consider_record();
                self.chooser.touch(now);
                self.wake_at(now);
            }
        }
        if heartbeat.ask {
            self.send_heartbeat(id, false);
        }
        self.compare_databases(id, heartbeat.database);
        self.compare_logs(id, &heartbeat.groups);
    }

    fn learn_coordinate(&mut self, peer: crate::identity::PeerKey, rtt_us: u64) {
        let Some(record) = self.database.get(peer) else {
            return;
        };
        let remote = record.record.coordinate();
        let nudge = self.rng.next_u64();
        self.own
            .coordinate
            .update(&remote, rtt_us as f32 / 1_000.0, nudge);
        self.consider_record();
    }

    pub(crate) fn on_wants(&mut self, id: LinkId, wants: u16) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.their_wants = super::reason_from_wire(wants);
        self.chooser.touch(self.now.mono);
        self.wake_at(self.now.mono);
    }
}
