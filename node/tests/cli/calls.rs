//! Calls that need no peer: usage, configuration, exit codes.

use crate::peers::{hedgerow, run};
use std::path::Path;

#[test]
fn without_a_running_peer_every_command_exits_3_and_creates_nothing() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("none");
    for line in [
        "status",
        "members news",
        "links --json",
        "groups",
        "metrics",
        "id",
        "doctor",
        "shutdown",
        "leave news",
        "group set news --overlay mesh",
        "overlay news",
        "trace news",
        "ping 12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X",
        "join news --count 1",
        "join news --detach",
        "pub news text",
        "broadcast text",
        "events",
    ] {
        let done = run(&dir, line);
        assert_eq!(done.code, 3, "{line}: {}", done.stderr);
        assert!(
            done.stderr.contains("no running peer"),
            "{line}: {}",
            done.stderr
        );
        assert!(!dir.exists(), "{line} created {}", dir.display());
    }
}

#[test]
fn a_stale_socket_is_no_running_peer() {
    let home = tempfile::tempdir().expect("a temporary directory");
    drop(std::os::unix::net::UnixListener::bind(home.path().join("api.sock")).expect("binds"));
    let done = run(home.path(), "status");
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("stale"), "{}", done.stderr);

    let file = home.path().join("file");
    std::fs::write(&file, "").expect("writes");
    let done = run(&file, "status");
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("not a directory"), "{}", done.stderr);
}

#[test]
fn calls_that_make_no_sense_exit_2_and_say_why() {
    let nowhere = Path::new("/nonexistent/hedgerow");
    for (line, words) in [
        ("fly", "unrecognized subcommand"),
        ("join", "<GROUP>"),
        ("join news --last 3 --since 5m", "cannot be used with"),
        ("join news --timeout soon", "500ms, 10s or 5m"),
        (
            "join news --overlay tree --redundancy 3",
            "use overlay mesh",
        ),
        ("group set news", "nothing to change"),
        ("run --listen nowhere", "--listen"),
        (
            "run --set links.degre=4",
            "the nearest valid key is `links.degree`",
        ),
        ("run --set links.degree=1", "at least 2"),
        (
            "run --config /nonexistent/file.toml",
            "/nonexistent/file.toml",
        ),
        (
            "join news --detach --connect /ip4/127.0.0.1/tcp/1",
            "needs a running peer",
        ),
    ] {
        let done = run(nowhere, line);
        assert_eq!(done.code, 2, "{line}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{line}: {}", done.stderr);
    }
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("config.toml");
    std::fs::write(&file, "mdns = false\n\n[links]\ndegre = 4\n").expect("written");
    let done = run(home.path(), "run");
    assert_eq!(done.code, 2);
    let expected = format!(
        "error: {}:4:1: unknown key `links.degre`; the nearest valid key is `links.degree`\n",
        file.display()
    );
    assert_eq!(done.stderr, expected);
    let checked = run(home.path(), &format!("config check {}", file.display()));
    assert_eq!(checked.code, 2);
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("config.toml");
    std::fs::write(&file, "network = \"file\"\n[links]\ndegree = 5\n").expect("written");
    let mut command = hedgerow(home.path(), "config show --origin --no-mdns");
    let output = command
        .env("HEDGEROW_LINKS_DEGREE", "6")
        .output()
        .expect("starts");
    let text = String::from_utf8(output.stdout).expect("text");
    for line in [
        format!("network = \"file\"  # {}:1", file.display()),
        "degree = 6  # env HEDGEROW_LINKS_DEGREE".to_owned(),
        "mdns = false  # flag --no-mdns".to_owned(),
        "capacity = 12  # default".to_owned(),
    ] {
        assert!(
            text.lines().any(|shown| shown == line),
            "{line} is not in\n{text}"
        );
    }
    let json = run(home.path(), "config show --json").json();
    let mut settings = json["settings"].as_array().expect("a list").iter();
    let network = settings
        .find(|entry| entry["key"] == "network")
        .expect("is there");
    assert_eq!(network["value"], "file");
}

#[test]
fn completions_and_help_need_no_peer() {
    let nowhere = Path::new("/nonexistent/hedgerow");
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            run(nowhere, &format!("completions {shell}"))
                .ok()
                .text()
                .contains("hedgerow")
        );
    }
    assert!(run(nowhere, "--help").ok().text().contains("Exit codes"));
}
