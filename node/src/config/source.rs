//! One source of settings: a file's text, an environment variable, a flag. Finds what is wrong
//! in it and where, before anything is merged.

use super::settings::Settings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// What is wrong in a configuration, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}; check the path given by --config or HEDGEROW_CONFIG", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Something at a known place in the file.
    #[error("{}:{line}:{column}: {what}", path.display())]
    At {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Which character in it, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// Something in an environment variable or a flag.
    #[error("{origin}: {what}")]
    Value {
        /// Which variable or flag.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Fields of the transport's configuration that stand at the top, where people look for them.
const ELSEWHERE: [&str; 3] = ["listen", "external", "mdns"];

/// Which keys exist, learned from the default settings.
pub(super) struct Schema {
    defaults: Table,
    leaves: BTreeMap<String, Value>,
}

impl Schema {
    pub(super) fn new() -> Self {
        let mut defaults = Table::try_from(Settings::default()).expect("settings are a TOML table");
        if let Some(Value::Table(transport)) = defaults.get_mut("transport") {
            for key in ELSEWHERE {
                transport.remove(key);
            }
        }
        let mut leaves = BTreeMap::new();
        flatten(&defaults, "", &mut leaves);
        Self { defaults, leaves }
    }

    pub(super) fn defaults(&self) -> &Table {
        &self.defaults
    }

    /// All keys, with dots, and their defaults.
    pub(super) fn leaves(&self) -> &BTreeMap<String, Value> {
        &self.leaves
    }

    /// The existing key most like `key`, if any is at all like it.
    pub(super) fn nearest(&self, key: &str) -> Option<&str> {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let sections = self
            .defaults
            .iter()
            .filter(|(_, v)| v.is_table())
            .map(|(k, _)| k.as_str());
        self.leaves
            .keys()
            .map(String::as_str)
            .chain(sections)
            .map(|known| {
                let whole = strsim::normalized_damerau_levenshtein(key, known);
                let tail = strsim::normalized_damerau_levenshtein(&last(key), &last(known));
                // The key itself counts more than its section: a right key in the wrong
                // section should be found in the right one.
                (known, tail.mul_add(0.7, 0.3 * whole))
            })
            .filter(|(_, likeness)| *likeness >= 0.4)
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(known, _)| known)
    }

    /// The tail of a message about `key`, which does not exist.
    pub(super) fn suggestion(&self, key: &str) -> String {
        match self.nearest(key) {
            Some(known) => format!("unknown key `{key}`; the nearest valid key is `{known}`"),
            None => format!("unknown key `{key}`; `hedgerow config show` lists all keys"),
        }
    }
}

fn flatten(table: &Table, prefix: &str, leaves: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(inner, &format!("{prefix}{key}."), leaves),
            leaf => {
                leaves.insert(format!("{prefix}{key}"), leaf.clone());
            }
        }
    }
}

/// A value and the line it stands on.
pub(super) type Placed = (String, Value, usize);

/// Reads and checks a file: every key with its value and line.
pub(super) fn read_file(path: &Path, schema: &Schema) -> Result<Vec<Placed>, ConfigFileError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigFileError::Read {
        path: path.to_owned(),
        error,
    })?;
    parse(path, &text, schema)
}

/// Checks a file's text: every key with its value and line.
pub(super) fn parse(
    path: &Path,
    text: &str,
    schema: &Schema,
) -> Result<Vec<Placed>, ConfigFileError> {
    let at = |span: Option<Range<usize>>, what: String| {
        let (line, column) = position(text, span.map_or(0, |span| span.start));
        ConfigFileError::At {
            path: path.to_owned(),
            line,
            column,
            what,
        }
    };
    let from_toml = |error: &toml::de::Error| at(error.span(), error.message().trim().to_owned());
    let document = DeTable::parse(text).map_err(|error| from_toml(&error))?;
    let mut entries = Vec::new();
    walk(document.get_ref(), schema.defaults(), "", &mut entries)
        .map_err(|unknown| at(Some(unknown.span), schema.suggestion(&unknown.key)))?;
    let table: Table = toml::from_str(text).map_err(|error| from_toml(&error))?;
    if let Err(error) = toml::from_str::<Settings>(text) {
        for Written { key, value, .. } in &entries {
            if let Some(found) = get(&table, key)
                && let Err(what) = check_value(key, found, schema)
            {
                // Of a list, the error's own place names the item.
                let item = error.span().filter(|item| value.contains(&item.start));
                return Err(at(item.or(Some(value.clone())), what));
            }
        }
        return Err(from_toml(&error));
    }
    Ok(entries
        .into_iter()
        .filter_map(|entry| {
            let value = get(&table, &entry.key)?.clone();
            let (line, _) = position(text, entry.name.start);
            Some((entry.key, value, line))
        })
        .collect())
}

/// Where a key and its value stand in a file.
struct Written {
    key: String,
    name: Range<usize>,
    value: Range<usize>,
}

struct Unknown {
    key: String,
    span: Range<usize>,
}

fn walk(
    table: &DeTable<'_>,
    known: &Table,
    prefix: &str,
    written: &mut Vec<Written>,
) -> Result<(), Unknown> {
    let mut entries: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let full = format!("{prefix}{}", key.get_ref());
        match (known.get(key.get_ref().as_ref()), value.get_ref()) {
            (None, _) => {
                return Err(Unknown {
                    key: full,
                    span: key.span(),
                });
            }
            (Some(Value::Table(inner)), DeValue::Table(entries)) => {
                walk(entries, inner, &format!("{full}."), written)?;
            }
            (Some(_), _) => written.push(Written {
                key: full,
                name: key.span(),
                value: value.span(),
            }),
        }
    }
    Ok(())
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// A value written as text, of the type that `key` has; checked as settings are.
pub(super) fn from_text(
    key: &str,
    text: &str,
    origin: impl fmt::Display,
    schema: &Schema,
) -> Result<Value, ConfigFileError> {
    let error = |what: String| ConfigFileError::Value {
        origin: origin.to_string(),
        what,
    };
    let default = schema
        .leaves()
        .get(key)
        .ok_or_else(|| error(schema.suggestion(key)))?;
    let value = match default {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        default => text
            .trim()
            .parse::<Value>()
            .map_err(|_| error(format!("`{key}` takes {}, not {text:?}", kind(default))))?,
    };
    check_value(key, &value, schema).map_err(error)?;
    Ok(value)
}

/// What stands at a key whose default is this.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Boolean(_) => "true or false",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::String(_) => "text (in quotes)",
        Value::Array(_) => "a list of texts: [\"one\", \"other\"]",
        Value::Table(_) => "a section of keys",
        Value::Datetime(_) => "a date",
    }
}

/// Whether `value` can stand at `key`; why not, with the key, in the words of who wrote it.
pub(super) fn check_value(key: &str, value: &Value, schema: &Schema) -> Result<(), String> {
    let takes = |what: &str, found: &str| Err(format!("`{key}` takes {what}, not {found}"));
    let default = get(schema.defaults(), key);
    match (default, value) {
        (Some(list @ Value::Array(_)), Value::Array(items)) => {
            // All lists are of texts.
            if let Some(other) = items.iter().find(|item| !item.is_str()) {
                return takes(kind(list), &format!("one with {}", shown(other)));
            }
        }
        (Some(default), value) if !default.same_type(value) => {
            return takes(kind(default), &shown(value));
        }
        _ => {}
    }
    let mut table = Table::new();
    insert(&mut table, key, value.clone());
    let Err(error) = Settings::deserialize(Value::Table(table)) else {
        return Ok(());
    };
    let message = error.message().trim();
    match value {
        // Of numbers serde speaks in Rust's words.
        Value::Integer(number) => takes(
            &format!("a whole number{}", range(message)),
            &number.to_string(),
        ),
        _ => Err(format!("`{key}`: {message}")),
    }
}

/// A wrong value as its writer will know it.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a section".to_owned(),
        value => value.to_string(),
    }
}

/// The numbers that fit, from the Rust type that serde names last.
fn range(message: &str) -> String {
    let most = match message.rsplit(' ').next() {
        Some("u8") => u64::from(u8::MAX),
        Some("u16") => u64::from(u16::MAX),
        Some("u32") => u64::from(u32::MAX),
        _ => return ", 0 or more".to_owned(),
    };
    format!(" from 0 to {most}")
}

/// What stands at `key`, with dots.
fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => get(table.get(section)?.as_table()?, rest),
    }
}

/// Sets `key`, with dots, in nested tables.
pub(super) fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let entry = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}
