//! Frames on a byte stream: length, kind, header, payload.
//!
//! ```text
//! u32 length of the rest | u8 kind | u32 length of the header | header (CBOR) | payload (raw)
//! ```
//! Numbers are big-endian. Reader and writer share one limit, on the whole frame.

use super::WireError;
use bytes::{Buf, Bytes, BytesMut};

/// Bytes before a frame's header.
pub const FRAME_HEAD_BYTES: usize = 9;
/// Frames below this are copied out of the chunk they came in, so that a small retained
/// message does not keep a large chunk alive.
const COPY_BELOW_BYTES: usize = 4 << 10;

/// One frame, not yet understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Its kind.
    pub kind: u8,
    /// Its CBOR header.
    pub header: Bytes,
    /// Its payload.
    pub payload: Bytes,
}

/// The head and header of a frame whose payload of `payload_bytes` follows separately.
pub fn encode_head(kind: u8, header: &[u8], payload_bytes: usize) -> Bytes {
    let rest = 5 + header.len() + payload_bytes;
    let mut bytes = Vec::with_capacity(FRAME_HEAD_BYTES + header.len());
    bytes.extend_from_slice(&(rest as u32).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
    bytes.extend_from_slice(header);
    bytes.into()
}

/// Cuts a byte stream into frames, whatever way it was cut before.
#[derive(Debug)]
pub struct FrameDecoder {
    /// What came and is not yet a whole frame. At most one frame and one chunk.
    pending: BytesMut,
    /// The rest of the last chunk, while it holds whole frames.
    chunk: Bytes,
    frame_bytes_max: usize,
}

impl FrameDecoder {
    /// A decoder that takes frames of up to `frame_bytes_max` bytes, head included.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            chunk: Bytes::new(),
            frame_bytes_max,
        }
    }

    /// Takes in the next bytes; call [`Self::next_frame`] until `None` before the next.
    pub fn push(&mut self, bytes: Bytes) {
        if self.pending.is_empty() && self.chunk.is_empty() {
            self.chunk = bytes;
            return;
        }
        if !self.chunk.is_empty() {
            let rest = std::mem::take(&mut self.chunk);
            self.pending.extend_from_slice(&rest);
        }
        self.pending.extend_from_slice(&bytes);
    }

    /// Bytes of a frame that is not whole yet.
    pub fn partial_bytes(&self) -> usize {
        self.pending.len() + self.chunk.len()
    }

    /// The next whole frame. After an error the stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame>, WireError> {
        let available: &[u8] = if self.chunk.is_empty() {
            &self.pending
        } else {
            &self.chunk
        };
        let Some(length) = available.first_chunk::<4>() else {
            return Ok(None);
        };
        let total = u32::from_be_bytes(*length) as usize + 4;
        if total > self.frame_bytes_max {
            return Err(WireError::TooLong {
                bytes: total,
                max: self.frame_bytes_max,
            });
        }
        if total < FRAME_HEAD_BYTES {
            return Err(WireError::TooShort { bytes: total });
        }
        if available.len() < total {
            return Ok(None);
        }
        let mut frame = self.take(total);
        frame.advance(4);
        let kind = frame.get_u8();
        let header_bytes = frame.get_u32() as usize;
        if header_bytes > frame.len() {
            return Err(WireError::TooShort { bytes: total });
        }
        let header = frame.split_to(header_bytes);
        Ok(Some(RawFrame {
            kind,
            header,
            payload: frame,
        }))
    }

    fn take(&mut self, total: usize) -> Bytes {
        if self.chunk.is_empty() {
            let frame = self.pending.split_to(total);
            if self.pending.is_empty() {
                self.pending = BytesMut::new();
            }
            if total < COPY_BELOW_BYTES {
                Bytes::copy_from_slice(&frame)
            } else {
                frame.freeze()
            }
        } else {
            let frame = self.chunk.split_to(total);
            if total < COPY_BELOW_BYTES {
                Bytes::copy_from_slice(&frame)
            } else {
                frame
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(kind: u8, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = encode_head(kind, header, payload.len()).to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            frames in prop::collection::vec(
                (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40), 0_usize..9_000), 0..8),
            cuts in prop::collection::vec(1_usize..6_000, 1..20),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (kind, header, payload_bytes) in frames {
                let payload = vec![kind; payload_bytes];
                stream.extend(whole(kind, &header, &payload));
                expected.push(RawFrame { kind, header: header.into(), payload: payload.into() });
            }
            let mut decoder = FrameDecoder::new(10_000);
            let mut got = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                decoder.push(Bytes::copy_from_slice(now));
                while let Some(frame) = decoder.next_frame().expect("well formed") {
                    got.push(frame);
                }
                rest = later;
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(decoder.partial_bytes(), 0);
        }
    }

    #[test]
    fn a_frame_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        let frame = whole(1, b"h", &[0; 90]);
        let mut decoder = FrameDecoder::new(frame.len());
        decoder.push(frame.clone().into());
        assert!(decoder.next_frame().expect("at the limit").is_some());
        let mut decoder = FrameDecoder::new(frame.len() - 1);
        decoder.push(frame.into());
        assert!(matches!(
            decoder.next_frame(),
            Err(WireError::TooLong { .. })
        ));
    }

    #[test]
    fn a_header_longer_than_its_frame_is_refused() {
        let mut frame = whole(1, b"abc", b"");
        frame[8] = 200;
        let mut decoder = FrameDecoder::new(1_000);
        decoder.push(frame.into());
        assert!(matches!(
            decoder.next_frame(),
            Err(WireError::TooShort { .. })
        ));
    }
}
