//! The records held, in order of key, small and shared: ten thousand peers that begin with equal
//! databases hold one table until theirs differ, and from then on a few words for every record.
//! Times count from when the database began.

use super::search::search;
use crate::identity::PeerKey;
use crate::time::Micros;
use crate::wire::SignedRecord;
use std::cmp::Ordering;
use std::sync::Arc;

/// One record, and what is known of its age.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The first bytes of the key: keys are compared by it, and only then by themselves.
    prefix: u64,
    pub(super) record: Arc<SignedRecord>,
    /// When the record was issued, ms; negative: before the database began.
    issued_ms: i64,
    /// Allowance for further records of this peer: a token bucket.
    pub(super) tokens_at: Micros,
}

impl Row {
    pub(super) fn new(
        record: Arc<SignedRecord>,
        age_ms: u64,
        now: Micros,
        tokens_at: Micros,
    ) -> Self {
        Self {
            prefix: record.record.peer.prefix(),
            issued_ms: (now.as_millis() as i64)
                .saturating_sub_unsigned(age_ms.min(i64::MAX as u64)),
            record,
            tokens_at,
        }
    }

    /// How old the record is by now, ms.
    pub(super) fn age_ms(&self, now: Micros) -> u64 {
        let age = (now.as_millis() as i64).saturating_sub(self.issued_ms);
        age.max(0) as u64
    }

    fn peer(&self) -> PeerKey {
        self.record.record.peer
    }
}

/// Rows in ascending order of key. Cloning shares them until either side changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Arc<Vec<Row>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Row> {
        self.rows.iter()
    }

    fn find(&self, peer: PeerKey) -> Result<usize, usize> {
        let prefix = peer.prefix();
        search(self.rows.len(), prefix, |at| {
            let row = &self.rows[at];
            row.prefix.cmp(&prefix).then_with(|| row.peer().cmp(&peer))
        })
    }

    pub(super) fn get(&self, peer: PeerKey) -> Option<&Row> {
        self.find(peer).ok().map(|at| &self.rows[at])
    }

    /// The row of the peer whose key begins so; the first, should there be several.
    pub(super) fn named(&self, prefix: u64) -> Option<&Row> {
        let row = self.rows.get(self.first_from(prefix))?;
        (row.prefix == prefix).then_some(row)
    }

    /// The rows of peers whose keys begin with this byte.
    pub(super) fn bucket(&self, bucket: u8) -> &[Row] {
        let from = u64::from(bucket) << 56;
        let end = from.checked_add(1 << 56);
        let end = end.map_or(self.rows.len(), |end| self.first_from(end));
        &self.rows[self.first_from(from)..end]
    }

    /// The place of the first row whose key begins with `prefix` or something larger.
    fn first_from(&self, prefix: u64) -> usize {
        // No key equals its own beginning: the search ends before those that share it.
        let before_equals = |at: usize| self.rows[at].prefix.cmp(&prefix).then(Ordering::Greater);
        search(self.rows.len(), prefix, before_equals).unwrap_or_else(|at| at)
    }

    /// Puts a row in, or in the place of the peer's former one, which is given back.
    pub(super) fn put(&mut self, row: Row) -> Option<Row> {
        let found = self.find(row.peer());
        let rows = Arc::make_mut(&mut self.rows);
        match found {
            Ok(at) => Some(std::mem::replace(&mut rows[at], row)),
            Err(at) => {
                rows.insert(at, row);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, peer: PeerKey) -> Option<Row> {
        let at = self.find(peer).ok()?;
        Some(Arc::make_mut(&mut self.rows).remove(at))
    }
}
