//! How far apart nodes are.

use super::random::mix;
use hedgerow_protocol::Micros;

/// One-way delay of every pair of nodes. Symmetric.
#[derive(Clone, Debug)]
pub enum Latency {
    /// The same for all pairs.
    Constant(Micros),
    /// Each pair has its own, drawn once from this range.
    Uniform {
        /// The least.
        min: Micros,
        /// The most.
        max: Micros,
    },
    /// Measured round-trip times; more nodes than places share places.
    Matrix(Matrix),
}

impl Latency {
    /// `ms` one way between all pairs.
    pub const fn constant_ms(ms: u64) -> Self {
        Self::Constant(Micros::from_millis(ms))
    }

    /// From `min` to `max` ms one way, drawn for each pair.
    pub const fn uniform_ms(min: u64, max: u64) -> Self {
        Self::Uniform {
            min: Micros::from_millis(min),
            max: Micros::from_millis(max),
        }
    }

    /// Time counted in hops: every link takes 1 ms.
    pub const fn hop_count() -> Self {
        Self::constant_ms(1)
    }

    /// Twelve regions of the world, node after node; those of one region are 1 ms apart. The round
    /// trips are means of what IBM Cloud publishes about its own (`regions.tsv` names the tables).
    pub fn regions() -> Self {
        let matrix = Matrix::parse(include_str!("regions.tsv"));
        Self::Matrix(matrix.expect("the built-in matrix is one"))
    }

    /// No two nodes are nearer to each other.
    pub(crate) fn least(&self) -> Micros {
        match self {
            Self::Constant(delay) => *delay,
            Self::Uniform { min, .. } => *min,
            Self::Matrix(matrix) => matrix.least,
        }
    }

    /// One-way delay between `a` and `b`.
    pub(crate) fn delay(&self, seed: u64, a: usize, b: usize) -> Micros {
        match self {
            Self::Constant(delay) => *delay,
            Self::Uniform { min, max } => {
                let span = max.since(*min).0.saturating_add(1);
                let hash = mix(seed, a.min(b) as u64, a.max(b) as u64);
                Micros(min.0 + ((u128::from(hash) * u128::from(span)) >> 64) as u64)
            }
            Self::Matrix(matrix) => matrix.delay(a, b),
        }
    }
}

/// A square of round-trip times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    places: usize,
    one_way_us: Vec<u32>,
    least: Micros,
}

/// Why a text is no matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// No rows.
    #[error("no rows: a matrix is a square of round-trip times in ms")]
    Empty,
    /// Not a square.
    #[error("row {row} has {columns} columns, the matrix has {rows} rows")]
    NotSquare {
        /// Which row, from 1.
        row: usize,
        /// Its columns.
        columns: usize,
        /// Rows in all.
        rows: usize,
    },
    /// Not a time.
    #[error("row {row}, column {column}: {text:?} is no round-trip time in ms (0 to 60000)")]
    NotTime {
        /// Which row, from 1.
        row: usize,
        /// Which column, from 1.
        column: usize,
        /// What stands there.
        text: String,
    },
}

/// Round trip between nodes that share a place, microseconds.
const SAME_PLACE_RTT_US: u32 = 1_000;
/// The longest round trip taken from a file, ms.
const RTT_MS_MAX: f64 = 60_000.0;

impl Matrix {
    /// Reads rows of round-trip times in ms, separated by commas or tabs; empty lines and lines
    /// that begin with `#` are skipped. One-way delay is half of the mean of both directions.
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let rows: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        if rows.is_empty() {
            return Err(MatrixError::Empty);
        }
        let places = rows.len();
        let mut rtt_us = Vec::with_capacity(places * places);
        for (row, line) in rows.iter().enumerate() {
            let cells: Vec<&str> = line.split([',', '\t']).map(str::trim).collect();
            if cells.len() != places {
                let (row, columns) = (row + 1, cells.len());
                return Err(MatrixError::NotSquare {
                    row,
                    columns,
                    rows: places,
                });
            }
            for (column, cell) in cells.iter().enumerate() {
                let ms = cell
                    .parse::<f64>()
                    .ok()
                    .filter(|ms| (0.0..=RTT_MS_MAX).contains(ms));
                let Some(ms) = ms else {
                    let (row, column) = (row + 1, column + 1);
                    return Err(MatrixError::NotTime {
                        row,
                        column,
                        text: (*cell).to_owned(),
                    });
                };
                rtt_us.push((ms * 1_000.0) as u32);
            }
        }
        let one_way = |a: usize, b: usize| {
            if a == b {
                SAME_PLACE_RTT_US / 2
            } else {
                (rtt_us[a * places + b] + rtt_us[b * places + a]) / 4
            }
        };
        let one_way_us: Vec<u32> = (0..places * places)
            .map(|i| one_way(i / places, i % places))
            .collect();
        let least = one_way_us.iter().min().copied().unwrap_or(0);
        Ok(Self {
            places,
            one_way_us,
            least: Micros(u64::from(least)),
        })
    }

    /// Rows.
    pub fn places(&self) -> usize {
        self.places
    }

    fn delay(&self, a: usize, b: usize) -> Micros {
        let (a, b) = (a % self.places, b % self.places);
        Micros(u64::from(self.one_way_us[a * self.places + b]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_gives_half_the_mean_round_trip() {
        let matrix = Matrix::parse("# ms\n0\t10.5\n11.5, 0\n").expect("valid");
        assert_eq!(matrix.delay(0, 1), Micros(5_500));
        assert_eq!(matrix.delay(1, 0), Micros(5_500));
        assert_eq!(
            matrix.delay(0, 2),
            Micros(500),
            "third node shares the first's place"
        );
    }

    #[test]
    fn the_built_in_regions_are_a_matrix() {
        let regions = Latency::regions();
        assert_eq!(regions.delay(0, 3, 4), Micros(6_500), "Frankfurt to London");
        assert_eq!(regions.delay(0, 4, 16), Micros(500), "within a region");
    }

    #[test]
    fn bad_matrices_are_refused_by_place() {
        assert_eq!(Matrix::parse("\n"), Err(MatrixError::Empty));
        assert_eq!(
            Matrix::parse("0 ,1\n1"),
            Err(MatrixError::NotSquare {
                row: 2,
                columns: 1,
                rows: 2
            })
        );
        for bad in ["x", "-1", "NaN", "inf", "60001"] {
            let error = Matrix::parse(&format!("0,1\n{bad},0")).expect_err(bad);
            assert!(
                matches!(
                    error,
                    MatrixError::NotTime {
                        row: 2,
                        column: 1,
                        ..
                    }
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn uniform_delays_are_symmetric_and_in_range() {
        let latency = Latency::uniform_ms(5, 80);
        for a in 0..20 {
            for b in 0..20 {
                let delay = latency.delay(3, a, b);
                assert_eq!(delay, latency.delay(3, b, a));
                assert!((Micros::from_millis(5)..=Micros::from_millis(80)).contains(&delay));
            }
        }
        assert_ne!(latency.delay(3, 0, 1), latency.delay(4, 0, 1));
    }
}
