//! What is being stored, and what follows when it cannot be.
//!
//! A namespace has one batch under way; later ones wait behind it. So they are applied in order however
//! often one fails, and drivers need no queues. docs/design/storage.md gives the reasons.

use super::Core;
use crate::base::interface::{Action, Event};
use crate::base::store::{BATCH_BYTES_MAX, BATCH_OPS_MAX, BatchId, Namespace, StoreError, StoreOp};
use crate::base::time::Micros;
use std::collections::{BTreeMap, VecDeque};

/// Batches of a namespace that are under way or wait, and their bytes: a module that stores more than
/// the disk takes has to wait, or it would fill the memory.
const BATCHES_MAX: usize = 64;
const BYTES_MAX: usize = 4 * BATCH_BYTES_MAX;
/// The pause before a failed batch is asked for again, doubled each time up to the second. A peer that
/// could not store its epoch is silent, so it should not take much longer than making room does.
const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 8_000;

/// Why a batch is not taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreRefused {
    /// It has too many changes, or too many bytes.
    TooLarge,
    /// Too much waits to be stored.
    Busy,
}

/// The batches of all modules.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    lanes: BTreeMap<Namespace, Lane>,
    last: u64,
}

/// The batches of one namespace, in order.
#[derive(Debug, Default)]
struct Lane {
    batches: VecDeque<(BatchId, Vec<StoreOp>)>,
    bytes: usize,
    first: First,
    /// How often the first one has failed.
    failures: u32,
}

/// How the first batch of a lane is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    /// It is to be asked for.
    #[default]
    Unasked,
    /// The driver has it.
    Asked,
    /// It failed and is asked for again then.
    Failed(Micros),
}

impl Storage {
    /// When a batch is asked for again.
    pub(crate) fn due(&self) -> Option<Micros> {
        let retries = self.lanes.values().filter_map(|lane| match lane.first {
            First::Failed(retry) => Some(retry),
            First::Unasked | First::Asked => None,
        });
        retries.min()
    }
}

fn bytes_of(ops: &[StoreOp]) -> usize {
    ops.iter().map(StoreOp::bytes).sum()
}

fn retry_ms(failures: u32) -> u64 {
    let doubled = failures.saturating_sub(1).min(16);
    (RETRY_MS << doubled).min(RETRY_MS_MAX)
}

impl Core {
    /// Has changes stored, after all that the namespace had stored before. The module is told when they
    /// are durable.
    pub(crate) fn store(
        &mut self,
        namespace: Namespace,
        ops: Vec<StoreOp>,
    ) -> Result<BatchId, StoreRefused> {
        let bytes = bytes_of(&ops);
        let lane = self.storage.lanes.entry(namespace).or_default();
        let refused = if ops.len() > BATCH_OPS_MAX || bytes > BATCH_BYTES_MAX {
            Some(StoreRefused::TooLarge)
        } else if lane.batches.len() >= BATCHES_MAX || lane.bytes + bytes > BYTES_MAX {
            Some(StoreRefused::Busy)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.count(counter!("stores_refused"));
            return Err(refused);
        }
        self.storage.last += 1;
        let batch = BatchId::new(namespace, self.storage.last);
        lane.batches.push_back((batch, ops));
        lane.bytes += bytes;
        self.ask_to_store(namespace);
        Ok(batch)
    }

    /// Takes in an answer of the driver; gives whose batch is durable now.
    pub(crate) fn on_stored(
        &mut self,
        batch: BatchId,
        result: Result<(), StoreError>,
    ) -> Option<Namespace> {
        let namespace = batch.namespace()?;
        let lane = self.storage.lanes.get_mut(&namespace)?;
        let is_first = lane.batches.front().is_some_and(|(id, _)| *id == batch);
        if !is_first || lane.first != First::Asked {
            return None;
        }
        let Err(error) = result else {
            let stored = lane.batches.pop_front();
            lane.bytes -= stored.map_or(0, |(_, ops)| bytes_of(&ops));
            lane.failures = 0;
            lane.first = First::Unasked;
            self.ask_to_store(namespace);
            return Some(namespace);
        };
        lane.failures = lane.failures.saturating_add(1);
        let (failures, retry_ms) = (lane.failures, retry_ms(lane.failures));
        let retry = self.now.mono + Micros::from_millis(retry_ms);
        lane.first = First::Failed(retry);
        self.wake_at(retry);
        self.count(counter!("stores_failed"));
        self.event(Event::StoreFailed {
            namespace,
            why: error.to_string(),
            failures,
            retry_ms,
        });
        None
    }

    /// Asks again for what failed a while ago.
    pub(crate) fn on_storage_timeout(&mut self) {
        for namespace in Namespace::ALL {
            let now = self.now.mono;
            if let Some(lane) = self.storage.lanes.get_mut(&namespace)
                && matches!(lane.first, First::Failed(retry) if retry <= now)
            {
                lane.first = First::Unasked;
                self.ask_to_store(namespace);
            }
        }
    }

    fn ask_to_store(&mut self, namespace: Namespace) {
        if let Some(lane) = self.storage.lanes.get_mut(&namespace)
            && lane.first == First::Unasked
            && let Some((batch, ops)) = lane.batches.front()
        {
            lane.first = First::Asked;
            self.actions.push_back(Action::Store {
                batch: *batch,
                namespace,
                ops: ops.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::Keypair;
    use crate::base::time::Time;
    use crate::core::config::Config;
    use bytes::Bytes;

    fn core() -> Core {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let identity = Keypair::from_secret([1; 32]);
        Core::new(identity, Config::default(), [1; 32], now)
    }

    fn put(bytes: usize) -> StoreOp {
        StoreOp::Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::from(vec![0; bytes - 1]),
        }
    }

    fn store(core: &mut Core, bytes: usize) -> Result<BatchId, StoreRefused> {
        core.store(Namespace::Overlay, vec![put(bytes)])
    }

    /// The batches that the driver is asked for, and the events.
    fn drain(core: &mut Core) -> (Vec<BatchId>, Vec<Event>) {
        let (mut asked, mut events) = (Vec::new(), Vec::new());
        for action in core.actions.drain(..) {
            match action {
                Action::Store { batch, .. } => asked.push(batch),
                Action::Event(event) => events.push(event),
                other => panic!("{other:?}"),
            }
        }
        (asked, events)
    }

    fn fail(core: &mut Core, batch: BatchId) -> Option<Namespace> {
        core.on_stored(batch, Err(StoreError::NoRoom("full".to_owned())))
    }

    #[test]
    fn batches_are_asked_for_one_after_the_other() {
        let mut core = core();
        let first = store(&mut core, 10).expect("is taken");
        let second = store(&mut core, 10).expect("is taken");
        assert_eq!(drain(&mut core).0, [first]);
        assert_eq!(core.on_stored(second, Ok(())), None, "it was not asked for");
        assert_eq!(core.on_stored(first, Ok(())), Some(Namespace::Overlay));
        assert_eq!(drain(&mut core).0, [second]);
        assert_eq!(core.on_stored(first, Ok(())), None, "it was told before");
        assert_eq!(core.on_stored(BatchId(15), Ok(())), None, "it is nobody's");
        assert_eq!(core.on_stored(second, Ok(())), Some(Namespace::Overlay));
        assert_eq!(drain(&mut core).0, []);
        assert_eq!(core.storage.due(), None);
    }

    #[test]
    fn a_failed_batch_is_asked_for_again_before_later_ones() {
        let mut core = core();
        let first = store(&mut core, 10).expect("is taken");
        let second = store(&mut core, 10).expect("is taken");
        drain(&mut core);
        for (failures, pause_ms) in [1, 2, 4, 8, 8].into_iter().enumerate() {
            let pause = Micros::from_millis(pause_ms * 1_000);
            assert_eq!(fail(&mut core, first), None);
            let (asked, events) = drain(&mut core);
            assert_eq!(asked, []);
            let told = Event::StoreFailed {
                namespace: Namespace::Overlay,
                why: "full".to_owned(),
                failures: failures as u32 + 1,
                retry_ms: pause_ms * 1_000,
            };
            assert_eq!(events, [told]);
            assert_eq!(core.on_stored(first, Ok(())), None, "it is not asked for");
            let due = core.now.mono + pause;
            assert_eq!(core.storage.due(), Some(due));
            assert!(core.deadline.is_some_and(|deadline| deadline <= due));
            core.now.mono = Micros(due.0 - 1);
            core.on_storage_timeout();
            assert_eq!(drain(&mut core).0, [], "it is too early");
            core.now.mono = due;
            core.on_storage_timeout();
            assert_eq!(drain(&mut core).0, [first]);
            assert_eq!(core.storage.due(), None);
        }
        assert_eq!(core.counts.told().values["stores_failed"], 5);
        assert_eq!(core.on_stored(first, Ok(())), Some(Namespace::Overlay));
        assert_eq!(drain(&mut core).0, [second]);
        fail(&mut core, second);
        let due = core.now.mono + Micros::from_millis(RETRY_MS);
        assert_eq!(core.storage.due(), Some(due), "the pause begins anew");
    }

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let mut core = core();
        let many = vec![put(1); BATCH_OPS_MAX + 1];
        let refused = core.store(Namespace::Overlay, many);
        assert_eq!(refused, Err(StoreRefused::TooLarge));
        let refused = store(&mut core, BATCH_BYTES_MAX + 1);
        assert_eq!(refused, Err(StoreRefused::TooLarge));
        let mut taken = Vec::new();
        while let Ok(batch) = store(&mut core, 10) {
            taken.push(batch);
        }
        assert_eq!(taken.len(), BATCHES_MAX);
        for batch in &taken {
            core.on_stored(*batch, Ok(()));
        }
        assert_eq!(drain(&mut core).0, taken);
        // Large ones are fewer, and what is stored makes room.
        for _ in 0..3 {
            let mut taken = Vec::new();
            while let Ok(batch) = store(&mut core, BATCH_BYTES_MAX) {
                taken.push(batch);
            }
            assert_eq!(taken.len(), BYTES_MAX / BATCH_BYTES_MAX);
            for batch in taken {
                core.on_stored(batch, Ok(()));
            }
        }
        assert_eq!(core.counts.told().values["stores_refused"], 2 + 1 + 3);
    }
}
