//! What of an origin is pushed to this peer, and what is therefore on its way.

use crate::base::time::Micros;
use crate::wire::BundleHeader;
use hedgerow_topology::Class;

/// The last entry pushed of a class.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Micros,
    /// How long they are apart, smoothed.
    apart: Micros,
    seq: u64,
    /// The last entry of the message that it is of.
    message_end: u64,
}

/// Pushed entries of one log: small messages, and pieces of large ones by a tree of their own.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    small: Option<Last>,
    bulk: Option<Last>,
}

/// Pieces of large messages are long on their way: their flow has not stopped sooner, ms.
const BULK_PAUSE_MS: u64 = 250;

impl Last {
    fn is_flowing(&self, now: Micros, least: Micros, most: Micros) -> bool {
        now.since(self.at) < self.apart.times(8).max(least).min(most)
    }
}

impl InFlight {
    /// A bundle was pushed.
    pub(crate) fn note(&mut self, header: &BundleHeader, now: Micros) {
        let last = match header.class() {
            Class::Bulk => &mut self.bulk,
            Class::Normal => &mut self.small,
        };
        let rest = header
            .fragment
            .map_or(0, |fragment| fragment.count - 1 - fragment.index);
        let seq = header.last_seq();
        *last = Some(Last {
            at: now,
            apart: last.map_or(Micros(0), |last| {
                Micros((last.apart.0 * 7 + now.since(last.at).0) / 8)
            }),
            seq: last.map_or(seq, |last| last.seq.max(seq)),
            message_end: seq + u64::from(rest),
        });
    }

    /// Up to where what is missing from `from` on is on its way: while pushed entries are flowing,
    /// what follows the last of them will come, for a link keeps the order of each class, and
    /// however slow it is, asking others for it only doubles its load. Small messages overtake
    /// large ones, so `proven`, the highest entry known to exist, says nothing of pieces before it.
    pub(crate) fn expected_through(
        &self,
        from: u64,
        proven: u64,
        now: Micros,
        most: Micros,
    ) -> Option<u64> {
        let flowing =
            |last: Option<Last>, least| last.filter(|last| last.is_flowing(now, least, most));
        let small = flowing(self.small, Micros(0));
        let bulk = flowing(self.bulk, Micros::from_millis(BULK_PAUSE_MS));
        let follows_all = from > proven && (small.is_some() || bulk.is_some());
        if follows_all || small.is_some_and(|last| from > last.seq) {
            return Some(u64::MAX);
        }
        bulk.filter(|last| (last.seq + 1..=last.message_end).contains(&from))
            .map(|last| last.message_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::PeerKey;
    use crate::base::name::GroupId;
    use crate::wire::Fragment;
    use crate::wire::bundle::BundleExt;
    use crate::wire::bundle::FLAG_BULK;

    const MOST: Micros = Micros::from_millis(2_000);

    fn header(seq: u64, fragment: Option<Fragment>) -> BundleHeader {
        BundleHeader {
            group: GroupId([1; 16]),
            origin: PeerKey([1; 32]),
            epoch: 1,
            seq,
            flags: if fragment.is_some() { FLAG_BULK } else { 0 },
            published_at: 1,
            lengths: vec![10],
            delays: Vec::new(),
            fragment,
            previous: [0; 32],
            payload_hash: [0; 32],
            header_lengths: Vec::new(),
            ext: BundleExt::default(),
        }
    }

    fn piece(index: u32) -> Fragment {
        Fragment { index, count: 10 }
    }

    #[test]
    fn pieces_after_the_last_pushed_one_are_on_their_way_though_a_later_entry_came() {
        let mut pushed = InFlight::default();
        // A large message is entries 5 to 14; 20 came before the rest of it.
        for (at_ms, index) in [(0, 0), (100, 1), (200, 2)] {
            let header = header(5 + u64::from(index), Some(piece(index)));
            pushed.note(&header, Micros::from_millis(at_ms));
        }
        let now = Micros::from_millis(250);
        assert_eq!(pushed.expected_through(8, 20, now, MOST), Some(14));
        assert_eq!(
            pushed.expected_through(15, 20, now, MOST),
            None,
            "another's"
        );
        assert_eq!(
            pushed.expected_through(6, 20, now, MOST),
            None,
            "passed over"
        );
        assert_eq!(pushed.expected_through(21, 20, now, MOST), Some(u64::MAX));
    }

    #[test]
    fn nothing_is_on_its_way_once_pushes_have_stopped() {
        let mut pushed = InFlight::default();
        for at_ms in [0, 100, 200] {
            pushed.note(&header(at_ms, None), Micros::from_millis(at_ms));
        }
        let soon = Micros::from_millis(250);
        assert_eq!(
            pushed.expected_through(201, 200, soon, MOST),
            Some(u64::MAX)
        );
        let late = Micros::from_millis(1_200);
        assert_eq!(pushed.expected_through(201, 200, late, MOST), None);
    }
}
