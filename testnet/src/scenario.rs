//! Scenarios: what runs, what goes wrong, what must hold, from a TOML file.
//!
//! [`Scenario::load`] reads a file, applies overrides, refuses what does not exist or cannot
//! work (with file and line), and gives plain data; a world runs it. `docs/scenarios.md` lists
//! every key.

mod check;
mod document;
mod error;
mod fault;
mod file;
mod keys;
mod metric;
mod selector;
#[cfg(test)]
mod tests;
mod value;

pub use error::{KeyPath, Origin, Problem, ScenarioError, Step};
pub use fault::{Fault, FaultKind, Lengths};
pub use file::{
    Assert, Backend, Bandwidth, Behaviour, File, Group, Latency, Nodes, Op, Overlay, RelativeTo,
    Run, Start, Topology, Window, Workload,
};
pub use keys::markdown as keys_in_markdown;
pub use metric::{Metric, OF_A_GROUP, OF_THE_RUN};
pub use selector::{Base, Pick, Role, Selector, Term};
pub use value::{Share, Size, Span};

use crate::sim::Matrix;
use document::Tree;
use hedgerow_protocol::Config;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A scenario that can be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the file says, overrides applied.
    pub file: File,
    /// The matrix of latencies, if one is named.
    pub matrix: Option<Matrix>,
    /// The engine's settings of each class of nodes, in order.
    pub configs: Vec<Config>,
}

/// What is changed in a file before it is run.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Whether `[ci]` applies.
    pub ci: bool,
    /// `KEY=VALUE`, applied in order after `[ci]`.
    pub set: Vec<String>,
}

impl Scenario {
    /// Reads a file.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text, path, overrides)
    }

    /// Reads a file's text; `path` is for messages and for paths in it.
    pub fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let wrong = |(origin, what): (Origin, String)| ScenarioError::at(path, &origin, what);
        let mut tree = Tree::parse(text).map_err(wrong)?;
        let ci = tree.take("ci");
        if overrides.ci
            && let Some(ci) = &ci
        {
            tree.set_all(ci).map_err(wrong)?;
        } else if let Some(ci) = &ci {
            // Wrong overrides are wrong before they are used.
            tree.clone().set_all(ci).map_err(wrong)?;
        }
        for given in &overrides.set {
            tree.set(given).map_err(|what| ScenarioError::Override {
                given: given.clone(),
                what,
            })?;
        }
        let found =
            |problem: Problem| ScenarioError::at(path, tree.origin(&problem.path), problem.what);
        tree.check_keys().map_err(found)?;
        let mut file: File = serde_path_to_error::deserialize(tree.value()).map_err(|error| {
            let problem = Problem {
                path: key_path(error.path()),
                what: error.inner().message().trim().to_owned(),
            };
            let named = if problem.path.0.is_empty() {
                problem.what.clone()
            } else {
                format!("`{}`: {}", problem.path, problem.what)
            };
            found(Problem {
                what: named,
                ..problem
            })
        })?;
        if file.scenario.name.is_empty() {
            let stem = path.file_stem().unwrap_or_default();
            file.scenario.name = stem.to_string_lossy().into_owned();
        }
        let configs = check::check(&file).map_err(found)?;
        let matrix = match read_matrix(&file, path, &tree)? {
            None => None,
            Some((found, matrix)) => {
                // What is written down for a later run must be found from anywhere.
                file.topology.latency.matrix = Some(found.canonicalize().unwrap_or(found));
                Some(matrix)
            }
        };
        Ok(Self {
            file,
            matrix,
            configs,
        })
    }

    /// The engine settings of a class of nodes as they are written, by the keys of docs/config.md.
    pub fn engine_table(&self, class: usize) -> toml::Table {
        let mut table = self.file.config.clone();
        if let Some(class) = self.file.nodes.get(class) {
            merge(&mut table, &class.config);
        }
        table
    }

    /// Nodes of all classes.
    pub fn nodes(&self) -> usize {
        self.file.nodes.iter().map(|class| class.count).sum()
    }
}

fn key_path(path: &serde_path_to_error::Path) -> KeyPath {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        _ => None,
    };
    KeyPath(path.iter().filter_map(step).collect())
}

/// Reads the matrix of latencies. A path in the file is relative to the file, one in an override
/// to the working directory.
fn read_matrix(
    file: &File,
    path: &Path,
    tree: &Tree,
) -> Result<Option<(PathBuf, Matrix)>, ScenarioError> {
    let Some(matrix) = &file.topology.latency.matrix else {
        return Ok(None);
    };
    let key = KeyPath::default()
        .key("topology")
        .key("latency")
        .key("matrix");
    let origin = tree.origin(&key);
    let matrix = match (origin, path.parent()) {
        (Origin::File(..), Some(dir)) => dir.join(matrix),
        _ => matrix.clone(),
    };
    let wrong = |what: String| {
        let what = format!("`{key}`: {}: {what}", matrix.display());
        ScenarioError::at(path, origin, what)
    };
    let text = std::fs::read_to_string(&matrix).map_err(|error| wrong(error.to_string()))?;
    match Matrix::parse(&text) {
        Ok(parsed) => Ok(Some((matrix, parsed))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The engine's settings from tables, the later over the earlier.
fn engine_config(tables: &[&toml::Table]) -> Result<Config, String> {
    let mut merged = toml::Table::new();
    for table in tables {
        merge(&mut merged, table);
    }
    let config = Config::deserialize(merged).map_err(|error| error.message().trim().to_owned())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

fn merge(into: &mut toml::Table, from: &toml::Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}
