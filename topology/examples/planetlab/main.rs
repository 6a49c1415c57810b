//! Builds the mesh over a latency matrix as its peers would, and measures it.
//!
//! `cargo run --release -p hedgerow-topology --example planetlab -- MATRIX [--json]`

mod matrix;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use matrix::Matrix;
use report::{Effort, Report, measure};

const HELP: &str = "\
Builds the overlay mesh over a latency matrix as its peers would (coordinates learned from the
round-trip times of their own links, local choices, negotiated links) and measures trees and meshes.

Usage: planetlab MATRIX [--origins N] [--trials N] [--seed N] [--json]

  MATRIX       square of round-trip times in ms, tab- or comma-separated, without a header
  --origins N  origins to measure, spread over all peers [default: 98]
  --trials N   draws of dead peers for each share of them [default: 100]
  --seed N     seed of ring positions, random links and draws [default: 1]
  --json       print one JSON object instead of a table
  --help       print this
";

struct Arguments {
    matrix: PathBuf,
    effort: Effort,
    json: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("planetlab: {problem}; see --help");
            return ExitCode::from(2);
        }
    };
    let matrix = match Matrix::read(&arguments.matrix) {
        Ok(matrix) => matrix,
        Err(problem) => {
            eprintln!("planetlab: {problem}");
            return ExitCode::from(2);
        }
    };
    let report = measure(&matrix, &arguments.effort);
    if arguments.json {
        match serde_json::to_string(&report) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("planetlab: cannot write the report: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        print_table(&matrix, &report);
    }
    ExitCode::SUCCESS
}

/// None where help is asked for.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut matrix = None;
    let mut effort = Effort {
        origins: 98,
        trials: 100,
        seed: 1,
    };
    let mut json = false;
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a number"))?;
            value
                .parse::<u64>()
                .map_err(|_| format!("{word}: `{value}` is not a whole number"))
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--json" => json = true,
            "--origins" => effort.origins = at_least_one(&word, number()?)?,
            "--trials" => effort.trials = at_least_one(&word, number()?)?,
            "--seed" => effort.seed = number()?,
            _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
            _ if matrix.is_some() => return Err(format!("one matrix only, not {word} too")),
            _ => matrix = Some(PathBuf::from(word)),
        }
    }
    let matrix = matrix.ok_or("a matrix file is needed")?;
    Ok(Some(Arguments {
        matrix,
        effort,
        json,
    }))
}

fn at_least_one(word: &str, number: u64) -> Result<usize, String> {
    match usize::try_from(number) {
        Ok(0) | Err(_) => Err(format!("{word}: {number} is out of range")),
        Ok(number) => Ok(number),
    }
}

fn print_table(matrix: &Matrix, report: &Report) {
    let tree = &report.tree;
    println!(
        "{} peers, quiet after {} rounds",
        matrix.peers(),
        report.rounds_to_quiet
    );
    println!(
        "links a peer       {:.2} mean, {} max; {} of the ring missing",
        report.degree_mean, report.degree_max, report.ring_links_missing
    );
    println!(
        "coordinates' error {:.3} median",
        report.coordinate_error_median
    );
    println!(
        "tree               stretch {:.3} mean, {:.3} last, {:.3} median RDP; depth {}, children {}",
        tree.stretch_mean, tree.stretch_last, tree.rdp_median, tree.depth_max, tree.children_max
    );
    for (name, mesh) in [("mesh(2)", &report.mesh2), ("mesh(3)", &report.mesh3)] {
        println!(
            "{name}            stretch {:.3} mean; RMR {:.3}; reached with 1, 5, 10 % dead: {:.2}, {:.2}, {:.2} %",
            mesh.stretch_mean,
            mesh.rmr,
            mesh.reach_1pct * 100.0,
            mesh.reach_5pct * 100.0,
            mesh.reach_10pct * 100.0
        );
    }
    println!("a tree takes       {:.0} us", report.compute_us_per_tree);
}
