//! A directory that one process holds, and files that are replaced as a whole.

use crate::NodeError;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Locked while the directory is held; says by whom.
const LOCK: &str = "lock";
/// No stored file is larger; a larger one is damaged.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A directory held by this process until dropped.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens or creates (0700) a directory and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, NodeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(NodeError::data_dir(path))?;
        let lock = lock(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// A file's content; `None` when there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, NodeError> {
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NodeError::data_dir(path)(error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(NodeError::data_dir(&path))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(self.damaged(name, format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Like [`DataDir::read`], for a file that only its owner may read (0600).
    pub(super) fn read_secret(&self, name: &str) -> Result<Option<Vec<u8>>, NodeError> {
        let path = self.path.join(name);
        if let Ok(metadata) = fs::metadata(&path)
            && metadata.permissions().mode() & 0o077 != 0
        {
            tracing::warn!(file = %path.display(), "others could read this key; making it private");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                .map_err(NodeError::data_dir(&path))?;
        }
        self.read(name)
    }

    /// Replaces a file (0600) by `bytes`, durably: after a crash it is the old or the new one.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), NodeError> {
        let path = self.path.join(name);
        self.replace(name, &path, bytes)
            .map_err(NodeError::data_dir(path))
    }

    fn replace(&self, name: &str, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!(".{name}.new"));
        // What an earlier crash left may have other permissions.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(&self.path)?.sync_all()
    }

    /// The error for a file that does not hold what it should.
    pub(super) fn damaged(&self, name: &str, why: String) -> NodeError {
        NodeError::Damaged {
            path: self.path.join(name),
            why,
        }
    }
}

/// Locks `directory` against other processes, as long as the file lives.
fn lock(directory: &Path) -> Result<File, NodeError> {
    let path = directory.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(NodeError::data_dir(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Whoever holds it may not have written its number yet.
            let _ = file.take(32).read_to_string(&mut text);
            return Err(NodeError::Locked {
                path: directory.to_owned(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(NodeError::data_dir(&path)(error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
    written.map_err(NodeError::data_dir(&path))?;
    Ok(file)
}
