//! Where things lie: the data directory, the configuration file in it, the API's socket.

use etcetera::BaseStrategy;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest path a Unix socket can be bound to: `sun_path` holds 108 bytes with its NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why no path could be found.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// No home directory.
    #[error("no home directory to keep data in; give --data-dir DIR or set HEDGEROW_DATA_DIR")]
    NoHome,
    /// The runtime directory cannot be used.
    #[error("{}: {why}; give a shorter --data-dir so that its socket path has at most {SOCKET_PATH_BYTES_MAX} bytes", path.display())]
    Runtime {
        /// Which directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// The paths of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    data_dir: PathBuf,
    runtime_dir: PathBuf,
}

impl Paths {
    /// The paths for a data directory; by default `$XDG_DATA_HOME/hedgerow`.
    pub fn new(data_dir: Option<PathBuf>) -> Result<Self, PathError> {
        let base = etcetera::choose_base_strategy();
        let data_dir = match data_dir {
            Some(dir) => dir,
            None => base
                .as_ref()
                .map_err(|_| PathError::NoHome)?
                .data_dir()
                .join("hedgerow"),
        };
        let runtime_dir = base.ok().and_then(|base| base.runtime_dir()).map_or_else(
            || std::env::temp_dir().join(user_directory()),
            |dir| dir.join("hedgerow"),
        );
        Ok(Self {
            data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
            runtime_dir,
        })
    }

    /// The same with a runtime directory of the caller's choice.
    pub fn with_runtime_dir(self, runtime_dir: PathBuf) -> Self {
        Self {
            runtime_dir,
            ..self
        }
    }

    /// Where the peer keeps its identity, its store and its socket.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The configuration file read when none is named.
    pub fn config_file(&self) -> PathBuf {
        self.data_dir.join("config.toml")
    }

    /// Where the API listens: `api.sock` in the data directory, or, when that path is too long
    /// for a socket, a name derived from it in the runtime directory.
    pub fn socket(&self) -> PathBuf {
        let near = self.data_dir.join("api.sock");
        if near.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return near;
        }
        let directory = self.canonical_data_dir();
        let hash = blake3::hash(directory.as_os_str().as_bytes()).to_hex();
        self.runtime_dir.join(format!("{}.sock", &hash[..16]))
    }

    /// The data directory by the name that does not depend on how it is reached.
    fn canonical_data_dir(&self) -> PathBuf {
        self.data_dir
            .canonicalize()
            .unwrap_or_else(|_| self.data_dir.clone())
    }

    /// Where a running peer says which socket it listens on, if that lies elsewhere: the
    /// environment that decides the runtime directory may be another one for a client.
    fn socket_pointer(&self) -> PathBuf {
        self.data_dir.join("api.path")
    }

    /// Says where the socket lies, if it does not lie in the data directory: its path, and whose
    /// it is, for a copy of the directory is another peer's.
    pub fn write_socket_pointer(&self) -> io::Result<()> {
        let socket = self.socket();
        if socket.parent() == Some(self.data_dir.as_path()) {
            return self.remove_socket_pointer();
        }
        let directory = self.canonical_data_dir();
        let lines = [socket.as_os_str(), directory.as_os_str(), OsStr::new("")];
        std::fs::write(
            self.socket_pointer(),
            lines.map(OsStr::as_bytes).join(&b'\n'),
        )
    }

    /// Removes what [`Paths::write_socket_pointer`] wrote, or what came with a copy.
    pub fn remove_socket_pointer(&self) -> io::Result<()> {
        match std::fs::remove_file(self.socket_pointer()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The socket a client should try.
    pub fn socket_of_running_peer(&self) -> PathBuf {
        let text = std::fs::read(self.socket_pointer()).unwrap_or_default();
        let mut lines = text.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
        match (lines.next(), lines.next()) {
            (Some(socket), Some(directory)) if directory == self.canonical_data_dir() => {
                socket.into()
            }
            _ => self.socket(),
        }
    }

    /// Creates the directory of the socket if it is the runtime directory, for this user only.
    pub fn prepare_socket_dir(&self) -> Result<(), PathError> {
        let socket = self.socket();
        let Some(directory) = socket.parent().filter(|dir| *dir != self.data_dir) else {
            return Ok(());
        };
        let error = |why: String| PathError::Runtime {
            path: directory.to_owned(),
            why,
        };
        match std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
        {
            Ok(()) => {}
            Err(problem) => return Err(error(problem.to_string())),
        }
        // In a shared temporary directory someone else may have been first.
        let here = std::fs::symlink_metadata(directory).map_err(|e| error(e.to_string()))?;
        let own = std::fs::metadata(&self.data_dir).map_err(|e| error(e.to_string()))?;
        if !here.is_dir() || here.uid() != own.uid() {
            return Err(error("is not a directory of this user".to_owned()));
        }
        if here.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
                .map_err(|e: io::Error| error(e.to_string()))?;
        }
        Ok(())
    }
}

/// A directory name that differs between users of a shared temporary directory.
fn user_directory() -> String {
    let user = std::fs::metadata("/proc/self").map_or(0, |own| own.uid());
    format!("hedgerow-{user}")
}
