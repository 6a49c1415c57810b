//! A TOML document in which every value knows where it comes from, so that whatever is found
//! wrong later, after overrides, can be named by file and line.

use super::error::{KeyPath, Origin, Problem, Step};
use super::keys::{self, Shape};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its origin.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) origin: Origin,
    pub(crate) node: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Table(BTreeMap<String, Tree>),
    List(Vec<Tree>),
    Leaf(toml::Value),
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> Origin {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Origin::File(
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

impl Tree {
    /// Parses a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, (Origin, String)> {
        let wrong = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            (position(text, at), error.message().trim().to_owned())
        };
        let spanned = DeTable::parse(text).map_err(wrong)?;
        let plain: toml::Table = toml::from_str(text).map_err(wrong)?;
        let node = table(text, spanned.get_ref(), plain);
        let origin = Origin::File(1, 1);
        Ok(Self { origin, node })
    }

    /// A value that did not come from the file.
    fn given(value: toml::Value, given: &str) -> Self {
        let node = match value {
            toml::Value::Table(table) => Node::Table(
                table
                    .into_iter()
                    .map(|(key, value)| (key, Self::given(value, given)))
                    .collect(),
            ),
            toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => Node::List(
                list.into_iter()
                    .map(|value| Self::given(value, given))
                    .collect(),
            ),
            leaf => Node::Leaf(leaf),
        };
        let origin = Origin::Override(given.to_owned());
        Self { origin, node }
    }

    /// The plain value.
    pub(crate) fn value(&self) -> toml::Value {
        match &self.node {
            Node::Table(table) => {
                let entries = table.iter().map(|(key, tree)| (key.clone(), tree.value()));
                toml::Value::Table(entries.collect())
            }
            Node::List(list) => toml::Value::Array(list.iter().map(Self::value).collect()),
            Node::Leaf(value) => value.clone(),
        }
    }

    /// Where the value at `path` comes from; of the nearest thing around it if it is not there.
    pub(crate) fn origin(&self, path: &KeyPath) -> &Origin {
        let mut here = self;
        for step in &path.0 {
            let next = match (step, &here.node) {
                (Step::Key(key), Node::Table(table)) => table.get(key),
                (Step::Index(index), Node::List(list)) => list.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            here = next;
        }
        &here.origin
    }

    /// Takes a key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        match &mut self.node {
            Node::Table(table) => table.remove(key),
            _ => None,
        }
    }

    /// Looks for keys that do not exist.
    pub(crate) fn check_keys(&self) -> Result<(), Problem> {
        self.check_against(&keys::all(), &KeyPath::default())
    }

    fn check_against(&self, shape: &Shape, path: &KeyPath) -> Result<(), Problem> {
        match (&self.node, shape) {
            (Node::Table(table), Shape::Table(known)) => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(_, tree)| match tree.origin {
                    Origin::File(line, column) => (line, column),
                    Origin::Override(_) => (usize::MAX, 0),
                });
                for (key, tree) in entries {
                    let path = path.key(key);
                    let Some(known) = known.get(key) else {
                        return Err(unknown(path, key, known.keys().map(String::as_str)));
                    };
                    tree.check_against(&known.shape, &path)?;
                }
                Ok(())
            }
            (Node::List(list), Shape::Tables(known)) => {
                let shape = Shape::Table(known.clone());
                list.iter()
                    .enumerate()
                    .try_for_each(|(index, tree)| tree.check_against(&shape, &path.index(index)))
            }
            // A wrong type is the deserializer's to name.
            _ => Ok(()),
        }
    }
}

fn unknown<'a>(path: KeyPath, key: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let nearest = keys::nearest(key, known).map(str::to_owned);
    let nearest = nearest.or_else(|| keys::nearest_anywhere(key));
    let what = match nearest {
        Some(nearest) => format!("unknown key `{path}`; the nearest valid key is `{nearest}`"),
        None => format!("unknown key `{path}`; `hedgerow-testnet keys` lists all"),
    };
    Problem { path, what }
}

fn table(text: &str, spanned: &DeTable<'_>, mut plain: toml::Table) -> Node {
    let mut entries = BTreeMap::new();
    for (key, value) in spanned {
        let name = key.get_ref().as_ref();
        let Some(plain) = plain.remove(name) else {
            continue;
        };
        let node = node(text, value, plain);
        let origin = position(text, key.span().start);
        entries.insert(name.to_owned(), Tree { origin, node });
    }
    Node::Table(entries)
}

fn node(text: &str, spanned: &Spanned<DeValue<'_>>, plain: toml::Value) -> Node {
    match (spanned.get_ref(), plain) {
        (DeValue::Table(inner), toml::Value::Table(plain)) => table(text, inner, plain),
        (DeValue::Array(inner), toml::Value::Array(plain))
            if plain.iter().any(toml::Value::is_table) =>
        {
            let entries = inner.iter().zip(plain).map(|(value, plain)| Tree {
                origin: position(text, value.span().start),
                node: node(text, value, plain),
            });
            Node::List(entries.collect())
        }
        (_, plain) => Node::Leaf(plain),
    }
}

/// Overrides.
impl Tree {
    /// Applies `KEY=VALUE`.
    pub(crate) fn set(&mut self, given: &str) -> Result<(), String> {
        let (key, text) = given
            .split_once('=')
            .ok_or("an override is written KEY=VALUE")?;
        let key = key.trim();
        let parsed: toml::Table = toml::from_str(&format!("{key} = 0"))
            .map_err(|_| format!("{key:?} is no key: write it with dots, as in TOML"))?;
        let mut steps = Vec::new();
        let mut here = &parsed;
        while let Some((key, value)) = here.iter().next() {
            steps.push(key.clone());
            match value {
                toml::Value::Table(inner) => here = inner,
                _ => break,
            }
        }
        self.put(&keys::all(), &steps, key, &|types: &[String]| {
            let value = toml::from_str::<toml::Table>(&format!("v = {text}"))
                .ok()
                .and_then(|mut table| table.remove("v"));
            let fits = |value: &toml::Value| {
                types.is_empty() || !value.is_str() && types.iter().any(|kind| *kind != "string")
            };
            let value = value.filter(|value| value.is_str() || fits(value));
            let value = value.unwrap_or_else(|| toml::Value::String(text.trim().to_owned()));
            Self::given(value, given)
        })
    }

    /// Applies a table of overrides from the file, such as `[ci]`.
    pub(crate) fn set_all(&mut self, overrides: &Self) -> Result<(), (Origin, String)> {
        let mut leaves = Vec::new();
        flatten(overrides, &mut Vec::new(), &mut leaves);
        for (steps, leaf) in leaves {
            let key = steps.join(".");
            self.put(&keys::all(), &steps, &key, &|_: &[String]| leaf.clone())
                .map_err(|what| (leaf.origin.clone(), what))?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        shape: &Shape,
        steps: &[String],
        full: &str,
        make: &dyn Fn(&[String]) -> Self,
    ) -> Result<(), String> {
        let Some((step, rest)) = steps.split_first() else {
            let types = match shape {
                Shape::Value { types, .. } => types.as_slice(),
                _ => &[],
            };
            *self = make(types);
            return Ok(());
        };
        match shape {
            Shape::Table(known) => {
                let Some(key) = known.get(step) else {
                    let nearest = keys::nearest(step, known.keys().map(String::as_str));
                    return Err(match nearest {
                        Some(nearest) => {
                            format!("unknown key `{full}`: no `{step}`; the nearest is `{nearest}`")
                        }
                        None => format!("unknown key `{full}`: no `{step}`"),
                    });
                };
                if !matches!(self.node, Node::Table(_)) {
                    self.node = Node::Table(BTreeMap::new());
                }
                let Node::Table(table) = &mut self.node else {
                    return Ok(());
                };
                if known.contains_key("hop_count") {
                    // Kinds of latency exclude each other: the new one takes the old one's place.
                    table.retain(|name, _| name == step);
                }
                let empty = || Self {
                    origin: Origin::Override(full.to_owned()),
                    node: Node::Table(BTreeMap::new()),
                };
                let entry = table.entry(step.clone()).or_insert_with(empty);
                entry.put(&key.shape, rest, full, make)?;
                if rest.is_empty() {
                    return Ok(());
                }
                Ok(())
            }
            Shape::Tables(known) => {
                let index = self.find(step, full)?;
                let Node::List(list) = &mut self.node else {
                    return Err(format!("unknown key `{full}`: nothing is named `{step}`"));
                };
                list[index].put(&Shape::Table(known.clone()), rest, full, make)
            }
            Shape::Overrides | Shape::Value { .. } => {
                Err(format!("unknown key `{full}`: nothing lies below a value"))
            }
        }
    }

    /// An element of a list of tables, by `name`, `id` or number.
    fn find(&self, name: &str, full: &str) -> Result<usize, String> {
        let Node::List(list) = &self.node else {
            return Err(format!("`{full}`: there is no `{name}` in this scenario"));
        };
        let name_of = |tree: &Self| match &tree.node {
            Node::Table(table) => {
                ["name", "id"]
                    .iter()
                    .find_map(|key| match &table.get(*key)?.node {
                        Node::Leaf(toml::Value::String(text)) => Some(text.clone()),
                        _ => None,
                    })
            }
            _ => None,
        };
        let names: Vec<Option<String>> = list.iter().map(name_of).collect();
        if let Some(index) = names
            .iter()
            .position(|known| known.as_deref() == Some(name))
        {
            return Ok(index);
        }
        if let Ok(index) = name.parse::<usize>()
            && index < list.len()
        {
            return Ok(index);
        }
        let known = names.iter().flatten().map(String::as_str);
        Err(match keys::nearest(name, known) {
            Some(nearest) => format!("`{full}`: there is no `{name}`; the nearest is `{nearest}`"),
            None => format!(
                "`{full}`: there is no `{name}`; the list has {} elements",
                list.len()
            ),
        })
    }
}

fn flatten<'a>(tree: &'a Tree, steps: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, &'a Tree)>) {
    match &tree.node {
        Node::Table(table) => {
            for (key, tree) in table {
                steps.push(key.clone());
                flatten(tree, steps, leaves);
                steps.pop();
            }
        }
        _ => leaves.push((steps.clone(), tree)),
    }
}
