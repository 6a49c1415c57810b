use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("valid")
}

#[test]
fn what_is_stored_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a/b");
    let store = Store::open(&path, None).expect("opens");
    let peer = store.identity().peer();
    assert_eq!(store.epoch(), 0);
    store.save_epoch(7).expect("writes");
    store.save_epoch(5).expect("a lower epoch changes nothing");
    let settings = SettingsPatch {
        redundancy: Some(2),
        ..SettingsPatch::default()
    };
    store.save_group(group("news"), settings).expect("writes");
    store.save_group(group("old"), settings).expect("writes");
    store.remove_group(&group("old")).expect("writes");
    let address = Address::new("/ip4/127.0.0.1/tcp/1").expect("valid");
    store
        .save_peers(vec![(peer, vec![address.clone()])])
        .expect("writes");
    store
        .save_peers(Vec::new())
        .expect("an empty network forgets nobody");
    drop(store);

    let store = Store::open(&path, None).expect("opens again");
    assert_eq!(store.identity().peer(), peer);
    assert_eq!(store.epoch(), 7);
    assert_eq!(store.groups(), [(group("news"), settings)]);
    let named = Address::new(&format!("{address}/p2p/{peer}")).expect("valid");
    assert_eq!(store.peer_addresses(), [named]);
}

#[test]
fn an_epoch_that_was_ahead_of_time_is_replaced_by_an_earlier_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None).expect("opens");
    store.save_epoch(9_000).expect("writes");
    store
        .save_earlier_epoch(8, 7_000)
        .expect("another one is stored");
    assert_eq!(store.epoch(), 9_000);
    store.save_earlier_epoch(8, 9_000).expect("writes");
    drop(store);
    assert_eq!(
        Store::open(dir.path(), None).expect("opens again").epoch(),
        8
    );
}

#[test]
fn a_stored_epoch_that_no_peer_believes_is_not_used() {
    for epoch in [u64::MAX, u64::MAX - 1, EPOCH_MAX + 1, EPOCH_MAX] {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(EPOCH), format!("{epoch}\n")).expect("writes");
        let store = Store::open(dir.path(), None).expect("opens");
        assert_eq!(store.epoch(), 0, "{epoch}");
        store.save_epoch(7).expect("writes");
        assert_eq!(store.epoch(), 7);
    }
}

#[test]
fn keys_are_private() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("data");
    drop(Store::open(&path, None).expect("opens"));
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(IDENTITY)), 0o600);

    fs::set_permissions(path.join(IDENTITY), fs::Permissions::from_mode(0o644)).expect("changes");
    drop(Store::open(&path, None).expect("opens"));
    assert_eq!(mode(&path.join(IDENTITY)), 0o600);
}

#[test]
fn a_second_holder_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Store::open(dir.path(), None).expect("opens");
    match Store::open(dir.path(), None) {
        Err(NodeError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("expected the lock to be held, got {other:?}"),
    }
    drop(first);
    Store::open(dir.path(), None).expect("released");
}

#[test]
fn damage_is_named_where_it_matters_and_forgiven_where_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name);
    fs::write(file(EPOCH), "many").expect("writes");
    fs::write(file(PEERS), "[{").expect("writes");
    drop(Store::open(dir.path(), None).expect("opens without epoch and peers"));

    fs::write(file(GROUPS), "[]").expect("writes");
    let error = Store::open(dir.path(), None).expect_err("groups are not to be forgotten");
    assert!(error.to_string().contains(GROUPS), "{error}");
    fs::remove_file(file(GROUPS)).expect("removes");

    fs::write(file(IDENTITY), [8, 1, 0]).expect("writes");
    let error = Store::open(dir.path(), None).expect_err("an identity is not to be replaced");
    assert!(matches!(error, NodeError::Damaged { .. }), "{error}");
}
