//! The overlay as a drawing: one path for each kind of thing, so that thousands of peers cost a
//! few hundred kilobytes.

use crate::results::{Moment, Picture};
use maud::{Markup, html};
use std::fmt::Write as _;

/// The drawing's size; peers stay clear of its edge.
const WIDTH: f32 = 1_000.0;
const HEIGHT: f32 = 720.0;
const EDGE: f32 = 24.0;
/// Above so many links only those that carry messages are drawn.
const IDLE_MAX: usize = 12_000;
/// Up to so many peers each says who it is.
const NAMED_MAX: usize = 400;

/// One moment's overlay.
pub(super) fn overlay(picture: &Picture, moment: &Moment) -> Markup {
    let at = |node: usize| place(picture, node);
    let pairs = |pairs: &[[usize; 2]]| {
        let mut path = String::new();
        for &[a, b] in pairs {
            let ((ax, ay), (bx, by)) = (at(a), at(b));
            // Writing to a string cannot fail.
            let _ = write!(path, "M{ax:.0} {ay:.0}L{bx:.0} {by:.0}");
        }
        path
    };
    let dots = |nodes: &mut dyn Iterator<Item = usize>| {
        let mut path = String::new();
        for (x, y) in nodes.map(at) {
            let _ = write!(path, "M{x:.0} {y:.0}h0");
        }
        path
    };
    let running = |hostile: bool| {
        let is_hostile = |node: &usize| picture.hostile.binary_search(node).is_ok();
        let nodes = moment.running.iter().copied();
        nodes.filter(move |node| is_hostile(node) == hostile)
    };
    let size = (260.0 / (picture.places.len().max(1) as f32).sqrt()).clamp(3.0, 16.0);
    let crosses = crosses(picture, moment, size * 0.45);
    let idle: &[[usize; 2]] = if moment.links.len() <= IDLE_MAX {
        &moment.links
    } else {
        &[]
    };
    html! {
        svg.overlay viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label(moment)) {
            title { (label(moment)) }
            path.idle d=(pairs(idle)) stroke-width="0.7" {}
            path.feeds d=(pairs(&moment.feeds)) stroke-width="1.6" {}
            path.gone d=(crosses) stroke-width=(size * 0.22) {}
            path.peers d=(dots(&mut running(false))) stroke-width=(size) {}
            path.hostiles d=(dots(&mut running(true))) stroke-width=(size * 1.2) {}
            @if let Some((x, y)) = moment.origin.map(at) {
                circle.origin cx=(x) cy=(y) r=(size * 0.9) stroke-width=(size * 0.2) {
                    title { "origin, node " (moment.origin.unwrap_or_default()) }
                }
            }
            @if moment.running.len() <= NAMED_MAX {
                @for &node in &moment.running {
                    @let (x, y) = at(node);
                    circle.named cx=(x.round()) cy=(y.round()) r=(size * 0.6) { title { "node " (node) } }
                }
            }
        }
    }
}

fn crosses(picture: &Picture, moment: &Moment, arm: f32) -> String {
    let mut path = String::new();
    for (x, y) in moment.gone.iter().map(|&node| place(picture, node)) {
        let (left, right, top, bottom) = (x - arm, x + arm, y - arm, y + arm);
        let _ = write!(
            path,
            "M{left:.1} {top:.1}L{right:.1} {bottom:.1}M{left:.1} {bottom:.1}L{right:.1} {top:.1}"
        );
    }
    path
}

fn place(picture: &Picture, node: usize) -> (f32, f32) {
    let [x, y] = picture.places.get(node).copied().unwrap_or([0.5, 0.5]);
    (
        EDGE + x * (WIDTH - 2.0 * EDGE),
        EDGE + y * (HEIGHT - 2.0 * EDGE),
    )
}

fn label(moment: &Moment) -> String {
    format!(
        "Overlay at {:.1} s: {} peers run, {} are gone, {} links, {} of them carry the messages of the origin",
        moment.at_s,
        moment.running.len(),
        moment.gone.len(),
        moment.links.len(),
        moment.feeds.len(),
    )
}
