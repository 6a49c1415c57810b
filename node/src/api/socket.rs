//! The API's socket: made under another name, then renamed, so that a stale one is replaced and
//! nobody ever finds it with the wrong permissions.

use crate::config::{PathError, Paths};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No usable place for it.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The system refuses.
    #[error("cannot listen on {}: {error}; check the directory's permissions and free space", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A bound socket; its file goes when it is dropped or told to.
#[derive(Debug)]
pub struct ApiSocket {
    paths: Paths,
    path: PathBuf,
    listener: Option<UnixListener>,
    removed: bool,
}

impl ApiSocket {
    /// Listens at the place these paths say, for this user only. The caller holds the data
    /// directory, so a socket that lies there already belongs to a process that has died.
    pub fn bind(paths: &Paths) -> Result<Self, SocketError> {
        paths.prepare_socket_dir()?;
        let path = paths.socket();
        let failed = |error| SocketError::Bind {
            path: path.clone(),
            error,
        };
        let listener = bind(&path).map_err(failed)?;
        paths.write_socket_pointer().map_err(failed)?;
        Ok(Self {
            paths: paths.clone(),
            path,
            listener: Some(listener),
            removed: false,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its address as the API and the CLI write it.
    pub fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// The listener, once.
    pub(super) fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// Removes the files: no new client finds it, those connected go on.
    pub fn remove(&mut self) {
        if !self.removed {
            self.removed = true;
            // Already gone is as good.
            let _ = std::fs::remove_file(&self.path);
            let _ = self.paths.remove_socket_pointer();
        }
    }
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // Shorter than the final name, so that it fits wherever that does.
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}
