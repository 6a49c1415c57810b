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
///
/// A frame that came in one piece is part of that piece; any other is put together in memory of
/// exactly its own size, for it may be kept for long.
#[derive(Debug)]
pub struct FrameDecoder {
    /// The beginning of a frame; what follows it in `chunk` comes after.
    pending: BytesMut,
    /// What came last and has not been looked at.
    chunk: Bytes,
    /// How long that was as it came: a frame cut out of it keeps all of it in memory.
    chunk_bytes: usize,
    frame_bytes_max: usize,
}

impl FrameDecoder {
    /// A decoder that takes frames of up to `frame_bytes_max` bytes, head included.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            chunk: Bytes::new(),
            chunk_bytes: 0,
            frame_bytes_max,
        }
    }

    /// Takes in the next bytes; call [`Self::next_frame`] until `None` before the next.
    pub fn push(&mut self, bytes: Bytes) {
        if !self.chunk.is_empty() {
            let begun = std::mem::take(&mut self.chunk);
            if self.pending.is_empty() {
                self.pending.reserve(self.announced(&begun));
            }
            self.pending.extend_from_slice(&begun);
        }
        self.chunk_bytes = bytes.len();
        self.chunk = bytes;
    }

    /// Bytes of a frame that is not whole yet.
    pub fn partial_bytes(&self) -> usize {
        self.pending.len() + self.chunk.len()
    }

    /// How long the frame is that begins so, as far as it says, and no longer than it may be.
    fn announced(&self, begun: &[u8]) -> usize {
        let total = begun.first_chunk::<4>().map_or(0, |length| whole(*length));
        total.clamp(begun.len(), self.frame_bytes_max.max(begun.len()))
    }

    /// The next whole frame. After an error the stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame>, WireError> {
        let Some(mut frame) = self.next_whole()? else {
            return Ok(None);
        };
        let total = frame.len();
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

    fn next_whole(&mut self) -> Result<Option<Bytes>, WireError> {
        if self.pending.is_empty() {
            let Some(total) = self.length_of(&self.chunk)? else {
                return Ok(None);
            };
            if self.chunk.len() < total {
                return Ok(None);
            }
            return Ok(Some(own(self.chunk.split_to(total), self.chunk_bytes)));
        }
        if self.pending.len() < 4 {
            self.fill_to(4);
        }
        let Some(total) = self.length_of(&self.pending)? else {
            return Ok(None);
        };
        let missing = total.saturating_sub(self.pending.len());
        self.pending.reserve(missing);
        self.fill_to(total);
        if self.pending.len() < total {
            return Ok(None);
        }
        if self.pending.len() == total {
            return Ok(Some(std::mem::take(&mut self.pending).freeze()));
        }
        Ok(Some(self.pending.split_to(total).freeze()))
    }

    /// Moves bytes over until `length` of the frame are there or no more have come.
    fn fill_to(&mut self, length: usize) {
        let missing = length.saturating_sub(self.pending.len());
        let more = missing.min(self.chunk.len());
        self.pending.extend_from_slice(&self.chunk.split_to(more));
    }

    /// The length of the frame that begins so, if that much has come.
    fn length_of(&self, begun: &[u8]) -> Result<Option<usize>, WireError> {
        let Some(length) = begun.first_chunk::<4>() else {
            return Ok(None);
        };
        let total = whole(*length);
        if total > self.frame_bytes_max {
            return Err(WireError::TooLong {
                bytes: total,
                max: self.frame_bytes_max,
            });
        }
        if total < FRAME_HEAD_BYTES {
            return Err(WireError::TooShort { bytes: total });
        }
        Ok(Some(total))
    }
}

/// A whole frame's length, of which the first field counts the rest.
fn whole(length: [u8; 4]) -> usize {
    u32::from_be_bytes(length) as usize + 4
}

/// Small frames, and those that are the smaller part of their chunk, get memory of their own: a
/// frame that is kept keeps at most twice its length.
fn own(frame: Bytes, chunk_bytes: usize) -> Bytes {
    if frame.len() < COPY_BELOW_BYTES || frame.len() < chunk_bytes / 2 {
        Bytes::copy_from_slice(&frame)
    } else {
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(kind: u8, header: &[u8], payload: &[u8]) -> Vec<u8> {
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
                stream.extend(encoded(kind, &header, &payload));
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
        let frame = encoded(1, b"h", &[0; 90]);
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
        let mut frame = encoded(1, b"abc", b"");
        frame[8] = 200;
        let mut decoder = FrameDecoder::new(1_000);
        decoder.push(frame.into());
        assert!(matches!(
            decoder.next_frame(),
            Err(WireError::TooShort { .. })
        ));
    }

    #[test]
    fn a_frame_that_came_in_pieces_keeps_no_more_than_itself_alive() {
        let frame = encoded(1, b"header", &vec![7; 65_536]);
        let stream = Bytes::from(frame.repeat(20));
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut frames = 0;
        for at in (0..stream.len()).step_by(40_000) {
            decoder.push(stream.slice(at..stream.len().min(at + 40_000)));
            while let Some(RawFrame {
                payload, header, ..
            }) = decoder.next_frame().expect("well formed")
            {
                frames += 1;
                drop(header);
                let memory = payload.try_into_mut().expect("nobody else keeps it");
                assert!(memory.capacity() <= frame.len(), "{}", memory.capacity());
            }
        }
        assert_eq!(frames, 20);
    }

    #[test]
    fn what_a_frame_announces_is_bounded() {
        let mut decoder = FrameDecoder::new(1_000);
        decoder.push(Bytes::copy_from_slice(&u32::MAX.to_be_bytes()[..3]));
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.push(Bytes::from_static(&[0xff; 10]));
        assert!(matches!(
            decoder.next_frame(),
            Err(WireError::TooLong { .. })
        ));
        // Nobody should go on; who does is given no memory for it.
        decoder.push(Bytes::from_static(&[0xff; 10]));
        assert!(decoder.pending.capacity() <= 1_000);
    }
}
