//! Keys that are right each by itself and do not go together.

use super::{SMALL, parse, refused, with};

#[test]
fn counts_are_looked_at_before_anybody_adds_them_up() {
    let class = |id: &str| format!("[[nodes]]\nid = \"{id}\"\ncount = {}\n", i64::MAX);
    let text = format!("{SMALL}{}{}{}", class("a"), class("b"), class("c"));
    let expected = "`nodes[1].count`: more than 100000 nodes";
    let error =
        refused(&text.replace("[ci]\nnodes.core.count = 8\nscenario.duration = \"6s\"", ""));
    assert!(error.contains(expected), "{error}");
    let none = refused(&with("count = 20", "count = 0"));
    assert!(none.contains("there are no nodes"), "{none}");
}

#[test]
fn a_group_has_the_name_of_no_copy_of_another() {
    let news = "[[group]]\nname = \"news\"\nmembers";
    let after = |group: &str| with("[[workload]]", &format!("[[group]]\n{group}\n[[workload]]"));
    let before = |group: &str| with(news, &format!("[[group]]\n{group}\n{news}"));
    let cases = [
        (
            after("name = \"news\""),
            "`group[1].name`: the name \"news\" is taken",
        ),
        (
            before("name = \"news-2\"")
                .replace("\"news\"\nmembers", "\"news\"\ncopies = 3\nmembers"),
            "`group[1].name`: the name \"news-2\" is taken",
        ),
        (
            after("name = \"news-3\"")
                .replace("\"news\"\nmembers", "\"news\"\ncopies = 3\nmembers"),
            "`group[1].name`: the name \"news-3\" is taken",
        ),
        (
            before("name = \"news-2\"\ncopies = 2")
                .replace("\"news\"\nmembers", "\"news\"\ncopies = 3\nmembers"),
            "`group[1].name`: the name \"news-2\" is taken",
        ),
        (
            after("name = \"broadcast\"\ncopies = 2"),
            "`group[1].copies`: there is one broadcast",
        ),
    ];
    for (text, expected) in cases {
        let error = refused(&text);
        assert!(error.contains(expected), "{error}\n  lacks: {expected}");
    }
    let copies = "group.news.copies=3";
    for name in ["news-4", "news-03", "news-", "newsroom"] {
        let text = after(&format!("name = \"{name}\""));
        assert!(parse(&text, &[copies]).is_ok(), "{name}");
    }
    for (name, exists) in [("news-3", true), ("news-4", false), ("news-03", false)] {
        let workload = format!("workload.0.group={name}");
        assert_eq!(parse(SMALL, &[copies, &workload]).is_ok(), exists, "{name}");
    }
}

#[test]
fn everybody_else_is_meant_among_sets_alone() {
    let crash = "kind = \"crash\"\nat = \"5s\"\ntarget = \"core[3]\"";
    let parted = |more: &str| {
        let fault = format!("kind = \"partition\"\nsets = [\"core[3]\", \"rest\"]\n{more}");
        with(crash, &fault)
    };
    assert!(parse(&parted(""), &[]).is_ok());
    let meant = "\"rest\" is everybody else among `sets`; elsewhere that is \"not SET\"";
    for (key, text) in [
        ("target", with("target = \"core[3]\"", "target = \"rest\"")),
        ("bridge", parted("bridge = \"rest\"")),
    ] {
        let error = refused(&text);
        let expected = format!("`fault[0].{key}`: {meant}");
        assert!(error.contains(&expected), "{error}\n  lacks: {expected}");
    }
}

#[test]
fn what_the_machine_takes_is_relative_to_nothing() {
    for metric in ["wall_s", "peak_rss_mib"] {
        let set = ["assert.0.relative_to=baseline"];
        let text = with("delivery_ratio", metric);
        assert!(parse(&text, &[]).is_ok(), "{metric}");
        let error = parse(&text, &set).expect_err("must be refused");
        let expected =
            format!("`assert[0].relative_to`: {metric} is about the machine that runs it");
        assert!(error.contains(&expected), "{error}\n  lacks: {expected}");
    }
}
