//! What is wrong with a scenario, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A place in the file: line and column, from 1.
    File(usize, usize),
    /// An override, as it was given.
    Override(String),
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Something is wrong in the file.
    #[error("{}:{line}:{column}: {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Which character in it, from 1.
        column: usize,
        /// What.
        what: String,
    },
    /// Something is wrong with an override.
    #[error("--set {given}: {what}")]
    Override {
        /// As it was given.
        given: String,
        /// What.
        what: String,
    },
}

impl ScenarioError {
    pub(crate) fn at(path: &std::path::Path, origin: &Origin, what: String) -> Self {
        match origin {
            Origin::File(line, column) => Self::File {
                path: path.to_owned(),
                line: *line,
                column: *column,
                what,
            },
            Origin::Override(given) => Self::Override {
                given: given.clone(),
                what,
            },
        }
    }
}

/// A way to a value: `group[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(pub Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// One step further, into a table.
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.step(Step::Key(key.into()))
    }

    /// One step further, into a list.
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Something wrong at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: KeyPath,
    /// What.
    pub what: String,
}
