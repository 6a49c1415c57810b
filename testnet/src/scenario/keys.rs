//! Which keys there are, learned from the types: for the check of unknown keys and for the docs.

use super::file::File;
use hedgerow_protocol::Config;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A key and what may stand there.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    about: String,
    default: Option<Json>,
    pub(crate) shape: Shape,
}

/// What may stand at a key.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// A table with these keys.
    Table(BTreeMap<String, Key>),
    /// A list of tables with these keys.
    Tables(BTreeMap<String, Key>),
    /// Overrides of anything.
    Overrides,
    /// A value: what types it may have, and which texts where that is limited.
    Value {
        types: Vec<String>,
        texts: Vec<String>,
    },
}

/// Keys of the engine's configuration that a world sets itself.
const SET_BY_WORLD: [&str; 3] = ["network", "bootstrap", "addresses"];

/// All keys of a scenario file.
pub(crate) fn all() -> Shape {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<File>();
    shape(schema.as_value())
}

fn shape(schema: &Json) -> Shape {
    match schema.get("x-table").and_then(Json::as_str) {
        Some("engine") => return Shape::Table(engine()),
        Some("overrides") => return Shape::Overrides,
        _ => {}
    }
    // An optional table or list is one of two.
    if let Some(Json::Array(any)) = schema.get("anyOf")
        && let Some(some) = any.iter().find(|one| one["type"] != "null")
    {
        return shape(some);
    }
    if let Some(Json::Object(properties)) = schema.get("properties") {
        return Shape::Table(keys(properties));
    }
    if let Some(Json::Object(properties)) = schema.pointer("/items/properties") {
        return Shape::Tables(keys(properties));
    }
    let list = |value: &Json| match value {
        Json::Array(all) => all.clone(),
        Json::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let mut texts: Vec<String> = list(&schema["enum"]).iter().filter_map(text).collect();
    texts.extend(
        list(&schema["oneOf"])
            .iter()
            .filter_map(|one| text(&one["const"])),
    );
    let mut types: Vec<String> = list(&schema["type"]).iter().filter_map(text).collect();
    if !texts.is_empty() {
        types = vec!["string".to_owned()];
    }
    Shape::Value { types, texts }
}

fn keys(properties: &serde_json::Map<String, Json>) -> BTreeMap<String, Key> {
    let key = |schema: &Json| Key {
        about: schema["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        default: schema
            .get("default")
            .cloned()
            .filter(|value| !value.is_null()),
        shape: shape(schema),
    };
    properties
        .iter()
        .map(|(name, schema)| (name.clone(), key(schema)))
        .collect()
}

/// The engine's own keys, from its defaults.
fn engine() -> BTreeMap<String, Key> {
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    from_defaults(&defaults)
}

fn from_defaults(table: &toml::Table) -> BTreeMap<String, Key> {
    let shape = |value: &toml::Value| match value {
        toml::Value::Table(inner) => Shape::Table(from_defaults(inner)),
        _ => Shape::Value {
            types: vec!["integer".to_owned()],
            texts: Vec::new(),
        },
    };
    table
        .iter()
        .filter(|(name, _)| !SET_BY_WORLD.contains(&name.as_str()))
        .map(|(name, value)| {
            let key = Key {
                about: String::new(),
                default: None,
                shape: shape(value),
            };
            (name.clone(), key)
        })
        .collect()
}

/// The candidate most like `name`, if any is at all like it.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|known| (known, strsim::normalized_damerau_levenshtein(name, known)))
        .filter(|(_, likeness)| *likeness >= 0.3)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(known, _)| known)
}

/// The key anywhere in the file most like `name`, with dots.
pub(crate) fn nearest_anywhere(name: &str) -> Option<String> {
    let mut paths = Vec::new();
    if let Shape::Table(keys) = all() {
        collect(&keys, "", &mut paths);
    }
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    paths
        .into_iter()
        .map(|path| {
            (
                strsim::normalized_damerau_levenshtein(name, &last(&path)),
                path,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}

fn collect(keys: &BTreeMap<String, Key>, prefix: &str, paths: &mut Vec<String>) {
    for (name, key) in keys {
        let path = format!("{prefix}{name}");
        if let Shape::Table(inner) | Shape::Tables(inner) = &key.shape {
            collect(inner, &format!("{path}."), paths);
        }
        paths.push(path);
    }
}

/// Every key in a table of Markdown: what `docs/scenarios.md` holds.
pub fn markdown() -> String {
    let mut text = String::from("| key | default | what |\n|---|---|---|\n");
    if let Shape::Table(keys) = all() {
        rows(&keys, "", &mut text);
    }
    text
}

fn rows(keys: &BTreeMap<String, Key>, prefix: &str, text: &mut String) {
    for (name, key) in keys {
        let path = format!("{prefix}{name}");
        let (default, about) = match &key.shape {
            Shape::Table(_) if name == "config" => (String::new(), key.about.clone()),
            Shape::Table(inner) | Shape::Tables(inner) => {
                rows(inner, &format!("{path}."), text);
                continue;
            }
            Shape::Overrides => (String::new(), key.about.clone()),
            Shape::Value { texts, .. } => {
                let one_of: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
                let mut about = key.about.clone();
                if name != "metric" && !one_of.is_empty() {
                    about = format!("{about} One of {}.", one_of.join(", "));
                }
                (default(key), about)
            }
        };
        let about = about.replace('\n', " ").replace('|', "\\|");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{path}` | {default} | {about} |");
    }
}

fn default(key: &Key) -> String {
    key.default
        .as_ref()
        .filter(|value| !value.is_object() && **value != "")
        .map(|value| format!("`{value}`"))
        .unwrap_or_default()
}
