//! Results of signature checks, computed once for equal jobs.

use hedgerow_protocol::VerifyJob;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Remembered checks; beyond, the memory starts anew.
const CHECKS_MAX: usize = 4_000_000;

/// What was checked, by content: looked up, never iterated. Threads share it.
#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<HashMap<[u8; 32], bool>>);

impl Checks {
    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a job's signature is good. The payload's hash is no part of a job's content hash,
    /// and is compared every time.
    pub(crate) fn verify(&self, job: &VerifyJob) -> bool {
        if let Some((payload, hash)) = &job.payload
            && blake3::hash(payload).as_bytes() != hash
        {
            return false;
        }
        let content = job.content_hash();
        if let Some(&valid) = self.known().get(&content) {
            return valid;
        }
        let valid = job.signer.verify(&job.digest, &job.signature);
        let mut known = self.known();
        if known.len() >= CHECKS_MAX {
            known.clear();
        }
        known.insert(content, valid);
        valid
    }
}
