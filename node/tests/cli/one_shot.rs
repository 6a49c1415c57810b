//! `join` and `pub` with `--connect` and no running peer.

use crate::peers::{Peer, Process, hedgerow, run};

const HERE: &str = "--listen /ip4/127.0.0.1/tcp/0 --no-mdns";

#[test]
fn publishing_with_a_peer_of_its_own() {
    let peer = Peer::start("--join news");
    let home = tempfile::tempdir().expect("a temporary directory");
    let reader = peer.join("news --count 2");
    let line = format!("pub news hello --connect {} {HERE}", peer.address);
    run(home.path(), &line).ok();
    run(home.path(), &format!("{line} --wait")).ok();
    assert_eq!(reader.done().ok().text(), "hello\nhello\n");
    assert_eq!(run(home.path(), "status").code, 3, "it is gone again");
}

#[test]
fn joining_with_a_peer_of_its_own() {
    let peer = Peer::start("--join news");
    let home = tempfile::tempdir().expect("a temporary directory");
    let line = format!("join news --count 1 --connect {} {HERE}", peer.address);
    let mut reader = Process::spawn(hedgerow(home.path(), &line));
    reader.await_notice("joined news");
    peer.await_members("news", 2);
    peer.run("pub news hello").ok();
    assert_eq!(reader.done().ok().text(), "hello\n");
    peer.await_members("news", 1);
}

#[test]
fn publishing_to_nobody_is_partial() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let line = format!("pub news hello --timeout 500ms --connect /ip4/127.0.0.1/tcp/1 {HERE}");
    let done = run(home.path(), &line);
    assert!(
        [4, 124].contains(&done.code),
        "{}: {}",
        done.code,
        done.stderr
    );
}
