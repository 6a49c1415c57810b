//! What a reader is shown.

use crate::cases::Case;
use crate::metric::Metric;
use crate::report::{Figure, Report, Runs, figure, name};
use crate::spec::Program;
use std::io::{Result, Write};

/// A number with as many digits as mean something.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

/// Writes the table of goals, and which runs failed.
pub fn write_goals(out: &mut dyn Write, report: &Report) -> Result<()> {
    if !report.cases.is_empty() {
        writeln!(
            out,
            "\n{:<62} {:>11} {:>11} {:<16} {:>8} {:<20} {:>9}  ",
            "case", "ours", "peer", "", "ratio", "(spread)", "goal"
        )?;
    }
    for line in &report.cases {
        writeln!(
            out,
            "{:<62} {:>11} {:>11} {:<16} {:>8} {:<20} {:>9}  {}",
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
        )?;
    }
    for failure in &report.failed {
        let repeated = if failure.repeated {
            ", made once more"
        } else {
            ""
        };
        writeln!(
            out,
            "FAILED{repeated}: {} {}, round {}: {}",
            failure.case, failure.program, failure.round, failure.error
        )?;
    }
    Ok(())
}

/// Writes the figures of a case, median and spread, one program a line.
pub fn write_case(
    out: &mut dyn Write,
    runs: &Runs,
    case: &Case,
    programs: &[Program],
) -> Result<()> {
    writeln!(out, "\n{}", case.name)?;
    for &program in programs {
        let metrics = Metric::shown(case).into_iter();
        let figures = metrics.filter_map(|metric| figure(runs, case.name, name(program), metric));
        let figures: Vec<String> = figures.map(|figure| told(&figure)).collect();
        writeln!(out, "  {:<20} {}", name(program), figures.join(", "))?;
    }
    Ok(())
}

fn told(figure: &Figure) -> String {
    format!(
        "{} {} ({} to {})",
        number(Some(figure.median)),
        figure.unit,
        number(Some(figure.low)),
        number(Some(figure.high))
    )
}
