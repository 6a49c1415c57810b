//! Where a run's peers keep their files: a directory that goes with the run. What runs that were
//! killed have left is removed by the next.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "hedgerow-testnet-";
/// Locked in every directory that is in use. The lock goes with the process that holds it, however
/// that ends, and is not handed on to children.
const LOCK: &str = "lock";

/// A directory of this run's own.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: TempDir,
    _lock: File,
}

impl Scratch {
    /// A new directory in the system's for temporary ones.
    pub(super) fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(root: &Path) -> io::Result<Self> {
        sweep(root);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
        // It gets its name once it is locked: what has that name and no lock belongs to nobody.
        let unnamed = dir.path().join("lock.new");
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        std::fs::rename(&unnamed, dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes directories whose run is over. What cannot be looked at or removed is left to others.
fn sweep(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else {
        return;
    };
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(PREFIX);
    for entry in entries.flatten().filter(|entry| ours(&entry.file_name())) {
        let dir = entry.path();
        let Ok(lock) = File::open(dir.join(LOCK)) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => drop(std::fs::remove_dir_all(&dir)),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_another_uses_is_not() {
        let root = tempfile::tempdir().expect("a directory");
        let alive = Scratch::new_in(root.path()).expect("made");
        // Killed: the lock is gone, the directory is not.
        let Scratch { dir, _lock: lock } = Scratch::new_in(root.path()).expect("made");
        let left = dir.keep();
        std::fs::create_dir(left.join("peer-001")).expect("made");
        drop(lock);
        // Not ours: somebody else's, and one that is being made.
        let other = root.path().join("hedgerow-testnet-begun");
        std::fs::create_dir(&other).expect("made");
        let next = Scratch::new_in(root.path()).expect("made");
        assert!(!left.exists());
        for dir in [alive.path(), next.path(), &other] {
            assert!(dir.exists(), "{}", dir.display());
        }
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists(), "a run that ends well leaves nothing");
    }
}
