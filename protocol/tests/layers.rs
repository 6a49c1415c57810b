//! Arrows between the folders of this crate point down, and nowhere else.
//!
//! ARCHITECTURE.md draws the layers. What a folder may name stands in [`MAY_NAME`]; `mod.rs` files and
//! tests beside the code count as well, but for what stands behind `#[cfg(test)]`.
//!
//! State does not cross layers either. A field of `overlay`, `multicast`, `unicast` or `patterns` is
//! visible in its own layer at most: the layers above ask by methods (`outlook.rs`). What is common
//! ground is not state of a layer: all that `base`, `wire` and `access` have, `Core` and the rest of
//! `core` (clock, configuration, counters, actions), and the plain values in [`PLAIN`].

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

/// The layers whose fields do not leave them.
const HOLD_STATE: &[&str] = &["overlay", "multicast", "unicast", "patterns"];

/// Structs of these layers whose fields all may read, and why that shares no state.
const PLAIN: &[(&str, &str)] = &[
    (
        "Adverts",
        "an argument: what the record is to say of groups",
    ),
    ("Arrived", "an answer: a frame for this peer"),
    ("Cx", "what is lent for one call"),
    ("CxRef", "what is lent for one call"),
    ("FlowId", "a name"),
    ("FrameContents", "an argument: what a queued frame carries"),
    ("GroupGraph", "computed once and shared; nobody changes it"),
    ("Outgoing", "an argument: what a frame is to say"),
    ("Snapshot", "computed once and shared; nobody changes it"),
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

/// Structs of a file, but for [`PLAIN`] ones, with the fields that leave the layer. A field that is
/// `pub` leaves it as well, unless the struct is public, as simulations' arguments are.
fn fields_that_leave(code: &str) -> Vec<(String, String)> {
    let code = stripped(code);
    let mut found = Vec::new();
    // A struct, and whether it is public.
    let mut within: Option<(&str, bool)> = None;
    for line in code.lines() {
        let plain = line.trim_start();
        if plain.starts_with('}') {
            within = None;
        }
        let mut fields = plain;
        if let Some((before, rest)) = plain.split_once("struct ")
            && (before.is_empty() || before.starts_with("pub"))
        {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let name = rest.split(|c| !is_word(c)).next().unwrap_or_default();
            let opened = (name, before == "pub ");
            within = Some(opened);
            // The fields of a tuple stand on the same line.
            fields = rest[name.len()..].trim_start_matches(|c| c != '(');
        }
        let Some((name, is_public)) = within else {
            continue;
        };
        let leaves = |field: &str| {
            let field = field.trim_start_matches(['(', ' ']);
            field.starts_with("pub(crate) ") || field.starts_with("pub ") && !is_public
        };
        if PLAIN.iter().all(|(plain, _)| *plain != name) {
            let fields = fields.split(", ").filter(|field| leaves(field));
            found.extend(fields.map(|field| (name.to_owned(), field.trim().to_owned())));
        }
        if plain.ends_with(';') || plain.ends_with("{}") {
            within = None;
        }
    }
    found
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

/// Each file of the layers that is not for tests only: its path, and what it has.
fn sources() -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    assert!(found.len() > 80, "{} files", found.len());
    let sources = found.into_iter().map(|path| {
        let within = path.strip_prefix(&source).expect("below it").to_owned();
        (within, fs::read_to_string(&path).expect("a text"))
    });
    let is_of_a_layer =
        |path: &Path| !path.to_string_lossy().contains("tests") && path != Path::new("lib.rs");
    sources.filter(|(path, _)| is_of_a_layer(path)).collect()
}

/// The modules that a file is in, the first-level one first.
fn modules(within: &Path) -> Vec<String> {
    let parts = within.iter();
    parts
        .map(|part| part.to_string_lossy().replace(".rs", ""))
        .collect()
}

#[test]
fn arrows_point_down() {
    let mut all = BTreeMap::new();
    for (within, code) in sources() {
        let mut parts = modules(&within).into_iter();
        let module = parts.next().unwrap_or_default();
        let pattern = parts.next().filter(|_| module == "patterns");
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

#[test]
fn fields_stay_in_their_layer() {
    let (mut all, mut structs) = (BTreeMap::new(), BTreeSet::new());
    for (within, code) in sources() {
        for (name, _) in PLAIN {
            if code.contains(&format!("pub(crate) struct {name}")) {
                structs.insert(*name);
            }
        }
        let module = modules(&within).remove(0);
        // What tests only have may reach further.
        if !HOLD_STATE.contains(&module.as_str()) || within.ends_with("fixture.rs") {
            continue;
        }
        let found = fields_that_leave(&code);
        if !found.is_empty() {
            let told = found.into_iter().map(|(name, field)| {
                format!(
                    "`{name}` shows a field outside `{module}` (state stays in its layer): {field}"
                )
            });
            all.insert(within.display().to_string(), told.collect::<Vec<_>>());
        }
    }
    assert!(all.is_empty(), "{all:#?}");
    let listed: BTreeSet<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
    assert_eq!(structs, listed, "PLAIN names structs that there are");
}

#[test]
fn a_field_that_leaves_its_layer_is_found() {
    for code in [
        "pub(crate) struct Overlay {\n    pub(crate) up: Vec<u8>,\n}",
        "pub(crate) struct Link {\n    id: u8,\n    /// Text.\n    pub bytes: u64,\n}",
        "struct Group<T> {\n    pub(crate) logs: T,\n}",
        "pub(in crate::overlay) struct View(u8, pub(crate) u8);",
        "pub(super) struct View(pub u8);",
        "pub struct Status {\n    pub(crate) up: u8,\n}",
    ] {
        assert_eq!(fields_that_leave(code).len(), 1, "{code}");
    }
    for code in [
        "pub(crate) struct Overlay {\n    pub(in crate::overlay) up: Vec<u8>,\n}",
        "pub(crate) struct Link {\n    pub(super) id: u8,\n}\npub(crate) const A: u8 = 1;",
        "pub struct WarmLink {\n    pub link: u8,\n}",
        "pub(crate) struct FlowId(pub(crate) [u8; 48]);",
        "pub(crate) struct Full;\npub(crate) fn f() {}",
        "pub(crate) struct View {}\nimpl View {\n    pub(crate) fn peers(&self) {}\n}",
    ] {
        assert_eq!(fields_that_leave(code), [], "{code}");
    }
}
