//! `hedgerow-testnet demo`: the main job, shown on real processes with real content.
//!
//! Two groups, one carried by a tree and one by a mesh. In each, two peers stream a file line by
//! line at once while a third sends a large binary; a quarter of the peers is killed on the way,
//! one comes back. Everyone alive must end up with the same bytes, and the demo checks that.

mod act;
mod cast;
mod collector;
mod feed;
mod ledger;
mod look;
mod report;
mod story;

use crate::launch::{Entry, READY_WITHIN, Run};
use anyhow::Context as _;
use hedgerow_testnet::process::{Fleet, FleetPlan, Lifetime, Peer, find_binary};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use story::Story;
use tempfile::TempDir;

/// How long a peer may take to leave; a clean leave waits 2 s for its neighbours at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// How many peers
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(4..=200))]
    nodes: u16,
    /// The text that is streamed line by line
    #[arg(long, value_name = "FILE", default_value = "Cargo.lock")]
    text: PathBuf,
    /// The file that is sent as one message [default: this program]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Print one line of JSON with the result; the story goes to stderr
    #[arg(long)]
    json: bool,
    /// Leave the peers running, and say where
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let hedgerow = find_binary("hedgerow")?;
    let binary = match &arguments.binary {
        Some(file) => file.clone(),
        None => std::env::current_exe().context("the file of this program")?,
    };
    let content = feed::Content::read(&arguments.text, &binary)?;
    let nodes = usize::from(arguments.nodes);
    let dir = tempfile::Builder::new()
        .prefix("hedgerow-demo-")
        .tempdir()
        .context("a directory for the peers")?;
    let network = dir
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut fleet = Fleet::new(FleetPlan {
        binary: hedgerow,
        dir: dir.path().to_owned(),
        // A network of its own: no peer of an earlier demo can wander in.
        network: network.clone(),
        join: Vec::new(),
        lifetime: if arguments.keep {
            Lifetime::Detached
        } else {
            Lifetime::Owned
        },
        ready_within: READY_WITHIN,
    });
    let story = Story::new(arguments.json);
    let report = match act::play(&mut fleet, nodes, &content, &story).await {
        Ok(report) => report,
        Err(error) => {
            let logs = dir.keep().join("logs");
            return Err(error.context(format!(
                "the demo came to a halt; logs are in {}",
                logs.display()
            )));
        }
    };
    report.tell(&story);
    if arguments.keep {
        keep(fleet, dir, network, &story)?;
    } else {
        let killed = fleet.stop(LEAVE_WITHIN).await?;
        if killed > 0 {
            story.aside(&format!(
                "{killed} of the peers did not leave by themselves"
            ));
        }
        if !report.passed {
            story.aside(&format!(
                "Logs are in {}",
                dir.keep().join("logs").display()
            ));
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(if report.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Lets the peers run on, so that `launch --status` and `launch --stop` know them.
fn keep(fleet: Fleet, dir: TempDir, network: String, story: &Story) -> anyhow::Result<()> {
    let path = dir.path().to_owned();
    let run = Run {
        network,
        overlay: "tree and mesh".to_owned(),
        groups: vec![act::TREE_GROUP.to_owned(), act::MESH_GROUP.to_owned()],
        peers: fleet.peers().iter().filter_map(Entry::of).collect(),
    };
    run.save(&path)?;
    for peer in fleet.release() {
        Peer::release(peer);
    }
    let path = dir.keep().display().to_string();
    story.aside(&format!(
        "The peers run on. Look at one: hedgerow --data-dir {path}/peer-002 links"
    ));
    story.aside(&format!("Stop them: scripts/launch --stop --dir {path}"));
    Ok(())
}
