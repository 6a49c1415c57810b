//! Publishing and joining between processes.

use crate::peers::{Peer, hedgerow};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn what_one_publishes_the_other_prints() {
    let (first, second) = Peer::pair();
    let reader = second.join("news --count 5");
    first.run("pub news one").ok();
    first
        .feed("pub news", b"two\n\nfour\nlast without line feed")
        .ok();
    let done = reader.done().ok();
    assert_eq!(done.text(), "one\ntwo\n\nfour\nlast without line feed\n");
}

#[test]
fn bytes_come_as_they_were_and_large_ones_whole() {
    let (first, second) = Peer::pair();
    let file = first.dir.join("file");
    let content: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|n| (n ^ (n >> 7)).to_le_bytes())
        .collect();
    std::fs::write(&file, &content).expect("written");
    let reader = second.join("news --count 1 --raw");
    first
        .run(&format!("pub news --file {} --wait", file.display()))
        .ok();
    assert!(reader.done().ok().stdout == content, "other bytes");

    // The same again from what is retained; a file can be cut as well.
    assert!(first.run("join news --last 1 --count 1 --raw").ok().stdout == content);
    std::fs::write(&file, b"a\r\nb\n").expect("written");
    let reader = second.join("news --count 2 --raw");
    first
        .run(&format!("pub news --file {} --split lines", file.display()))
        .ok();
    assert_eq!(reader.done().ok().stdout, b"a\rb");
}

#[test]
fn json_lines_have_the_documented_keys() {
    let (first, second) = Peer::pair();
    let mut reader = second.join("news --jsonl");
    first.run("pub news text").ok();
    first.feed("pub news --split none", b"\xff\xfe\n").ok();
    let line: Value = serde_json::from_str(&reader.line()).expect("JSON");
    let keys: Vec<&String> = line.as_object().expect("an object").keys().collect();
    let expected = [
        "group",
        "origin",
        "epoch",
        "seq",
        "published_at",
        "encoding",
        "payload",
    ]
    .as_slice();
    assert_eq!(&keys[..expected.len()], expected);
    assert_eq!(line["group"], "news");
    assert_eq!(line["origin"].as_str(), Some(first.id.as_str()));
    assert_eq!(line["seq"], 1);
    assert_eq!(line["encoding"], "utf8");
    assert_eq!(line["payload"], "text");
    let line: Value = serde_json::from_str(&reader.line()).expect("JSON");
    assert_eq!(line["seq"], 2);
    assert_eq!(line["encoding"], "base64");
    assert_eq!(line["payload"], "//4K");
    // Interrupted, it ends well; the membership was held by `--join` and stays.
    reader.signal("INT");
    assert_eq!(reader.code(), 0);
    assert_eq!(second.live_members("news"), 2);
}

#[test]
fn headers_come_with_their_messages() {
    let (first, second) = Peer::pair();
    let mut reader = second.join("news --jsonl");
    first
        .feed("pub news --header id=42 --header note=a=b", b"one\ntwo\n")
        .ok();
    first.run("pub news three").ok();
    for (text, headers) in [
        ("one", serde_json::json!({"id": "42", "note": "a=b"})),
        ("two", serde_json::json!({"id": "42", "note": "a=b"})),
        ("three", Value::Null),
    ] {
        let line: Value = serde_json::from_str(&reader.line()).expect("JSON");
        assert_eq!(
            (&line["payload"], &line["headers"]),
            (&text.into(), &headers)
        );
    }
    reader.signal("INT");
    for wrong in ["noequals", "Upper=1", "=1"] {
        let refused = first.run(&format!("pub news --header {wrong} text"));
        assert_eq!(refused.code, 2, "{wrong}");
        assert!(refused.stderr.contains("--header"), "{}", refused.stderr);
    }
}

#[test]
fn time_counts_and_history() {
    let peer = Peer::start("");
    let begin = std::time::Instant::now();
    let none = peer.run("join news --count 1 --timeout 300ms");
    assert_eq!(none.code, 124, "{}", none.stderr);
    assert!(begin.elapsed().as_millis() >= 300);
    peer.run("join news --detach").ok();
    peer.feed("pub news -", b"1\n2\n3\n4\n").ok();
    assert_eq!(
        peer.run("join news --last 2 --count 2").ok().text(),
        "3\n4\n"
    );
    assert_eq!(
        peer.run("join news --since 1m --count 4").ok().text(),
        "1\n2\n3\n4\n"
    );
    assert_eq!(peer.run("join news --count 0").ok().text(), "");
}

#[test]
fn an_attached_member_leaves_with_its_last_stream() {
    let (first, second) = Peer::pair();
    let one = second.join("sport");
    let two = second.join("sport");
    first.run("join sport --detach").ok();
    first.await_members("sport", 2);
    drop(one);
    first.run("pub sport still --wait").ok();
    assert_eq!(first.live_members("sport"), 2);
    drop(two);
    first.await_members("sport", 1);
}

#[test]
fn a_sender_is_heard_and_hears_nothing() {
    let (first, second) = Peer::pair();
    let mut reader = first.join("sport");
    second.run("pub sport goal").ok();
    assert_eq!(reader.line(), "goal");
    let members = second.run("members sport --json").json();
    let members = members["members"].as_array().expect("a list");
    let role = |id: &str| {
        let member = members.iter().find(|member| member["peer"] == id);
        member.map(|member| member["role"].clone())
    };
    assert_eq!(role(&first.id), Some("member".into()));
    assert_eq!(role(&second.id), Some("sender".into()));
}

#[test]
fn broadcasts_reach_every_peer_that_listens() {
    let (first, second) = Peer::pair();
    let reader = second.join("broadcast --count 2");
    first.run("broadcast everyone").ok();
    first.run("pub broadcast again").ok();
    assert_eq!(reader.done().ok().text(), "everyone\nagain\n");
}

#[test]
fn a_closed_pipe_ends_a_reader_quietly() {
    let peer = Peer::start("");
    let mut reader = peer.join("news");
    peer.run("pub news first").ok();
    assert_eq!(reader.line(), "first");
    reader.stdout = None;
    peer.run("pub news second").ok();
    let done = reader.done();
    assert_eq!(done.code, 0);
    assert!(!done.stderr.contains("error"), "{}", done.stderr);
}

#[test]
fn waiting_names_members_that_vanished() {
    let (first, second) = Peer::pair();
    let waited = first.run("pub news before --wait --json").json();
    assert_eq!(waited["messages"], 1);
    assert_eq!(waited["acknowledged"]["missing"], serde_json::json!([]));
    second.process.signal("STOP");
    let partial = first.run("pub news after --wait");
    second.process.signal("CONT");
    assert_eq!(partial.code, 4, "{}", partial.stderr);
    assert!(partial.stderr.contains(&second.id), "{}", partial.stderr);
}

#[test]
fn many_messages_are_waited_for_at_once() {
    let (first, second) = Peer::pair();
    let input = "x\n".repeat(3_000);
    let done = first.feed("pub news --wait --json", input.as_bytes());
    let published = done.json();
    assert_eq!(published["messages"], 3_000);
    let expected = serde_json::json!({
        "members": 1, "holders": [second.id], "missing": [], "timed_out": false
    });
    assert_eq!(published["acknowledged"], expected);
    assert_eq!(published["others"], 1);
}

#[test]
fn publishing_to_nobody_says_so_and_is_no_success_when_waited_for() {
    let (first, second) = Peer::pair();
    let typo = first.run("pub nwes x").ok();
    let said = "nobody else is in group nwes (did you mean news?)";
    assert!(typo.stderr.contains(said), "{}", typo.stderr);
    let waited = first.run("pub nwes x --wait --json");
    assert_eq!(waited.code, 4, "{}", waited.stderr);
    assert!(
        waited.stderr.contains("did you mean news?"),
        "{}",
        waited.stderr
    );
    let published: Value = serde_json::from_slice(&waited.stdout).expect("JSON");
    assert_eq!(published["others"], 0);
    assert_eq!(published["similar"], "news");
    assert_eq!(published["acknowledged"]["members"], 0);
    let allowed = first.run("pub nwes x --wait --allow-nobody").ok();
    assert!(allowed.stderr.contains(said), "{}", allowed.stderr);
    let meant = first.run("pub news x --wait").ok();
    assert!(!meant.stderr.contains("nobody"), "{}", meant.stderr);
    drop(second);
    let alone = Peer::start("");
    let broadcast = alone.run("broadcast x --wait");
    assert_eq!(broadcast.code, 4, "{}", broadcast.stderr);
    let said = "nobody else is in the network";
    assert!(broadcast.stderr.contains(said), "{}", broadcast.stderr);
}

/// Its links flap, so records leave it out for a while.
#[test]
fn a_member_that_was_restarted_again_and_again_is_waited_for() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let first = Peer::start("--join news");
    let line = format!("--join news --connect {}", first.address);
    for _ in 0..10 {
        let mut peer = Peer::start_in(home.path(), &line);
        std::thread::sleep(std::time::Duration::from_millis(500));
        peer.process.signal("KILL");
        peer.process.code();
    }
    let second = Peer::start_in(home.path(), &line);
    let links = |peer: &Peer| peer.run("status --json").json()["links"].clone();
    crate::peers::until(|| links(&first) == 1 && links(&second) == 1);
    std::thread::sleep(std::time::Duration::from_millis(500));
    for (publisher, other) in [(&first, &second), (&second, &first)] {
        let published = publisher.run("pub news x --wait --json").json();
        let holders = &published["acknowledged"]["holders"];
        assert_eq!(*holders, serde_json::json!([other.id]), "{published}");
    }
}

#[test]
fn waiting_ends_by_the_time_given() {
    let (first, second) = Peer::pair();
    second.process.signal("STOP");
    let late = first.run("pub news late --wait --timeout 200ms");
    second.process.signal("CONT");
    assert_eq!(late.code, 124, "{}", late.stderr);
}

#[test]
fn settings_are_changed_for_all_and_others_are_refused() {
    let (first, second) = Peer::pair();
    first
        .run("group set news --overlay mesh --redundancy 3")
        .ok();
    let redundancy = || {
        let groups = second.run("groups --json").json();
        let mut groups = groups["groups"].as_array().expect("a list").iter();
        let news = groups
            .find(|group| group["group"] == "news")
            .expect("is there");
        news["settings"]["redundancy"].as_u64()
    };
    crate::peers::until(|| redundancy() == Some(3));
    let refused = second.run("join news --overlay tree --json");
    assert_eq!(refused.code, 1);
    let body: Value = serde_json::from_str(refused.stderr.lines().last().expect("a line"))
        .expect("an error in JSON");
    assert_eq!(body["error"]["code"], "settings_differ");
    assert_eq!(
        body["error"]["message"],
        "the group exists with other settings: overlay mesh, redundancy 3, order fifo, \
         retention 5m, retention-bytes 67108864"
    );
    let refused = second.run("join news --overlay tree");
    assert_eq!(refused.stderr.matches("group set").count(), 1);
}

#[test]
fn a_message_over_the_limit_is_refused_and_those_before_it_are_published() {
    let peer = Peer::start("--join news --set groups.message_bytes_max=1000");
    let mut input = b"fine\n".to_vec();
    input.extend(vec![b'x'; 3_000_000]);
    let mut command = hedgerow(&peer.dir, "pub news");
    let mut child = command.stdin(Stdio::piped()).spawn().expect("starts");
    // It may stop reading before the end.
    let _ = std::io::Write::write_all(&mut child.stdin.take().expect("piped"), &input);
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("groups.message_bytes_max"), "{stderr}");
    assert!(stderr.contains("1 message was accepted before"), "{stderr}");
    assert_eq!(
        peer.run("join news --last 9 --count 1").ok().text(),
        "fine\n"
    );
}
