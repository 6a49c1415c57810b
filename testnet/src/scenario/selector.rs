//! Which nodes: `"all"`, `"core[0]"`, `"core/random:5"`, `"share:0.1"`, `"not share:0.1"`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A set of nodes, written as text: terms joined by ` + `.
///
/// A term is `[not ]SET[/PICK]`, or a pick alone, from whatever is natural where it stands (a
/// group's members for publishers, all nodes elsewhere). Random picks depend on the seed and the
/// text only: in one run, equal texts mean equal nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    text: String,
    /// What is joined.
    pub terms: Vec<Term>,
}

/// A part of a [`Selector`].
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Takes the nodes that it does not name.
    pub not: bool,
    /// From which nodes; `None` for what is natural.
    pub base: Option<Base>,
    /// Which of them.
    pub pick: Pick,
}

impl Eq for Term {}

/// A set of nodes with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Every node.
    All,
    /// Those of one `[[nodes]]`, some of them by number.
    Nodes(String, Option<Range<usize>>),
    /// A group's members.
    Members(String),
    /// Whoever publishes in some workload.
    Publishers,
    /// Nodes that behave.
    Honest,
    /// Nodes that do not.
    Hostile,
    /// Nodes whose place in the overlay is this.
    Role(Role),
}

/// A place in the overlay at the moment of asking, for the first workload's group and origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Forwards to others.
    Relay,
    /// Forwards to nobody.
    Leaf,
    /// Its loss would part the links' graph.
    Articulation,
    /// By delay from the origin, nearest first.
    NearestToOrigin,
}

/// Which nodes of a set.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    /// All of them.
    All,
    /// The first so many.
    First(usize),
    /// So many at random.
    Random(usize),
    /// So large a share at random.
    Share(f64),
    /// A tenth at random, two at least.
    Many,
}

impl Selector {
    /// All nodes.
    pub fn all() -> Self {
        Self::from_str("all").expect("a selector")
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of `[[nodes]]` and groups that must exist.
    pub fn names(&self) -> impl Iterator<Item = &Base> {
        self.terms.iter().filter_map(|term| term.base.as_ref())
    }

    /// Whether the answer depends on the moment.
    pub fn is_of_the_moment(&self) -> bool {
        self.names().any(|base| matches!(base, Base::Role(_)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.text
    }
}

impl TryFrom<String> for Selector {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Selector {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let terms = text
            .split('+')
            .map(|term| term.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|why| format!("{text:?} selects no nodes: {why}"))?;
        let text = text.to_owned();
        Ok(Self { text, terms })
    }
}

impl FromStr for Term {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (not, rest) = match text.strip_prefix("not ") {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if let Some(pick) = pick(rest)? {
            return Ok(Self {
                not,
                base: None,
                pick,
            });
        }
        let (base, pick) = match rest.split_once('/') {
            None => (base(rest)?, Pick::All),
            Some((set, picked)) => {
                let picked = pick(picked)?.ok_or_else(|| {
                    format!("{picked:?} is none of one, many, first:N, random:N, count:N, share:X")
                })?;
                (base(set)?, picked)
            }
        };
        let base = Some(base);
        Ok(Self { not, base, pick })
    }
}

fn pick(text: &str) -> Result<Option<Pick>, String> {
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| format!("{text:?} is no number of nodes"))
    };
    Ok(Some(match text.split_once(':') {
        None if text == "one" => Pick::First(1),
        None if text == "many" => Pick::Many,
        Some(("first", count)) => Pick::First(number(count)?),
        Some(("random" | "count", count)) => Pick::Random(number(count)?),
        Some(("share", share)) => match share.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Pick::Share(share),
            _ => return Err(format!("{share:?} is no share: 0 to 1")),
        },
        _ => return Ok(None),
    }))
}

fn base(text: &str) -> Result<Base, String> {
    Ok(match text {
        "" => return Err("nothing there".to_owned()),
        "all" => Base::All,
        "publishers" => Base::Publishers,
        "honest" => Base::Honest,
        "hostile" => Base::Hostile,
        "relay" => Base::Role(Role::Relay),
        "leaf" => Base::Role(Role::Leaf),
        "articulation" => Base::Role(Role::Articulation),
        "nearest-to-origin" => Base::Role(Role::NearestToOrigin),
        _ => {
            if let Some(group) = text.strip_prefix("members:") {
                return Ok(Base::Members(group.to_owned()));
            }
            let Some((id, index)) = text.split_once('[') else {
                return Ok(Base::Nodes(text.to_owned(), None));
            };
            let index = index
                .strip_suffix(']')
                .ok_or_else(|| format!("{text:?} lacks its ]"))?;
            let number = |text: &str| {
                text.parse::<usize>()
                    .map_err(|_| format!("{text:?} is no node's number"))
            };
            let range = match index.split_once("..") {
                None => number(index)?..number(index)?.saturating_add(1),
                Some((from, to)) => number(from)?..number(to)?,
            };
            Base::Nodes(id.to_owned(), Some(range))
        }
    })
}

impl JsonSchema for Selector {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Selector".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "selector" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str) -> Term {
        let mut selector: Selector = text.parse().expect(text);
        assert_eq!(selector.terms.len(), 1);
        selector.terms.remove(0)
    }

    #[test]
    fn sets_and_picks() {
        assert_eq!(term("all").base, Some(Base::All));
        assert_eq!(term("random:5").pick, Pick::Random(5));
        assert_eq!(term("random:5").base, None);
        assert_eq!(
            term("core[0]").base,
            Some(Base::Nodes("core".into(), Some(0..1)))
        );
        let picked = term("core[2..5]/share:0.5");
        assert_eq!(picked.base, Some(Base::Nodes("core".into(), Some(2..5))));
        assert_eq!(picked.pick, Pick::Share(0.5));
        assert!(term("not share:0.1").not);
        assert_eq!(term("relay/one").pick, Pick::First(1));
        assert_eq!(term("many").pick, Pick::Many);
        assert_eq!(
            term("members:news").base,
            Some(Base::Members("news".into()))
        );
        let two: Selector = "a + not b".parse().expect("two terms");
        assert_eq!(two.terms.len(), 2);
        assert!(two.terms[1].not);
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for bad in [
            "",
            "a +",
            "share:2",
            "random:x",
            "core[x]",
            "core[1",
            "core/none",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
