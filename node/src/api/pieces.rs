//! Writes a message's line in pieces, so that a large payload is never in memory as a whole in its
//! encoded form.

use super::types::{Encoding, MessageLine, SubscriptionLine};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hedgerow_protocol::Delivery;

/// Payloads up to this are written as one line at once: escaped, they are six times as long at
/// most.
pub(super) const WHOLE_BYTES: usize = 8 << 10;
/// So much of a larger payload makes a piece: a multiple of three, so that pieces of base64 join.
const PIECE_BYTES: usize = 24 << 10;

/// The fields that stand before the payload end so.
const PAYLOAD: &str = r#""payload":""#;

/// What is left to be written of a message's line.
#[derive(Debug)]
pub(super) struct Pieces {
    encoding: Encoding,
    /// What stands before the payload; empty once written.
    head: String,
    /// All of the payload, and how much of it is written.
    payload: Bytes,
    written: usize,
    /// What stands behind it, with the line feed.
    tail: String,
}

impl Pieces {
    /// The line of `delivery`, as [`SubscriptionLine::Message`] is written.
    pub(super) fn new(delivery: &Delivery) -> Self {
        let encoding = Encoding::of(&delivery.payload);
        let empty = MessageLine::new(delivery, encoding, String::new());
        let mut line = serde_json::to_string(&SubscriptionLine::Message(empty)).unwrap_or_default();
        line.push('\n');
        // In the names before it a quotation mark would be escaped.
        let at = line
            .find(PAYLOAD)
            .map_or(line.len(), |at| at + PAYLOAD.len());
        let tail = line.split_off(at);
        Self {
            encoding,
            head: line,
            payload: delivery.payload.clone(),
            written: 0,
            tail,
        }
    }

    /// Where its payload lies in memory, and how long that is.
    pub(super) fn memory(&self) -> (usize, usize) {
        (self.payload.as_ptr().addr(), self.payload.len())
    }

    /// Appends the next piece; whether that was the last.
    pub(super) fn write_next(&mut self, buffer: &mut Vec<u8>) -> bool {
        buffer.extend_from_slice(std::mem::take(&mut self.head).as_bytes());
        let piece = self.next_piece();
        let length = piece.len();
        match self.encoding {
            Encoding::Base64 => {
                buffer.extend_from_slice(BASE64_STANDARD.encode(piece).as_bytes());
            }
            Encoding::Utf8 => write_escaped(buffer, piece),
        }
        self.written += length;
        if self.written < self.payload.len() {
            return false;
        }
        buffer.extend_from_slice(self.tail.as_bytes());
        true
    }

    fn next_piece(&self) -> &[u8] {
        let rest = &self.payload[self.written..];
        let mut length = rest.len().min(PIECE_BYTES);
        if self.encoding == Encoding::Utf8 {
            // A character is not cut: the next piece begins with no continuation byte.
            while length < rest.len() && rest[length] & 0xc0 == 0x80 {
                length -= 1;
            }
        }
        &rest[..length]
    }
}

/// Appends a part of a JSON string.
fn write_escaped(buffer: &mut Vec<u8>, piece: &[u8]) {
    let text = String::from_utf8_lossy(piece);
    // A string is always written.
    let quoted = serde_json::to_string(&text).unwrap_or_default();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    buffer.extend_from_slice(inner.unwrap_or_default().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedgerow_protocol::{Arrival, GroupName, Headers, Keypair, MessageId};

    fn delivery(group: &str, payload: Vec<u8>) -> Delivery {
        Delivery {
            group: GroupName::new(group).expect("valid"),
            id: MessageId {
                origin: Keypair::from_secret([1; 32]).peer(),
                epoch: 7,
                seq: 3,
            },
            published_at: 1_700_000_000_000,
            payload: payload.into(),
            headers: {
                let mut headers = Headers::default();
                headers.insert("payload", "\"").expect("a header");
                headers
            },
            hops: 2,
            arrival: Arrival::Pushed,
        }
    }

    #[test]
    fn pieces_make_the_line_and_are_small() {
        let text = "ü🌳\"\\\n\u{1}x".repeat(20_000);
        let cut = |bytes: usize| text.as_bytes()[..bytes].to_vec();
        let payloads = [
            Vec::new(),
            b"text".to_vec(),
            text.clone().into_bytes(),
            // Cut in the middle of a character: no text.
            cut(100_001 + 12 * 3),
            vec![0; PIECE_BYTES],
            vec![0xff; PIECE_BYTES],
            vec![0xff; PIECE_BYTES + 1],
            (0..200_003_u32).map(|n| (n ^ (n >> 8)) as u8).collect(),
        ];
        for payload in payloads {
            for group in ["news", r#"a"payload":"b"#] {
                let delivery = delivery(group, payload.clone());
                let line = SubscriptionLine::Message(MessageLine::from(&delivery));
                let mut expected = serde_json::to_vec(&line).expect("writes");
                expected.push(b'\n');
                let mut pieces = Pieces::new(&delivery);
                let mut whole = Vec::new();
                loop {
                    let before = whole.len();
                    let last = pieces.write_next(&mut whole);
                    assert!(whole.len() - before <= 6 * PIECE_BYTES + 512);
                    if last {
                        break;
                    }
                }
                assert!(whole == expected, "{} bytes in {group}", payload.len());
            }
        }
    }
}
