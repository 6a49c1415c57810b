//! Arguments and exit codes.

use super::args::{Cli, Command};
use super::client::{group_path, with_query};
use super::error::CliError;
use super::join::MESSAGE;
use crate::api::types::{
    Encoding, MessageLine, PublishQuery, SettingsRequest, Split, SubscribeQuery, SubscriptionLine,
};
use clap::{CommandFactory, Parser};
use hedgerow_protocol::{Arrival, GroupName, Headers, PeerKey};
use std::time::Duration;

#[test]
fn the_arguments_are_well_defined() {
    Cli::command().debug_assert();
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    for line in [
        "join",
        "join news --last 3 --since 5m",
        "join news --raw --jsonl",
        "join news --detach --count 3",
        "join news --timeout soon",
        "join news --redundancy 9",
        "join news --redundancy 0",
        "join news --order random",
        "pub news text --file x",
        "run --listen nowhere",
        "run --set degree",
        "overlay --format picture",
        "fly",
    ] {
        let error =
            Cli::try_parse_from(["hedgerow"].into_iter().chain(line.split(' '))).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn global_flags_stand_anywhere() {
    let cli = Cli::try_parse_from(["hedgerow", "members", "news", "--json", "--data-dir", "/d"])
        .expect("valid");
    assert!(cli.json);
    assert!(matches!(cli.command, Command::Members { group } if group.as_str() == "news"));
}

#[test]
fn a_flag_sets_its_key() {
    let line = "run --connect /ip4/127.0.0.1/tcp/1 --network test --no-mdns --set links.degree=4";
    let cli = Cli::try_parse_from(["hedgerow"].into_iter().chain(line.split(' '))).expect("valid");
    let Command::Run(args) = cli.command else {
        panic!("not run")
    };
    let keys: Vec<String> = args
        .config
        .flags()
        .into_iter()
        .map(|flag| flag.key)
        .collect();
    assert_eq!(keys, ["links.degree", "connect", "network", "mdns"]);
}

#[test]
fn paths_and_queries_are_encoded() {
    let group = GroupName::new("a/b c?ü").expect("valid");
    assert_eq!(
        group_path(&group, "members"),
        "/v1/groups/a%2Fb%20c%3F%C3%BC/members"
    );
    assert_eq!(group_path(&group, ""), "/v1/groups/a%2Fb%20c%3F%C3%BC");
    let settings = SettingsRequest {
        redundancy: Some(2),
        ..SettingsRequest::default()
    };
    let query = SubscribeQuery::new(settings, Some(Duration::from_millis(90_500)), None);
    let path = with_query("/x", &query).expect("encodes");
    assert_eq!(path, "/x?redundancy=2&since=1m+30s+500ms");
    assert_eq!(
        with_query("/x", &SubscribeQuery::default()).expect("encodes"),
        "/x"
    );
    let query = PublishQuery {
        split: Split::Lines,
        wait: true,
        headers: Headers::default(),
    };
    assert_eq!(
        with_query("/x", &query).expect("encodes"),
        "/x?split=lines&wait=true"
    );
    let mut headers = Headers::default();
    headers.insert("id", "4 \"2\"").expect("a header");
    let query = PublishQuery {
        headers,
        ..PublishQuery::default()
    };
    assert_eq!(
        with_query("/x", &query).expect("encodes"),
        "/x?split=none&wait=false&headers=%7B%22id%22%3A%224+%5C%222%5C%22%22%7D"
    );
}

#[test]
fn exit_codes_are_as_documented() {
    let partial = CliError::Partial(String::new());
    assert_eq!(partial.exit_code(), 4);
    let timeout = CliError::Timeout {
        what: String::new(),
        after: Duration::from_secs(1),
    };
    assert_eq!(timeout.exit_code(), 124);
    let no_peer = CliError::NoPeer {
        data_dir: "/x".into(),
        why: "none".into(),
    };
    assert_eq!(no_peer.exit_code(), 3);
    assert_eq!(CliError::Usage(String::new()).exit_code(), 2);
    assert_eq!(CliError::BrokenPipe.exit_code(), 0);
    assert_eq!(CliError::Ended(String::new()).exit_code(), 1);
}

#[test]
fn every_command_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    let text = std::fs::read_to_string(path).expect("docs/cli.md");
    for command in Cli::command().get_subcommands() {
        let below: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        let lines = match below.as_slice() {
            [] => vec![command.get_name().to_owned()],
            below => below
                .iter()
                .map(|name| format!("{} {name}", command.get_name()))
                .collect(),
        };
        for line in lines {
            assert!(
                text.contains(&format!("hedgerow {line}")),
                "docs/cli.md lacks {line}"
            );
        }
    }
}

#[test]
fn what_follows_the_type_of_a_message_is_what_json_lines_hold() {
    let message = MessageLine {
        group: GroupName::new("news").expect("valid"),
        origin: PeerKey::default(),
        epoch: 1,
        seq: 1,
        published_at: 1,
        encoding: Encoding::Utf8,
        payload: "\0".to_owned(),
        headers: Headers::default(),
        hops: 0,
        arrival: Arrival::Local,
    };
    let line = serde_json::to_vec(&message).expect("writes");
    let streamed = serde_json::to_vec(&SubscriptionLine::Message(message)).expect("writes");
    assert_eq!(streamed.strip_prefix(MESSAGE), line.strip_prefix(b"{"));
}
