//! Charts, drawn by `plotters` as SVG. Colours stand for roles; the page's style sheet says what
//! they look like in light and in dark.

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::ops::Range;

const SIZE: (u32, u32) = (720, 300);
/// Rows of a chart's table at the most.
const ROWS_MAX: usize = 60;

const INK: RGBColor = RGBColor(0, 0, 1);
const GRID: RGBColor = RGBColor(0, 0, 2);
const SHADE: RGBColor = RGBColor(0, 0, 3);
/// Series have colours of their own, up to so many; then they begin anew.
const SERIES: usize = 6;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// How things are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A curve through the points.
    Line,
    /// Bars beside each other, one for every series.
    Bars,
}

/// Some values to be drawn in one colour.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart, with its table.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What it shows, in a sentence.
    pub(super) about: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) shape: Shape,
    /// Whether the horizontal axis is logarithmic.
    pub(super) log: bool,
    pub(super) series: Vec<Series>,
    /// Spans of the horizontal axis that are shaded, and instants that have a line: faults.
    pub(super) shaded: Vec<Range<f64>>,
}

impl Chart<'_> {
    /// The figure; a sentence where there is nothing to draw.
    pub(super) fn figure(&self) -> Markup {
        let mut svg = String::new();
        let drawn = self.draw(&mut svg);
        let empty = self.series.iter().all(|series| series.points.is_empty());
        html! {
            figure {
                figcaption {
                    h3 { (self.title) }
                    span.soft { (self.about) }
                    @if self.series.len() > 1 || !self.shaded.is_empty() {
                        ul.legend {
                            @for (number, series) in self.series.iter().enumerate() {
                                li class={ "k" (number % SERIES) } { (series.name) }
                            }
                            @if !self.shaded.is_empty() { li.kshade { "a fault is at work" } }
                        }
                    }
                }
                @if empty {
                    p.soft { "Nothing to draw." }
                } @else if let Err(error) = &drawn {
                    p.soft { "Not drawn: " (error) }
                } @else {
                    div role="img" aria-label={ (self.title) ": " (self.about) } { (PreEscaped(&svg)) }
                    (self.table())
                }
            }
        }
    }

    fn draw(&self, svg: &mut String) -> Drawn {
        let points = self.series.iter().flat_map(|series| &series.points);
        let (mut left, mut right, mut top) = (f64::MAX, f64::MIN, 0.0f64);
        for &(x, y) in points {
            (left, right, top) = (left.min(x), right.max(x), top.max(y));
        }
        if left > right {
            return Ok(());
        }
        let top = if top > 0.0 { top * 1.05 } else { 1.0 };
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        match (self.shape, self.log) {
            (Shape::Bars, _) => self.fill(&area, left - 0.5..right + 0.5, top)?,
            (Shape::Line, true) => {
                let left = left.max(0.1);
                let axis = (left..right.max(left * 2.0)).log_scale();
                self.fill(&area, axis, top)?;
            }
            (Shape::Line, false) => self.fill(&area, left..right.max(left + 1e-9), top)?,
        }
        area.present()?;
        Ok(())
    }

    fn fill<X>(&self, area: &Area<'_>, x: X, top: f64) -> Drawn
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .margin_top(10)
            .margin_right(18)
            .x_label_area_size(50)
            .y_label_area_size(78)
            .build_cartesian_2d(x, 0.0..top)?;
        let text = ("sans-serif", 18).into_font().color(&INK);
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(9)
            .y_labels(6)
            .max_light_lines(1)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        let (instants, spans): (Vec<_>, Vec<_>) =
            self.shaded.iter().partition(|span| span.start >= span.end);
        chart.draw_series(
            spans
                .iter()
                .map(|span| Rectangle::new([(span.start, 0.0), (span.end, top)], SHADE.filled())),
        )?;
        // A rectangle of no width would not be seen.
        chart.draw_series(instants.iter().map(|at| {
            PathElement::new([(at.start, 0.0), (at.start, top)], SHADE.stroke_width(2))
        }))?;
        match self.shape {
            Shape::Line => self.curves(&mut chart),
            Shape::Bars => self.bars(&mut chart),
        }
    }

    fn curves<X: Ranged<ValueType = f64>>(
        &self,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, RangedCoordf64>>,
    ) -> Drawn {
        for (number, series) in self.series.iter().enumerate() {
            let style = colour(number).stroke_width(2);
            chart.draw_series(LineSeries::new(series.points.iter().copied(), style))?;
        }
        Ok(())
    }

    fn bars<X: Ranged<ValueType = f64>>(
        &self,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, RangedCoordf64>>,
    ) -> Drawn {
        let width = 0.8 / self.series.len().max(1) as f64;
        for (number, series) in self.series.iter().enumerate() {
            let from = -0.4 + width * number as f64;
            let bars = series.points.iter().map(|&(x, y)| {
                let corners = [(x + from, 0.0), (x + from + width, y)];
                Rectangle::new(corners, colour(number).filled())
            });
            chart.draw_series(bars)?;
        }
        Ok(())
    }

    /// The same in numbers, for whoever cannot see or wants to know.
    fn table(&self) -> Markup {
        html! {
            details {
                summary { "As a table" }
                div {
                    table {
                        thead { tr {
                            th.number { (self.x) }
                            @for series in &self.series { th.number { (series.name) } }
                        } }
                        tbody { @for (x, values) in self.rows() {
                            tr {
                                td.number { (short(x)) }
                                @for value in values {
                                    td.number { (value.map(short).unwrap_or_default()) }
                                }
                            }
                        } }
                    }
                }
            }
        }
    }

    /// Rows by position: of curves, whose series have different positions, only some.
    fn rows(&self) -> Vec<(f64, Vec<Option<f64>>)> {
        let mut all: Vec<f64> = self
            .series
            .iter()
            .flat_map(|series| series.points.iter().map(|(x, _)| *x))
            .collect();
        all.sort_unstable_by(f64::total_cmp);
        all.dedup();
        let step = all.len().div_ceil(ROWS_MAX).max(1);
        let value = |series: &Series, x: f64| {
            // The last point at or before it.
            let after = series.points.partition_point(|(at, _)| *at <= x);
            let (at, y) = *series.points.get(after.checked_sub(1)?)?;
            (self.log || (at - x).abs() < 1e-9).then_some(y)
        };
        let row = |x: f64| {
            (
                x,
                self.series.iter().map(|series| value(series, x)).collect(),
            )
        };
        all.into_iter().step_by(step).map(row).collect()
    }
}

fn colour(number: usize) -> RGBColor {
    RGBColor(0, 0, 0x10 + (number % SERIES) as u8)
}

/// A number in as few signs as say it.
pub(super) fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_shaded_and_what_is_over_in_an_instant_has_a_line() {
        let drawn = |shaded: Vec<Range<f64>>| {
            let points = vec![(0.0, 1.0), (100.0, 2.0)];
            let chart = Chart {
                title: "t",
                about: "a",
                x: "s",
                y: "n",
                shape: Shape::Line,
                log: false,
                series: vec![Series {
                    name: "s".to_owned(),
                    points,
                }],
                shaded,
            };
            let svg = chart.figure().into_string();
            let count = |what: &str| svg.matches(what).count();
            (
                count("fill=\"#000003\""),
                count("stroke=\"#000003\""),
                svg.contains("a fault is at work"),
            )
        };
        assert_eq!(drawn(vec![20.0..60.0]), (1, 0, true));
        assert_eq!(drawn(vec![30.0..30.0, 40.0..40.0]), (0, 2, true));
        assert_eq!(drawn(Vec::new()), (0, 0, false));
    }
}
