//! How latencies, degrees and depths are distributed.

use super::chart::{Chart, Series, Shape};
use crate::results::{Curves, Moment, Picture, When};
use maud::{Markup, html};

/// All distributions.
pub(super) fn section(picture: &Picture) -> Markup {
    let mut latency = cumulative(picture, |curves| &curves.latency_ms);
    if let Some(first) = picture
        .curves
        .first()
        .filter(|first| !first.direct_ms.is_empty())
    {
        let name = format!("{}: direct", first.group);
        latency.push(curve(name, &first.direct_ms));
    }
    let share = |title, about, x, log, series| Chart {
        title,
        about,
        x,
        y: "share of deliveries",
        shape: Shape::Line,
        log,
        series,
        shaded: Vec::new(),
    };
    let bars = |title, about, x, series| Chart {
        title,
        about,
        x,
        y: "peers",
        shape: Shape::Bars,
        log: false,
        series,
        shaded: Vec::new(),
    };
    let charts = [
        share(
            "Latency",
            "From publication to delivery, and how long the direct way would take",
            "ms",
            true,
            latency,
        ),
        share(
            "Stretch",
            "Latency over the direct one-way delay, by message and member",
            "times",
            true,
            cumulative(picture, |curves| &curves.stretch),
        ),
        bars(
            "Degree",
            "How many links peers have",
            "links",
            counted(picture, |moment| &moment.degrees),
        ),
        bars(
            "Depth",
            "How many links lie between peers and the origin that is drawn below",
            "links from the origin",
            counted(picture, |moment| &moment.depths),
        ),
        share(
            "Repair",
            "How much later than a message's median delivery came what had to be pulled",
            "ms",
            true,
            cumulative(picture, |curves| &curves.repair_ms),
        ),
    ];
    html! {
        section id="distributions" {
            h2 { "Distributions" }
            div.grid { @for chart in &charts { (chart.figure()) } }
        }
    }
}

fn cumulative(picture: &Picture, of: impl Fn(&Curves) -> &Vec<f64>) -> Vec<Series> {
    let curves = picture.curves.iter();
    curves
        .filter(|curves| !of(curves).is_empty())
        .map(|curves| curve(curves.group.clone(), of(curves)))
        .collect()
}

/// A cumulative share over ascending quantiles.
fn curve(name: String, quantiles: &[f64]) -> Series {
    let most = quantiles.len().saturating_sub(1).max(1) as f64;
    let points = quantiles.iter().enumerate();
    Series {
        name,
        points: points.map(|(at, x)| (*x, at as f64 / most)).collect(),
    }
}

fn counted(picture: &Picture, of: impl Fn(&Moment) -> &Vec<usize>) -> Vec<Series> {
    let of_moment = |moment: &Moment| Series {
        name: match moment.when {
            When::Before => "before".to_owned(),
            When::During => "during".to_owned(),
            When::After => "at the end".to_owned(),
        },
        points: of(moment)
            .iter()
            .enumerate()
            .map(|(size, peers)| (size as f64, *peers as f64))
            .collect(),
    };
    picture.moments.iter().map(of_moment).collect()
}
