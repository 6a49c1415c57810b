//! A full disk, few descriptors, clients that never read or never finish, lost files.

use crate::peers::{PATIENCE, Peer, Process, feed, hedgerow, run, until};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

fn connect(peer: &Peer) -> UnixStream {
    let stream = UnixStream::connect(peer.dir.join("api.sock")).expect("connects");
    let patience = Some(PATIENCE);
    stream.set_read_timeout(patience).expect("waits");
    stream.set_write_timeout(patience).expect("waits");
    stream
}

/// A stream of a group's messages that nobody reads yet.
fn subscribe(peer: &Peer, group: &str) -> UnixStream {
    let mut stream = connect(peer);
    let head = format!("GET /v1/groups/{group}/messages HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("is read");
    stream
}

/// The status of an answer and its body, to the end of the connection.
fn answer(stream: &mut UnixStream) -> (u16, Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answers");
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).expect("a status");
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text}"));
    (status.parse().expect("a number"), body)
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

fn metric(peer: &Peer, name: &str) -> u64 {
    let metrics = peer.run("metrics --json").json();
    metrics["counters"]["values"][name].as_u64().expect(name)
}

/// A number from `/proc/PID/status`, in KiB.
fn memory(peer: &Peer, key: &str) -> u64 {
    let path = format!("/proc/{}/status", peer.process.child.id());
    let text = std::fs::read_to_string(path).expect("runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect(key).parse().expect("a number")
}

#[test]
fn readers_that_never_read_cost_little() {
    const READERS: u64 = 24;
    const BYTES: usize = 60 << 20;
    let peer = Peer::start("--join news");
    let mut readers: Vec<UnixStream> = (0..READERS).map(|_| subscribe(&peer, "news")).collect();
    until(|| metric(&peer, "node_subscribers") == READERS);
    // No text: in base64 it is a third longer.
    let file = peer.dir.join("file");
    std::fs::write(&file, vec![0xfe; BYTES]).expect("written");
    peer.run(&format!("pub news --file {}", file.display()))
        .ok();
    until(|| metric(&peer, "node_delivered") == 1);
    // It has begun to be written to all of them, and no more of it finds room.
    let mut before = Vec::new();
    until(|| {
        let unread = |reader: &UnixStream| ioctl_fionread(reader).expect("a socket");
        let now: Vec<u64> = readers.iter().map(unread).collect();
        let is_full = now == before && now.iter().all(|bytes| *bytes > 4096);
        before = now;
        is_full
    });
    let peak = memory(&peer, "VmHWM:") >> 10;
    assert!(peak < 500, "{peak} MiB");

    // One that reads after all gets all of it.
    let mut reader = BufReader::new(readers.remove(0));
    let mut length = 0;
    let mut line = Vec::new();
    while length < BYTES / 3 * 4 {
        line.clear();
        reader.read_until(b'\n', &mut line).expect("goes on");
        assert!(!line.is_empty(), "ended after {length}");
        // Base64 and nothing else: parts of the line, between the sizes of chunks.
        if line.windows(8).any(|part| part == b"/v7+/v7+") {
            length += line.len();
        }
    }
    let peak = memory(&peer, "VmHWM:") >> 10;
    assert!(peak < 500, "{peak} MiB");
    assert_eq!(metric(&peer, "api_streams_cut_off"), 0);
}

#[test]
fn a_reader_that_stands_still_in_a_message_is_cut_off_when_room_is_short() {
    let peer = Peer::start("--join news --set api.stream_bytes_max=3000000");
    let file = peer.dir.join("file");
    let mut stream = subscribe(&peer, "news");
    until(|| metric(&peer, "node_subscribers") == 1);
    for (count, byte) in [(1, b'a'), (2, b'b')] {
        std::fs::write(&file, vec![byte; 2_000_000]).expect("written");
        peer.run(&format!("pub news --file {}", file.display()))
            .ok();
        until(|| metric(&peer, "node_delivered") == count);
    }
    // Another reader needs the room for the second.
    let mut other = Process::spawn(hedgerow(&peer.dir, "join news --last 1 --count 1"));
    assert!(other.line() == "b".repeat(2_000_000), "another message");
    assert_eq!(metric(&peer, "api_streams_cut_off"), 1);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("ends");
    assert!(!all.ends_with(b"0\r\n\r\n"), "ended as if all were said");
}

#[test]
fn a_client_that_has_gone_is_noticed_without_a_message() {
    let peer = Peer::start("");
    let mut reader = peer.join("idle");
    until(|| peer.live_members("idle") == 1);
    reader.stdout = None;
    assert_eq!(reader.code(), 0);
    until(|| peer.live_members("idle") == 0);

    let mut events = Process::spawn(hedgerow(&peer.dir, "events"));
    events.stdout = None;
    assert_eq!(events.code(), 0);

    let stream = subscribe(&peer, "idle");
    until(|| peer.live_members("idle") == 1);
    drop(stream);
    until(|| peer.live_members("idle") == 0);
}

#[test]
fn half_a_request_is_not_waited_for_for_ever() {
    let peer = Peer::start("--set api.request_ms=300");
    let mut stream = connect(&peer);
    stream
        .write_all(b"GET /v1/status HTTP/1.1\r\nHo")
        .expect("is read");
    let (status, body) = answer(&mut stream);
    assert_eq!((status, code(&body)), (408, "request_timeout"));

    let mut stream = connect(&peer);
    let head = "PUT /v1/groups/news/membership HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{";
    stream.write_all(head.as_bytes()).expect("is read");
    let (status, body) = answer(&mut stream);
    assert_eq!((status, code(&body)), (408, "request_timeout"));

    // A connection without any request just ends.
    let mut text = String::new();
    connect(&peer).read_to_string(&mut text).expect("ends");
    assert_eq!(text, "");

    // An upload may pause.
    let mut stream = connect(&peer);
    let head = "POST /v1/groups/news/messages?split=lines HTTP/1.1\r\nHost: x\r\n\
                Connection: close\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("is read");
    stream.write_all(b"a\n").expect("is read");
    std::thread::sleep(std::time::Duration::from_millis(700));
    stream.write_all(b"b\n").expect("is read");
    let (status, body) = answer(&mut stream);
    assert_eq!((status, &body["messages"]), (200, &2.into()));
}

#[test]
fn what_is_too_large_or_unreadable_is_answered_in_json() {
    let peer = Peer::start("--set groups.message_bytes_max=1000");
    // All of a refused body is taken, so that the client comes to read why.
    let large = vec![b' '; 4_000_000];
    for (line, status, word) in [
        ("PUT /v1/groups/news/membership", 413, "body_too_large"),
        ("POST /v1/groups/news/messages", 413, "message_too_large"),
        (
            "POST /v1/groups/news/messages?split=lines",
            413,
            "message_too_large",
        ),
        ("POST /v1/nothing", 404, "no_such_endpoint"),
        (
            "POST /v1/groups/news/messages?spilt=lines",
            400,
            "bad_query",
        ),
    ] {
        let mut stream = connect(&peer);
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            large.len()
        );
        stream.write_all(head.as_bytes()).expect("is read");
        stream.write_all(&large).expect(line);
        let (got, body) = answer(&mut stream);
        assert_eq!((got, code(&body)), (status, word), "{line}");
    }
    // A client that waits to be told to go on is told the end instead.
    let mut stream = connect(&peer);
    let head = "POST /v1/groups/news/messages HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
                Connection: close\r\nContent-Length: 4000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("is read");
    let (status, body) = answer(&mut stream);
    assert_eq!((status, code(&body)), (413, "message_too_large"));

    let path = "x".repeat(70_000);
    for (head, status, word) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "bad_request"),
        (
            "GET /v1/status HTTP/7.3\r\n\r\n".to_owned(),
            400,
            "bad_request",
        ),
        (
            format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n"),
            414,
            "path_too_long",
        ),
        (
            format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nX: {path}{path}\r\n\r\n"),
            431,
            "head_too_large",
        ),
        (
            format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500)),
            431,
            "head_too_large",
        ),
    ] {
        let mut stream = connect(&peer);
        // It may stop reading before the end.
        let _ = stream.write_all(head.as_bytes());
        let (got, body) = answer(&mut stream);
        assert_eq!(
            (got, code(&body)),
            (status, word),
            "{:?}",
            &head[..20.min(head.len())]
        );
        assert!(!body["error"]["remedy"].as_str().expect("a text").is_empty());
    }
}

/// A peer behind `sh`, which does this first.
fn start_after(dir: &Path, preparation: &str) -> Peer {
    Peer::start_with(dir, "", |command| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{preparation}; exec \"$@\""), "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        shell
    })
}

#[test]
fn a_full_disk_changes_nothing_and_is_told() {
    let home = tempfile::tempdir().expect("a temporary directory");
    // A file that must not grow is told by an error, as a full disk is, not by a signal.
    let peer = start_after(&home.path().join("peer"), "trap '' XFSZ");
    peer.run("join news --detach").ok();
    until(|| peer.live_members("news") == 1);
    let limit = |bytes: Option<u64>| {
        let pid = Pid::from_raw(peer.process.child.id().cast_signed());
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).expect("is set");
    };
    let healthy = |expected: &str| {
        let checks = run(&peer.dir, "doctor --json").stdout;
        let checks: Value = serde_json::from_slice(&checks).expect("JSON");
        let mut checks = checks["checks"].as_array().expect("a list").iter();
        let storage = checks.find(|check| check["name"] == "storage");
        assert_eq!(storage.expect("is there")["health"], expected);
    };
    healthy("ok");
    limit(Some(0));
    healthy("fail");
    assert_eq!(peer.run("doctor").code, 1);
    for line in ["join sport --detach", "leave news"] {
        let done = peer.run(line);
        assert_eq!(done.code, 1, "{line}: {}", done.stderr);
        assert!(
            done.stderr.contains("groups.json"),
            "{line}: {}",
            done.stderr
        );
    }
    // Its own record follows within a moment.
    until(|| peer.live_members("sport") == 0);
    assert_eq!(peer.live_members("news"), 1);
    // A member for a stream's sake stays one.
    let reader = peer.join("talk");
    until(|| peer.live_members("talk") == 1);
    assert_eq!(peer.run("join talk --detach").code, 1);
    assert_eq!(peer.live_members("talk"), 1);
    drop(reader);
    until(|| peer.live_members("talk") == 0);

    limit(None);
    healthy("ok");
    peer.run("join sport --detach").ok();
    peer.run("leave news").ok();
    until(|| peer.live_members("sport") == 1);
    until(|| peer.live_members("news") == 0);
}

#[test]
fn with_few_descriptors_the_api_answers() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let peer = start_after(&home.path().join("few"), "ulimit -n 48");
    let mut streams = Vec::new();
    let refused = loop {
        let mut stream = subscribe(&peer, "news");
        let mut reader = BufReader::new(stream.try_clone().expect("again"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("answers");
        if !line.contains(" 200 ") {
            break line;
        }
        streams.push(stream.try_clone().expect("again"));
        stream.flush().expect("is there");
        assert!(streams.len() < 48, "no limit");
    };
    assert!(refused.contains(" 503 "), "{refused}");
    assert!(streams.len() >= 8, "{} streams", streams.len());
    peer.run("status").ok();
    // Connections without a request may take the rest: further ones are told so.
    let idle: Vec<UnixStream> = (0..30).map(|_| connect(&peer)).collect();
    let done = peer.run("status");
    assert!(
        done.code == 0 || done.stderr.contains("connections are open"),
        "{}",
        done.stderr
    );
    drop(idle);
    until(|| peer.run("status").code == 0);
    drop(streams);
    peer.run("join news --last 1 --count 0").ok();
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let peer = start_after(&home.path().join("soft"), "ulimit -Sn 64");
    let path = format!("/proc/{}/limits", peer.process.child.id());
    let limits = std::fs::read_to_string(path).expect("runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut numbers = line.expect("is there")["Max open files".len()..].split_whitespace();
    let (soft, hard) = (numbers.next().expect("soft"), numbers.next().expect("hard"));
    let [soft, hard] = [soft, hard].map(|limit| limit.parse().unwrap_or(u64::MAX));
    assert_eq!(soft, hard.min(65_536));
    let streams: Vec<UnixStream> = (0..100).map(|_| subscribe(&peer, "news")).collect();
    until(|| metric(&peer, "node_subscribers") == 100);
    drop(streams);
}

#[test]
fn a_lost_key_makes_no_new_peer_unasked() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("peer");
    let first = Peer::start_in(&dir, "--join news");
    let id = first.id.clone();
    drop(first);
    let key = dir.join("identity.key");
    std::fs::remove_file(&key).expect("removed");
    let here = "run --listen /ip4/127.0.0.1/tcp/0 --no-mdns";
    let done = run(&dir, here);
    assert_eq!(done.code, 1);
    for words in ["identity.key is missing", "--new-identity"] {
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
    assert!(!key.exists());
    let second = Peer::start_in(&dir, "--new-identity");
    assert_ne!(second.id, id);
    second.await_members("news", 1);
    drop(second);

    std::fs::remove_file(dir.join("groups.json")).expect("removed");
    let done = run(&dir, here);
    assert_eq!(done.code, 1);
    for words in ["groups.json is missing", "--forget-groups"] {
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
    let third = Peer::start_in(&dir, "--forget-groups");
    assert_eq!(third.live_members("news"), 0);
}

#[test]
fn words_say_what_is_wrong() {
    let peer = Peer::start("");
    let mut command = hedgerow(&peer.dir, "pub news -");
    command.stdin(std::fs::File::open(&peer.dir).expect("opens"));
    let output = command.output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("standard input: is a directory"),
        "{stderr}"
    );

    let done = peer.run("leave nosuch");
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("`hedgerow groups`"), "{}", done.stderr);
    assert!(!done.stderr.contains("join"), "{}", done.stderr);
    let done = peer.run("group set nosuch --redundancy 2");
    assert!(
        done.stderr.contains("`hedgerow join nosuch`"),
        "{}",
        done.stderr
    );

    let done = feed(&peer.dir, "pub news", b"a\nb\nc\n").ok();
    assert!(
        done.stderr.contains("3 messages accepted"),
        "{}",
        done.stderr
    );
    let done = peer.run("pub news one").ok();
    assert!(!done.stderr.contains("accepted"), "{}", done.stderr);
}

#[test]
fn group_names_look_like_what_they_are() {
    let peer = Peer::start("");
    let done = peer.run("join ne\u{202e}ws --detach");
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("U+202E"), "{}", done.stderr);
    let mut stream = connect(&peer);
    let head = "PUT /v1/groups/ne%E2%80%AEws/membership HTTP/1.1\r\nHost: x\r\n\
                Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("is read");
    let (status, body) = answer(&mut stream);
    assert_eq!((status, code(&body)), (400, "bad_name"));
}
