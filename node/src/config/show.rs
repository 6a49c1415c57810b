//! Effective settings for people and programs.

use super::layers::{Effective, Origin};
use serde::Serialize;
use std::fmt::Write as _;
use toml::{Table, Value};

/// One setting.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The key, with dots.
    pub key: String,
    /// What it is set to.
    pub value: Value,
    /// Where that came from.
    pub origin: Origin,
}

/// All settings, in the order of the file.
pub fn entries(effective: &Effective) -> Vec<Entry> {
    let mut all = Vec::new();
    collect(&effective.table, "", effective, &mut all);
    all
}

fn collect(table: &Table, prefix: &str, effective: &Effective, all: &mut Vec<Entry>) {
    let (sections, leaves): (Vec<_>, Vec<_>) = table.iter().partition(|(_, v)| v.is_table());
    for (name, value) in leaves {
        let key = format!("{prefix}{name}");
        let origin = effective
            .origins
            .get(&key)
            .cloned()
            .unwrap_or(Origin::Default);
        all.push(Entry {
            key,
            value: value.clone(),
            origin,
        });
    }
    for (name, value) in sections {
        if let Value::Table(inner) = value {
            collect(inner, &format!("{prefix}{name}."), effective, all);
        }
    }
}

/// The settings as a file that would set them, on request with each value's origin as comment.
pub fn to_toml(effective: &Effective, origins: bool) -> String {
    let mut text = String::new();
    let mut section = String::new();
    for Entry { key, value, origin } in entries(effective) {
        let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
        if table != section {
            table.clone_into(&mut section);
            let _ = writeln!(text, "\n[{section}]");
        }
        let _ = write!(text, "{name} = {value}");
        if origins {
            let _ = write!(text, "  # {origin}");
        }
        text.push('\n');
    }
    text
}
