//! A peer's beginning and end, and what survives it.

use crate::peers::{Peer, hedgerow, run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn socket(ready: &Value) -> &Path {
    let api = ready["api"].as_str().expect("a text");
    Path::new(api.strip_prefix("unix:").expect("a Unix socket"))
}

#[test]
fn a_peer_says_who_it_is_serves_its_owner_only_and_ends_in_good_order() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("peer");
    let mut peer = Peer::start_in(&dir, "--listen /ip4/127.0.0.1/udp/0/quic-v1");
    let keys: Vec<&String> = peer.ready.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["peer", "listen", "api"]);
    let listen = peer.ready["listen"].as_array().expect("a list");
    let address = |index: usize| listen[index].as_str().expect("a text");
    assert_eq!(listen.len(), 2);
    assert!(address(0).starts_with("/ip4/127.0.0.1/tcp/") && !address(0).contains("/tcp/0/"));
    assert!(address(1).contains("/quic-v1/p2p/"));
    assert!(address(0).ends_with(&format!("/p2p/{}", peer.id)));
    assert_eq!(peer.run("id --json").json(), peer.ready);

    let mode = std::fs::metadata(socket(&peer.ready))
        .expect("is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let second = run(&dir, "run --listen /ip4/127.0.0.1/tcp/0 --no-mdns");
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains("in use"), "{}", second.stderr);

    // Streams that are open end with it.
    let reader = peer.join("news");
    peer.run("shutdown").ok();
    assert_eq!(peer.process.code(), 0);
    let done = reader.done();
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("the peer has stopped"),
        "{}",
        done.stderr
    );
    assert!(!socket(&peer.ready).exists());
    assert_eq!(run(&dir, "status").code, 3);
}

#[test]
fn signals_end_a_peer_in_good_order() {
    for signal in ["INT", "TERM"] {
        let mut peer = Peer::start("");
        peer.process.signal(signal);
        assert_eq!(peer.process.code(), 0, "{signal}");
    }
}

#[test]
fn after_sigkill_the_same_peer_comes_back_with_its_groups() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut peer = Peer::start_in(home.path(), "--join sport");
    peer.run("join news --detach --overlay mesh").ok();
    peer.process.signal("KILL");
    peer.process.code();
    assert!(socket(&peer.ready).exists(), "it had no time to clean up");
    assert_eq!(run(home.path(), "status").code, 3);

    let again = Peer::start_in(home.path(), "");
    assert_eq!(again.id, peer.id);
    again.await_members("news", 1);
    again.await_members("sport", 1);
    let groups = again.run("groups --json").json();
    let mut groups = groups["groups"].as_array().expect("a list").iter();
    let news = groups
        .find(|group| group["group"] == "news")
        .expect("is there");
    assert_eq!(news["settings"]["redundancy"], 2);
    again.run("leave news").ok();
    assert_eq!(again.run("leave news").code, 1);
    drop(again);

    let third = Peer::start_in(home.path(), "");
    third.await_members("sport", 1);
    assert_eq!(third.live_members("news"), 0);
}

#[test]
fn where_the_path_is_too_long_the_socket_lies_in_the_runtime_directory() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let runtime = home.path().join("runtime");
    let dir = home.path().join("x".repeat(100));
    let with_runtime = |line: &str| {
        let mut command = hedgerow(&dir, line);
        command.env("XDG_RUNTIME_DIR", &runtime);
        command
    };
    let mut process =
        crate::peers::Process::spawn(with_runtime("run --listen /ip4/127.0.0.1/tcp/0 --no-mdns"));
    let ready: Value = serde_json::from_str(&process.line()).expect("JSON");
    assert!(socket(&ready).starts_with(&runtime), "{ready}");
    let status = with_runtime("id").output().expect("starts");
    assert!(status.status.success());
    // A client with another environment finds it too, but not by a copy of the directory.
    run(&dir, "id").ok();
    let copy = home.path().join("copy");
    std::fs::create_dir(&copy).expect("created");
    std::fs::copy(dir.join("api.path"), copy.join("api.path")).expect("copied");
    assert_eq!(run(&copy, "id").code, 3);
    // A peer that runs there has its socket there.
    let other = Peer::start_in(&copy, "");
    assert_eq!(other.run("id --json").json(), other.ready);
    assert!(!copy.join("api.path").exists());
    process.signal("TERM");
    assert_eq!(process.code(), 0);
}
