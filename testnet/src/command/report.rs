//! `hedgerow-testnet report DIR`: makes a run's page again from its other files.

use super::{print, wrong};
use anyhow::Context as _;
use hedgerow_testnet::report::page;
use hedgerow_testnet::results::{Picture, Results, Tick, read_timeline};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The page beside a run's results.
pub(super) const PAGE: &str = "report.html";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Where a run wrote its results (`run --out DIR`)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes the page and prints where it lies.
pub(crate) fn report(arguments: &Arguments) -> ExitCode {
    match render(&arguments.dir) {
        Ok(path) => print(&format!("{}\n", path.display())),
        Err(error) => wrong(&format!("{error:#}")),
    }
}

fn render(dir: &Path) -> anyhow::Result<PathBuf> {
    let results: Results = read(&dir.join("results.json"))?;
    let picture: Picture = read(&dir.join("picture.json"))?;
    let timeline = dir.join("timeline.csv");
    let text = std::fs::read(&timeline).with_context(|| cannot_read(&timeline))?;
    let ticks: Vec<Tick> = read_timeline(&text).with_context(|| cannot_read(&timeline))?;
    let path = dir.join(PAGE);
    std::fs::write(&path, page(&results, &ticks, &picture))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| cannot_read(path))?;
    serde_json::from_slice(&text).with_context(|| cannot_read(path))
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
