//! Precedence, origins, and what is said about mistakes.

use super::*;
use std::path::PathBuf;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).expect("written");
    (dir, path)
}

fn load_file(text: &str) -> Result<Effective, String> {
    let (_dir, path) = file(text);
    load(&Sources {
        file: Some(path.clone()),
        ..Sources::default()
    })
    .map_err(|error| {
        error
            .to_string()
            .replace(path.to_str().expect("utf-8"), "config.toml")
    })
}

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Sources {
        environment,
        ..Sources::default()
    }
}

#[test]
fn without_any_source_the_defaults_hold() {
    let effective = load(&Sources::default()).expect("defaults load");
    assert_eq!(effective.settings, Settings::default());
    assert!(
        effective
            .origins
            .values()
            .all(|origin| *origin == Origin::Default)
    );
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let (_dir, path) = file("network = \"f\"\nmdns = false\n\n[links]\ndegree = 5\ncapacity = 6\n");
    let mut sources = environment(&[("HEDGEROW_NETWORK", "e"), ("HEDGEROW_LINKS_DEGREE", "6")]);
    sources.file = Some(path.clone());
    sources.flags = vec![Flag::text("--network", "network", "g")];
    let effective = load(&sources).expect("all valid");
    assert_eq!(effective.settings.network.as_str(), "g");
    assert_eq!(effective.settings.links.degree, 6);
    assert_eq!(effective.settings.links.capacity, 6);
    assert!(!effective.settings.mdns);
    assert_eq!(effective.settings.links.accept_max, 12);
    let origin = |key: &str| effective.origins[key].to_string();
    assert_eq!(origin("network"), "flag --network");
    assert_eq!(origin("links.degree"), "env HEDGEROW_LINKS_DEGREE");
    assert_eq!(origin("links.capacity"), format!("{}:6", path.display()));
    assert_eq!(origin("mdns"), format!("{}:2", path.display()));
    assert_eq!(origin("links.accept_max"), "default");
}

#[test]
fn an_unknown_key_is_refused_with_line_and_the_nearest_valid_key() {
    let error = load_file("mdns = true\n[links]\ndegre = 5\n").expect_err("no such key");
    assert_eq!(
        error,
        "config.toml:3:1: unknown key `links.degre`; the nearest valid key is `links.degree`"
    );
    let error = load_file("[link]\ndegree = 5\n").expect_err("no such section");
    assert!(
        error.starts_with("config.toml:1:2: unknown key `link`;"),
        "{error}"
    );
    assert!(error.ends_with("`links`"), "{error}");
    let error = load_file("degree = 5\n").expect_err("wrong section");
    assert!(
        error.ends_with("the nearest valid key is `links.degree`"),
        "{error}"
    );
    let error = load_file("links.degre = 5\n").expect_err("dotted");
    assert!(
        error.contains("config.toml:1:7: unknown key `links.degre`"),
        "{error}"
    );
}

#[test]
fn wrong_types_syntax_and_ranges_are_refused_with_their_line() {
    let error = load_file("\nmdns = 3\n").expect_err("a number is no boolean");
    assert!(error.starts_with("config.toml:2:8: "), "{error}");
    let error = load_file("mdns = = 3\n").expect_err("no TOML");
    assert!(error.starts_with("config.toml:1:"), "{error}");
    let error = load_file("listen = [\n  \"nonsense\"]\n").expect_err("no multiaddr");
    assert!(error.starts_with("config.toml:2:3: `listen`: "), "{error}");
    let error = load_file("[links]\nheartbeat_ms = 1000\ndegree = 1\n").expect_err("no ring");
    assert!(
        error.starts_with("config.toml:3:1: links.degree = 1: at least 2"),
        "{error}"
    );
}

#[test]
fn wrong_types_are_told_with_the_key_and_without_rusts_words() {
    for (text, expected) in [
        ("mdns = 3", "1:8: `mdns` takes true or false, not 3"),
        (
            "[links]\ndegree = \"five\"",
            "2:10: `links.degree` takes a whole number, not \"five\"",
        ),
        (
            "links.degree = -3",
            "1:16: `links.degree` takes a whole number, 0 or more, not -3",
        ),
        (
            "links.degree = 2.5",
            "1:16: `links.degree` takes a whole number, not 2.5",
        ),
        (
            "network = 7",
            "1:11: `network` takes text (in quotes), not 7",
        ),
        (
            "connect = \"/ip4/127.0.0.1/tcp/1\"",
            "1:11: `connect` takes a list of texts: [\"one\", \"other\"], not \
             \"/ip4/127.0.0.1/tcp/1\"",
        ),
        (
            "join = [\"news\", 5]",
            "1:17: `join` takes a list of texts: [\"one\", \"other\"], not one with 5",
        ),
        ("links = 3", "1:9: `links` takes a section of keys, not 3"),
        ("mdns = []", "1:8: `mdns` takes true or false, not a list"),
    ] {
        let error = load_file(text).expect_err(text);
        assert_eq!(error, format!("config.toml:{expected}"));
    }
    // Whatever the key and whatever the value, no type of Rust's is named.
    let values = [
        "-1",
        "2.5",
        "true",
        "\"\"",
        "[1]",
        "{}",
        "2020-01-01",
        "99999999999999",
    ];
    for entry in entries(&load(&Sources::default()).expect("defaults load")) {
        for value in values {
            let Err(error) = load_file(&format!("{} = {value}", entry.key)) else {
                continue;
            };
            // Or another key, left at its default, does not go with it.
            assert!(
                error.contains(&entry.key) || error.starts_with("default: "),
                "{error}"
            );
            for word in ["invalid type", "invalid value", "usize", "u64", "struct"] {
                assert!(!error.contains(word), "{error}");
            }
        }
    }
    let error = load(&environment(&[("HEDGEROW_LINKS_DEGREE", "-3")])).expect_err("negative");
    assert_eq!(
        error.to_string(),
        "HEDGEROW_LINKS_DEGREE: `links.degree` takes a whole number, 0 or more, not -3"
    );
}

#[test]
fn the_environment_is_read_by_the_type_of_the_key() {
    let effective = load(&environment(&[
        ("HEDGEROW_MDNS", "false"),
        ("HEDGEROW_JOIN", "news, sport"),
        ("HEDGEROW_LISTEN", "[\"/ip4/127.0.0.1/tcp/0\"]"),
        ("HEDGEROW_GROUPS_MESSAGE_BYTES_MAX", "1_000_000"),
        ("PATH", "/bin"),
    ]))
    .expect("valid");
    assert!(!effective.settings.mdns);
    assert_eq!(effective.settings.join.len(), 2);
    assert_eq!(effective.settings.listen.len(), 1);
    assert_eq!(effective.settings.groups.message_bytes_max, 1_000_000);
    let error = load(&environment(&[("HEDGEROW_MDNS", "maybe")])).expect_err("no boolean");
    assert_eq!(
        error.to_string(),
        "HEDGEROW_MDNS: `mdns` takes true or false, not \"maybe\""
    );
    let error = load(&environment(&[("HEDGEROW_CONNECT", "nowhere")])).expect_err("no address");
    assert!(
        error.to_string().starts_with("HEDGEROW_CONNECT: "),
        "{error}"
    );
}

#[test]
fn variables_that_name_no_key_are_warned_about() {
    let effective = load(&environment(&[
        ("HEDGEROW_LINKS_DEGRE", "5"),
        ("HEDGEROW_PORT", "tcp://10.0.0.1:80"),
        ("HEDGEROW_DATA_DIR", "/tmp/x"),
    ]))
    .expect("not an error");
    assert_eq!(effective.warnings.len(), 2, "{:?}", effective.warnings);
    assert!(effective.warnings[0].contains("did you mean HEDGEROW_LINKS_DEGREE?"));
}

#[test]
fn flags_are_checked_like_files() {
    let load_flag = |flag| {
        load(&Sources {
            flags: vec![flag],
            ..Sources::default()
        })
    };
    let listen = Flag::list("--listen", "listen", vec!["nowhere".into()]);
    let error = load_flag(listen).expect_err("no address");
    assert!(error.to_string().starts_with("--listen: "), "{error}");
    let set = Flag::text("--set", "links.degre", "4");
    let error = load_flag(set).expect_err("no key");
    assert!(
        error
            .to_string()
            .contains("nearest valid key is `links.degree`"),
        "{error}"
    );
    let set = Flag {
        key: "links.degree".into(),
        value: FlagValue::Text("4".into()),
        name: "--set",
    };
    assert_eq!(load_flag(set).expect("valid").settings.links.degree, 4);
}

#[test]
fn a_missing_named_file_is_an_error_and_a_missing_default_file_is_not() {
    let missing = PathBuf::from("/nonexistent/hedgerow.toml");
    let named = Sources {
        file: Some(missing.clone()),
        ..Sources::default()
    };
    assert!(
        load(&named)
            .expect_err("named")
            .to_string()
            .contains("/nonexistent/hedgerow.toml")
    );
    let default = Sources {
        default_file: Some(missing),
        ..Sources::default()
    };
    load(&default).expect("defaults");
}

#[test]
fn what_is_shown_can_be_read_back() {
    let sources = Sources {
        flags: vec![Flag::text("--set", "links.degree", "4")],
        ..Sources::default()
    };
    let effective = load(&sources).expect("valid");
    let text = to_toml(&effective, true);
    assert!(text.contains("degree = 4  # flag --set"), "{text}");
    let (_dir, path) = file(&text);
    let again = load(&Sources {
        file: Some(path),
        ..Sources::default()
    })
    .expect("reads back");
    assert_eq!(again.settings, effective.settings);
}

#[test]
fn socket_paths_too_long_for_a_socket_move_to_the_runtime_directory() {
    let runtime = PathBuf::from("/run/user/1/hedgerow");
    let paths = |dir: String| {
        Paths::new(Some(dir.into()))
            .expect("given")
            .with_runtime_dir(runtime.clone())
    };
    let near = paths("/tmp/x".into());
    assert_eq!(near.socket(), PathBuf::from("/tmp/x/api.sock"));
    let longest = paths(format!(
        "/{}",
        "x".repeat(SOCKET_PATH_BYTES_MAX - "//api.sock".len())
    ));
    assert_eq!(longest.socket().as_os_str().len(), SOCKET_PATH_BYTES_MAX);
    assert!(longest.socket().starts_with(longest.data_dir()));
    let far = paths(format!(
        "/{}",
        "x".repeat(SOCKET_PATH_BYTES_MAX + 1 - "//api.sock".len())
    ));
    assert!(far.socket().starts_with(&runtime), "{:?}", far.socket());
    let other = paths(format!("/{}", "y".repeat(200)));
    assert_ne!(far.socket(), other.socket());
}

#[test]
fn every_key_is_documented_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
    let text = std::fs::read_to_string(path).expect("docs/config.md");
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let defaults = load(&Sources::default()).expect("defaults load");
    let entries = entries(&defaults);
    let missing: Vec<String> = entries
        .iter()
        .map(|entry| format!("| `{}` | `{}` |", entry.key, entry.value))
        .filter(|row| !documented.iter().any(|line| line.starts_with(row)))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/config.md lacks:\n{}",
        missing.join("\n")
    );
    assert_eq!(
        documented.len(),
        entries.len(),
        "docs/config.md has keys that do not exist"
    );
}
