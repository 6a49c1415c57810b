//! The names of the groups that records state, by the ids that stand in frames.
//!
//! A bundle names its group by a hash. Finding the name among those of all records would take a hash
//! for each of them, and anybody can sign bundles for groups that nobody is in. So a name is hashed
//! once, when the first record that states it is put in. Names count towards the memory of the
//! records, and go with the last record that states them.

use crate::base::name::{GroupId, GroupName, NetworkName};
use crate::wire::RecordGroup;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a name takes besides its text: its places in both maps, and its head on the heap.
const ENTRY_BYTES: usize = 208;

fn bytes_of(name: &GroupName) -> usize {
    ENTRY_BYTES + name.as_str().len()
}

/// What peers whose databases begin alike share until theirs differ.
#[derive(Clone, Debug, Default)]
struct Names {
    /// The id of each, and how many records state it.
    stated: BTreeMap<GroupName, (GroupId, u32)>,
    by_id: BTreeMap<GroupId, GroupName>,
    /// About how much memory they take.
    bytes: usize,
}

/// The index.
#[derive(Clone, Debug)]
pub(super) struct GroupNames {
    network: NetworkName,
    names: Arc<Names>,
}

impl GroupNames {
    pub(super) fn new(network: NetworkName) -> Self {
        Self {
            network,
            names: Arc::default(),
        }
    }

    #[cfg(any(feature = "warm", test))]
    pub(super) fn network(&self) -> &NetworkName {
        &self.network
    }

    /// About how much memory the names take.
    pub(super) fn bytes(&self) -> usize {
        self.names.bytes
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&GroupName> {
        self.names.by_id.get(&id)
    }

    /// A record that stated the groups `former` has given way to one that states `groups`.
    pub(super) fn replace(&mut self, former: &[RecordGroup], groups: &[RecordGroup]) {
        let names = |groups| <[RecordGroup]>::iter(groups).map(|group| &group.name);
        if names(former).eq(names(groups)) {
            // Nearly all records state the groups of the one before.
            return;
        }
        let Names {
            stated,
            by_id,
            bytes,
        } = Arc::make_mut(&mut self.names);
        for name in names(groups) {
            if let Some((_, count)) = stated.get_mut(name) {
                *count += 1;
            } else {
                let id = GroupId::new(&self.network, name);
                *bytes += bytes_of(name);
                by_id.insert(id, name.clone());
                stated.insert(name.clone(), (id, 1));
            }
        }
        for name in names(former) {
            let Some((id, count)) = stated.get_mut(name) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                *bytes = bytes.saturating_sub(bytes_of(name));
                by_id.remove(id);
                stated.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::Keypair;
    use crate::base::time::Micros;
    use crate::core::config::DatabaseConfig;
    use crate::overlay::records::{Database, Standing};
    use crate::wire::record::{ALGORITHM_VERSION, GroupExt, RecordExt};
    use crate::wire::{Record, SignedRecord};
    use proptest::prelude::*;

    fn name(number: u8) -> GroupName {
        GroupName::new(&format!("group {number}")).expect("valid")
    }

    /// The groups of one record.
    fn groups(numbers: &[u8]) -> Vec<RecordGroup> {
        let groups = numbers.iter().map(|number| RecordGroup {
            name: name(*number),
            role: 1,
            settings_version: 0,
            settings: None,
            ext: GroupExt::default(),
        });
        groups.collect()
    }

    fn index() -> GroupNames {
        GroupNames::new(NetworkName::default())
    }

    fn found(index: &GroupNames, number: u8) -> bool {
        let id = GroupId::new(&NetworkName::default(), &name(number));
        let found = index.get(id);
        assert!(found.is_none_or(|found| *found == name(number)));
        found.is_some()
    }

    #[test]
    fn a_name_is_found_until_the_last_record_that_states_it_is_gone() {
        let mut index = index();
        assert!(!found(&index, 1));
        index.replace(&[], &groups(&[1, 2]));
        index.replace(&[], &groups(&[2]));
        assert!(found(&index, 1) && found(&index, 2));
        index.replace(&groups(&[1, 2]), &groups(&[3]));
        assert!(!found(&index, 1) && found(&index, 2) && found(&index, 3));
        index.replace(&groups(&[2]), &[]);
        assert!(!found(&index, 2) && found(&index, 3));
        index.replace(&groups(&[3]), &[]);
        assert!(index.names.stated.is_empty() && index.names.by_id.is_empty());
        assert_eq!(index.bytes(), 0);
    }

    #[test]
    fn names_are_charged_what_they_take() {
        let records = || {
            (0..10_000_u32).map(|number| {
                let mut groups = groups(&[1]);
                groups[0].name = GroupName::new(&format!("{number:0100}")).expect("valid");
                groups
            })
        };
        let mut index = index();
        // Their texts count, for a name can outlive the record that it came from.
        let info = allocation_counter::measure(|| {
            for groups in records() {
                index.replace(&[], &groups);
            }
        });
        let taken = usize::try_from(info.bytes_current).expect("more than before");
        let charged = index.bytes();
        assert!(charged >= taken, "{taken} bytes, {charged} charged");
        assert!(charged < 2 * taken, "{taken} bytes, {charged} charged");
        for groups in records() {
            index.replace(&groups, &[]);
        }
        assert_eq!(index.bytes(), 0);
    }

    #[test]
    fn a_database_that_began_with_another_changes_alone() {
        let mut first = index();
        first.replace(&[], &groups(&[1]));
        let mut second = first.clone();
        second.replace(&groups(&[1]), &groups(&[1]));
        assert!(Arc::ptr_eq(&first.names, &second.names), "shared");
        second.replace(&groups(&[1]), &groups(&[2]));
        assert!(found(&first, 1) && !found(&first, 2));
        assert!(!found(&second, 1) && found(&second, 2));
    }

    /// A record of a peer that states these groups.
    fn record(peer: u8, version: u64, groups: Vec<RecordGroup>) -> Arc<SignedRecord> {
        let keypair = Keypair::from_secret([peer; 32]);
        let record = Record {
            network: NetworkName::default().hash(),
            peer: keypair.peer(),
            epoch: 1,
            version,
            left: false,
            algorithm: ALGORITHM_VERSION,
            capabilities: 0,
            capacity: 8,
            coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
            addresses: Vec::new(),
            groups,
            links: Vec::new(),
            ext: RecordExt::default(),
        };
        Arc::new(SignedRecord::sign(record, &keypair))
    }

    fn database(bytes_max: usize) -> Database {
        let network = NetworkName::default();
        Database::with(DatabaseConfig::default(), network, bytes_max, Micros(0))
    }

    fn put(database: &mut Database, record: Arc<SignedRecord>) {
        let put = database.replace(record, 0, Micros(0), Standing::Inside, |_| false);
        assert!(put.is_ok());
    }

    #[test]
    fn a_database_finds_the_groups_of_the_records_that_it_holds() {
        let mut database = database(1 << 20);
        put(&mut database, record(1, 1, groups(&[1, 2])));
        put(&mut database, record(2, 1, groups(&[2])));
        assert!(found(&database.group_names, 1) && found(&database.group_names, 2));
        let later = database.begun_at(Micros(5));
        assert!(
            found(&later.group_names, 1),
            "at a peer that begins with it"
        );
        put(&mut database, record(1, 2, groups(&[3])));
        assert!(!found(&database.group_names, 1) && found(&database.group_names, 3));
        let long_after = Micros::from_millis(2 * database.keep_ms());
        database.expire(Keypair::from_secret([2; 32]).peer(), long_after);
        assert!(!found(&database.group_names, 3) && found(&database.group_names, 2));
        database.replace_own(record(2, 2, groups(&[4])), long_after);
        assert!(!found(&database.group_names, 2) && found(&database.group_names, 4));
    }

    #[test]
    fn names_take_room_from_records() {
        let most = 256 << 10;
        let mut database = database(most);
        let mut in_one = 0;
        for peer in 1..100 {
            let mut groups = groups(&[0; 50]);
            for (at, group) in groups.iter_mut().enumerate() {
                group.name = GroupName::new(&format!("{peer} {at:03}")).expect("valid");
            }
            in_one = groups.iter().map(|group| bytes_of(&group.name)).sum();
            let (record, now) = (record(peer, 1, groups), Micros(0));
            let _ = database.replace(record, 0, now, Standing::Inside, |_| false);
        }
        assert!(database.bytes() <= most + in_one, "{}", database.bytes());
        assert!(database.len() >= 5, "{} records", database.len());
    }

    proptest! {
        /// Whatever comes and goes, exactly those are found that a record states.
        #[test]
        fn what_is_found_is_what_records_state(
            changes in prop::collection::vec(
                (0_usize..4, prop::collection::btree_set(0_u8..6, 0..4)), 0..40),
        ) {
            let mut index = index();
            let mut records = vec![Vec::new(); 4];
            for (record, numbers) in changes {
                let numbers: Vec<u8> = numbers.into_iter().collect();
                index.replace(&groups(&records[record]), &groups(&numbers));
                records[record] = numbers;
                for number in 0..6 {
                    let stated = records.iter().any(|groups| groups.contains(&number));
                    prop_assert_eq!(found(&index, number), stated);
                }
                prop_assert_eq!(index.names.stated.len(), index.names.by_id.len());
            }
        }
    }
}
