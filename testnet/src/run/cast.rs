//! Who is who: nodes, groups, publishers, and what selectors mean.

use crate::scenario::{Base, Behaviour, Overlay, Pick, Role, Scenario, Selector, Term};
use crate::sim::Random;
use hedgerow_protocol::{BROADCAST, GroupName, JoinOptions, Order, SettingsPatch};
use std::ops::Range;

/// The nodes of a run and their parts.
#[derive(Clone, Debug)]
pub struct Cast {
    seed: u64,
    /// Id and nodes of each class.
    pub classes: Vec<(String, Range<usize>)>,
    /// By node.
    pub behaviours: Vec<Behaviour>,
    /// By node: whether it runs from the beginning.
    pub started: Vec<bool>,
    /// All groups, copies one by one.
    pub groups: Vec<CastGroup>,
    /// By workload, by group: who publishes, in turn.
    pub publishers: Vec<Vec<Vec<usize>>>,
}

/// A group and its members.
#[derive(Clone, Debug)]
pub struct CastGroup {
    /// Its name.
    pub name: GroupName,
    /// The name in the scenario; of copies, the common part.
    pub kind: String,
    /// Members, ascending.
    pub members: Vec<usize>,
    /// How they join.
    pub options: JoinOptions,
}

/// Says which nodes have a role now.
pub(super) type Roles<'a> = &'a dyn Fn(Role) -> Vec<usize>;

impl Cast {
    /// Of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let file = &scenario.file;
        let mut cast = Self {
            seed: file.scenario.seed,
            classes: Vec::new(),
            behaviours: Vec::new(),
            started: Vec::new(),
            groups: Vec::new(),
            publishers: Vec::new(),
        };
        for class in &file.nodes {
            let from = cast.len();
            cast.classes
                .push((class.id.clone(), from..from + class.count));
            cast.behaviours.resize(from + class.count, class.behaviour);
            cast.started.resize(from + class.count, class.started);
        }
        let everybody: Vec<usize> = (0..cast.len()).collect();
        for group in &file.group {
            let redundancy = group.redundancy.unwrap_or(match group.overlay {
                Overlay::Tree => 1,
                Overlay::Mesh => 2,
            });
            let settings = SettingsPatch {
                redundancy: Some(redundancy),
                order: Some(group.order),
                retention_bytes: group.retention_size.map(|size| size.0),
                retention_ms: group.retention.map(|span| span.0.as_millis()),
            };
            let options = JoinOptions {
                settings,
                ..JoinOptions::default()
            };
            for copy in 1..=group.copies.unwrap_or(1) {
                let name = match group.copies {
                    None => group.name.clone(),
                    Some(_) => format!("{}-{copy}", group.name),
                };
                let Ok(name) = GroupName::new(&name) else {
                    continue;
                };
                let salt = group.copies.map_or(0, |_| copy as u64);
                let mut members = cast.select(&group.members, &everybody, salt, &nobody);
                members.sort_unstable();
                let kind = group.name.clone();
                cast.groups.push(CastGroup {
                    name,
                    kind,
                    members,
                    options,
                });
            }
        }
        if !cast.groups.iter().any(|group| group.name.is_broadcast())
            && let Ok(name) = GroupName::new(BROADCAST)
        {
            let kind = BROADCAST.to_owned();
            let options = JoinOptions::default();
            cast.groups.push(CastGroup {
                name,
                kind,
                members: everybody,
                options,
            });
        }
        for workload in &file.workload {
            let groups: Vec<Vec<usize>> = cast
                .groups_of(&workload.group)
                .map(|group| match workload.publishers.as_str() {
                    "all" => group.members.clone(),
                    _ => cast.select(&workload.publishers, &group.members, 0, &nobody),
                })
                .collect();
            let honest = |nodes: Vec<usize>| -> Vec<usize> {
                let honest = |node: &usize| cast.behaviours[*node] == Behaviour::Honest;
                nodes.into_iter().filter(honest).collect()
            };
            let groups = groups.into_iter().map(honest).collect();
            cast.publishers.push(groups);
        }
        cast
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.behaviours.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.behaviours.is_empty()
    }

    /// The groups that a name in the scenario stands for.
    pub fn groups_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a CastGroup> {
        self.groups
            .iter()
            .filter(move |group| group.kind == name || group.name.as_str() == name)
    }

    /// Whoever publishes in some workload; some more than once.
    pub fn all_publishers(&self) -> impl Iterator<Item = usize> {
        self.publishers.iter().flatten().flatten().copied()
    }

    /// Whose keys others may copy: honest nodes that run from the beginning and publish nothing,
    /// for what they publish would be told from nobody's.
    pub(super) fn victims(&self) -> Vec<usize> {
        let mut fits = self.honest();
        for node in self.all_publishers() {
            fits[node] = false;
        }
        let nodes = 0..self.len();
        nodes
            .filter(|&node| fits[node] && self.started[node])
            .collect()
    }

    /// Groups whose messages come in any order.
    pub fn unordered(&self) -> Vec<GroupName> {
        let unordered = |group: &&CastGroup| group.options.settings.order == Some(Order::Unordered);
        let groups = self.groups.iter().filter(unordered);
        groups.map(|group| group.name.clone()).collect()
    }

    /// By node: whether it behaves.
    pub fn honest(&self) -> Vec<bool> {
        let honest = |behaviour: &Behaviour| *behaviour == Behaviour::Honest;
        self.behaviours.iter().map(honest).collect()
    }

    /// The nodes that a selector means, each once. `natural` is what a bare pick is of; `salt`
    /// tells repetitions of one fault apart.
    pub fn select(
        &self,
        selector: &Selector,
        natural: &[usize],
        salt: u64,
        roles: Roles<'_>,
    ) -> Vec<usize> {
        let mut all = Vec::new();
        let mut taken = vec![false; self.len()];
        for term in &selector.terms {
            for node in self.term(term, natural, salt, roles) {
                if !std::mem::replace(&mut taken[node], true) {
                    all.push(node);
                }
            }
        }
        all
    }

    /// The same by node.
    pub fn select_mask(&self, selector: &Selector, natural: &[usize]) -> Vec<bool> {
        let mut mask = vec![false; self.len()];
        for node in self.select(selector, natural, 0, &nobody) {
            mask[node] = true;
        }
        mask
    }

    fn term(&self, term: &Term, natural: &[usize], salt: u64, roles: Roles<'_>) -> Vec<usize> {
        let base = match &term.base {
            None => natural.to_vec(),
            Some(base) => self.base(base, roles),
        };
        let random = |count: usize| {
            // Equal picks of equal sets are equal nodes, whatever else is in the scenario.
            let purpose = format!("pick {:?} {:?} {salt}", term.base, term.pick);
            let picked = Random::new(self.seed, &purpose).sample(base.len(), count);
            picked.into_iter().map(|at| base[at]).collect()
        };
        let mut nodes: Vec<usize> = match term.pick {
            Pick::All => base.clone(),
            Pick::First(count) => base.iter().copied().take(count).collect(),
            Pick::Random(count) => random(count),
            Pick::Share(share) => random((share * base.len() as f64).round() as usize),
            Pick::Many => random((base.len() / 10).max(2)),
        };
        if term.not {
            let from = if term.base.is_none() {
                natural.to_vec()
            } else {
                (0..self.len()).collect()
            };
            nodes = from
                .into_iter()
                .filter(|node| !nodes.contains(node))
                .collect();
        }
        nodes
    }

    fn base(&self, base: &Base, roles: Roles<'_>) -> Vec<usize> {
        let behaving = |honest: bool| {
            let fits = |node: &usize| (self.behaviours[*node] == Behaviour::Honest) == honest;
            (0..self.len()).filter(fits).collect()
        };
        match base {
            Base::All => (0..self.len()).collect(),
            Base::Nodes(id, range) => {
                let class = self.classes.iter().find(|(known, _)| known == id);
                let nodes = class.map_or(0..0, |(_, nodes)| nodes.clone());
                match range {
                    None => nodes.collect(),
                    Some(range) => nodes.skip(range.start).take(range.len()).collect(),
                }
            }
            Base::Members(name) => {
                let mut members: Vec<usize> = self
                    .groups_of(name)
                    .flat_map(|group| group.members.clone())
                    .collect();
                members.sort_unstable();
                members.dedup();
                members
            }
            Base::Publishers => {
                let mut all: Vec<usize> = self.all_publishers().collect();
                all.sort_unstable();
                all.dedup();
                all
            }
            Base::Honest => behaving(true),
            Base::Hostile => behaving(false),
            Base::Role(role) => roles(*role),
        }
    }
}

/// For selectors without roles.
pub(super) fn nobody(_: Role) -> Vec<usize> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Overrides;
    use std::path::Path;

    #[test]
    fn members_are_ascending_however_they_are_picked() {
        let text = "[scenario]\n[[nodes]]\nid = \"a\"\ncount = 40\n\
            [[group]]\nname = \"g\"\ncopies = 3\nmembers = \"random:10\"\n";
        let scenario = Scenario::parse(text, Path::new("t.toml"), &Overrides::default());
        let cast = Cast::new(&scenario.expect("valid"));
        let copies: Vec<&CastGroup> = cast.groups_of("g").collect();
        assert_eq!(copies.len(), 3);
        assert!(copies.iter().all(|group| group.members.len() == 10));
        assert!(copies.iter().all(|group| group.members.is_sorted()));
        assert_ne!(copies[0].members, copies[1].members);
    }

    #[test]
    fn equal_texts_are_equal_nodes_and_not_is_the_others() {
        let text = "[scenario]\n[[nodes]]\nid = \"a\"\ncount = 30\n";
        let scenario = Scenario::parse(text, Path::new("t.toml"), &Overrides::default());
        let cast = Cast::new(&scenario.expect("valid"));
        let all: Vec<usize> = (0..30).collect();
        let select = |text: &str| {
            let selector = text.parse().expect("a selector");
            cast.select(&selector, &all, 0, &nobody)
        };
        assert_eq!(select("many").len(), 3);
        assert_eq!(select("a[0..5]/many").len(), 2);
        let mut both = select("share:0.2");
        assert_eq!(both.len(), 6);
        assert_eq!(both, select("share:0.2"));
        both.extend(select("not share:0.2"));
        both.sort_unstable();
        assert_eq!(both, all);
        assert_eq!(select("a[3] + a[1..3]"), [3, 1, 2]);
    }
}
