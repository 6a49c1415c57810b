//! Decoders on arbitrary bytes.

use bytes::Bytes;
use hedgerow_protocol::wire::{Bundle, Frame, FrameDecoder, SignedRecord};

const FRAME_BYTES_MAX: usize = 64 << 10;

/// Cuts `data` into chunks as its first bytes say, decodes what comes out, and encodes it again.
pub fn frame(data: &[u8]) {
    let Some((cuts, stream)) = data.split_first_chunk::<4>() else {
        return;
    };
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
    let mut rest = Bytes::copy_from_slice(stream);
    let mut sizes = cuts.iter().map(|&size| usize::from(size) * 7 + 1).cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).min(rest.len());
        decoder.push(rest.split_to(size));
        loop {
            match decoder.next_frame() {
                Ok(Some(raw)) => {
                    if let Ok(Some(frame)) = Frame::decode(raw) {
                        round_trip(&frame);
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(
            decoder.partial_bytes() <= FRAME_BYTES_MAX + 2_048,
            "a partial frame is bounded"
        );
    }
}

/// What a frame encodes to decodes to a frame that encodes to the same: values may be NaN, which
/// is no reason to compare anything but bytes.
fn round_trip(frame: &Frame) {
    let [head, payload] = frame.encode();
    let mut decoder = FrameDecoder::new(usize::MAX >> 1);
    decoder.push([&head[..], &payload[..]].concat().into());
    let raw = decoder
        .next_frame()
        .expect("own frames decode")
        .expect("and are whole");
    let again = Frame::decode(raw)
        .expect("own frames decode")
        .expect("and are known");
    assert_eq!(again.name(), frame.name());
    assert_eq!(
        again.encode(),
        [head, payload],
        "{} survives a round trip",
        frame.name()
    );
    if let Frame::Bundle(bundle, payload) = again
        && let Ok(bundle) = Bundle::decode(bundle.signed, bundle.signature, payload)
    {
        bundle_holds(&bundle);
    }
}

fn bundle_holds(bundle: &Bundle) {
    let total: usize = bundle.messages().map(|message| message.len()).sum();
    assert_eq!(total, bundle.payload.len(), "messages are the payload");
    assert!(bundle.header.last_seq() >= bundle.header.seq);
    assert!(bundle.header.published_at(0) >= bundle.header.published_at);
}

/// Decodes `data` as the signed part of a record, and as that of a bundle.
pub fn record(data: &[u8]) {
    let signed = Bytes::copy_from_slice(data);
    if let Ok(record) = SignedRecord::decode(signed.clone(), [7; 64]) {
        assert!(!record.verify_job().run(), "nobody guesses a signature");
        let again = SignedRecord::decode(record.signed.clone(), record.signature);
        assert_eq!(again.expect("decodes again").hash, record.hash);
        for group in &record.record.groups {
            assert!(
                record.record.group(&group.name).is_some(),
                "what is stated is found"
            );
        }
        for link in &record.record.links {
            assert_eq!(record.record.rtt_us(link.peer), Some(link.rtt_us));
        }
    }
    let (header, payload) = data.split_at(data.len() * 3 / 4);
    if let Ok(bundle) = Bundle::decode(
        Bytes::copy_from_slice(header),
        [7; 64],
        Bytes::copy_from_slice(payload),
    ) {
        bundle_holds(&bundle);
        assert!(
            !bundle.verify_job(bundle.header.origin.into()).run(),
            "nobody guesses a signature"
        );
    }
}
