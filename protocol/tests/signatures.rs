//! Signatures on the edge of what ed25519 implementations accept: all peers must agree on each, or
//! one would pass on what the next takes for forged. So there is one way of checking, the strict
//! one, for lone checks and for many. Known vectors: `edge_signatures.rs`.

use bytes::Bytes;
use hedgerow_protocol::{Domain, Keypair, PeerKey, VerifyJob};

/// The neutral element, a point of order 1.
const NEUTRAL: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};
/// The point of order 2: y = -1.
const ORDER_TWO: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xec;
    bytes[31] = 0x7f;
    bytes
};

fn job(signer: PeerKey, signature: [u8; 64]) -> VerifyJob {
    VerifyJob {
        signer: signer.into(),
        digest: Domain::Bundle.digest(b"a header"),
        signature,
        payload: None,
    }
}

fn signed() -> (PeerKey, [u8; 64]) {
    let keypair = Keypair::from_secret([7; 32]);
    let digest = Domain::Bundle.digest(b"a header");
    (keypair.peer(), keypair.sign(&digest))
}

fn joined(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    signature
}

#[test]
fn what_was_signed_is_accepted() {
    let (signer, signature) = signed();
    assert!(job(signer, signature).run());
}

#[test]
fn keys_of_small_order_sign_nothing() {
    // R neutral and S zero satisfy the equation for a neutral key, whatever the message.
    for key in [NEUTRAL, ORDER_TWO] {
        for r in [NEUTRAL, ORDER_TWO] {
            assert!(!job(PeerKey(key), joined(r, [0; 32])).run());
        }
    }
}

#[test]
fn points_of_small_order_in_a_signature_are_refused() {
    let (signer, signature) = signed();
    let scalar = signature[32..].try_into().expect("32 bytes");
    for r in [NEUTRAL, ORDER_TWO] {
        assert!(!job(signer, joined(r, scalar)).run());
        assert!(!job(signer, joined(r, [0; 32])).run());
    }
}

#[test]
fn a_point_that_is_not_reduced_is_refused() {
    // y = p + 1 is the neutral element, written in the other way.
    let mut neutral = [0xff; 32];
    neutral[0] = 0xee;
    neutral[31] = 0x7f;
    let (signer, _) = signed();
    assert!(!job(signer, joined(neutral, [0; 32])).run());
    assert!(!job(PeerKey(neutral), joined(neutral, [0; 32])).run());
}

#[test]
fn bytes_that_are_no_point_are_refused() {
    let (signer, signature) = signed();
    let scalar = signature[32..].try_into().expect("32 bytes");
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert!(!job(signer, joined(no_point, scalar)).run());
    assert!(!job(PeerKey(no_point), signature).run());
}

#[test]
fn a_payload_that_was_not_signed_for_is_refused() {
    let (signer, signature) = signed();
    let payload = Bytes::from_static(b"payload");
    let hash = *blake3::hash(&payload).as_bytes();
    let with = |payload: Bytes| VerifyJob {
        payload: Some((payload, hash)),
        ..job(signer, signature)
    };
    assert!(with(payload).run());
    assert!(!with(Bytes::from_static(b"another")).run());
}
