//! Medians, ratios of runs that were made side by side, and the table of goals.

use crate::goals::{Goal, Row};
use crate::metric::{self, Metric};
use crate::spec::{Outcome, Program, Spec};
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
fn series(runs: &Runs, case: &'static str, program: Program, metric: Metric) -> Vec<Option<f64>> {
    let runs = runs
        .get(&(case, name(program)))
        .map(Vec::as_slice)
        .unwrap_or_default();
    runs.iter()
        .map(|(spec, outcome)| metric.of(spec, outcome.as_ref()?))
        .collect()
}

/// One figure of a program in a case, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub case: &'static str,
    pub program: &'static str,
    pub metric: Metric,
    pub unit: &'static str,
    /// Of the rounds; where `pooled`, of the messages of all rounds.
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub pooled: bool,
    /// Rounds that have it.
    pub rounds: usize,
}

/// The figure of all rounds; `None` where no round has it.
pub fn figure(
    runs: &Runs,
    case: &'static str,
    program: &'static str,
    metric: Metric,
) -> Option<Figure> {
    let runs = runs.get(&(case, program))?;
    let spec = &runs.first()?.0;
    let outcomes: Vec<&Outcome> = runs.iter().filter_map(|(_, it)| it.as_ref()).collect();
    let values = outcomes.iter().filter_map(|it| metric.of(spec, it));
    let values: Vec<f64> = values.collect();
    let [low, high] = spread(&values)?;
    Some(Figure {
        case,
        program,
        metric,
        unit: metric.unit(),
        median: metric.over(spec, &outcomes)?,
        low,
        high,
        pooled: metric.is_pooled(),
        rounds: values.len(),
    })
}

/// A run that gave no figures.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub case: &'static str,
    pub program: &'static str,
    /// From 1.
    pub round: usize,
    pub error: String,
    /// It was made once more: this round's figures, if any, are of that run.
    pub repeated: bool,
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
    /// The lowest and the highest of the rounds: of their ratios, or of the figure itself...
    pub spread: Option<[f64; 2]>,
    /// ...and of both figures.
    pub ours_spread: Option<[f64; 2]>,
    pub peer_spread: Option<[f64; 2]>,
    /// `None`: told for the reader, and always passed.
    pub goal: Option<String>,
    pub passed: bool,
}

impl Line {
    /// Whether there is a figure of whom it is compared with, if anybody.
    fn is_compared(&self) -> bool {
        self.peer_name.is_none() || self.peer.is_some()
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    pub cases: Vec<Line>,
    pub passed: bool,
    /// Of all programs in all cases that were measured.
    pub figures: Vec<Figure>,
    pub failed: Vec<Failure>,
}

fn line(runs: &Runs, row: &Row) -> Line {
    let ours = series(runs, row.case, Program::Hedgerow, row.metric);
    let failed = ours.is_empty() || ours.iter().any(Option::is_none);
    let theirs = row
        .peer
        .map(|peer| series(runs, row.case, peer, row.metric));
    let ratios = theirs.as_ref().map(|theirs| {
        let both = ours.iter().zip(theirs);
        both.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?))
            .collect::<Vec<f64>>()
    });
    let ours: Vec<f64> = ours.into_iter().flatten().collect();
    let theirs: Vec<f64> = theirs.into_iter().flatten().flatten().collect();
    let (ours_spread, peer_spread) = (spread(&ours), spread(&theirs));
    let spread = ratios.as_ref().map_or(ours_spread, |ratios| spread(ratios));
    let (ratio, ours, peer) = (ratios.and_then(median), median(ours), median(theirs));
    let judged = match (row.peer, row.goal) {
        (Some(_), _) => ratio,
        (None, Some(goal)) if row.metric.is_of_every_round() => {
            spread.map(|[low, high]| goal.worse_of(low, high))
        }
        (None, _) => ours,
    };
    let holds = |goal: Goal| !failed && judged.is_some_and(|value| goal.holds(value));
    let beside = row.peer.map(|peer| format!(" beside {}", name(peer)));
    Line {
        name: format!(
            "{}: {}{}",
            row.name,
            row.metric.unit(),
            beside.unwrap_or_default()
        ),
        ours,
        peer,
        peer_name: row.peer.map(name),
        unit: row.metric.unit(),
        ratio,
        spread,
        ours_spread,
        peer_spread,
        goal: (row.goal)
            .map(|goal| format!("{goal}{}", if row.peer.is_some() { " x" } else { "" })),
        passed: row.goal.is_none_or(holds),
    }
}

/// Holds the runs against the goals.
pub fn report(runs: &Runs, rows: &[Row], failed: Vec<Failure>) -> Report {
    let mut cases: Vec<Line> = rows.iter().map(|row| line(runs, row)).collect();
    // What is only told is left out where it was not measured.
    cases.retain(|line| line.goal.is_some() || line.ours.is_some() && line.is_compared());
    let passed = cases.iter().all(|line| line.passed);
    let figures = runs.keys().flat_map(|&(case, program)| {
        let metrics = metric::ALL.into_iter();
        metrics.filter_map(move |metric| figure(runs, case, program, metric))
    });
    Report {
        cases,
        passed,
        figures: figures.collect(),
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::rows;
    use crate::spec::{Load, Shape};

    fn outcome(delivered: u64, due: u64) -> Option<Outcome> {
        Some(Outcome {
            seconds: 1.0,
            delivered,
            delivered_in_all: delivered,
            due_in_all: due,
            cpu_us: 10,
            ..Outcome::default()
        })
    }

    fn spec(program: Program) -> Spec {
        Spec {
            program,
            shape: Shape::Overlay(20),
            message_bytes: 1_024,
            load: Load::Rate(1_000.0),
            origins: 1,
            seconds: 1.0,
            connect: None,
            tell: None,
        }
    }

    fn runs(case: &'static str, all: &[(Program, &[u64])]) -> Runs {
        let mut runs = Runs::new();
        for (program, rounds) in all {
            let rounds = rounds
                .iter()
                .map(|delivered| (spec(*program), outcome(*delivered, 100)));
            runs.insert((case, name(*program)), rounds.collect());
        }
        runs
    }

    fn row(case: &'static str, metric: Metric, peer: Option<Program>, goal: Goal) -> Row {
        Row {
            name: "a case",
            case,
            metric,
            peer,
            goal: Some(goal),
        }
    }

    #[test]
    fn ratios_are_of_runs_side_by_side_and_their_median_counts() {
        let (ours, theirs) = (Program::Hedgerow, Program::IrohGossip);
        let runs = runs("c", &[(ours, &[10, 40, 90]), (theirs, &[10, 20, 30])]);
        let row = row(
            "c",
            Metric::DeliveriesPerS,
            Some(theirs),
            Goal::AtLeast(2.0),
        );
        let line = line(&runs, &row);
        assert_eq!(line.ratio, Some(2.0));
        assert_eq!(line.spread, Some([1.0, 3.0]));
        assert!(line.passed);
    }

    #[test]
    fn everything_is_delivered_in_every_round_or_the_goal_is_missed() {
        let goal = Goal::AtLeast(100.0);
        let row = row("c", Metric::DeliveredPercent, None, goal);
        let all = line(&runs("c", &[(Program::Hedgerow, &[100, 100])]), &row);
        assert!(all.passed);
        let once = line(&runs("c", &[(Program::Hedgerow, &[100, 99, 100])]), &row);
        assert!(!once.passed, "{once:?}");
    }

    #[test]
    fn a_round_of_ours_that_failed_misses_the_goal() {
        let mut runs = runs("c", &[(Program::Hedgerow, &[100])]);
        let rounds = runs.get_mut(&("c", "hedgerow")).expect("rounds");
        rounds.push((spec(Program::Hedgerow), None));
        let row = row("c", Metric::DeliveriesPerS, None, Goal::AtLeast(1.0));
        assert!(!line(&runs, &row).passed);
    }

    #[test]
    fn the_table_has_a_line_for_each_goal_and_its_names_are_unique() {
        let report = report(&Runs::new(), &rows(), Vec::new());
        assert_eq!(report.cases.len(), 18, "what was not measured is missed");
        assert!(!report.passed && report.cases.iter().all(|line| !line.passed));
        let mut names: Vec<&str> = report.cases.iter().map(|line| line.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 18);
        let json = serde_json::to_value(&report).expect("JSON");
        for key in [
            "name",
            "ours",
            "peer",
            "peer_name",
            "unit",
            "ratio",
            "goal",
            "passed",
        ] {
            assert!(json["cases"][0].get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn figures_are_of_all_programs_and_of_the_rounds_that_did_not_fail() {
        let (ours, theirs) = (Program::Hedgerow, Program::IrohGossip);
        let mut runs = runs("c", &[(ours, &[10, 40, 90]), (theirs, &[10, 20, 30])]);
        let rounds = runs.get_mut(&("c", "iroh-gossip")).expect("rounds");
        rounds.push((spec(theirs), None));
        let report = report(&runs, &[], Vec::new());
        let json = serde_json::to_value(&report).expect("JSON");
        let figures = json["figures"].as_array().expect("a list");
        let of = |program: &str| {
            let mut figures = figures.iter();
            figures.find(|it| it["program"] == program && it["metric"] == "deliveries-per-s")
        };
        let ours = of("hedgerow").expect("a figure");
        assert_eq!(
            [&ours["low"], &ours["median"], &ours["high"]],
            [10.0, 40.0, 90.0]
        );
        assert_eq!(ours["unit"], "deliveries/s");
        let theirs = of("iroh-gossip").expect("a figure");
        assert_eq!(
            (&theirs["median"], &theirs["rounds"]),
            (&20.0.into(), &3.into())
        );
    }
}
