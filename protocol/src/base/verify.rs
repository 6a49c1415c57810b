//! Signature checks as jobs, so that a driver can run them on any thread.

use crate::base::identity::Signer;
use bytes::Bytes;

/// One signature to check, and optionally a payload against the hash that was signed.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    /// Who must have signed.
    pub signer: Signer,
    /// What must be signed: see [`Domain::digest`].
    pub digest: [u8; 32],
    /// The signature.
    pub signature: [u8; 64],
    /// Content that the signed bytes state the BLAKE3 hash of.
    pub payload: Option<(Bytes, [u8; 32])>,
}

/// What a signature is about: a signature of one kind is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A peer's record.
    Record,
    /// A bundle's header.
    Bundle,
    /// A member's acknowledgement.
    Acknowledgement,
}

impl Domain {
    fn context(self) -> &'static str {
        match self {
            Self::Record => "hedgerow record v1",
            Self::Bundle => "hedgerow bundle v1",
            Self::Acknowledgement => "hedgerow acknowledgement v1",
        }
    }

    /// What is signed for `bytes`: their BLAKE3 hash in this domain, so that signing costs the
    /// same for long and short headers.
    pub fn digest(self, bytes: &[u8]) -> [u8; 32] {
        blake3::derive_key(self.context(), bytes)
    }
}

impl VerifyJob {
    /// Whether the payload has the stated hash and the signature is the signer's.
    pub fn run(&self) -> bool {
        if let Some((payload, hash)) = &self.payload
            && blake3::hash(payload).as_bytes() != hash
        {
            return false;
        }
        self.signer.verify(&self.digest, &self.signature)
    }

    /// Equal for equal jobs: what a simulator may remember results by.
    ///
    /// Covers everything but the payload bytes, whose hash the signed bytes contain; a
    /// simulator that corrupts payloads must check them itself.
    pub fn content_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.signer.peer().0);
        hasher.update(&self.signature);
        hasher.update(&self.digest);
        *hasher.finalize().as_bytes()
    }
}
