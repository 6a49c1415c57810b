//! The program's calls about scenarios: output, files, exit codes.

use std::path::Path;
use std::process::{Command, Output};

const SMALL: &str = r#"
[scenario]
warmup = "6s"
duration = "2s"
quiet = "6s"

[[nodes]]
id = "peer"
count = 6

[[group]]
name = "news"

[[workload]]
group = "news"
rate = 10

[[assert]]
metric = "delivery_ratio"
op = "=="
value = 1.0
"#;

fn testnet(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hedgerow-testnet"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .expect("the program runs")
}

fn with_file(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("small.toml"), text).expect("written");
    dir
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_exits_0_writes_its_results_and_overwrites_them() {
    let dir = with_file(SMALL);
    for seed in ["1", "2"] {
        let output = testnet(
            dir.path(),
            &["run", "small.toml", "--seed", seed, "--out", "out"],
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(
            text(&output.stdout).starts_with("small: passed"),
            "{}",
            text(&output.stdout)
        );
        let json = std::fs::read(dir.path().join("out/results.json")).expect("results.json");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["seed"].to_string(), seed);
        assert_eq!(json["failure"], serde_json::Value::Null);
        let timeline =
            std::fs::read_to_string(dir.path().join("out/timeline.csv")).expect("timeline");
        assert!(timeline.starts_with("at_s,alive,"));
        let junit = std::fs::read_to_string(dir.path().join("out/junit.xml")).expect("junit");
        assert!(junit.contains("failures=\"0\""), "{junit}");
    }
}

#[test]
fn a_page_is_made_again_from_a_runs_other_files() {
    let dir = with_file(SMALL);
    let output = testnet(dir.path(), &["run", "small.toml", "--out", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let path = dir.path().join("out/report.html");
    let page = std::fs::read_to_string(&path).expect("report.html");
    let first = page.split("<p class=\"counts ").nth(1).expect("counts");
    assert!(first.starts_with("PASSED\">PASSED: "), "{first:.80}");
    assert!(
        page.contains("hedgerow-testnet run small.toml"),
        "no replay line"
    );
    std::fs::remove_file(&path).expect("a file");
    let output = testnet(dir.path(), &["report", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "out/report.html\n");
    let again = std::fs::read_to_string(&path).expect("report.html");
    assert!(again == page, "another page");
}

#[test]
fn a_run_can_be_replayed_from_what_it_wrote() {
    let dir = with_file(SMALL);
    let arguments = [
        "run",
        "small.toml",
        "--seed",
        "9",
        "--out",
        "out",
        "--set",
        "workload.0.rate=5",
    ];
    assert_eq!(testnet(dir.path(), &arguments).status.code(), Some(0));
    std::fs::remove_file(dir.path().join("small.toml")).expect("removed");
    let output = testnet(dir.path(), &["replay", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("seed 9"),
        "{}",
        text(&output.stdout)
    );
    let said = text(&output.stderr);
    assert!(said.contains("the same run: trace "), "{said}");
    let results = dir.path().join("out/results.json");
    let json = std::fs::read_to_string(&results).expect("results.json");
    std::fs::write(
        &results,
        json.replace("\"trace_hash\": \"", "\"trace_hash\": \"0"),
    )
    .expect("written");
    let output = testnet(dir.path(), &["replay", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("not the same run"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        testnet(dir.path(), &["replay", "missing"]).status.code(),
        Some(2)
    );
}

#[test]
fn an_assert_that_does_not_hold_exits_1_and_says_how_to_repeat_it() {
    let dir = with_file(&SMALL.replace("\"==\"", "\"<\""));
    let output = testnet(
        dir.path(),
        &["run", "small.toml", "--set", "workload.0.rate=5", "--json"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("only JSON on stdout");
    assert_eq!(json["failure"], "assert");
    let replay = "hedgerow-testnet run small.toml --seed 1 --set 'workload.0.rate=5'";
    assert!(
        text(&output.stderr).contains(replay),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_is_wrong_exits_2() {
    let dir = with_file(&SMALL.replace("rate =", "rat ="));
    for command in ["run", "check"] {
        let output = testnet(dir.path(), &[command, "small.toml"]);
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(
            said.contains("small.toml:16:1: unknown key `workload[0].rat`"),
            "{said}"
        );
        assert!(said.contains("`rate`"), "{said}");
    }
    let output = testnet(dir.path(), &["check", "stedy-tree"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("`steady-tree`"), "{said}");
    let selector = "\n[[fault]]\nkind = \"crash\"\ntarget = \"shar:0.1\"\n";
    let dir = with_file(&format!("{SMALL}{selector}"));
    let said = text(&testnet(dir.path(), &["check", "small.toml"]).stderr);
    let expected = "`fault[0].target`: \"shar:0.1\": there are no nodes \"shar:0.1\"; \
        the nearest is \"share:X\"";
    assert!(said.contains(expected), "{said}");
    let dir = with_file(SMALL);
    let cases: [&[&str]; 5] = [
        &["run", "missing.toml"],
        &["run", "small.toml", "--set", "nodes.peer.cuont=3"],
        &["run", "small.toml", "--backend", "cloud"],
        &["run", "small.toml", "--nonsense"],
        &["run"],
    ];
    for case in cases {
        let output = testnet(dir.path(), case);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{case:?}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty(), "{case:?}");
        assert!(!output.stderr.is_empty(), "{case:?}");
    }
}

#[test]
fn scenarios_are_checked_listed_and_shown() {
    let dir = with_file(SMALL);
    let output = testnet(dir.path(), &["check", "small.toml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "small.toml: 6 nodes, 1 workloads, 0 faults, 1 asserts\n"
    );
    let output = testnet(dir.path(), &["check", "steady-tree", "--ci", "--show"]);
    assert!(text(&output.stdout).contains("name = \"steady-tree\""));
    let output = testnet(dir.path(), &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(list.as_array().is_some_and(|list| !list.is_empty()));
    let output = testnet(dir.path(), &["keys"]);
    assert!(text(&output.stdout).contains("| `scenario.seed` | `1` |"));
}

#[test]
fn a_sweep_shows_medians_and_makes_what_fails_smaller() {
    let dir = with_file(SMALL);
    let vary = "group.news.overlay=tree,mesh";
    let output = testnet(
        dir.path(),
        &["sweep", "small.toml", "--seeds", "1..2", "--vary", vary],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("group.news.overlay=mesh") && said.contains("2 of 2"),
        "{said}"
    );
    let strict = with_file(&SMALL.replace("\"==\"", "\"<\""));
    let output = testnet(strict.path(), &["sweep", "small.toml", "--seeds", "3"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let replay = "hedgerow-testnet run small.toml --seed 3";
    assert!(
        text(&output.stdout).contains(replay),
        "{}",
        text(&output.stdout)
    );
    assert!(
        text(&output.stdout).contains("FAILED (delivery_ratio < 1: it is 1)"),
        "{}",
        text(&output.stdout)
    );
    let small = std::fs::read_to_string(strict.path().join("small-3-small.toml")).expect("written");
    assert!(small.contains("count = 2"), "{small}");
    let output = testnet(strict.path(), &["run", "small-3-small.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(
        testnet(dir.path(), &["sweep", "small.toml", "--vary", "nonsense"])
            .status
            .code(),
        Some(2)
    );
}

/// `run burst --out burst` leaves a directory of that name behind.
#[test]
fn a_directory_does_not_stand_in_the_way_of_a_shipped_scenario() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("burst")).expect("made");
    let output = testnet(dir.path(), &["check", "burst"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    std::fs::create_dir(dir.path().join("nothing")).expect("made");
    let output = testnet(dir.path(), &["check", "nothing"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("nothing is no file"), "{said}");
}

#[test]
fn copied_keys_of_nobody_exit_2_with_what_to_do() {
    let copies = "\n[[nodes]]\nid = \"copy\"\ncount = 1\nbehaviour = \"copied-key\"\n";
    let dir = with_file(&format!("{SMALL}{copies}"));
    for command in ["check", "run"] {
        let output = testnet(dir.path(), &[command, "small.toml"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        let said = text(&output.stderr);
        assert!(said.contains("narrow workload.publishers"), "{said}");
    }
    let set = [
        "check",
        "small.toml",
        "--set",
        "workload.0.publishers=peer/first:5",
    ];
    assert_eq!(testnet(dir.path(), &set).status.code(), Some(0));
}

#[test]
fn a_swarm_runs_what_seeds_draw_and_exits_0() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = testnet(dir.path(), &["swarm", "--seeds", "1..3", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("only JSON on stdout");
    assert_eq!((&json["passed"], &json["seeds"]), (&true.into(), &3.into()));
    assert_eq!(json["runs"][2]["seed"], 3);
    let budget = [
        "swarm", "--seeds", "1..500", "--budget", "1ms", "--jobs", "1",
    ];
    let output = testnet(dir.path(), &budget);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let start = "swarm: 1 of 1 seed clean, 499 not run: the budget is spent";
    assert!(said.starts_with(start), "{said}");
    let drawn = testnet(dir.path(), &["swarm", "--seed", "2", "--print"]);
    std::fs::write(dir.path().join("drawn.toml"), &drawn.stdout).expect("written");
    let output = testnet(dir.path(), &["check", "drawn.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_swarm_that_fails_writes_what_it_drew_and_exits_1() {
    let dir = tempfile::tempdir().expect("a directory");
    // No seed fails by itself: here what must never happen has to happen.
    let mut call = vec!["swarm", "--seeds", "1..2", "--out", "out", "--no-shrink"];
    call.extend(["--set", "assert.0.value=1"]);
    let output = testnet(dir.path(), &call);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    let line =
        "seed 2 FAILED (app_duplicates == 1: it is 0): hedgerow-testnet run out/swarm-2.toml";
    assert!(said.contains(line), "{said}");
    let said = text(&output.stdout);
    assert!(
        said.contains("swarm: 0 of 2 seeds clean, 2 assert; "),
        "{said}"
    );
    let again = testnet(dir.path(), &["run", "out/swarm-2.toml"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    for wrong in [
        &["swarm", "--print"][..],
        &["swarm", "--seeds", "9..1"],
        &["swarm", "--set", "no.such=key"],
    ] {
        assert_eq!(
            testnet(dir.path(), wrong).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}
