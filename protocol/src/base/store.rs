//! What a peer keeps across its lives: keys and values, a namespace for each module.
//!
//! The engine asks for batches of changes ([`crate::Action::Store`]); a driver makes each of them durable
//! as a whole, or not at all. What the changes mean stands here once, so that all drivers agree.

use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// Changes in one batch, at most.
pub const BATCH_OPS_MAX: usize = 1_024;
/// Bytes of keys and values in one batch, at most: sixteen of the largest bodies that are worth to be
/// stored inline.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// The module that owns the keys. A module has a namespace of its own and sees no other; a pattern that stores
/// something adds a line here and in [`Namespace::ALL`], and its answers to `on_stored` in `engine.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Links and records: the epoch.
    Overlay,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Overlay];
    /// It stands in so many bits of a batch's number.
    const BITS: u32 = 4;

    /// Its name, of lowercase letters: drivers may name files by it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
        }
    }
}

/// Names a batch that the engine asked to be stored. The number says whose it is, so that the answer
/// finds its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

impl BatchId {
    /// The batch of this number, of all namespaces together.
    pub(crate) fn new(namespace: Namespace, number: u64) -> Self {
        Self(number << Namespace::BITS | namespace as u64)
    }

    /// The namespace it belongs to; `None` for a number that no engine gives.
    pub fn namespace(self) -> Option<Namespace> {
        let number = self.0 & ((1 << Namespace::BITS) - 1);
        let mut all = Namespace::ALL.into_iter();
        all.find(|namespace| *namespace as u64 == number)
    }
}

/// One change. None has a condition: an engine is the only one that writes, was told what is stored,
/// and has one batch of a namespace under way at a time, so it can judge before it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// The key has this value from now on.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// There is no such key any more; nor need there have been one.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl StoreOp {
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

/// Why a batch is not stored, and what the system says. Nothing of it may be relied on; the engine asks
/// again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room.
    #[error("{0}")]
    NoRoom(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What one namespace holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(BTreeMap<Bytes, Bytes>);

impl Entries {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.0.get(key)
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.0.iter()
    }

    /// Makes the changes of a batch, in order.
    pub fn apply(&mut self, ops: impl IntoIterator<Item = StoreOp>) {
        for op in ops {
            match op {
                StoreOp::Put { key, value } => {
                    self.0.insert(key, value);
                }
                StoreOp::Delete { key } => {
                    self.0.remove(&key);
                }
            }
        }
    }
}

impl FromIterator<(Bytes, Bytes)> for Entries {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// What a peer has stored: what an engine is given when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored(BTreeMap<Namespace, Entries>);

impl Stored {
    /// The value of a key.
    pub fn get(&self, namespace: Namespace, key: &[u8]) -> Option<&Bytes> {
        self.0.get(&namespace)?.get(key)
    }

    /// What a namespace holds, to be changed.
    pub fn entries_mut(&mut self, namespace: Namespace) -> &mut Entries {
        self.0.entry(namespace).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn op() -> impl Strategy<Value = StoreOp> {
        let key = || (0..6_u8).prop_map(|key| Bytes::from(vec![key]));
        prop_oneof![
            (key(), any::<u8>()).prop_map(|(key, value)| StoreOp::Put {
                key,
                value: Bytes::from(vec![value]),
            }),
            key().prop_map(|key| StoreOp::Delete { key }),
        ]
    }

    /// Whether a key is there and what it holds, by the last change that names it.
    fn last_word(batches: &[Vec<StoreOp>], of: u8) -> Option<u8> {
        let last = batches.iter().flatten().rev().find_map(|op| match op {
            StoreOp::Put { key, value } if key[0] == of => Some(Some(value[0])),
            StoreOp::Delete { key } if key[0] == of => Some(None),
            _ => None,
        });
        last.flatten()
    }

    proptest! {
        #[test]
        fn the_last_change_of_a_key_holds(batches in vec(vec(op(), 0..8), 0..8)) {
            let mut stored = Stored::default();
            for batch in &batches {
                stored.entries_mut(Namespace::Overlay).apply(batch.clone());
            }
            for key in 0..6 {
                let found = stored.get(Namespace::Overlay, &[key]).map(|value| value[0]);
                prop_assert_eq!(found, last_word(&batches, key), "{}", key);
            }
            // What was read back is the same.
            let entries = stored.entries_mut(Namespace::Overlay);
            let copied = entries.iter().map(|(key, value)| (key.clone(), value.clone()));
            prop_assert_eq!(&copied.collect::<Entries>(), &*entries);
        }
    }

    #[test]
    fn a_batch_says_whose_it_is() {
        for namespace in Namespace::ALL {
            let batch = BatchId::new(namespace, 7);
            assert_eq!(batch.namespace(), Some(namespace));
            assert_ne!(batch, BatchId::new(namespace, 8));
        }
        assert_eq!(BatchId(15).namespace(), None);
        let name = |namespace: Namespace| namespace.name();
        let mut names = Namespace::ALL.map(name).to_vec();
        names.dedup();
        assert_eq!(
            names.len(),
            Namespace::ALL.len(),
            "each has a file of its own"
        );
        let lower = |c: char| c.is_ascii_lowercase();
        assert!(names.iter().all(|name| name.chars().all(lower)));
    }
}
