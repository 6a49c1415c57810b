//! How a run went, second by second.

use super::chart::{Chart, Series, Shape};
use crate::results::{Results, Tick};
use maud::{Markup, html};
use std::ops::Range;

/// Points of a curve at the most; longer runs are drawn by means.
const POINTS_MAX: usize = 600;

/// All charts over time.
pub(super) fn section(results: &Results, ticks: &[Tick]) -> Markup {
    let faults: Vec<Range<f64>> = results
        .faults
        .iter()
        .map(|fault| fault.from_s..fault.to_s)
        .collect();
    let rate = |name: &str, of: &dyn Fn(&Tick) -> f64| series(name, ticks, of, true);
    let level = |name: &str, of: &dyn Fn(&Tick) -> f64| series(name, ticks, of, false);
    let again = |tick: &Tick| match tick.firsts {
        0 => 0.0,
        firsts => tick.copies as f64 / firsts as f64 - 1.0,
    };
    let control = |tick: &Tick| tick.control_bytes as f64 / tick.alive.max(1) as f64;
    let chart = |title, about, y, series| Chart {
        title,
        about,
        x: "s from moment 0",
        y,
        shape: Shape::Line,
        log: false,
        series,
        shaded: faults.clone(),
    };
    let charts = [
        chart(
            "Deliveries",
            "Messages handed to applications, and those of them that had to be pulled",
            "a second",
            vec![
                rate("delivered", &|tick| tick.delivered as f64),
                rate("repaired", &|tick| tick.repaired as f64),
            ],
        ),
        chart(
            "Redundancy",
            "Payload copies beyond the first, for every first one",
            "RMR",
            vec![level("RMR", &again)],
        ),
        chart(
            "Control traffic",
            "Bytes of frames without payload, for every peer that runs",
            "B/s a peer",
            vec![rate("control", &control)],
        ),
        chart(
            "Peers and views",
            "Peers that run, and different views among them: one is what there should be",
            "count",
            vec![
                level("peers", &|tick| tick.alive as f64),
                level("views", &|tick| tick.views as f64),
            ],
        ),
    ];
    html! {
        section id="timeline" {
            h2 { "Over time" }
            @if !results.faults.is_empty() {
                details { summary { "Faults: " (results.faults.len()) } div { table {
                    thead { tr { th { "fault" } th.number { "from, s" } th.number { "to, s" } th.number { "hit" } } }
                    tbody { @for fault in results.faults.iter().take(200) { tr {
                        td { (fault.kind.as_str()) }
                        td.number { (super::short(fault.from_s)) } td.number { (super::short(fault.to_s)) }
                        td.number { (fault.hit) }
                    } } }
                } } }
            }
            div.grid { @for chart in &charts { (chart.figure()) } }
        }
    }
}

/// One quantity over time, a second or as it is.
fn series(name: &str, ticks: &[Tick], of: &dyn Fn(&Tick) -> f64, by_second: bool) -> Series {
    let mut points = Vec::with_capacity(ticks.len());
    let mut before: Option<f64> = None;
    for tick in ticks {
        // Moment 0 and the healing are looked at out of turn.
        let span = before.map_or(1.0, |before| (tick.at_s - before).max(1e-3));
        before = Some(tick.at_s);
        let value = if by_second { of(tick) / span } else { of(tick) };
        points.push((tick.at_s, value));
    }
    let of_one = points.len().div_ceil(POINTS_MAX).max(1);
    let mean = |some: &[(f64, f64)]| {
        let sum: f64 = some.iter().map(|(_, y)| y).sum();
        (some[0].0, sum / some.len() as f64)
    };
    Series {
        name: name.to_owned(),
        points: points.chunks(of_one).map(mean).collect(),
    }
}
