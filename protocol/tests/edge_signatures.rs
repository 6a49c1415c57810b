//! Known edge signatures, one test each: those that ed25519 implementations disagree about. It
//! must not matter whether a signature is checked alone, with the key decoded before, or among
//! others, and what is accepted is what `verify_strict` accepts.

use bytes::Bytes;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{BundleFrame, Hello};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame, WIRE_VERSION};
use hedgerow_protocol::{
    Action, Config, Domain, Engine, GroupId, GroupName, Input, Keypair, LinkId, Micros, PeerKey,
    Signer, Time, VerifyJob,
};

const LINK: LinkId = LinkId(1);
/// The order of the base point, little-endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// What is to be said of a signature. Only what is valid is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    /// The equation holds, but the key or R is of small order.
    Weak,
    /// The equation does not hold, or R or the scalar is not written the canonical way.
    Invalid,
}

fn reference(key: &[u8; 32], message: &[u8; 32], signature: &[u8; 64]) -> Verdict {
    let Ok(key) = VerifyingKey::from_bytes(key) else {
        return Verdict::Invalid;
    };
    let signature = Signature::from_bytes(signature);
    if key.verify_strict(message, &signature).is_ok() {
        Verdict::Valid
    } else if key.verify(message, &signature).is_ok() {
        Verdict::Weak
    } else {
        Verdict::Invalid
    }
}

/// The verdict on a signature, after all our ways to check it have agreed with it.
fn verdict(key: [u8; 32], message: [u8; 32], signature: [u8; 64]) -> Verdict {
    let verdict = reference(&key, &message, &signature);
    let accepted = verdict == Verdict::Valid;
    let others = [21, 22, 23].map(|secret| {
        let keypair = Keypair::from_secret([secret; 32]);
        (Signer::from(keypair.peer()), keypair.sign(&message))
    });
    let peer = PeerKey(key);
    for signer in [Signer::from(peer), decoded(peer)] {
        assert_eq!(signer.verify(&message, &signature), accepted, "alone");
        for place in 0..=others.len() {
            let mut checks = others.to_vec();
            checks.insert(place, (signer.clone(), signature));
            for (at, (signer, signature)) in checks.iter().enumerate() {
                let valid = signer.verify(&message, signature);
                assert_eq!(valid, accepted || at != place, "{at}, the edge at {place}");
            }
        }
    }
    verdict
}

/// The peer as an engine names it in the checks of its bundles: with the key decoded.
fn decoded(peer: PeerKey) -> Signer {
    let now = Time {
        mono: Micros(1_000_000),
        wall_ms: 1_700_000_000_000,
    };
    let network = Config::default().network;
    let mut engine = Engine::new(
        Keypair::from_secret([1; 32]),
        Config::default(),
        [1; 32],
        now,
    );
    let linked = Input::Linked {
        link: LINK,
        peer: Keypair::from_secret([2; 32]).peer(),
        dial: None,
        address: None,
    };
    engine.handle_input(now, linked);
    let group = GroupName::new("edge").expect("valid");
    let header = BundleHeader {
        group: GroupId::new(&network, &group),
        origin: peer,
        epoch: 1,
        seq: 1,
        flags: 0,
        published_at: now.wall_ms,
        lengths: vec![1],
        delays: Vec::new(),
        fragment: None,
        previous: [0; 32],
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    // Who has signed it is what the engine wants to know: anybody will do.
    let payload = Bytes::from_static(b"x");
    let bundle = Bundle::sign(header, payload, &Keypair::from_secret([3; 32]));
    let hello = Hello {
        wire: WIRE_VERSION,
        network,
        epoch: 1,
        capabilities: 0,
        wants: 1,
        record: None,
        needs: Vec::new(),
    };
    let frame = BundleFrame {
        hops: 1,
        pulled: true,
        signed: bundle.signed,
        signature: bundle.signature,
    };
    for frame in [Frame::Hello(hello), Frame::Bundle(frame, bundle.payload)] {
        for bytes in frame.encode() {
            engine.handle_input(now, Input::Bytes { link: LINK, bytes });
        }
    }
    let signer = std::iter::from_fn(|| engine.poll_action()).find_map(|action| match action {
        Action::Verify { job, .. } => Some(job.signer),
        _ => None,
    });
    let signer = signer.expect("a check is asked for");
    assert_eq!(signer.peer(), peer);
    signer
}

fn hex<const BYTES: usize>(digits: &str) -> [u8; BYTES] {
    assert_eq!(digits.len(), 2 * BYTES);
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..][..2], 16).expect("digits"))
}

/// A test for each: name, verdict; message, key, R, scalar.
macro_rules! vectors {
    ($($name:ident: $verdict:ident, $message:literal, $key:literal, $r:literal, $s:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let signature = hex(concat!($r, $s));
                let found = verdict(hex($key), hex($message), signature);
                assert_eq!(found, Verdict::$verdict);
            }
        )*
    };
}

// The vectors of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, SSR 2020), from
// `cases.txt` of https://github.com/novifinancial/ed25519-speccheck; its numbers. The verdicts are
// those of its table for Dalek (what is not invalid) and for Dalek strict (what is valid). Mixed
// order: a point of small order added to one of prime order.
vectors! {
    speccheck_0_key_and_r_of_small_order: Weak,
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "0000000000000000000000000000000000000000000000000000000000000000";
    speccheck_1_key_of_small_order_r_of_mixed: Weak,
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04";
    speccheck_2_key_of_mixed_order_r_of_small: Weak,
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e";
    // The torsion of R and of the key's multiple cancel out.
    speccheck_3_key_and_r_of_mixed_order: Valid,
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f",
        "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009";
    speccheck_4_key_and_r_of_mixed_order_equal_only_times_eight: Invalid,
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512",
        "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09";
    speccheck_5_key_of_mixed_order_r_of_prime_equal_only_times_eight: Invalid,
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7",
        "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405";
    speccheck_6_scalar_above_the_order: Invalid,
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e",
        "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514";
    speccheck_7_scalar_far_above_the_order: Invalid,
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942",
        "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22";
    // 8 to 11: the point of order 2, its x zero with the sign set. It may be hashed as written or
    // the canonical way; each way makes one of two signatures fulfil the equation.
    speccheck_8_r_of_order_two_as_negative_zero_hashed_the_canonical_way: Invalid,
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f";
    speccheck_9_r_of_order_two_as_negative_zero_hashed_as_written: Invalid,
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908";
    speccheck_10_key_of_order_two_as_negative_zero_hashed_the_canonical_way: Invalid,
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc",
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04";
    speccheck_11_key_of_order_two_as_negative_zero_hashed_as_written: Weak,
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc",
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04";
}

// The same with the neutral element, the other point whose x is zero. The public key that stands in
// all of them is that of the secret of 32 sevens.
vectors! {
    // R is the public key of the scalar, so that the equation holds whatever is signed.
    key_of_order_one_as_negative_zero: Weak,
        "0101010101010101010101010101010101010101010101010101010101010101",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
        "ade1807345ca227a245f01b2d72081541a2d055c48a8288a4e7e4c4bca392808";
    // The scalar is the secret one times the hash, as if the signer's nonce had been zero.
    r_of_order_one: Weak,
        "0101010101010101010101010101010101010101010101010101010101010101",
        "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "50a79da6b5e699403ecf09ad01afddaeba7564d393e80c9c7c9da4e0b903390b";
    r_of_order_one_as_negative_zero_hashed_the_canonical_way: Invalid,
        "0101010101010101010101010101010101010101010101010101010101010101",
        "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "50a79da6b5e699403ecf09ad01afddaeba7564d393e80c9c7c9da4e0b903390b";
    r_of_order_one_as_negative_zero_hashed_as_written: Invalid,
        "0101010101010101010101010101010101010101010101010101010101010101",
        "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "f9e9bb61f0691952d71531b5687389ebfd19e33cc33e2dc7862d3eac73ebe807";
}

/// The verdict on a signature like any other with its scalar changed.
fn with_scalar(change: impl FnOnce(&mut [u8])) -> Verdict {
    let keypair = Keypair::from_secret([7; 32]);
    let digest = Domain::Bundle.digest(b"a header");
    let mut signature = keypair.sign(&digest);
    change(&mut signature[32..]);
    let verdict = verdict(keypair.peer().0, digest, signature);
    let job = VerifyJob {
        signer: keypair.peer().into(),
        digest,
        signature,
        payload: None,
    };
    assert_eq!(job.run(), verdict == Verdict::Valid);
    verdict
}

#[test]
fn scalar_as_it_was_signed() {
    assert_eq!(with_scalar(|_| {}), Verdict::Valid);
}

#[test]
fn scalar_with_the_order_added() {
    let found = with_scalar(|scalar| {
        let mut carry = 0;
        for (byte, add) in scalar.iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0, "it still fits");
    });
    assert_eq!(found, Verdict::Invalid);
}

// The order is below 2^253, so some implementations have looked at these three bits alone, and
// some at fewer.

#[test]
fn scalar_with_bit_253_set() {
    assert_eq!(with_scalar(|scalar| scalar[31] |= 0x20), Verdict::Invalid);
}

#[test]
fn scalar_with_bit_254_set() {
    assert_eq!(with_scalar(|scalar| scalar[31] |= 0x40), Verdict::Invalid);
}

#[test]
fn scalar_with_bit_255_set() {
    assert_eq!(with_scalar(|scalar| scalar[31] |= 0x80), Verdict::Invalid);
}
