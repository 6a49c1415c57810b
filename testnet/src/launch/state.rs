//! What was launched in a run directory, remembered for `--status` and `--stop`.

use anyhow::Context as _;
use hedgerow_testnet::process::{Peer, ProcessId};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file that remembers.
const FILE: &str = "launch.json";

/// Peers launched together.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The network's name.
    pub(crate) network: String,
    /// How the groups' messages are carried.
    pub(crate) overlay: String,
    /// Groups that all are members of.
    pub(crate) groups: Vec<String>,
    /// The peers, the first of which bootstraps the rest.
    pub(crate) peers: Vec<Entry>,
}

/// One launched peer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What people call it.
    pub(crate) name: String,
    /// Who it is.
    pub(crate) peer: String,
    /// Its process.
    #[serde(flatten)]
    pub(crate) process: ProcessId,
    /// Its addresses.
    pub(crate) listen: Vec<String>,
    /// Where its API is.
    pub(crate) api: String,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
}

/// A run as it stands now.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    network: &'a str,
    overlay: &'a str,
    groups: &'a [String],
    peers: Vec<EntryReport<'a>>,
}

#[derive(Serialize)]
struct EntryReport<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    alive: bool,
}

impl Entry {
    /// A peer that runs; `None` when it has ended.
    pub(crate) fn of(peer: &Peer) -> Option<Self> {
        let ready = peer.ready();
        Some(Self {
            name: peer.name().to_owned(),
            peer: ready.peer.clone(),
            process: peer.process()?,
            listen: ready.listen.clone(),
            api: ready.api.clone(),
            data_dir: peer.plan().data_dir.clone(),
        })
    }

    /// Its first address, without its name, which stands beside it.
    pub(crate) fn address(&self) -> String {
        let first = self.listen.first().map(String::as_str).unwrap_or_default();
        first.split("/p2p/").next().unwrap_or_default().to_owned()
    }
}

impl Run {
    /// What was launched in `dir`; `None` when nothing was.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = dir.join(FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| file.display().to_string())
    }

    /// Remembers it in `dir`, all at once: a reader sees the old file or the new one.
    pub(crate) fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let file = dir.join(FILE);
        let write = || -> anyhow::Result<()> {
            let mut new = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer_pretty(&mut new, self)?;
            new.write_all(b"\n")?;
            new.persist(&file)?;
            Ok(())
        };
        write().with_context(|| file.display().to_string())
    }

    /// Forgets what was launched in `dir`.
    pub(crate) fn forget(dir: &Path) -> anyhow::Result<()> {
        let file = dir.join(FILE);
        std::fs::remove_file(&file).with_context(|| file.display().to_string())
    }

    /// How many of the peers run.
    pub(crate) fn alive(&self) -> usize {
        self.peers
            .iter()
            .filter(|entry| entry.process.is_alive())
            .count()
    }

    /// The run with the state of each peer.
    pub(crate) fn report(&self) -> Report<'_> {
        Report {
            network: &self.network,
            overlay: &self.overlay,
            groups: &self.groups,
            peers: self
                .peers
                .iter()
                .map(|entry| EntryReport {
                    entry,
                    alive: entry.process.is_alive(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_remembered_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(
            Run::load(dir.path())
                .expect("nothing there is fine")
                .is_none()
        );
        let entry = Entry {
            name: "peer-001".to_owned(),
            peer: "12D3KooW".to_owned(),
            process: ProcessId::of(std::process::id()),
            listen: vec!["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW".to_owned()],
            api: "unix:/tmp/api.sock".to_owned(),
            data_dir: dir.path().join("peer-001"),
        };
        assert_eq!(entry.address(), "/ip4/127.0.0.1/tcp/4001");
        let run = Run {
            network: "test".to_owned(),
            overlay: "tree".to_owned(),
            groups: vec!["news".to_owned()],
            peers: vec![entry],
        };
        run.save(dir.path()).expect("saved");
        let loaded = Run::load(dir.path()).expect("readable").expect("there");
        assert_eq!(loaded, run);
        assert_eq!(loaded.alive(), 1, "this very process");
        Run::forget(dir.path()).expect("forgotten");
        assert!(
            Run::load(dir.path())
                .expect("nothing there is fine")
                .is_none()
        );
    }
}
