//! Where the `hedgerow` program is.

use super::error::{ProcessError, Result};
use std::path::{Path, PathBuf};

/// Finds the program `name`: beside the running binary (for test binaries also one directory up,
/// where Cargo puts programs), then in `PATH`.
pub fn find_binary(name: &str) -> Result<PathBuf> {
    let running = std::env::current_exe().unwrap_or_default();
    let beside = running.parent().unwrap_or(Path::new("."));
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(name, beside, &path).ok_or_else(|| ProcessError::BinaryMissing {
        name: name.to_owned(),
        beside: beside.to_owned(),
    })
}

pub(super) fn find_in(name: &str, beside: &Path, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let mut places = vec![beside.to_owned()];
    if beside.ends_with("deps") || beside.ends_with("examples") {
        places.extend(beside.parent().map(Path::to_owned));
    }
    places.extend(std::env::split_paths(path));
    places
        .into_iter()
        .map(|place| place.join(&program))
        .find(|file| file.is_file())
}
