//! Files that work, and what is said about those that do not.

mod together;

use super::*;

const SMALL: &str = r#"
[scenario]
seed = 7
duration = "10s"

[topology.latency]
uniform = ["5ms", "80ms"]

[[nodes]]
id = "core"
count = 20
config.links.degree = 6

[[group]]
name = "news"
members = "core/share:0.5"

[[workload]]
group = "news"
publishers = "random:2"
rate = 10

[[fault]]
kind = "crash"
at = "5s"
target = "core[3]"

[[assert]]
metric = "delivery_ratio"
op = ">="
value = 1.0

[ci]
nodes.core.count = 8
scenario.duration = "6s"
"#;

fn parse(text: &str, set: &[&str]) -> Result<Scenario, String> {
    let set = set.iter().map(|set| (*set).to_owned()).collect();
    let overrides = Overrides { ci: false, set };
    Scenario::parse(text, Path::new("small.toml"), &overrides).map_err(|error| error.to_string())
}

fn refused(text: &str) -> String {
    parse(text, &[]).expect_err("must be refused")
}

fn with(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

#[test]
fn a_scenario_is_read_with_defaults() {
    let scenario = parse(SMALL, &[]).expect("valid");
    assert_eq!(scenario.file.scenario.name, "small");
    assert_eq!(scenario.file.scenario.quiet, Span::seconds(30));
    assert_eq!(scenario.nodes(), 20);
    assert_eq!(scenario.configs[0].links.degree, 6);
    assert_eq!(scenario.configs[0].links.accept_max, 12);
    assert_eq!(scenario.file.workload[0].size, Size(100));
}

#[test]
fn unknown_keys_are_refused_with_place_and_the_nearest_valid_one() {
    let cases = [
        (
            with("rate = 10", "rats = 10"),
            "small.toml:21:1: unknown key `workload[0].rats`; the nearest valid key is `rate`",
        ),
        (
            with("config.links.degree", "config.links.degre"),
            "small.toml:12:14: unknown key `nodes[0].config.links.degre`; the nearest valid key is `degree`",
        ),
        (
            with("[[group]]", "[[groups]]"),
            "small.toml:14:3: unknown key `groups`; the nearest valid key is `group`",
        ),
        (
            with("uniform", "unifrom"),
            "small.toml:7:1: unknown key `topology.latency.unifrom`; the nearest valid key is `uniform`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&text), expected);
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    let cases = [
        (
            with("seed = 7", "seed = \"x\""),
            "small.toml:3:1: `scenario.seed`: invalid type",
        ),
        (
            with("\"10s\"", "\"10\""),
            "small.toml:4:1: `scenario.duration`: \"10\" is no time",
        ),
        (with("= 20", "= = 20"), "small.toml:11:"),
        (
            with("\"crash\"", "\"crush\""),
            "small.toml:24:1: `fault[0].kind`: unknown variant",
        ),
        (
            with("delivery_ratio", "delivery_ration"),
            "the nearest is \"delivery_ratio\"",
        ),
        (
            with("delivery_ratio", "counted.parent_fualts"),
            "unknown counter \"parent_fualts\"; the nearest is \"parent_faults\"",
        ),
        (
            with("delivery_ratio", "counted.zzz"),
            "unknown counter \"zzz\"; docs/api.md lists all",
        ),
        (
            with("delivery_ratio\"", "counted.pulls\"\nwindow = \"fault\""),
            "`assert[0].window`: counted.pulls is of the whole run",
        ),
        (
            with("core[3]", "core[20]"),
            "small.toml:26:1: `fault[0].target`: \"core[20]\": core has 20 nodes, counted from core[0]",
        ),
        (
            with("core[3]", "cora[3]"),
            "there are no nodes \"cora\"; the nearest is \"core\"",
        ),
        (
            with("group = \"news\"", "group = \"new\""),
            "`workload[0].group`: there is no group \"new\"; the nearest is \"news\"",
        ),
        (
            with("at = \"5s\"", "share = 0.1"),
            "small.toml:25:1: `fault[0].share`: a crash fault takes no `share`",
        ),
        (
            with("at = \"5s\"", "at = \"10s\""),
            "small.toml:25:1: `fault[0].at`: at 10s all is healed already, it would never begin: \
             an earlier moment, or a `scenario.duration` above 10s",
        ),
        (
            with("target = \"core[3]\"", ""),
            "small.toml:23:1: `fault[0]`: a crash fault needs `target`",
        ),
        (
            with("degree = 6", "degree = 1"),
            "`nodes[0].config`: links.degree = 1: at least 2",
        ),
        (
            with(
                "uniform = [\"5ms\", \"80ms\"]",
                "uniform = [\"80ms\", \"5ms\"]",
            ),
            "the least comes first",
        ),
        (
            with("nodes.core.count = 8", "nodes.cor.count = 8"),
            "there is no `cor`; the nearest is `core`",
        ),
        (
            with("rate = 10", ""),
            "`workload[0]`: a workload has either `rate` or `burst`",
        ),
    ];
    for (text, expected) in cases {
        let error = refused(&text);
        assert!(error.contains(expected), "{error}\n  lacks: {expected}");
        assert!(error.starts_with("small.toml:"), "{error}");
    }
}

#[test]
fn values_that_cannot_work_are_refused_with_their_place() {
    let crash = "kind = \"crash\"\nat = \"5s\"\ntarget = \"core[3]\"";
    let bandwidth = |keys: &str| {
        let fault = format!("kind = \"bandwidth\"\ntarget = \"core[3]\"\n{keys}");
        with(crash, &fault)
    };
    let cases = [
        (
            with("rate = 10", "rate = 10\nsize = \"1TB\""),
            "`workload[0].size`: at most 67108864 bytes",
        ),
        (
            with(
                "rate = 10",
                "rate = 10\nsize = 2000\n[config]\ngroups.message_bytes_max = 1000",
            ),
            "`workload[0].size`: at most 1000 bytes, which nodes take (groups.message_bytes_max)",
        ),
        (
            with("rate = 10", "rate = nan"),
            "`workload[0].rate`: above 0",
        ),
        (
            with("rate = 10", "burst = 0"),
            "`workload[0].burst`: at least one message",
        ),
        (
            with("name = \"news\"", "name = \"news\"\ncopies = 0"),
            "`group[0].copies`: 1 to 1000 groups",
        ),
        (
            with("name = \"news\"", "name = \"news\"\ncopies = 4000000000"),
            "`group[0].copies`: 1 to 1000 groups",
        ),
        (
            bandwidth("factor = -1"),
            "`fault[0].factor`: what is left: above 0, at most 1",
        ),
        (bandwidth("factor = nan"), "`fault[0].factor`: what is left"),
        (
            bandwidth("up_mbit = nan"),
            "`fault[0].up_mbit`: Mbit/s above 0",
        ),
        (
            bandwidth("down_mbit = -8"),
            "`fault[0].down_mbit`: Mbit/s above 0",
        ),
        (
            with(crash, "kind = \"loss\"\nshare = 0.1\nrun = 0.5"),
            "`fault[0].run`: 1 to 1000000 packets",
        ),
        (
            with(crash, "kind = \"reset\"\nlinks = 0"),
            "`fault[0].links`: at least one link",
        ),
        (
            with("op = \">=\"", "op = \">=\"\nwindow = \"after\""),
            "`assert[0].window`: fault[0] lasts until all is healed, after which nothing is published",
        ),
        (
            with("op = \">=\"", "op = \">=\"\nwindow = \"quiet\""),
            "`assert[0].window`: nothing is published in the quiet time, and delivery_ratio is of",
        ),
        (
            with(
                "[topology.latency]",
                "[topology.bandwidth]\nup_mbit = 0\n[topology.latency]",
            ),
            "`topology.bandwidth.up_mbit`: Mbit/s above 0",
        ),
    ];
    for (text, expected) in cases {
        let error = refused(&text);
        assert!(error.contains(expected), "{error}\n  lacks: {expected}");
        assert!(error.starts_with("small.toml:"), "{error}");
    }
}

/// Whatever depends on when something came, or was sent.
#[test]
fn the_quiet_time_has_what_happens_in_it() {
    for metric in [
        "app_duplicates",
        "order_violations",
        "foreign",
        "gaps",
        "payload_copies",
        "rmr",
        "control.bytes_per_node_s",
        "traffic.bytes_per_node_s",
    ] {
        let to = format!("metric = \"{metric}\"\nwindow = \"quiet\"");
        let text = with("metric = \"delivery_ratio\"", &to);
        parse(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn overrides_reach_any_key() {
    let scenario = parse(
        SMALL,
        &[
            "scenario.seed=9",
            "scenario.duration=1m",
            "group.news.overlay=mesh",
            "nodes.core.config.links.degree=5",
            "fault.0.target=core[1]",
            "topology.latency.constant=20ms",
            "workload.0.size=64KiB",
        ],
    )
    .expect("valid");
    let file = &scenario.file;
    assert_eq!(file.scenario.seed, 9);
    assert_eq!(file.scenario.duration, Span::seconds(60));
    assert_eq!(file.group[0].overlay, Overlay::Mesh);
    assert_eq!(scenario.configs[0].links.degree, 5);
    assert_eq!(
        file.fault[0].target.as_ref().map(Selector::as_str),
        Some("core[1]")
    );
    assert_eq!(file.topology.latency.constant, Some(Span::millis(20)));
    assert_eq!(
        file.topology.latency.uniform, None,
        "the new kind took its place"
    );
    assert_eq!(file.workload[0].size, Size(65_536));
}

#[test]
fn wrong_overrides_are_named() {
    let cases = [
        (
            "group.new.overlay=mesh",
            "--set group.new.overlay=mesh: `group.new.overlay`: there is no `new`; the nearest is `news`",
        ),
        (
            "scenario.sed=1",
            "--set scenario.sed=1: unknown key `scenario.sed`: no `sed`; the nearest is `seed`",
        ),
        (
            "scenario.seed",
            "--set scenario.seed: an override is written KEY=VALUE",
        ),
        (
            "scenario.seed=x",
            "--set scenario.seed=x: `scenario.seed`: invalid type",
        ),
        (
            "topology.latency.matrix=/nonexistent",
            "--set topology.latency.matrix=/nonexistent: `topology.latency.matrix`: /nonexistent: ",
        ),
    ];
    for (set, expected) in cases {
        let error = parse(SMALL, &[set]).expect_err("must be refused");
        assert!(error.starts_with(expected), "{error}\n  lacks: {expected}");
    }
}

#[test]
fn the_gate_has_values_of_its_own() {
    let overrides = Overrides {
        ci: true,
        set: vec![],
    };
    let scenario = Scenario::parse(SMALL, Path::new("small.toml"), &overrides).expect("valid");
    assert_eq!(scenario.nodes(), 8);
    assert_eq!(scenario.file.scenario.duration, Span::seconds(6));
}

#[test]
fn a_matrix_is_found_beside_its_file() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("m.tsv"), "0\t10\n10\t0\n").expect("written");
    let path: PathBuf = dir.path().join("s.toml");
    let text = with("uniform = [\"5ms\", \"80ms\"]", "matrix = \"m.tsv\"");
    let scenario = Scenario::parse(&text, &path, &Overrides::default()).expect("valid");
    assert_eq!(scenario.matrix.map(|matrix| matrix.places()), Some(2));
}

#[test]
fn what_is_read_can_be_written_and_read_again() {
    let scenario = parse(SMALL, &[]).expect("valid");
    let text = toml::to_string(&scenario.file).expect("a table");
    assert_eq!(parse(&text, &[]).expect(&text).file, scenario.file);
}

#[test]
fn every_key_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenarios.md");
    let text = std::fs::read_to_string(path).expect("docs/scenarios.md");
    let keys = keys_in_markdown();
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let missing: Vec<&str> = keys
        .lines()
        .filter(|row| row.starts_with("| `") && !documented.contains(row))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/scenarios.md lacks (`hedgerow-testnet keys` prints all):\n{}",
        missing.join("\n")
    );
    for metric in OF_A_GROUP.iter().chain(&OF_THE_RUN) {
        assert!(
            text.contains(&format!("`{metric}`")),
            "docs/scenarios.md lacks {metric}"
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");
    let counters = std::fs::read_to_string(path).expect("docs/api.md");
    for counter in hedgerow_protocol::status::COUNTERS {
        assert!(
            counters.contains(&format!("`hedgerow_{counter}_total`")),
            "docs/api.md lacks {counter}"
        );
    }
    let known = keys.lines().filter(|row| row.starts_with("| `")).count();
    let rows = documented
        .iter()
        .filter(|row| keys.lines().any(|known| known == **row))
        .count();
    assert_eq!(rows, known, "a key stands twice in docs/scenarios.md");
}

#[test]
fn every_shipped_scenario_is_valid() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    for entry in std::fs::read_dir(dir).expect("scenarios") {
        let path = entry.expect("an entry").path();
        for ci in [false, true] {
            let overrides = Overrides { ci, set: vec![] };
            Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// What the gate runs is small, for it runs every scenario in three minutes, but a network all the
/// same, and held to what the whole run is held to.
#[test]
fn the_gate_runs_networks_and_the_same_asserts() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("scenarios") {
        let path = entry.expect("an entry").path();
        let load = |ci| {
            let overrides = Overrides { ci, set: vec![] };
            Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"))
        };
        let (whole, small) = (load(false), load(true));
        if whole.file == small.file {
            continue;
        }
        seen += 1;
        let name = path.display();
        assert!(small.nodes() >= 12, "{name}: {} nodes", small.nodes());
        // Fewer peers and messages are counted less; everything else that is asserted is the same.
        let asserted = |scenario: &Scenario| -> Vec<Assert> {
            let mut asserts = scenario.file.assert.clone();
            for assert in &mut asserts {
                let metric = assert.metric.as_str();
                if metric == "published" || metric.starts_with("counted.") {
                    assert.value = 0.0;
                }
            }
            asserts
        };
        assert_eq!(asserted(&whole), asserted(&small), "{name}");
    }
    assert!(seen >= 10, "{seen} scenarios with [ci]");
}
