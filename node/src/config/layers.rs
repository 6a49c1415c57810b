//! The layers and how they are merged: the later source wins, whole values at a time.

use super::settings::Settings;
use super::source::{self, ConfigFileError, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use toml::{Table, Value};

/// Variables with a meaning of their own, which are no settings.
const RESERVED: [&str; 3] = ["HEDGEROW_DATA_DIR", "HEDGEROW_CONFIG", "HEDGEROW_LOG"];
const PREFIX: &str = "HEDGEROW_";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the configuration file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A value given by a flag.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// The key it sets, with dots.
    pub key: String,
    /// The value; text is read as the key's type.
    pub value: FlagValue,
    /// The flag, as the user writes it.
    pub name: &'static str,
}

/// What a flag carries.
#[derive(Clone, Debug, PartialEq)]
pub enum FlagValue {
    /// A list of texts.
    List(Vec<String>),
    /// Text to be read as the key's type.
    Text(String),
}

impl Flag {
    /// A flag that sets a list.
    pub fn list(name: &'static str, key: &str, items: Vec<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: FlagValue::List(items),
            name,
        }
    }

    /// A flag that sets one value.
    pub fn text(name: &'static str, key: &str, text: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: FlagValue::Text(text.into()),
            name,
        }
    }
}

/// Where to look for settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must exist.
    pub file: Option<PathBuf>,
    /// A file that is read if it exists and `file` is not given.
    pub default_file: Option<PathBuf>,
    /// The environment, usually `std::env::vars()`; only `HEDGEROW_*` is looked at.
    pub environment: Vec<(String, String)>,
    /// Flags, in the order given.
    pub flags: Vec<Flag>,
}

/// The settings in force, with origins.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What holds.
    pub settings: Settings,
    /// Where each key's value came from, by key with dots.
    pub origins: BTreeMap<String, Origin>,
    /// What should be said on stderr: variables that look meant for us but name no key.
    pub warnings: Vec<String>,
    pub(super) table: Table,
}

struct Merged {
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Merged {
    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        source::insert(&mut self.table, key, value);
        self.origins.insert(key.to_owned(), origin);
    }
}

/// Reads all sources and merges them.
pub fn load(sources: &Sources) -> Result<Effective, ConfigFileError> {
    let schema = Schema::new();
    let origins = schema
        .leaves()
        .keys()
        .map(|key| (key.clone(), Origin::Default))
        .collect();
    let mut merged = Merged {
        table: schema.defaults().clone(),
        origins,
    };
    let default_file = sources.default_file.clone().filter(|path| path.exists());
    if let Some(path) = sources.file.clone().or(default_file) {
        for (key, value, line) in source::read_file(&path, &schema)? {
            merged.set(
                &key,
                value,
                Origin::File {
                    path: path.clone(),
                    line,
                },
            );
        }
    }
    let warnings = environment(&sources.environment, &schema, &mut merged)?;
    for flag in &sources.flags {
        let value = match &flag.value {
            FlagValue::Text(text) => source::from_text(&flag.key, text, flag.name, &schema)?,
            FlagValue::List(items) => {
                let items = items.iter().cloned().map(Value::String).collect();
                let value = Value::Array(items);
                source::check_value(&flag.key, &value, &schema).map_err(|what| {
                    ConfigFileError::Value {
                        origin: flag.name.to_owned(),
                        what,
                    }
                })?;
                value
            }
        };
        merged.set(&flag.key, value, Origin::Flag(flag.name));
    }
    finish(merged, warnings)
}

fn environment(
    variables: &[(String, String)],
    schema: &Schema,
    merged: &mut Merged,
) -> Result<Vec<String>, ConfigFileError> {
    let names: BTreeMap<String, &str> = schema
        .leaves()
        .keys()
        .map(|key| (variable(key), key.as_str()))
        .collect();
    let mut warnings = Vec::new();
    for (name, text) in variables {
        if !name.starts_with(PREFIX) || RESERVED.contains(&name.as_str()) {
            continue;
        }
        let Some(key) = names.get(name) else {
            // A warning, not an error: orchestrators set variables of this form for a service
            // that happens to be called hedgerow (HEDGEROW_PORT, HEDGEROW_SERVICE_HOST).
            let nearest = names
                .keys()
                .map(|known| (known, strsim::normalized_damerau_levenshtein(name, known)))
                .filter(|(_, likeness)| *likeness >= 0.7)
                .max_by(|a, b| a.1.total_cmp(&b.1));
            warnings.push(match nearest {
                Some((known, _)) => format!("{name} is not a setting; did you mean {known}?"),
                None => format!("{name} is not a setting, ignored"),
            });
            continue;
        };
        let value = source::from_text(key, text, name, schema)?;
        merged.set(key, value, Origin::Environment(name.clone()));
    }
    Ok(warnings)
}

/// The environment variable for a key: `links.heartbeat_ms` is `HEDGEROW_LINKS_HEARTBEAT_MS`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn finish(merged: Merged, warnings: Vec<String>) -> Result<Effective, ConfigFileError> {
    let Merged { table, origins } = merged;
    let settings = Settings::deserialize(Value::Table(table.clone())).map_err(|error| {
        ConfigFileError::Value {
            origin: "configuration".to_owned(),
            what: error.to_string(),
        }
    })?;
    if let Err(error) = settings.check() {
        let origin = origins.get(error.key).cloned().unwrap_or(Origin::Default);
        return Err(match origin {
            Origin::File { path, line } => ConfigFileError::At {
                path,
                line,
                column: 1,
                what: error.to_string(),
            },
            origin => ConfigFileError::Value {
                origin: origin.to_string(),
                what: error.to_string(),
            },
        });
    }
    Ok(Effective {
        settings,
        origins,
        warnings,
        table,
    })
}
