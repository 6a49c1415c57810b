//! Tables for people, from the API's JSON.

use super::safe;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use hedgerow_protocol::PeerKey;
use serde_json::Value;

/// A column: its title, and what stands in it.
pub(super) type Column = (&'static str, fn(&Value) -> String);

/// One row for each of `rows`.
pub(super) fn table(columns: &[Column], rows: &[Value]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(columns.iter().map(|(title, _)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| cell(row)));
    }
    trim(&table)
}

/// One line for each name and value.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    for (name, value) in pairs {
        table.add_row([*name, value]);
    }
    trim(&table)
}

fn trim(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// A value as people write it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        // One cell is one line, and no wider than it looks; a pipe gets that as well.
        Value::String(text) => safe::text(text).replace(['\n', '\t'], " "),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Microseconds as milliseconds.
pub(super) fn millis(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us / 1_000.0))
}

/// Bytes in a unit that fits.
pub(super) fn bytes(value: &Value) -> String {
    value.as_u64().map_or_else(
        || "-".to_owned(),
        |bytes| indicatif::BinaryBytes(bytes).to_string(),
    )
}

/// A span of milliseconds in units that fit, whole seconds.
pub(super) fn span(value: &Value) -> String {
    let Some(ms) = value.as_u64() else {
        return "-".to_owned();
    };
    humantime::format_duration(std::time::Duration::from_secs(ms / 1_000)).to_string()
}

/// The peers as lines of their own, to follow a sentence.
pub(super) fn list(peers: &[PeerKey]) -> String {
    peers
        .iter()
        .fold(String::new(), |text, peer| text + "\n" + &peer.to_string())
}

/// The end of a `PeerId`: enough to tell peers apart in a line of several.
pub(super) fn short(peer: &str) -> &str {
    peer.get(peer.len().saturating_sub(8)..).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_for_people() {
        assert_eq!(text(&json!(null)), "-");
        assert_eq!(text(&json!(true)), "yes");
        assert_eq!(text(&json!(["ring", "near"])), "ring near");
        assert_eq!(
            text(&json!("a\nb\u{1b}[2J\u{202e}")),
            "a b\\x1b[2J\\u{202e}"
        );
        assert_eq!(millis(&json!(1_500)), "1.5 ms");
        assert_eq!(bytes(&json!(65_536)), "64.00 KiB");
        assert_eq!(span(&json!(61_500)), "1m 1s");
        assert_eq!(short("12D3KooWabcdefgh"), "abcdefgh");
    }

    #[test]
    fn tables_have_a_line_for_each_row() {
        let columns: [Column; 2] = [("A", |row| text(&row["a"])), ("B", |row| text(&row["b"]))];
        let shown = table(
            &columns,
            &[json!({"a": 1, "b": "x"}), json!({"a": 22, "b": null})],
        );
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines.iter().all(|line| !line.ends_with(' ')));
    }
}
