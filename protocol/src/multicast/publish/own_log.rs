//! What this peer publishes in a group: the seqs it has given, and what is not signed yet.

use super::batch::{Batch, Carriers};
use crate::base::identity::{Keypair, PeerKey};
use crate::base::name::GroupId;
use crate::wire::bundle::{BundleExt, FLAG_ACKNOWLEDGE, Hash, class_of};
use crate::wire::{Bundle, BundleHeader, Fragment};
use bytes::Bytes;
use hedgerow_topology::Class;
use std::collections::VecDeque;

/// One bundle that waits to be signed and sent.
#[derive(Clone, Debug)]
pub(super) struct Unreleased {
    pub(super) payload: Bytes,
    /// Of each message in the payload, with its headers.
    pub(super) lengths: Vec<u32>,
    /// Of each message's headers; empty when none has any.
    pub(super) header_lengths: Vec<u32>,
    pub(super) published_at: u64,
    /// How much later each message was published; empty when none was.
    pub(super) delays: Vec<u32>,
    pub(super) flags: u8,
    pub(super) fragment: Option<Fragment>,
}

impl Unreleased {
    fn entries(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// Whether a message begins here whose acknowledgements are awaited.
    fn begins_acknowledged(&self) -> bool {
        self.flags & FLAG_ACKNOWLEDGE != 0 && self.fragment.is_none_or(|piece| piece.index == 0)
    }
}

/// What this peer publishes in a group.
#[derive(Debug, Default)]
pub(crate) struct OwnLog {
    /// Entries released in this epoch.
    released: u64,
    previous: Hash,
    /// Bundles that wait for the links to the next peers to drain: fragments of a large message, and
    /// what was published before it.
    unreleased: VecDeque<Unreleased>,
    /// Fragments that have been released of a message that has not been released as a whole.
    begun: Vec<Unreleased>,
    /// Messages that wait for the last bundle to be written.
    pub(super) batch: Batch,
    pub(super) carriers: Carriers,
}

/// What begins anew in another epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restarted {
    /// The first seq, in the epoch before, of a message that was released in part.
    pub(super) cut: Option<u64>,
    /// Messages whose acknowledgements are awaited: their seqs in the epoch before, and now.
    pub(super) tracked: Vec<(u64, u64)>,
}

impl OwnLog {
    /// Something was published in this epoch.
    pub(crate) fn has_released(&self) -> bool {
        self.released > 0
    }

    /// Entries wait to be released.
    pub(crate) fn has_unreleased(&self) -> bool {
        self.is_behind() || !self.batch.is_empty()
    }

    /// Entries wait for links to drain.
    pub(super) fn is_behind(&self) -> bool {
        !self.unreleased.is_empty()
    }

    /// The seq of what is published next.
    pub(super) fn next_seq(&self) -> u64 {
        let unreleased: u64 = self.unreleased.iter().map(Unreleased::entries).sum();
        self.released + unreleased + self.batch.len() as u64 + 1
    }

    /// The class of the entry that is released next.
    pub(super) fn next_class(&self) -> Option<Class> {
        self.unreleased.front().map(|next| class_of(next.flags))
    }

    pub(super) fn push(&mut self, next: Unreleased) {
        self.unreleased.push_back(next);
    }

    /// What waits to share a bundle is a bundle now.
    pub(super) fn close_batch(&mut self) {
        let batch = self.batch.take();
        self.unreleased.extend(batch);
    }

    fn take_next(&mut self) -> Option<Unreleased> {
        let next = self.unreleased.pop_front()?;
        match next.fragment {
            Some(piece) if piece.index + 1 < piece.count => self.begun.push(next.clone()),
            _ => self.begun.clear(),
        }
        Some(next)
    }

    /// The next entry that waits as a signed bundle.
    pub(super) fn next_bundle(
        &mut self,
        group: GroupId,
        (me, epoch): (PeerKey, u64),
        keypair: &Keypair,
        ext: BundleExt,
    ) -> Option<Bundle> {
        let Unreleased {
            payload,
            lengths,
            header_lengths,
            published_at,
            delays,
            flags,
            fragment,
        } = self.take_next()?;
        let seq = self.released + 1;
        self.released += lengths.len() as u64;
        self.carriers.clear();
        let header = BundleHeader {
            group,
            origin: me,
            epoch,
            seq,
            flags,
            published_at,
            lengths,
            header_lengths,
            delays,
            fragment,
            previous: self.previous,
            payload_hash: [0; 32],
            ext,
        };
        let bundle = Bundle::sign(header, payload, keypair);
        self.previous = bundle.hash;
        Some(bundle)
    }

    /// Seqs begin anew, and with them the message that is going out: fragments of one message
    /// have one epoch.
    pub(super) fn begin_epoch(&mut self) -> Restarted {
        let cut = (!self.begun.is_empty()).then(|| self.released - self.begun.len() as u64 + 1);
        let first = cut.unwrap_or(self.released + 1);
        let begun = std::mem::take(&mut self.begun).into_iter();
        let unreleased: VecDeque<Unreleased> = begun.chain(self.unreleased.drain(..)).collect();
        let mut tracked = Vec::new();
        let mut before = 0;
        for next in &unreleased {
            if next.begins_acknowledged() {
                tracked.push((first + before, before + 1));
            }
            before += next.entries();
        }
        *self = Self {
            unreleased,
            batch: std::mem::take(&mut self.batch),
            ..Self::default()
        };
        Restarted { cut, tracked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unreleased(entries: usize, flags: u8, fragment: Option<(u32, u32)>) -> Unreleased {
        Unreleased {
            payload: Bytes::from(vec![7; entries]),
            lengths: vec![1; entries],
            header_lengths: Vec::new(),
            published_at: 0,
            delays: Vec::new(),
            flags,
            fragment: fragment.map(|(index, count)| Fragment { index, count }),
        }
    }

    fn release(own: &mut OwnLog) -> BundleHeader {
        let key = Keypair::from_secret([1; 32]);
        let bundle = own.next_bundle(
            GroupId([1; 16]),
            (key.peer(), 1),
            &key,
            BundleExt::default(),
        );
        bundle.expect("something waits").header
    }

    #[test]
    fn a_message_that_is_cut_by_a_new_epoch_begins_anew_and_keeps_what_is_before_and_after() {
        let mut own = OwnLog::default();
        own.push(unreleased(3, 0, None));
        (0..3).for_each(|index| own.push(unreleased(1, FLAG_ACKNOWLEDGE, Some((index, 3)))));
        own.push(unreleased(1, FLAG_ACKNOWLEDGE, None));
        own.batch.push(Bytes::from_static(b"waits"), 0);
        assert_eq!(own.next_seq(), 9);
        let seqs: Vec<u64> = (0..3).map(|_| release(&mut own).seq).collect();
        assert_eq!(seqs, [1, 4, 5]);
        let restarted = own.begin_epoch();
        let tracked = vec![(4, 1), (7, 4)];
        assert_eq!(
            restarted,
            Restarted {
                cut: Some(4),
                tracked
            }
        );
        assert_eq!(own.next_seq(), 6);
        own.close_batch();
        let released: Vec<(u64, Option<u32>)> = (0..5)
            .map(|_| release(&mut own))
            .map(|header| (header.seq, header.fragment.map(|piece| piece.index)))
            .collect();
        let whole = [
            (1, Some(0)),
            (2, Some(1)),
            (3, Some(2)),
            (4, None),
            (5, None),
        ];
        assert_eq!(released, whole);
        assert!(!own.has_unreleased());
        assert_eq!(own.begin_epoch(), Restarted::default());
    }

    proptest! {
        /// Seqs are given without a gap, whatever is released in between.
        #[test]
        fn the_next_seq_is_that_of_the_bundle_that_is_published_next(
            steps in proptest::collection::vec((0usize..4, 1usize..5), 0..40)
        ) {
            let mut own = OwnLog::default();
            let mut next = 1;
            let mut last = 0;
            for (what, count) in steps {
                prop_assert_eq!(own.next_seq(), next);
                match what {
                    0 => own.batch.push(Bytes::from_static(b"one"), 0),
                    1 => {
                        own.close_batch();
                        own.push(unreleased(count, 0, None));
                        next += count as u64 - 1;
                    }
                    2 => {
                        own.close_batch();
                        next -= 1;
                    }
                    _ => {
                        next -= 1;
                        if own.is_behind() {
                            let header = release(&mut own);
                            prop_assert_eq!(header.seq, last + 1);
                            last = header.last_seq();
                        }
                    }
                }
                next += 1;
            }
        }
    }
}
