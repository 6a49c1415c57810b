//! `report.html`: one page that needs nothing but itself.
//!
//! What it says stands in `results.json`, `timeline.csv` and `picture.json` too, so a page can be
//! made again from those.

mod chart;
mod curves;
mod drawing;
mod timeline;

use crate::results::{Moment, Picture, Results, Tick, Verdict, When};
use chart::short;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("report/style.css");

/// The page of a run.
pub fn page(results: &Results, ticks: &[Tick], picture: &Picture) -> String {
    let verdict = counts(results);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (results.scenario) ": " (verdict) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    p.counts.(word(results)) { (verdict) }
                    h1 { (results.scenario) }
                    (facts(results))
                    (verdicts(results))
                    (findings(results))
                    (groups(results))
                    (timeline::section(results, ticks))
                    (curves::section(picture))
                    (overlays(picture))
                }
            }
        }
    };
    markup.into_string()
}

/// The first line: how many asserts hold, fail, or fall short of what is only aimed at.
fn counts(results: &Results) -> String {
    let passed = results.asserts.iter().filter(|verdict| verdict.passed);
    let failed = results.asserts.iter().filter(|v| !v.passed && !v.goal);
    format!(
        "{}: {} PASSED, {} FAILED, {} SHORT",
        word(results),
        passed.count(),
        failed.count(),
        results.short()
    )
}

fn word(results: &Results) -> &'static str {
    if results.passed { "PASSED" } else { "FAILED" }
}

fn facts(results: &Results) -> Markup {
    let trace = results.trace_hash.as_deref().unwrap_or("none");
    html! {
        p.soft {
            (results.nodes) " nodes in the " (results.backend) " world, seed " (results.seed) ", "
            (short(results.virtual_s)) " s in " (short(results.wall_s)) " s, "
            (short(results.peak_rss_mib)) " MiB; trace " (trace)
        }
        section id="replay" aria-label="To run it again" {
            p { "To run it again:" }
            pre { (results.replay) }
        }
    }
}

fn verdicts(results: &Results) -> Markup {
    let others = results
        .asserts
        .iter()
        .any(|verdict| verdict.reference.is_some());
    html! {
        section id="verdicts" {
            h2 { "Verdicts" }
            @if results.asserts.is_empty() { p.soft { "The scenario asserts nothing." } }
            @else { div.wide { table {
                thead { tr {
                    th { "verdict" } th { "group" } th { "metric" } th { "window" } th { "nodes" }
                    th.number { "observed" } th { "must be" }
                    @if others { th { "others" } }
                } }
                tbody { @for verdict in &results.asserts { (row(verdict, others)) } }
            } } }
        }
    }
}

fn row(verdict: &Verdict, others: bool) -> Markup {
    let word = match (verdict.passed, verdict.goal) {
        (true, _) => "PASSED",
        (false, true) => "SHORT",
        (false, false) => "FAILED",
    };
    let observed = verdict.observed.map_or("nothing".to_owned(), short);
    html! {
        tr {
            td.(word) { (word) }
            td { (verdict.group.as_deref().unwrap_or("the run")) }
            td { (verdict.metric) }
            td { (format!("{:?}", verdict.window).to_lowercase()) }
            td { (verdict.nodes.as_deref().unwrap_or("honest ones")) }
            td.number { (observed) }
            td {
                (verdict.bound(short))
                @if verdict.goal { " (goal)" }
            }
            @if others { td { (verdict.others(short)) } }
        }
    }
}

fn findings(results: &Results) -> Markup {
    html! {
        @if !results.findings.is_empty() || !results.notes.is_empty() {
            section id="findings" {
                h2 { "Findings" }
                ul {
                    @for finding in &results.findings { li.FAILED { (finding) } }
                    @for note in &results.notes { li.soft { (note) } }
                }
            }
        }
    }
}

/// The figures of every group.
fn groups(results: &Results) -> Markup {
    html! {
        section id="groups" {
            h2 { "Groups" }
            div.wide { table {
                thead { tr {
                    th { "group" }
                    @for head in ["published", "delivered", "due", "RMR", "p50 ms", "p99 ms", "max ms",
                        "stretch", "LDH", "repaired", "gaps"] {
                        th.number { (head) }
                    }
                } }
                tbody { @for (name, group) in &results.groups { tr {
                    td { (name) }
                    @for metric in [
                        "published", "delivered", "expected", "rmr", "latency_ms.p50", "latency_ms.p99",
                        "latency_ms.max", "stretch_mean", "ldh_mean", "repaired", "gaps",
                    ] { td.number { (group.get(metric).map_or_else(|| "-".to_owned(), short)) } }
                } } }
            } }
            p.soft {
                "Control traffic " (short(results.control.bytes_per_node_s)) " B/s a node; "
                (short(results.overlay.degree_mean)) " links a peer, " (results.overlay.degree_max)
                " at the most; "
                @if let Some(hops) = results.overlay.diameter_hops { (hops) " hops across; " }
                (results.overlay.articulation_points) " articulation points at the end."
            }
        }
    }
}

fn overlays(picture: &Picture) -> Markup {
    html! {
        section id="overlay" {
            h2 { "The overlay" }
            p.soft {
                "Peers lie apart as delays are long. The tree, or mesh, is that of one origin, as it computes it."
            }
            ul.legend {
                li.kpeer { "peer" } li.korigin { "origin" } li.kgone { "gone" }
                li.khostile { "does not behave" } li.kfeed { "carries its messages" } li.kidle { "other link" }
            }
            div.grid { @for moment in &picture.moments { (overlay(picture, moment)) } }
        }
    }
}

fn overlay(picture: &Picture, moment: &Moment) -> Markup {
    let when = match moment.when {
        When::Before => "Before",
        When::During => "During the fault",
        When::After => "At the end",
    };
    let deepest = moment.depths.len().saturating_sub(1);
    html! {
        figure {
            figcaption {
                h3 { (when) ", at " (short(moment.at_s)) " s" }
                span.soft { "group " (moment.group)
                    @if let Some(origin) = moment.origin { ", origin node " (origin) }
                }
            }
            (drawing::overlay(picture, moment))
            details {
                summary { "As a table" }
                div { table { tbody {
                    tr { th { "peers that run" } td.number { (moment.running.len()) } }
                    tr { th { "peers that are gone" } td.number { (moment.gone.len()) } }
                    tr { th { "links" } td.number { (moment.links.len()) } }
                    tr { th { "links that carry its messages" } td.number { (moment.feeds.len()) } }
                    tr { th { "longest way, in links" } td.number { (deepest) } }
                } } }
            }
        }
    }
}
