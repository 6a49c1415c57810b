//! How the demo ended: for people, and as one line of JSON.

use super::ledger::{Totals, Waits};
use super::story::Story;
use crate::terminal::{Align, table, thousands};
use serde::ser::{Serialize, SerializeMap as _, SerializeStruct as _, Serializer};
use std::time::Duration;

/// How many complaints of peers are told; more say no more.
const COMPLAINTS_TOLD: usize = 10;

/// One group's part.
#[derive(Debug)]
pub(crate) struct GroupResult {
    pub(crate) group: &'static str,
    pub(crate) overlay: &'static str,
    pub(crate) totals: Totals,
}

/// What came of the demo.
#[derive(Debug)]
pub(crate) struct Report {
    /// Whether all due came, once, in order, as published.
    pub(crate) passed: bool,
    pub(crate) nodes: usize,
    pub(crate) killed: usize,
    pub(crate) totals: Totals,
    pub(crate) app_duplicates: u64,
    pub(crate) order_violations: u64,
    pub(crate) wrong: u64,
    pub(crate) pulled: u64,
    pub(crate) hops_max: u16,
    /// Relative message redundancy: copies received for each first one, less 1.
    pub(crate) rmr_tree: Option<f64>,
    pub(crate) rmr_mesh: Option<f64>,
    /// How long living peers waited for messages beyond the median, after the kill.
    pub(crate) waits: Waits,
    /// From which wait on receipts were counted as late.
    pub(crate) noticeable: Duration,
    pub(crate) groups: Vec<GroupResult>,
    /// What peers said of messages that they could not deliver.
    pub(crate) complaints: Vec<String>,
}

impl Report {
    /// Tells the end of the story.
    pub(crate) fn tell(&self, story: &Story) {
        let head = [
            ("group", Align::Left),
            ("overlay", Align::Left),
            ("published", Align::Right),
            ("MB", Align::Right),
            ("due", Align::Right),
            ("arrived", Align::Right),
            ("streams that differ", Align::Right),
        ];
        let rows: Vec<Vec<String>> = self
            .groups
            .iter()
            .map(|result| {
                let totals = result.totals;
                vec![
                    result.group.to_owned(),
                    result.overlay.to_owned(),
                    thousands(totals.published),
                    format!("{:.1}", totals.bytes as f64 / 1e6),
                    thousands(totals.expected),
                    thousands(totals.delivered),
                    totals.different.to_string(),
                ]
            })
            .collect();
        story.aside("");
        for line in table(&head, &rows).lines() {
            story.aside(&format!("  {line}"));
        }
        story.aside("");
        story.aside(&format!(
            "  Came twice: {}. Out of order: {}. Not as published: {}.",
            self.app_duplicates, self.order_violations, self.wrong
        ));
        story.aside(&format!(
            "  Copies received beyond the first, by message: tree {}, mesh {}.",
            ratio(self.rmr_tree),
            ratio(self.rmr_mesh)
        ));
        story.aside(&format!(
            "  After the kill the longest wait beyond a message's median was {} ms{}.",
            self.waits.longest.as_millis(),
            if self.waits.what.is_empty() {
                String::new()
            } else {
                format!(" ({})", self.waits.what)
            },
        ));
        story.aside(&format!(
            "  {} of {} receipts were later than the median by {} ms; {} were pulled.",
            thousands(self.waits.noticed),
            thousands(self.totals.delivered),
            self.noticeable.as_millis(),
            thousands(self.pulled),
        ));
        story.aside(&format!(
            "  No message crossed more than {} links.",
            self.hops_max
        ));
        for complaint in self.complaints.iter().take(COMPLAINTS_TOLD) {
            story.aside(&format!("  {complaint}"));
        }
        story.aside("");
        let missing = self.totals.expected - self.totals.delivered;
        story.aside(&if self.passed {
            format!(
                "  PASSED: {} of {} peers alive, all with the same bytes.",
                self.nodes - self.killed + usize::from(self.killed > 0),
                self.nodes
            )
        } else {
            format!(
                "  FAILED: {} messages did not arrive as they should.",
                thousands(missing)
            )
        });
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "not known".to_owned(), |value| format!("{value:.2}"))
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Rmr(Option<f64>, Option<f64>);
        impl Serialize for Rmr {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("tree", &self.0.map(rounded))?;
                map.serialize_entry("mesh", &self.1.map(rounded))?;
                map.end()
            }
        }
        let mut line = serializer.serialize_struct("Report", 9)?;
        line.serialize_field("passed", &self.passed)?;
        line.serialize_field("nodes", &self.nodes)?;
        line.serialize_field("killed", &self.killed)?;
        line.serialize_field("expected", &self.totals.expected)?;
        line.serialize_field("delivered", &self.totals.delivered)?;
        line.serialize_field("app_duplicates", &self.app_duplicates)?;
        line.serialize_field("order_violations", &self.order_violations)?;
        line.serialize_field("rmr", &Rmr(self.rmr_tree, self.rmr_mesh))?;
        let longest_ms = rounded(self.waits.longest.as_secs_f64() * 1e3);
        line.serialize_field("repair_ms_max", &longest_ms)?;
        line.end()
    }
}

/// Four decimals are more than the measurement is good for.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_promised_fields_in_order() {
        let report = Report {
            passed: true,
            nodes: 12,
            killed: 3,
            totals: Totals {
                expected: 40,
                delivered: 40,
                ..Totals::default()
            },
            app_duplicates: 0,
            order_violations: 0,
            wrong: 0,
            pulled: 5,
            hops_max: 4,
            rmr_tree: Some(0.012_345),
            rmr_mesh: None,
            waits: Waits {
                longest: Duration::from_micros(12_500),
                ..Waits::default()
            },
            noticeable: Duration::from_millis(100),
            groups: Vec::new(),
            complaints: Vec::new(),
        };
        assert_eq!(
            serde_json::to_string(&report).expect("plain data"),
            r#"{"passed":true,"nodes":12,"killed":3,"expected":40,"delivered":40,"app_duplicates":0,"order_violations":0,"rmr":{"tree":0.0123,"mesh":null},"repair_ms_max":12.5}"#
        );
    }
}
