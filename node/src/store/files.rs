//! A directory that one process holds, and files that are replaced as a whole.

use crate::NodeError;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Locked while the directory is held; says by whom.
const LOCK: &str = "lock";
/// Begins a file that carries its checksum: this line of JSON with the BLAKE3 of what follows.
const CHECKSUM: (&str, &str) = ("{\"blake3\":\"", "\"}\n");
/// Written and removed to see whether that can be done.
const PROBE: &str = "probe";
/// Bytes of that: one block of most file systems, so that it does not fit into an inode.
const PROBE_BYTES: usize = 4096;
/// No stored file is larger; a larger one is damaged.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A directory held by this process until dropped.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens or creates (0700) a directory and locks it. Refuses one that others can write.
    pub(super) fn open(path: &Path) -> Result<Self, NodeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(NodeError::data_dir(path))?;
        let metadata = fs::metadata(path).map_err(NodeError::data_dir(path))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(NodeError::OpenToOthers {
                path: path.to_owned(),
                mode,
            });
        }
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

    /// Whether there is such a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// The content of a file that [`DataDir::write_checked`] wrote.
    pub(super) fn read_checked(&self, name: &str) -> Result<Option<Vec<u8>>, NodeError> {
        let Some(bytes) = self.read(name)? else {
            return Ok(None);
        };
        match checked(&bytes) {
            Ok(content) => Ok(Some(content.to_vec())),
            Err(why) => Err(self.damaged(name, why.to_owned())),
        }
    }

    /// Replaces a file like [`DataDir::write`], and lets it begin with its checksum.
    pub(super) fn write_checked(&self, name: &str, content: &[u8]) -> Result<(), NodeError> {
        let hash = blake3::hash(content).to_hex();
        let line = [
            CHECKSUM.0.as_bytes(),
            hash.as_bytes(),
            CHECKSUM.1.as_bytes(),
        ]
        .concat();
        self.write(name, &[&line, content].concat())
    }

    /// Writes a file as every change is written, and removes it.
    pub(super) fn probe(&self) -> Result<(), NodeError> {
        self.write(PROBE, &[0; PROBE_BYTES])?;
        let path = self.path.join(PROBE);
        fs::remove_file(&path).map_err(NodeError::data_dir(path))
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
        if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
            // What there is of it would only take up room.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        fs::rename(&temporary, path)?;
        File::open(&self.path)?.sync_all()
    }

    /// Where a file of this name lies.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The error for a file that does not hold what it should.
    pub(super) fn damaged(&self, name: &str, why: String) -> NodeError {
        NodeError::Damaged {
            path: self.path.join(name),
            why,
        }
    }
}

/// What stands behind the checksum, if that is the right one.
fn checked(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let rest = bytes.strip_prefix(CHECKSUM.0.as_bytes());
    let (hash, rest) = rest
        .and_then(|rest| rest.split_at_checked(2 * blake3::OUT_LEN))
        .ok_or("it does not begin with its checksum")?;
    let content = rest
        .strip_prefix(CHECKSUM.1.as_bytes())
        .ok_or("it does not begin with its checksum")?;
    if blake3::hash(content).to_hex().as_bytes() == hash {
        Ok(content)
    } else {
        Err("its checksum is not that of its content")
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
