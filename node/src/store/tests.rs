use super::*;
use bytes::Bytes;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("valid")
}

/// Lets a store keep something for the engine.
fn keep(store: &Store, value: &'static [u8]) {
    let key = Bytes::from_static(b"key");
    let value = Bytes::from_static(value);
    let put = StoreOp::Put { key, value };
    store.apply(Namespace::Overlay, vec![put]).expect("writes");
}

/// What it keeps.
fn kept(store: &Store) -> Option<Bytes> {
    store.stored().get(Namespace::Overlay, b"key").cloned()
}

#[test]
fn what_is_stored_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a/b");
    let store = Store::open(&path, None, Lost::default()).expect("opens");
    let peer = store.identity().peer();
    assert_eq!(kept(&store), None);
    keep(&store, b"7");
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

    let store = Store::open(&path, None, Lost::default()).expect("opens again");
    assert_eq!(store.identity().peer(), peer);
    assert_eq!(kept(&store).as_deref(), Some(&b"7"[..]));
    assert_eq!(store.groups(), [(group("news"), settings)]);
    let named = Address::new(&format!("{address}/p2p/{peer}")).expect("valid");
    assert_eq!(store.peer_addresses(), [named]);
}

#[test]
fn keys_are_private() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("data");
    drop(Store::open(&path, None, Lost::default()).expect("opens"));
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(IDENTITY)), 0o600);

    fs::set_permissions(path.join(IDENTITY), fs::Permissions::from_mode(0o644)).expect("changes");
    drop(Store::open(&path, None, Lost::default()).expect("opens"));
    assert_eq!(mode(&path.join(IDENTITY)), 0o600);
}

#[test]
fn a_second_holder_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Store::open(dir.path(), None, Lost::default()).expect("opens");
    match Store::open(dir.path(), None, Lost::default()) {
        Err(NodeError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("expected the lock to be held, got {other:?}"),
    }
    drop(first);
    Store::open(dir.path(), None, Lost::default()).expect("released");
}

#[test]
fn damage_is_named_where_it_matters_and_forgiven_where_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name);
    let open = || Store::open(dir.path(), None, Lost::default());
    drop(open().expect("opens"));
    fs::write(file(PEERS), "[{").expect("writes");
    drop(open().expect("opens without peers"));

    let entries = file(&file_name(Namespace::Overlay));
    fs::write(&entries, "many").expect("writes");
    let error = open().expect_err("what the engine has stored is not to be forgotten");
    let error = error.to_string();
    assert!(error.contains(&entries.display().to_string()), "{error}");
    fs::remove_file(&entries).expect("removes");
    drop(open().expect("opens without it"));

    let groups = fs::read(file(GROUPS)).expect("is there");
    fs::write(file(GROUPS), "[]").expect("writes");
    let error = open().expect_err("groups are not to be forgotten");
    assert!(error.to_string().contains(GROUPS), "{error}");
    fs::write(file(GROUPS), groups).expect("writes");

    for (bytes, words) in [
        (&[8, 1, 0][..], "no ed25519 key"),
        (b"", "it is empty"),
        // A key of another kind: the library would speak of its own features.
        (&[8, 0, 18, 1, 0], "no ed25519 key"),
    ] {
        fs::write(file(IDENTITY), bytes).expect("writes");
        let error = open().expect_err("an identity is not to be replaced");
        assert!(matches!(error, NodeError::Damaged { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(words) && !error.contains("rsa"), "{error}");
    }
}

#[test]
fn a_key_that_is_missing_beside_old_state_is_not_replaced_unasked() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = |new_identity| {
        let lost = Lost {
            new_identity,
            ..Lost::default()
        };
        Store::open(dir.path(), None, lost)
    };
    let first = open(false).expect("a new directory");
    first
        .save_group(group("news"), SettingsPatch::default())
        .expect("writes");
    let peer = first.identity().peer();
    drop(first);
    // The flag replaces no key that is there.
    assert_eq!(open(true).expect("opens").identity().peer(), peer);
    let key = dir.path().join(IDENTITY);
    fs::remove_file(&key).expect("removes");
    let error = open(false).expect_err("the key may only not be mounted");
    assert!(
        matches!(error, NodeError::IdentityMissing { .. }),
        "{error}"
    );
    let error = error.to_string();
    assert!(error.contains(&key.display().to_string()), "{error}");
    assert!(error.contains("--new-identity"), "{error}");
    assert!(!key.exists());
    let second = open(true).expect("as asked for");
    assert_ne!(second.identity().peer(), peer);
    assert!(second.has_group(&group("news")));
    drop(second);
    open(false).expect("the new key is there");
}

#[test]
fn every_flipped_bit_of_the_groups_is_noticed_and_a_missing_file_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join(GROUPS);
    let open = |forget_groups| {
        let lost = Lost {
            forget_groups,
            ..Lost::default()
        };
        Store::open(dir.path(), None, lost)
    };
    let store = open(false).expect("opens");
    keep(&store, b"7");
    store
        .save_group(group("news"), SettingsPatch::default())
        .expect("writes");
    drop(store);
    let right = fs::read(&file).expect("is there");
    for bit in 0..right.len() * 8 {
        let mut bytes = right.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bytes).expect("writes");
        match open(false) {
            Err(error @ NodeError::GroupsLost { .. }) => {
                assert!(error.to_string().contains(GROUPS), "{error}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    for cut in [0, 10, right.len() - 1] {
        fs::write(&file, &right[..cut]).expect("writes");
        open(false).expect_err("cut short");
    }
    fs::remove_file(&file).expect("removes");
    let error = open(false).expect_err("missing").to_string();
    assert!(
        error.contains(GROUPS) && error.contains("--forget-groups"),
        "{error}"
    );
    assert_eq!(open(true).expect("as asked for").groups(), []);
    open(false).expect("begins anew");
    // The flag forgets no groups that can be read.
    fs::write(&file, &right).expect("writes");
    assert_eq!(open(true).expect("opens").groups().len(), 1);
}

#[test]
fn damaged_peers_are_forgotten_not_dialled() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || Store::open(dir.path(), None, Lost::default()).expect("opens");
    let store = open();
    let address = Address::new("/ip4/127.0.0.1/tcp/1").expect("valid");
    let peer = store.identity().peer();
    store
        .save_peers(vec![(peer, vec![address])])
        .expect("writes");
    drop(store);
    assert_eq!(open().peer_addresses().len(), 1);
    let file = dir.path().join(PEERS);
    let text = fs::read_to_string(&file).expect("is there");
    fs::write(&file, text.replace("tcp/1", "tcp/3")).expect("writes");
    assert_eq!(open().peer_addresses(), []);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for mode in [0o770, 0o707, 0o720, 0o1777] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("changes");
        let error = Store::open(dir.path(), None, Lost::default()).expect_err("open to others");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("changes");
    Store::open(dir.path(), None, Lost::default()).expect("only readable");
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None, Lost::default()).expect("opens");
    store
        .save_group(group("news"), SettingsPatch::default())
        .expect("writes");
    store.probe().expect("takes what is to be stored");
    // No file can take the place of a directory.
    let blocked = |name: &str| dir.path().join(format!(".{name}.new"));
    for name in [GROUPS, "probe"] {
        fs::create_dir(blocked(name)).expect("creates");
    }
    store.probe().expect_err("not even that");
    store
        .save_group(group("sport"), SettingsPatch::default())
        .expect_err("not written");
    store.remove_group(&group("news")).expect_err("not written");
    assert_eq!(store.groups(), [(group("news"), SettingsPatch::default())]);
    let other = SettingsPatch {
        redundancy: Some(2),
        ..SettingsPatch::default()
    };
    store
        .update_group(&group("sport"), other)
        .expect("nothing to be written");
    assert!(!store.has_group(&group("sport")));
}
