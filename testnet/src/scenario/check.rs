//! What a scenario must fulfil beyond its types: names exist, values go together.

use super::error::{KeyPath, Problem};
use super::fault::{Fault, FaultKind};
use super::file::{Assert, File, Group, Overlay, Window, Workload};
use super::keys;
use super::selector::{Base, Selector};
use hedgerow_protocol::{BROADCAST, Config, GroupName, REDUNDANCY_MAX};

/// Nodes of one class, so that numbers of nodes stay small.
const NODES_MAX: usize = 100_000;
/// Groups of one kind: each has a list of its members.
const COPIES_MAX: usize = 1_000;

/// Whether a file can be run; gives the engine's settings of each class of nodes.
pub(super) fn check(file: &File) -> Result<Vec<Config>, Problem> {
    let root = KeyPath::default();
    // Not the sum: no count has been looked at yet.
    if file.nodes.iter().all(|class| class.count == 0) {
        return problem(
            root.key("nodes"),
            "there are no nodes: at least one `[[nodes]]` with a count",
        );
    }
    let mut configs = Vec::new();
    for (index, class) in file.nodes.iter().enumerate() {
        let path = root.key("nodes").index(index);
        let reserved = [
            "all",
            "publishers",
            "honest",
            "hostile",
            "relay",
            "leaf",
            "articulation",
            "nearest-to-origin",
            "rest",
            "one",
            "many",
        ];
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if class.id.is_empty()
            || !class.id.chars().all(plain)
            || reserved.contains(&class.id.as_str())
        {
            return problem(
                path.key("id"),
                "an id is letters, digits, - and _, and no word of selectors",
            );
        }
        if file.nodes[..index].iter().any(|other| other.id == class.id) {
            return problem(path.key("id"), "this id is taken");
        }
        if class.count > NODES_MAX {
            return problem(path.key("count"), "more than 100000 nodes");
        }
        let config = super::engine_config(&[&file.config, &class.config]);
        configs.push(match config {
            Ok(config) => config,
            Err(what) if class.config.is_empty() => return problem(root.key("config"), what),
            Err(what) => return problem(path.key("config"), what),
        });
    }
    topology(file)?;
    for (index, group) in file.group.iter().enumerate() {
        check_group(file, index, group)?;
    }
    for (index, workload) in file.workload.iter().enumerate() {
        check_workload(file, &configs, index, workload)?;
    }
    if file.scenario.quiet.0.0 == 0 && !file.fault.is_empty() {
        let path = root.key("scenario").key("quiet");
        return problem(path, "above 0: what faults broke is healed only then");
    }
    for (index, fault) in file.fault.iter().enumerate() {
        check_fault(file, index, fault)?;
    }
    for (index, assert) in file.assert.iter().enumerate() {
        check_assert(file, index, assert)?;
    }
    Ok(configs)
}

fn problem<T>(path: KeyPath, what: impl Into<String>) -> Result<T, Problem> {
    let what = what.into();
    let what = if path.0.is_empty() {
        what
    } else {
        format!("`{path}`: {what}")
    };
    Err(Problem { path, what })
}

fn topology(file: &File) -> Result<(), Problem> {
    let path = KeyPath::default().key("topology").key("latency");
    let latency = &file.topology.latency;
    let kinds = usize::from(latency.regions == Some(true))
        + usize::from(latency.matrix.is_some())
        + usize::from(latency.constant.is_some())
        + usize::from(latency.uniform.is_some())
        + usize::from(latency.hop_count == Some(true));
    if kinds > 1 {
        return problem(
            path,
            "at most one of regions, matrix, constant, uniform, hop_count",
        );
    }
    if let Some([min, max]) = latency.uniform
        && min > max
    {
        return problem(path.key("uniform"), "the least comes first");
    }
    let classes = file.nodes.iter().enumerate().filter_map(|(index, class)| {
        let path = KeyPath::default().key("nodes").index(index);
        Some((path.key("bandwidth"), class.bandwidth?))
    });
    let topology = KeyPath::default().key("topology").key("bandwidth");
    for (path, bandwidth) in std::iter::once((topology, file.topology.bandwidth)).chain(classes) {
        is_line(&path, [bandwidth.up_mbit, bandwidth.down_mbit])?;
    }
    Ok(())
}

/// Whether lines have a speed, out and in.
fn is_line(path: &KeyPath, line: [Option<f64>; 2]) -> Result<(), Problem> {
    for (key, mbit) in ["up_mbit", "down_mbit"].into_iter().zip(line) {
        if mbit.is_some_and(|mbit| !(mbit > 0.0 && mbit < 1e7)) {
            return problem(path.key(key), "Mbit/s above 0, below 10000000");
        }
    }
    Ok(())
}

fn check_group(file: &File, index: usize, group: &Group) -> Result<(), Problem> {
    let path = KeyPath::default().key("group").index(index);
    if let Err(error) = GroupName::new(&group.name) {
        return problem(path.key("name"), error.to_string());
    }
    let fits = match (group.overlay, group.redundancy) {
        (Overlay::Tree, redundancy) => redundancy.is_none_or(|redundancy| redundancy == 1),
        (Overlay::Mesh, redundancy) => {
            redundancy.is_none_or(|redundancy| (2..=REDUNDANCY_MAX).contains(&redundancy))
        }
    };
    if !fits {
        return problem(
            path.key("redundancy"),
            format!("1 in a tree, 2 to {REDUNDANCY_MAX} in a mesh"),
        );
    }
    if let Some(copies) = group.copies {
        if !(1..=COPIES_MAX).contains(&copies) {
            return problem(path.key("copies"), format!("1 to {COPIES_MAX} groups"));
        }
        if let Err(error) = GroupName::new(&format!("{}-{copies}", group.name)) {
            return problem(path.key("name"), error.to_string());
        }
        if group.name == BROADCAST {
            return problem(path.key("copies"), "there is one broadcast");
        }
    }
    let copies = 1..=group.copies.unwrap_or(0);
    let copies = copies.map(|copy| format!("{}-{copy}", group.name));
    let earlier = &file.group[..index];
    let taken = |name: &String| earlier.iter().any(|other| is_called(other, name));
    if let Some(name) = std::iter::once(group.name.clone())
        .chain(copies)
        .find(taken)
    {
        return problem(path.key("name"), format!("the name {name:?} is taken"));
    }
    if group.name == BROADCAST && group.members.as_str() != "all" {
        return problem(path.key("members"), "every peer is in broadcast");
    }
    names(file, &path.key("members"), &group.members)
}

/// Whether a name stands for a group: for all of its copies, or for one.
fn is_called(group: &Group, name: &str) -> bool {
    let copy = || {
        let number = name.strip_prefix(&group.name)?.strip_prefix('-')?;
        let copy = number.parse::<usize>().ok()?;
        // "01" is the number of none.
        let exists = (1..=group.copies?).contains(&copy) && copy.to_string() == number;
        Some(exists)
    };
    name == group.name || copy().unwrap_or(false)
}

fn check_workload(
    file: &File,
    configs: &[Config],
    index: usize,
    workload: &Workload,
) -> Result<(), Problem> {
    let path = KeyPath::default().key("workload").index(index);
    group_exists(file, path.key("group"), &workload.group)?;
    names(file, &path.key("publishers"), &workload.publishers)?;
    match (workload.rate, workload.burst) {
        (Some(rate), None) if rate > 0.0 && rate <= 1e6 => {}
        (Some(_), None) => return problem(path.key("rate"), "above 0, at most 1000000 a second"),
        (None, Some(0)) => return problem(path.key("burst"), "at least one message"),
        (None, Some(_)) => {}
        _ => return problem(path, "a workload has either `rate` or `burst`"),
    }
    if workload.every.is_some_and(|every| every.0.0 < 1_000) {
        return problem(path.key("every"), "at least 1ms");
    }
    if workload.every.is_some() && workload.burst.is_none() {
        return problem(path.key("every"), "`every` goes with `burst`");
    }
    if workload.size.0 < 8 {
        return problem(path.key("size"), "at least 8 bytes: every message differs");
    }
    let limits = configs.iter().map(|config| config.groups.message_bytes_max);
    let most = limits.min().unwrap_or_default();
    if workload.size.0 > most as u64 {
        let what = format!("at most {most} bytes, which nodes take (groups.message_bytes_max)");
        return problem(path.key("size"), what);
    }
    Ok(())
}

fn check_fault(file: &File, index: usize, fault: &Fault) -> Result<(), Problem> {
    let path = KeyPath::default().key("fault").index(index);
    if let Some((key, what)) = fault.misfit() {
        return problem(key.map_or(path.clone(), |key| path.key(key)), what);
    }
    let sets = fault.sets.iter().flatten().map(|set| ("sets", set));
    let target = fault.target.iter().map(|target| ("target", target));
    let bridge = fault.bridge.iter().map(|bridge| ("bridge", bridge));
    for (key, selector) in sets.chain(target).chain(bridge) {
        let is_rest = selector.as_str() == "rest";
        if is_rest && key != "sets" {
            let what = "\"rest\" is everybody else among `sets`; elsewhere that is \"not SET\"";
            return problem(path.key(key), what);
        }
        if !is_rest {
            names(file, &path.key(key), selector)?;
        }
    }
    if let Some(group) = &fault.group {
        group_exists(file, path.key("group"), group)?;
    }
    if fault.every.is_some_and(|every| every.0.0 < 1_000) {
        return problem(path.key("every"), "at least 1ms");
    }
    if fault.period.is_some_and(|period| period.0.0 < 10_000) {
        return problem(path.key("period"), "at least 10ms");
    }
    if fault.sets.as_ref().is_some_and(|sets| sets.len() < 2) {
        return problem(path.key("sets"), "a partition has two sets at least");
    }
    is_line(&path, [fault.up_mbit, fault.down_mbit])?;
    if fault
        .factor
        .is_some_and(|factor| !(factor > 0.0 && factor <= 1.0))
    {
        return problem(path.key("factor"), "what is left: above 0, at most 1");
    }
    if fault.run.is_some_and(|run| !(1.0..=1e6).contains(&run)) {
        return problem(path.key("run"), "1 to 1000000 packets");
    }
    if fault.links == Some(0) {
        return problem(path.key("links"), "at least one link");
    }
    let (at, duration) = (fault.at, file.scenario.duration);
    if at >= duration {
        let what = format!(
            "at {at} all is healed already, it would never begin: an earlier moment, or a \
             `scenario.duration` above {duration}"
        );
        return problem(path.key("at"), what);
    }
    Ok(())
}

fn check_assert(file: &File, index: usize, assert: &Assert) -> Result<(), Problem> {
    let path = KeyPath::default().key("assert").index(index);
    if let Some(group) = &assert.group {
        group_exists(file, path.key("group"), group)?;
        if !assert.metric.is_of_a_group() {
            return problem(
                path.key("group"),
                format!("{} is of the whole run", assert.metric),
            );
        }
    }
    if let Some(selector) = &assert.nodes {
        names(file, &path.key("nodes"), selector)?;
        if !assert.metric.is_of_a_group() {
            let what = format!("{} is of the whole run", assert.metric);
            return problem(path.key("nodes"), what);
        }
        if selector.is_of_the_moment() {
            return problem(
                path.key("nodes"),
                "roles change: asserts need a set that stays",
            );
        }
    }
    if assert.window != Window::All && !assert.metric.is_of_a_window() {
        let what = format!("{} is of the whole run", assert.metric);
        return problem(path.key("window"), what);
    }
    if let Some(why) = nothing_is_published(file, assert.window)
        && assert.metric.is_of_publications()
    {
        let metric = &assert.metric;
        let what = format!("{why}, and {metric} is of what is published in the window");
        return problem(path.key("window"), what);
    }
    let first = file.workload.first().map(|workload| &workload.group);
    let several = file
        .workload
        .iter()
        .any(|other| Some(&other.group) != first);
    if several && assert.group.is_none() && assert.metric.is_of_a_group() {
        let what = "messages go to several groups: `group` says which is meant";
        return problem(path, what);
    }
    if assert.relative_to.is_some() && assert.metric.is_of_the_simulator() {
        let what = format!(
            "{} is about the machine that runs it, not about peers: a `value` without `relative_to`",
            assert.metric
        );
        return problem(path.key("relative_to"), what);
    }
    if assert.within.is_some() && !assert.metric.is_of_a_group() {
        let what = format!("{} is of the whole run, not of messages", assert.metric);
        return problem(path.key("within"), what);
    }
    if assert.survived.is_some() && !assert.metric.is_of_a_group() {
        let what = format!("{} is of the whole run, not of messages", assert.metric);
        return problem(path.key("survived"), what);
    }
    if assert.source.is_some() && assert.reference.is_none() {
        return problem(path.key("source"), "`source` says whose the `reference` is");
    }
    for (key, number) in [
        ("value", Some(assert.value)),
        ("reference", assert.reference),
    ] {
        if number.is_some_and(|number| !number.is_finite()) {
            return problem(path.key(key), "a number");
        }
    }
    Ok(())
}

/// Why a window can have no messages: publishers are done when all is healed.
fn nothing_is_published(file: &File, window: Window) -> Option<String> {
    let duration = file.scenario.duration.0;
    let lasts = |fault: &Fault| {
        let ends = fault.length().map(|length| fault.at.0 + length);
        fault.kind != FaultKind::Start && ends.is_none_or(|ends| ends >= duration)
    };
    match window {
        Window::All | Window::Fault => None,
        Window::Quiet => Some("nothing is published in the quiet time".to_owned()),
        Window::After => {
            let last = file.fault.iter().position(lasts)?;
            let until = "lasts until all is healed, after which nothing is published";
            Some(format!("fault[{last}] {until}"))
        }
    }
}

fn group_exists(file: &File, path: KeyPath, name: &str) -> Result<(), Problem> {
    let known = || {
        file.group
            .iter()
            .map(|group| group.name.as_str())
            .chain([BROADCAST])
    };
    if name == BROADCAST || file.group.iter().any(|group| is_called(group, name)) {
        return Ok(());
    }
    match keys::nearest(name, known()) {
        Some(nearest) => problem(
            path,
            format!("there is no group {name:?}; the nearest is {nearest:?}"),
        ),
        None => problem(path, format!("there is no group {name:?}")),
    }
}

fn names(file: &File, path: &KeyPath, selector: &Selector) -> Result<(), Problem> {
    for base in selector.names() {
        match base {
            Base::Nodes(id, range) => {
                let Some(class) = file.nodes.iter().find(|class| class.id == *id) else {
                    let ids = file.nodes.iter().map(|class| class.id.as_str());
                    let known = ids.chain([
                        "all",
                        "publishers",
                        "honest",
                        "hostile",
                        "relay",
                        "leaf",
                        "articulation",
                        "nearest-to-origin",
                        "members:GROUP",
                        "one",
                        "many",
                        "first:N",
                        "random:N",
                        "count:N",
                        "share:X",
                    ]);
                    let nearest = keys::nearest(id, known).unwrap_or("all");
                    let what = format!(
                        "\"{selector}\": there are no nodes {id:?}; the nearest is {nearest:?}"
                    );
                    return problem(path.clone(), what);
                };
                if range
                    .as_ref()
                    .is_some_and(|range| range.start >= range.end || range.end > class.count)
                {
                    let count = class.count;
                    return problem(
                        path.clone(),
                        format!("\"{selector}\": {id} has {count} nodes, counted from {id}[0]"),
                    );
                }
            }
            Base::Members(group) => group_exists(file, path.clone(), group)?,
            _ => {}
        }
    }
    Ok(())
}
