//! Arrows between the folders of this crate point down, and nowhere else.
//!
//! ARCHITECTURE.md draws the layers. What a folder may name stands in [`MAY_NAME`]; `mod.rs` files and
//! tests beside the code count as well, but for what stands behind `#[cfg(test)]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each first-level module those that it may name, besides itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("access", &["base"]),
    ("core", &["base", "wire", "access"]),
    ("overlay", &["base", "wire", "access", "core"]),
    ("multicast", &["base", "wire", "access", "core", "overlay"]),
    ("unicast", &["base", "wire", "access", "core", "overlay"]),
    (
        "patterns",
        &[
            "base",
            "wire",
            "access",
            "core",
            "overlay",
            "multicast",
            "unicast",
        ],
    ),
    (
        "engine",
        &[
            "base",
            "wire",
            "access",
            "core",
            "overlay",
            "multicast",
            "unicast",
            "patterns",
        ],
    ),
];

/// Code without comments, texts and what is compiled for tests only.
fn stripped(code: &str) -> String {
    // What follows an import or an item for tests counts; what a module for tests has does not.
    let tests = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
    let code = &code[..tests];
    let mut plain = String::new();
    for line in code.lines() {
        let line = line.split("//").next().unwrap_or_default();
        // Every second piece between quotation marks is a text.
        for (at, piece) in line.split('"').enumerate() {
            if at % 2 == 0 {
                plain.push_str(piece);
            }
        }
        plain.push('\n');
    }
    plain
}

/// What a `use` tree or a path that begins with `crate::` names: first-level modules, and in each the
/// next name.
fn named(code: &str) -> BTreeSet<(String, String)> {
    let mut named = BTreeSet::new();
    let word = |text: &str| -> String {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.chars().take_while(is_word).collect()
    };
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        for rest in branches(rest) {
            let first = word(rest);
            let next = rest[first.len()..].strip_prefix("::").unwrap_or("");
            for next in branches(next) {
                named.insert((first.clone(), word(next)));
            }
        }
    }
    named
}

/// The branches of a `use` tree: one, or those between braces.
fn branches(tree: &str) -> Vec<&str> {
    let Some(inner) = tree.strip_prefix('{') else {
        return vec![tree];
    };
    let (mut depth, mut from) = (0, 0);
    let mut found = Vec::new();
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(inner[from..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(inner[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|branch| !branch.is_empty());
    found
}

/// What a file breaks: it belongs to a first-level module, and to a pattern or not, and is so many
/// modules deep.
fn broken(module: &str, pattern: Option<&str>, depth: usize, code: &str) -> Vec<String> {
    let code = stripped(code);
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
        return vec![format!("`{module}` is no layer")];
    };
    let mut broken = Vec::new();
    if code.contains(&"super::".repeat(depth)) {
        broken.push("`super` leads out of the layer: name it by `crate::`".to_owned());
    }
    for (first, next) in named(&code) {
        if first.starts_with(char::is_uppercase) {
            broken.push(format!(
                "`crate::{first}`: name it by the module that it is in"
            ));
        }
        let is_layer = MAY_NAME.iter().any(|(name, _)| *name == first);
        if is_layer && first != module && !allowed.contains(&first.as_str()) {
            broken.push(format!(
                "`{module}` must not name `{first}` (arrows point down)"
            ));
        }
        if first == "patterns"
            && pattern
                .is_some_and(|pattern| next.starts_with(char::is_lowercase) && next != pattern)
        {
            broken.push(format!("a pattern must not name its sibling `{next}`"));
        }
    }
    broken
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn arrows_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    assert!(found.len() > 80, "{} files", found.len());
    let mut all = BTreeMap::new();
    for path in found {
        let within = path.strip_prefix(&source).expect("below it").to_owned();
        let is_test = within.to_string_lossy().contains("tests");
        let mut parts = within
            .iter()
            .map(|part| part.to_string_lossy().replace(".rs", ""));
        let module = parts.next().unwrap_or_default();
        if is_test || module == "lib" {
            continue;
        }
        let pattern = parts.next().filter(|_| module == "patterns");
        let code = fs::read_to_string(&path).expect("a text");
        let depth = within.iter().count();
        let broken = broken(&module, pattern.as_deref(), depth, &code);
        if !broken.is_empty() {
            all.insert(within.display().to_string(), broken);
        }
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn an_arrow_that_points_up_is_found() {
    for (module, pattern, code) in [
        ("wire", None, "use crate::overlay::links::Link;"),
        ("overlay", None, "fn f() { crate::multicast::g(); }"),
        ("base", None, "use crate::{wire::Frame};"),
        ("access", None, "use crate::core::Core;"),
        (
            "core",
            None,
            "use crate::{base::name::GroupId, overlay::{View, Link}};",
        ),
        (
            "patterns",
            Some("rpc"),
            "use crate::patterns::probe::Probes;",
        ),
        ("patterns", Some("rpc"), "use crate::patterns::{Cx, probe};"),
        ("wire", None, "use super::super::overlay::links::Link;"),
        ("wire", None, "use crate::Engine;"),
        ("unicast", None, "use crate::multicast::Cx;"),
        ("unicast", None, "use crate::patterns::Protocol;"),
        ("multicast", None, "use crate::unicast::Unicast;"),
        ("elsewhere", None, ""),
    ] {
        assert!(
            !broken(module, pattern, 2, code).is_empty(),
            "{module}: {code}"
        );
    }
    for (module, pattern, code) in [
        (
            "overlay",
            None,
            "use crate::wire::Frame; // crate::multicast",
        ),
        ("overlay", None, r#"let text = "crate::multicast::x";"#),
        (
            "wire",
            None,
            "#[cfg(test)]\nmod tests { use crate::engine::Engine; }",
        ),
        (
            "patterns",
            Some("probe"),
            "use crate::patterns::{Cx, Module};",
        ),
    ] {
        assert_eq!(
            broken(module, pattern, 2, code),
            [""; 0],
            "{module}: {code}"
        );
    }
}
