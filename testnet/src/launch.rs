//! `hedgerow-testnet launch`: peers that run on after the command has ended.

mod state;

pub(crate) use state::{Entry, Run};

use crate::terminal::{Align, Progress, counted, listed, table};
use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use hedgerow_testnet::process::{Fleet, FleetPlan, Lifetime, find_binary};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a peer may take until its API accepts calls, many others starting beside it.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long all may take until everyone knows everyone.
const JOINED_WITHIN: Duration = Duration::from_secs(120);
/// How long a peer may take to leave; a clean leave waits 2 s for its neighbours at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// The group that peers join when none is named.
const DEFAULT_GROUP: &str = "news";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// How many peers
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    #[arg(required_unless_present_any = ["stop", "status"], conflicts_with_all = ["stop", "status"])]
    count: Option<u16>,
    /// What carries the groups' messages
    #[arg(long, value_enum, default_value_t = Overlay::Tree)]
    overlay: Overlay,
    /// A group that all join; may be given again [default: news]
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// The run directory: data directories, logs, and what was launched
    #[arg(long, value_name = "DIR", default_value = "run")]
    dir: PathBuf,
    /// The network's name
    #[arg(long, value_name = "NAME", default_value = "hedgerow")]
    network: String,
    /// Stop the peers of the run directory
    #[arg(long, conflicts_with = "status")]
    stop: bool,
    /// Show the peers of the run directory; exits 1 when any is gone
    #[arg(long)]
    status: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Which links carry a group's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overlay {
    /// Every member gets each message from one parent
    Tree,
    /// Every member has two parents
    Mesh,
}

impl Overlay {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Mesh => "mesh",
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let dir = std::path::absolute(&arguments.dir)
        .with_context(|| format!("run directory {}", arguments.dir.display()))?;
    if arguments.stop {
        stop(&dir).await
    } else if arguments.status {
        status(&dir, arguments.json)
    } else {
        start(&dir, &arguments).await
    }
}

async fn start(dir: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(run) = Run::load(dir)? {
        let alive = run.alive();
        ensure!(
            alive == 0,
            "{} of the last launch run in {}; stop them first (--stop), or use another --dir",
            counted(alive, "peer"),
            dir.display()
        );
    }
    remove_last(dir)?;
    let count = usize::from(arguments.count.unwrap_or_default());
    let mut groups = arguments.groups.clone();
    if groups.is_empty() {
        groups.push(DEFAULT_GROUP.to_owned());
    }
    let began = Instant::now();
    let mut fleet = Fleet::new(FleetPlan {
        binary: find_binary("hedgerow")?,
        dir: dir.to_owned(),
        network: arguments.network.clone(),
        join: Vec::new(),
        lifetime: Lifetime::Detached,
        ready_within: READY_WITHIN,
    });
    let mut run = Run {
        network: arguments.network.clone(),
        overlay: arguments.overlay.name().to_owned(),
        groups,
        peers: Vec::new(),
    };
    grow_into_groups(&mut fleet, count, &mut run, arguments.overlay).await?;
    let up_after = began.elapsed();
    {
        let progress = Progress::new();
        progress.show("waiting until everyone knows everyone");
        let groups: Vec<&str> = run.groups.iter().map(String::as_str).collect();
        fleet.until_joined(&groups, count, JOINED_WITHIN).await?;
    }
    let joined_after = began.elapsed();
    for peer in fleet.release() {
        peer.release();
    }
    show(&run, arguments.json)?;
    eprintln!(
        "{} up in {:.1} s, members of {} ({}) in {:.1} s.",
        counted(count, "peer"),
        up_after.as_secs_f64(),
        listed(&run.groups),
        run.overlay,
        joined_after.as_secs_f64(),
    );
    eprintln!(
        "They run until `scripts/launch --stop{}`.",
        dir_flag(&arguments.dir)
    );
    Ok(ExitCode::SUCCESS)
}

/// Removes the last launch's data directories: peers that remember other groups, settings and
/// addresses would not be those that are asked for.
fn remove_last(dir: &Path) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix("peer-"));
        let is_peer =
            number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
        if is_peer && path.join("identity.key").is_file() {
            std::fs::remove_dir_all(&path).with_context(|| format!("{}", path.display()))?;
        }
    }
    Ok(())
}

/// Starts the first peer, lets it create the groups, then starts the others as members.
async fn grow_into_groups(
    fleet: &mut Fleet,
    count: usize,
    run: &mut Run,
    overlay: Overlay,
) -> anyhow::Result<()> {
    let progress = Progress::new();
    let dir = fleet.dir().to_owned();
    fleet.grow(1, |_| ()).await?;
    let first = &fleet.peers()[0];
    // At once: a peer that is alone waits a while for others before it is joined.
    let cli = &first.cli();
    let creations = run.groups.iter().map(|group| {
        let arguments = ["join", group, "--overlay", overlay.name(), "--detach"];
        async move { cli.text(&arguments).await }
    });
    futures::future::try_join_all(creations).await?;
    run.peers.extend(Entry::of(first));
    fleet.join_at_start(&run.groups);
    let mut saved = Ok(());
    fleet
        .grow(count - 1, |peer| {
            // Kept as they come, so that none can be running and unknown, whatever ends this.
            run.peers.extend(Entry::of(peer));
            saved = std::mem::replace(&mut saved, Ok(())).and_then(|()| run.save(&dir));
            progress.show(&format!("{} of {count} peers are up", run.peers.len()));
        })
        .await?;
    saved?;
    run.save(&dir)?;
    let ended = count - run.alive();
    ensure!(
        ended == 0,
        "{} ended again; see {}/logs",
        counted(ended, "peer"),
        dir.display()
    );
    Ok(())
}

async fn stop(dir: &Path) -> anyhow::Result<ExitCode> {
    let Some(run) = Run::load(dir)? else {
        bail!("nothing was launched in {}", dir.display())
    };
    let running = run.alive();
    let began = Instant::now();
    let ends = run
        .peers
        .iter()
        .map(|entry| entry.process.stop(LEAVE_WITHIN));
    let ended = futures::future::try_join_all(ends).await?;
    let left = run.alive();
    ensure!(left == 0, "{} still there", counted(left, "peer"));
    Run::forget(dir)?;
    let killed = ended.into_iter().filter(|by_itself| !by_itself).count();
    eprintln!(
        "{} stopped in {:.1} s, {killed} by force. Data directories and logs are in {}.",
        counted(running, "peer"),
        began.elapsed().as_secs_f64(),
        dir.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn status(dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let Some(run) = Run::load(dir)? else {
        bail!("nothing was launched in {}", dir.display())
    };
    show(&run, json)?;
    let alive = run.alive();
    eprintln!(
        "{alive} of {} up, network {}, groups {} ({})",
        counted(run.peers.len(), "peer"),
        run.network,
        listed(&run.groups),
        run.overlay
    );
    Ok(if alive == run.peers.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(run: &Run, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(&run.report())?);
        return Ok(());
    }
    let head = [
        ("peer", Align::Left),
        ("pid", Align::Right),
        ("address", Align::Left),
        ("data directory", Align::Left),
    ];
    let rows: Vec<Vec<String>> = run
        .peers
        .iter()
        .map(|entry| {
            let pid = if entry.process.is_alive() {
                entry.process.pid.to_string()
            } else {
                "gone".to_owned()
            };
            vec![
                entry.peer.clone(),
                pid,
                entry.address(),
                entry.data_dir.display().to_string(),
            ]
        })
        .collect();
    print!("{}", table(&head, &rows));
    Ok(())
}

fn dir_flag(dir: &Path) -> String {
    if dir == Path::new("run") {
        String::new()
    } else {
        format!(" --dir {}", dir.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_launch_removes_the_last_ones_peers_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let make = |name: &str, file: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).expect("made");
            std::fs::write(path.join(file), "x").expect("written");
            path
        };
        let peer = make("peer-001", "identity.key");
        let kept = [
            make("peer-x", "identity.key"),
            make("peer-002", "notes.txt"),
            make("logs", "peer-001.log"),
        ];
        remove_last(dir.path()).expect("removed");
        assert!(!peer.exists());
        assert!(kept.iter().all(|path| path.exists()));
        remove_last(&dir.path().join("none")).expect("nothing to do");
    }
}
