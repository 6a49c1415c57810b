//! Latency matrices: a square of numbers, comma- or tab-separated, round-trip times in ms.

use std::fmt;
use std::path::Path;

/// Round-trip times between peers, symmetric, in microseconds.
pub(crate) struct Matrix {
    peers: usize,
    rtt_us: Vec<u32>,
}

/// What is wrong with a matrix file.
#[derive(Debug)]
pub(crate) struct MatrixError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

impl fmt::Display for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}; {}",
            self.line, self.column, self.problem, self.remedy
        )
    }
}

const RTT_MAX_MS: f64 = 60_000.0;

impl Matrix {
    pub(crate) fn peers(&self) -> usize {
        self.peers
    }

    pub(crate) fn rtt_us(&self, a: usize, b: usize) -> u32 {
        self.rtt_us[a * self.peers + b]
    }

    /// One-way delay: half of the round trip.
    pub(crate) fn direct_us(&self, a: usize, b: usize) -> u64 {
        u64::from(self.rtt_us(a, b) / 2)
    }

    /// From round-trip times in ms by pair; asked once for each, `a < b`.
    pub(crate) fn from_fn(peers: usize, mut rtt_ms: impl FnMut(usize, usize) -> f64) -> Self {
        let mut rtt_us = vec![0; peers * peers];
        for a in 0..peers {
            for b in a + 1..peers {
                let rtt = (rtt_ms(a, b).clamp(0.001, RTT_MAX_MS) * 1_000.0).round() as u32;
                rtt_us[a * peers + b] = rtt;
                rtt_us[b * peers + a] = rtt;
            }
        }
        Self { peers, rtt_us }
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: cannot read it: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Parses and symmetrises: a pair's round trip is the mean of both directions.
    pub(crate) fn parse(text: &str) -> Result<Self, MatrixError> {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        let mut line_of_row = Vec::new();
        for (line, content) in text.lines().enumerate() {
            if content.trim().is_empty() {
                continue;
            }
            rows.push(parse_row(line + 1, content)?);
            line_of_row.push(line + 1);
        }
        let peers = rows.len();
        if peers < 2 {
            return Err(MatrixError {
                line: 1,
                column: 1,
                problem: format!("{peers} rows"),
                remedy: "a matrix needs at least two, one for each peer",
            });
        }
        for (row, &line) in rows.iter().zip(&line_of_row) {
            if row.len() != peers {
                return Err(MatrixError {
                    line,
                    column: row.len().min(peers) + 1,
                    problem: format!("{} numbers in a matrix of {peers} rows", row.len()),
                    remedy: "give every row one number for each row of the file",
                });
            }
        }
        Ok(Self::from_fn(peers, |a, b| {
            f64::midpoint(rows[a][b], rows[b][a])
        }))
    }
}

fn parse_row(line: usize, content: &str) -> Result<Vec<f64>, MatrixError> {
    let separator = if content.contains('\t') { '\t' } else { ',' };
    let cells = content.trim_end_matches(['\r', separator]).split(separator);
    let parse_cell = |(column, cell): (usize, &str)| {
        let at = |problem: String, remedy| MatrixError {
            line,
            column: column + 1,
            problem,
            remedy,
        };
        let rtt: f64 = cell.trim().parse().map_err(|_| {
            at(
                format!("`{}` is not a number", cell.trim()),
                "give round-trip times in ms, separated by tabs or commas, without a header",
            )
        })?;
        if !rtt.is_finite() || !(0.0..=RTT_MAX_MS).contains(&rtt) {
            return Err(at(
                format!("{rtt} ms"),
                "round-trip times lie between 0 and 60000 ms; fill gaps before (with the median, say)",
            ));
        }
        Ok(rtt)
    };
    cells.enumerate().map(parse_cell).collect()
}
