//! Two processes with one identity, as a copied data directory makes them.

use crate::peers::{Peer, run, until};
use std::path::Path;
use std::time::{Duration, Instant};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

fn counted(peer: &Peer, name: &str) -> u64 {
    let metrics = peer.run("metrics").ok();
    let prefix = format!("hedgerow_{name}_total ");
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(prefix.as_str()));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[test]
fn of_two_peers_with_one_data_directory_the_first_stops_and_says_why() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (original, copied) = (home.path().join("original"), home.path().join("copy"));
    let neighbour = Peer::start("--join news");
    let line = format!("--join news --connect {}", neighbour.address);
    {
        let peer = Peer::start_in(&original, &line);
        peer.await_members("news", 2);
        peer.run("shutdown").ok();
    }
    copy(&original, &copied);
    let mut first = Peer::start_in(&original, &line);
    first.await_members("news", 2);
    let dials = counted(&neighbour, "dials");
    let begin = Instant::now();
    let second = Peer::start_in(&copied, &line);
    assert_eq!(first.id, second.id);

    assert_eq!(first.process.code(), 1);
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let log = std::fs::read_to_string(original.join("log")).expect("a log");
    let said = log.lines().last().unwrap_or_default();
    let directory = original.display().to_string();
    for part in [
        "two running peers use this identity",
        &first.id,
        &directory,
        second.address.split("/p2p/").next().expect("an address"),
        "--data-dir",
        "--new-identity",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(log.lines().count() < 100, "{log}");
    assert_eq!(run(&original, "status").code, 3);

    // The other one goes on and knows, and so does their neighbour.
    second.await_members("news", 2);
    let published = second.run("pub news x --wait --json").json();
    assert_eq!(published["acknowledged"]["members"], 1, "{published}");
    for peer in [&second, &neighbour] {
        until(|| {
            let status = peer.run("status --json").json();
            let conflicts = status["identity_conflicts"].as_array().expect("a list");
            conflicts
                .iter()
                .any(|other| other["peer"] == first.id.as_str())
        });
    }
    let doctor = second.run("doctor");
    assert_eq!(doctor.code, 1);
    assert!(doctor.text().contains("also used by"), "{}", doctor.text());
    let doctor = neighbour.run("doctor").text().to_owned();
    let named = doctor.contains(&first.id) && doctor.contains("copies of one key");
    assert!(named, "{doctor}");

    std::thread::sleep(Duration::from_secs(10).saturating_sub(begin.elapsed()));
    let dialled = counted(&neighbour, "dials") - dials + counted(&second, "dials");
    assert!(dialled <= 20, "{dialled} dials in 10 s");
}
