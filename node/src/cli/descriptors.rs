//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More descriptors than all limits of a peer together ask for.
const DESCRIPTORS_MAX: u64 = 65_536;

/// Raises this process's limit of open files to what it may have: the usual 1,024 are for programs
/// that use `select`.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS_MAX);
    if limit.current.is_none_or(|current| current >= most) {
        return;
    }
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::debug!(most, "raised the limit of open files"),
        Err(error) => tracing::debug!(%error, "the limit of open files stays"),
    }
}
