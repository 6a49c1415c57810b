//! The API as any HTTP client sees it, and the commands that show what it says.

use crate::peers::Peer;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// A request as `curl` would send it; the status and the body.
fn request(peer: &Peer, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(peer.dir.join("api.sock")).expect("connects");
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("is read");
    // An answer may come before everything is read.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .expect("a status")
        .parse()
        .expect("a number");
    (status, body.to_owned())
}

#[test]
fn mistakes_are_answered_with_a_code_and_a_remedy() {
    let peer = Peer::start("--set api.body_bytes_max=1000");
    let large = vec![b' '; 5_000];
    let cases: [(&str, &[u8], u16, &str); 13] = [
        ("GET /v1/nothing", b"", 404, "no_such_endpoint"),
        ("POST /v1/status", b"", 405, "method_not_allowed"),
        ("PUT /v1/groups/news/membership", b"{", 400, "bad_body"),
        (
            "PUT /v1/groups/news/membership",
            b"{\"overlaid\":1}",
            422,
            "bad_body",
        ),
        (
            "PUT /v1/groups/news/membership",
            &large,
            413,
            "body_too_large",
        ),
        ("PUT /v1/groups/a%0Ab/membership", b"", 400, "bad_name"),
        ("DELETE /v1/groups/news/membership", b"", 404, "not_member"),
        ("PATCH /v1/groups/news", b"{}", 400, "bad_request"),
        (
            "GET /v1/groups/news/messages?lasst=3",
            b"",
            400,
            "bad_query",
        ),
        ("GET /v1/status?x=1", b"", 400, "bad_query"),
        (
            "PATCH /v1/groups/news?redundancy=3",
            b"{}",
            400,
            "bad_query",
        ),
        (
            "GET /v1/groups/news/messages?last=3&since=1m",
            b"",
            400,
            "bad_request",
        ),
        ("GET /v1/groups/news/members", b"", 404, "no_such_group"),
    ];
    for (head, body, status, code) in cases {
        let (got, answer) = request(&peer, head, body);
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{head}"
        );
        for key in ["message", "remedy"] {
            let text = answer["error"][key].as_str().expect("a text");
            assert!(!text.is_empty(), "{head} says no {key}");
        }
    }
    // A query's mistake is named, and what could have been meant.
    for (head, words) in [
        ("GET /v1/status?x=1", ["`x`", "takes no query"].as_slice()),
        (
            "GET /v1/groups/news/messages?lasst=3",
            &["`lasst`", "`last`", "`since`", "`overlay`"],
        ),
        (
            "GET /v1/groups/news/overlay?to=me",
            &["`to`", "`origin`", "`format`"],
        ),
        (
            "POST /v1/groups/news/trace?time=1s",
            &["`time`", "`timeout`"],
        ),
        (
            "POST /v1/groups/news/messages?spilt=lines",
            &["`spilt`", "`split`", "`wait`"],
        ),
    ] {
        let (status, answer) = request(&peer, head, b"");
        assert_eq!(status, 400, "{head}: {answer}");
        for word in words {
            assert!(
                answer.contains(word),
                "{head} does not say {word}: {answer}"
            );
        }
    }
    assert_eq!(request(&peer, "GET /v1/status?", b"").0, 200);
    peer.run("status").ok();
}

#[test]
fn what_the_commands_do_any_client_can_do() {
    let peer = Peer::start("");
    let (status, body) = request(&peer, "PUT /v1/groups/news/membership", b"");
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"group":"news","member":true,"joined":true}"#)
    );
    let (status, body) = request(
        &peer,
        "POST /v1/groups/news/messages?split=lines",
        b"a\nb\n",
    );
    assert_eq!(status, 200, "{body}");
    let published: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&published["messages"], &published["bytes"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(published["last"]["seq"], 2);
    assert_eq!(
        peer.run("join news --last 2 --count 2").ok().text(),
        "a\nb\n"
    );
    let (status, _) = request(&peer, "DELETE /v1/groups/news/membership", b"");
    assert_eq!(status, 200);
    let (status, body) = request(&peer, "GET /v1/config", b"");
    assert_eq!(status, 200);
    assert!(
        body.contains(r#"{"key":"mdns","value":false,"origin":"flag --no-mdns"}"#),
        "{body}"
    );
}

#[test]
fn members_lists_self_and_others() {
    let (first, second) = Peer::pair();
    let answer = first.run("members news --json").json();
    assert_eq!(answer["group"], "news");
    let members = answer["members"].as_array().expect("a list");
    assert_eq!(members.len(), 2);
    for member in members {
        let is_self = member["peer"] == json!(first.id);
        assert!(is_self || member["peer"] == json!(second.id));
        assert_eq!(member["self"], json!(is_self));
        assert_eq!(member["state"], "live");
    }
    assert!(first.run("members news").ok().text().contains(&second.id));
    assert!(first.run("members").ok().text().contains(&second.id));
}

#[test]
fn commands_show_the_peer_its_links_and_overlays() {
    let (first, second) = Peer::pair();
    let status = first.run("status --json").json();
    assert_eq!(status["peer"], json!(first.id));
    assert_eq!(
        (&status["links"], &status["view_peers"]),
        (&json!(1), &json!(2))
    );
    let links = first.run("links --json").json();
    assert_eq!(links["links"][0]["peer"], json!(second.id));
    for line in ["status", "links", "groups", "overlay news", "doctor"] {
        assert!(!first.run(line).ok().text().is_empty(), "{line}");
    }

    let overlay = first.run("overlay news --json").json();
    assert_eq!(overlay["origin"], json!(first.id));
    assert_eq!(overlay["nodes"].as_array().expect("a list").len(), 2);
    let from_second = first.run(&format!(
        "overlay news --format json --origin {}",
        second.id
    ));
    assert_eq!(from_second.json()["origin"], json!(second.id));
    let dot = first.run("overlay news --format dot").ok();
    assert!(
        dot.text().starts_with("digraph") && dot.text().contains("->"),
        "{}",
        dot.text()
    );
    let graphml = first.run("overlay news --format graphml").ok();
    assert!(graphml.text().contains("<graphml") && graphml.text().contains("<edge"));
    assert_eq!(first.run("overlay elsewhere").code, 1);

    let trace = first.run("trace news --json").ok();
    let lines: Vec<Value> = trace
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2, "{}", trace.text());
    assert_eq!(lines[0]["path"], json!([first.id, second.id]));
    assert_eq!(lines[1]["missing"], json!([]));
    assert!(first.run("trace news").ok().text().contains(&second.id));

    let pong = first.run(&format!("ping {} --json", second.id)).json();
    assert_eq!(pong["peer"], json!(second.id));
    assert_eq!(pong["hops"], json!(1));
    assert!(pong["round_trip_us"].as_u64().expect("a time") > 0);
    let twice = first.run(&format!("ping {} --count 2", second.id)).ok();
    assert_eq!(
        twice.text().matches("1 link").count(),
        2,
        "{}",
        twice.text()
    );
    let own = first.run(&format!("ping {}", first.id));
    assert_eq!(own.code, 1, "{}", own.stderr);
    assert!(own.stderr.contains("itself"), "{}", own.stderr);
    let body = format!(r#"{{"peer":"{}"}}"#, second.id);
    let (status, answer) = request(&first, "POST /v1/ping", body.as_bytes());
    assert_eq!(status, 200, "{answer}");
    let stranger = r#"{"peer":"12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"}"#;
    let (status, answer) = request(&first, "POST /v1/ping", stranger.as_bytes());
    assert_eq!(status, 404, "{answer}");
    assert!(answer.contains("unknown_peer"), "{answer}");

    let checks = first.run("doctor --json").json();
    let healthy = |check: &Value| check["health"] != "fail";
    assert!(
        checks["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .all(healthy),
        "{checks}"
    );
}

#[test]
fn metrics_have_the_documented_names() {
    let (first, second) = Peer::pair();
    first.run("pub news text --wait").ok();
    let text = first.run("metrics").ok();
    let series = |name: &str| text.text().lines().any(|line| line.starts_with(name));
    for name in [
        "hedgerow_build{peer=\"12D3Koo",
        "hedgerow_links 1",
        "hedgerow_view_peers 2",
        &format!(
            "hedgerow_link_queue_bytes{{peer=\"{}\",queue=\"control\"}} ",
            second.id
        ),
        "hedgerow_link_bytes_total{",
        "hedgerow_group_members{group=\"news\"} 2",
        "hedgerow_group_delivered_total{group=\"news\"} 1",
        "hedgerow_node_verify_jobs_total ",
        "# EOF",
    ] {
        assert!(series(name), "no {name} in\n{}", text.text());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");
    let documented = std::fs::read_to_string(path).expect("docs/api.md");
    let shown = text
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in shown.filter_map(|line| line.split_once(' ')) {
        let name = match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        };
        assert!(
            documented.contains(&format!("`{name}`")),
            "docs/api.md lacks {name}"
        );
    }
    let json = first.run("metrics --json").json();
    assert_eq!(json["status"]["peer"], json!(first.id));
}

/// The examples of docs/api.md, those that end something last.
fn examples() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");
    let text = std::fs::read_to_string(path).expect("docs/api.md");
    let examples = text
        .lines()
        .filter_map(|line| line.get(line.find("curl -s")?..));
    let mut examples: Vec<String> = examples
        .map(|line| line.split(" | dot").next().unwrap_or_default().to_owned())
        .collect();
    examples.sort_by_key(|line| {
        let ranks = ["-X PUT", "DELETE", "shutdown"];
        ranks
            .iter()
            .position(|word| line.contains(word))
            .map_or(1, |rank| rank * 2)
    });
    examples
}

#[test]
fn the_examples_in_the_documentation_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("without curl there is nothing to see here");
        return;
    }
    let (peer, _other) = Peer::pair();
    std::fs::write(peer.dir.join("file"), "content").expect("written");
    let examples = examples();
    assert!(examples.len() >= 20, "{examples:?}");
    for example in examples {
        // Streams have no end of their own; what comes in the first second is enough.
        let streams = example.starts_with("curl -sN");
        let line = match example.strip_prefix("curl -sN") {
            Some(rest) => format!("curl -fsSN --max-time 1 {rest}"),
            None => example.replacen("curl -s", "curl -fsS", 1),
        };
        let output = Command::new("sh")
            .args(["-c", &format!("echo line | {line}")])
            .env("S", peer.dir.join("api.sock"))
            .current_dir(&peer.dir)
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let timed_out = streams && stderr.contains("timed out");
        assert!(output.status.success() || timed_out, "{example}: {stderr}");
    }
}
