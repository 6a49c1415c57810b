//! Medians, ratios of runs that were made side by side, and the table of goals.

use crate::cases::{Goal, Metric, Row};
use crate::cell::{Outcome, Program, Spec};
use serde::Serialize;
use std::collections::BTreeMap;

/// All runs of a case by a program, in the order of the rounds.
pub type Runs = BTreeMap<(&'static str, &'static str), Vec<(Spec, Option<Outcome>)>>;

pub fn name(program: Program) -> &'static str {
    match program {
        Program::Hedgerow => "hedgerow",
        Program::GossipsubSigned => "gossipsub-signed",
        Program::GossipsubAnonymous => "gossipsub-anonymous",
        Program::IrohGossip => "iroh-gossip",
        Program::Stream => "libp2p-stream",
        Program::Tcp => "tcp",
        Program::Nats => "nats",
        Program::Zeromq => "zeromq",
    }
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

fn spread(values: &[f64]) -> Option<[f64; 2]> {
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some([low, high])
}

/// A figure in every round; a round that failed has none.
pub fn series(
    runs: &Runs,
    case: &'static str,
    program: Program,
    metric: Metric,
) -> Vec<Option<f64>> {
    let runs = runs
        .get(&(case, name(program)))
        .map(Vec::as_slice)
        .unwrap_or_default();
    runs.iter()
        .map(|(spec, outcome)| metric.of(spec, outcome.as_ref()?))
        .collect()
}

/// A row as it came out.
#[derive(Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub ours: Option<f64>,
    pub peer: Option<f64>,
    pub peer_name: Option<&'static str>,
    pub unit: &'static str,
    pub ratio: Option<f64>,
    /// The lowest and the highest of the rounds: of their ratios, or of the figure itself.
    pub spread: Option<[f64; 2]>,
    /// `None`: told for the reader, and always passed.
    pub goal: Option<String>,
    pub passed: bool,
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    pub cases: Vec<Line>,
    pub passed: bool,
}

fn line(runs: &Runs, row: &Row) -> Line {
    let ours = series(runs, row.case, Program::Hedgerow, row.metric);
    let theirs = row
        .peer
        .map(|peer| series(runs, row.case, peer, row.metric));
    let ratios = theirs.as_ref().map(|theirs| {
        let both = ours.iter().zip(theirs);
        both.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?))
            .collect::<Vec<f64>>()
    });
    let failed = ours.is_empty() || ours.iter().any(Option::is_none);
    let ours: Vec<f64> = ours.into_iter().flatten().collect();
    let spread = spread(ratios.as_ref().unwrap_or(&ours));
    let (ratio, ours) = (ratios.and_then(median), median(ours));
    let judged = if row.peer.is_some() { ratio } else { ours };
    let holds = |goal: Goal| !failed && judged.is_some_and(|value| goal.holds(value));
    Line {
        name: format!("{}: {}", row.name, row.metric.unit()),
        ours,
        peer: theirs.and_then(|theirs| median(theirs.into_iter().flatten().collect())),
        peer_name: row.peer.map(name),
        unit: row.metric.unit(),
        ratio,
        spread,
        goal: (row.goal)
            .map(|goal| format!("{goal}{}", if row.peer.is_some() { " x" } else { "" })),
        passed: row.goal.is_none_or(holds),
    }
}

/// Holds the runs against the goals.
pub fn report(runs: &Runs, rows: &[Row]) -> Report {
    let cases: Vec<Line> = rows.iter().map(|row| line(runs, row)).collect();
    let passed = cases.iter().all(|line| line.passed);
    Report { cases, passed }
}

/// A number with as many digits as mean something.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

/// Prints the table of goals.
pub fn print(report: &Report) {
    println!(
        "{:<44} {:>11} {:>11} {:<16} {:>8} {:<20} {:>9}  ",
        "case", "ours", "peer", "", "ratio", "(spread)", "goal"
    );
    for line in &report.cases {
        println!(
            "{:<44} {:>11} {:>11} {:<16} {:>8} {:<20} {:>9}  {}",
            line.name,
            number(line.ours),
            number(line.peer),
            line.peer_name.unwrap_or(""),
            number(line.ratio),
            line.spread.map_or(String::new(), |[low, high]| {
                format!("({} to {})", number(Some(low)), number(Some(high)))
            }),
            line.goal.as_deref().unwrap_or("-"),
            match (&line.goal, line.passed) {
                (None, _) => "",
                (Some(_), true) => "ok",
                (Some(_), false) => "MISSED",
            }
        );
    }
}

/// Prints the figures of a case, median and spread, one program a line.
pub fn print_case(runs: &Runs, case: &'static str, programs: &[Program], metrics: &[Metric]) {
    println!("\n{case}");
    for &program in programs {
        let figures = metrics.iter().filter_map(|&metric| {
            let values: Vec<f64> = series(runs, case, program, metric)
                .into_iter()
                .flatten()
                .collect();
            let [low, high] = spread(&values)?;
            let median = median(values)?;
            Some(format!(
                "{} {} ({} to {})",
                number(Some(median)),
                metric.unit(),
                number(Some(low)),
                number(Some(high))
            ))
        });
        println!(
            "  {:<20} {}",
            name(program),
            figures.collect::<Vec<_>>().join(", ")
        );
    }
}
