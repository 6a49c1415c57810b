//! The records held, in order of key, small and shared: ten thousand peers that begin with equal
//! databases hold one table until theirs differ, and from then on a few words for every record.
//! Times count from when the database began.

use super::search::search;
use crate::base::identity::PeerKey;
use crate::base::time::Micros;
use crate::wire::SignedRecord;
use std::cmp::Ordering;
use std::sync::Arc;

/// One record, and what is known of it. 32 bytes: see the top of this file.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The first bytes of the key: keys are compared by it, and only then by themselves.
    prefix: u64,
    pub(super) record: Arc<SignedRecord>,
    /// When this version was first heard, ms.
    pub(super) heard_ms: u64,
    /// When its peer was first heard of, minutes.
    pub(super) first_min: u32,
    /// The smallest age that this version was told to have when it was first heard, in units that
    /// the database chooses. Nobody signs ages.
    pub(super) told: u16,
    /// How far the allowance for further records of this peer was used up then (a token bucket), in
    /// such units.
    pub(super) ahead: u16,
}

impl Row {
    pub(super) fn new(record: Arc<SignedRecord>, now: Micros, first_min: u32) -> Self {
        Self {
            prefix: record.record.peer.prefix(),
            record,
            heard_ms: now.as_millis(),
            first_min,
            told: 0,
            ahead: 0,
        }
    }

    /// How long ago this version was first heard, ms.
    pub(super) fn held_ms(&self, now: Micros) -> u64 {
        now.as_millis().saturating_sub(self.heard_ms)
    }

    pub(super) fn peer(&self) -> PeerKey {
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

    /// Changes the row of a peer.
    pub(super) fn change(&mut self, peer: PeerKey, change: impl FnOnce(&mut Row)) {
        if let Ok(at) = self.find(peer) {
            change(&mut Arc::make_mut(&mut self.rows)[at]);
        }
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
