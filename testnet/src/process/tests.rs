//! The harness against a stand-in for `hedgerow`.

use super::*;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(10);

fn fake() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/process/fake-hedgerow.sh")
}

fn plan(dir: &TempDir, more: &[&str]) -> PeerPlan {
    PeerPlan {
        name: "peer-001".to_owned(),
        data_dir: dir.path().join("peer-001"),
        log_dir: dir.path().join("logs"),
        network: "test".to_owned(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        connect: Vec::new(),
        join: vec!["news".to_owned()],
        more: more.iter().map(Into::into).collect(),
        lifetime: Lifetime::Owned,
        ready_within: LIMIT,
    }
}

fn fleet(dir: &TempDir, lifetime: Lifetime) -> Fleet {
    Fleet::new(FleetPlan {
        binary: fake(),
        dir: dir.path().to_owned(),
        network: "test".to_owned(),
        join: Vec::new(),
        lifetime,
        ready_within: LIMIT,
    })
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[tokio::test]
async fn a_peer_is_ready_when_it_says_so_and_leaves_when_asked() {
    let dir = temp();
    let mut peer = Peer::start(&fake(), plan(&dir, &[])).await.expect("starts");
    let process = peer.process().expect("runs");
    assert_eq!(peer.ready().peer, format!("peer-of-{}", process.pid));
    assert!(peer.stop(LIMIT).await.expect("stops"), "left by itself");
    assert!(!process.is_alive());
    assert!(dir.path().join("peer-001/left").is_file());
    let arguments =
        std::fs::read_to_string(dir.path().join("peer-001/arguments")).expect("written");
    assert_eq!(
        arguments.trim(),
        "--network test --no-mdns --listen /ip4/127.0.0.1/tcp/0 --join news"
    );
}

#[tokio::test]
async fn a_peer_that_ignores_the_request_is_killed() {
    let dir = temp();
    let mut peer = Peer::start(&fake(), plan(&dir, &["--stubborn"]))
        .await
        .expect("starts");
    let process = peer.process().expect("runs");
    let grace = Duration::from_millis(200);
    assert!(!peer.stop(grace).await.expect("stops"), "had to be killed");
    assert!(!process.is_alive());
}

#[tokio::test]
async fn a_killed_peer_comes_back_as_another_process_with_its_data_directory() {
    let dir = temp();
    let mut peer = Peer::start(&fake(), plan(&dir, &[])).await.expect("starts");
    let before = peer.process().expect("runs");
    peer.kill().await.expect("killed");
    assert!(!peer.is_alive());
    assert!(matches!(peer.pause(), Err(ProcessError::NotRunning { .. })));
    peer.restart().await.expect("starts again");
    let after = peer.process().expect("runs again");
    assert_ne!(before, after);
    assert!(
        !dir.path().join("peer-001/left").exists(),
        "SIGKILL leaves no time for a goodbye"
    );
}

#[tokio::test]
async fn a_paused_peer_is_alive_and_can_still_be_stopped() {
    let dir = temp();
    let mut peer = Peer::start(&fake(), plan(&dir, &[])).await.expect("starts");
    peer.pause().expect("paused");
    assert!(peer.is_alive());
    assert!(
        peer.stop(LIMIT).await.expect("stops"),
        "continued, then left by itself"
    );
}

#[tokio::test]
async fn failures_to_start_say_what_the_peer_said() {
    let dir = temp();
    let error = Peer::start(&fake(), plan(&dir, &["--fail"]))
        .await
        .expect_err("ends at once");
    assert!(matches!(&error, ProcessError::EndedEarly { .. }), "{error}");
    assert!(error.to_string().contains("no such interface"), "{error}");
    let error = Peer::start(&fake(), plan(&dir, &["--garble"]))
        .await
        .expect_err("no ready line");
    assert!(
        matches!(error, ProcessError::BadReadyLine { .. }),
        "{error}"
    );
    let mut mute = plan(&dir, &["--mute"]);
    mute.ready_within = Duration::from_millis(200);
    let error = Peer::start(&fake(), mute).await.expect_err("never ready");
    assert!(matches!(error, ProcessError::NotReady { .. }), "{error}");
}

#[tokio::test]
async fn a_fleet_bootstraps_from_its_first_peer_and_is_gone_when_dropped() {
    let dir = temp();
    let mut fleet = fleet(&dir, Lifetime::Owned);
    let mut heard = 0;
    fleet.grow(3, |_| heard += 1).await.expect("starts");
    fleet.grow(1, |_| heard += 1).await.expect("grows");
    assert_eq!(heard, 4);
    let first = fleet.peers()[0].ready().listen[0].clone();
    for peer in &fleet.peers()[1..] {
        assert_eq!(peer.plan().connect.as_slice(), std::slice::from_ref(&first));
    }
    let processes: Vec<ProcessId> = fleet.peers().iter().filter_map(Peer::process).collect();
    assert_eq!(processes.len(), 4);
    drop(fleet);
    assert!(processes.iter().all(|process| !process.is_alive()));
}

#[tokio::test]
async fn a_detached_peer_outlives_its_handle_once_released_and_not_before() {
    let dir = temp();
    let mut held = fleet(&dir, Lifetime::Detached);
    held.grow(1, |_| ()).await.expect("starts");
    let process = held.peers()[0].process().expect("runs");
    drop(held);
    assert!(!process.is_alive());

    let mut released = fleet(&dir, Lifetime::Detached);
    released.grow(1, |_| ()).await.expect("starts");
    let processes: Vec<ProcessId> = released
        .release()
        .into_iter()
        .filter_map(Peer::release)
        .collect();
    assert!(processes[0].is_alive());
    assert!(processes[0].stop(LIMIT).await.expect("stops"));
}

#[tokio::test]
async fn a_number_used_again_is_not_taken_for_the_process() {
    let this = ProcessId::of(std::process::id());
    assert!(this.is_alive());
    let other = ProcessId {
        started: this.started.map(|at| at + 1),
        ..this
    };
    if other.started.is_some() {
        assert!(!other.is_alive());
    }
    other
        .signal(rustix::process::Signal::KILL)
        .expect("nobody is hit");
}

/// Answers every call at `socket` with `body`, like a peer's API, as long as the test runs.
fn serve(socket: &Path, body: &'static str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
}

#[tokio::test]
async fn members_are_waited_for_and_the_last_sight_is_told() {
    let dir = temp();
    let mut fleet = fleet(&dir, Lifetime::Owned);
    fleet.grow(2, |_| ()).await.expect("starts");
    let groups = concat!(
        r#"{"groups":[{"group":"news","role":"member","joined":true,"members":2},"#,
        r#"{"group":null,"role":"relay","joined":false,"members":0}]}"#
    );
    for peer in fleet.peers() {
        serve(peer.api().socket(), groups);
    }
    fleet
        .until_joined(&["news"], 2, LIMIT)
        .await
        .expect("two members");
    let short = Duration::from_millis(50);
    let error = fleet
        .until_joined(&["news"], 3, short)
        .await
        .expect_err("never three");
    assert!(
        error.to_string().contains("2 peers short, peer-00"),
        "{error}"
    );
    let error = fleet
        .until_joined(&["olds"], 1, short)
        .await
        .expect_err("no such group");
    assert!(error.to_string().contains("not in olds"), "{error}");
}

#[tokio::test]
async fn the_api_streams_messages() {
    let dir = temp();
    let peer = Peer::start(&fake(), plan(&dir, &[])).await.expect("starts");
    let line = concat!(
        r#"{"type":"message","group":"g","origin":"o","epoch":1,"seq":1,"published_at":0,"#,
        r#""encoding":"utf8","payload":"hello","hops":1,"arrival":"pushed"}"#,
        "\n"
    );
    serve(peer.api().socket(), line);
    let mut stream = peer.api().join("g", "last=3").await.expect("joins");
    let first = message(stream.next().await);
    assert_eq!(
        (first.payload.as_slice(), first.hops, first.pulled),
        (&b"hello"[..], 1, false)
    );
    assert!(stream.next().await.expect("ends well").is_none());
}

fn message(heard: Result<Option<Heard>, ProcessError>) -> Received {
    match heard {
        Ok(Some(Heard::Message(message))) => message,
        other => panic!("a message was due: {other:?}"),
    }
}

#[tokio::test]
async fn messages_come_as_bytes_and_a_broken_stream_says_why() {
    let dir = temp();
    let cli = Cli::new(&fake(), dir.path());
    let mut stream = cli.join("whole", &[]).expect("starts");
    let first = message(stream.next().await);
    assert_eq!((first.seq, first.payload.as_slice()), (1, &b""[..]));
    let second = message(stream.next().await);
    assert_eq!(
        (second.seq, second.payload.as_slice()),
        (2, &b"\xff\x00"[..])
    );
    assert!(stream.next().await.expect("ends well").is_none());

    let mut stream = cli.join("broken", &[]).expect("starts");
    stream.next().await.expect("readable");
    stream.next().await.expect("readable");
    let error = stream.next().await.expect_err("exit code 1");
    assert!(error.to_string().contains("overtaken"), "{error}");
}

#[tokio::test]
async fn a_command_that_fails_shows_what_it_said() {
    let dir = temp();
    let cli = Cli::new(&fake(), dir.path());
    let error = cli.text(&["prune"]).await.expect_err("exit code 2");
    assert!(
        error.to_string().contains("unknown command prune"),
        "{error}"
    );
    let error = cli
        .json::<u32>(&["groups"])
        .await
        .expect_err("not a number");
    assert!(matches!(error, ProcessError::BadOutput { .. }), "{error}");
}

#[test]
fn the_program_beside_comes_before_the_path() {
    let beside = temp();
    let elsewhere = temp();
    let path = std::env::join_paths([elsewhere.path()]).expect("no colon");
    assert_eq!(binary::find_in("hedgerow", beside.path(), &path), None);
    let far = elsewhere.path().join("hedgerow");
    std::fs::write(&far, "").expect("written");
    assert_eq!(binary::find_in("hedgerow", beside.path(), &path), Some(far));
    let near = beside.path().join("hedgerow");
    std::fs::write(&near, "").expect("written");
    assert_eq!(
        binary::find_in("hedgerow", beside.path(), &path),
        Some(near.clone())
    );
    let deps = beside.path().join("deps");
    assert_eq!(binary::find_in("hedgerow", &deps, &path), Some(near));
}
