//! Escapes text from other peers on a terminal.
//!
//! Payloads, names and addresses come from other peers. Escape sequences in them could clear the
//! screen, set its title or, in some terminals, type commands. Direction overrides and invisible
//! characters can make one line look like another. Pipes and files get the bytes as they are.

use hedgerow_protocol::is_invisible;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether `c` is written as it is. Line feeds and tabs only move the cursor forward.
fn is_plain(c: char) -> bool {
    matches!(c, '\n' | '\t') || !is_invisible(c)
}

/// `text` with control and invisible characters written as `\x1b` or `\u{202e}`.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    push_text(&mut shown, text);
    Cow::Owned(shown)
}

/// The same for bytes that may not be UTF-8: invalid bytes are written as `\xff`.
pub(super) fn bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(utf8) = std::str::from_utf8(bytes) {
        return text(utf8);
    }
    let mut shown = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        push_text(&mut shown, chunk.valid());
        for byte in chunk.invalid() {
            push_byte(&mut shown, *byte);
        }
    }
    Cow::Owned(shown)
}

/// The same for JSON, whose value does not change: such characters occur only in strings, where they
/// are written as `\u202e`.
pub(super) fn json(json: &[u8]) -> Cow<'_, [u8]> {
    let Ok(utf8) = std::str::from_utf8(json) else {
        // Not JSON.
        return Cow::Owned(bytes(json).into_owned().into_bytes());
    };
    if utf8.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(utf8.len() + 16);
    for c in utf8.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(shown.into_bytes())
}

fn push_text(shown: &mut String, text: &str) {
    for c in text.chars() {
        match u8::try_from(c) {
            _ if is_plain(c) => shown.push(c),
            Ok(byte) => push_byte(shown, byte),
            Err(_) => {
                let _ = write!(shown, "\\u{{{:x}}}", c as u32);
            }
        }
    }
}

fn push_byte(shown: &mut String, byte: u8) {
    let _ = write!(shown, "\\x{byte:02x}");
}

/// Writes a log to a terminal: passes the log's own colours through and escapes everything else.
pub(super) struct LogWriter<W>(pub(super) W);

impl<W: Write> Write for LogWriter<W> {
    /// Takes all of `buffer`, which holds whole lines.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut rest = buffer;
        while let Some(at) = rest.iter().position(|byte| *byte == 0x1b) {
            let (before, from) = rest.split_at(at);
            self.0.write_all(bytes(before).as_bytes())?;
            let length = colour(from).unwrap_or(1);
            let (sequence, after) = from.split_at(length);
            if length > 1 {
                self.0.write_all(sequence)?;
            } else {
                self.0.write_all(b"\\x1b")?;
            }
            rest = after;
        }
        self.0.write_all(bytes(rest).as_bytes())?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The length of the sequence that sets a colour or a weight (ECMA-48, SGR) at the start.
fn colour(bytes: &[u8]) -> Option<usize> {
    let parameters = bytes.strip_prefix(b"\x1b[")?;
    let length = parameters
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b';')?;
    (parameters[length] == b'm').then_some(length + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_shown() {
        assert_eq!(text("plain, ü 🌳\n\ttext"), "plain, ü 🌳\n\ttext");
        assert_eq!(
            text("\x1b]0;OWNED\x07\x1b[2J"),
            "\\x1b]0;OWNED\\x07\\x1b[2J"
        );
        assert_eq!(text("a\rb\0\x7f"), "a\\x0db\\x00\\x7f");
        assert_eq!(text("\u{9b}2J"), "\\x9b2J");
        assert_eq!(
            text("txt.\u{202e}exe\u{2066}\u{200f}\u{2028}"),
            "txt.\\u{202e}exe\\u{2066}\\u{200f}\\u{2028}"
        );
        assert_eq!(text("\u{e0041}"), "\\u{e0041}");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        // In an 8-bit terminal the single byte 0x9b begins a sequence.
        assert_eq!(bytes(b"a\x9b2J\xffz\x1b"), "a\\x9b2J\\xffz\\x1b");
        assert_eq!(bytes("ü".as_bytes()), "ü");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"p": "\u{9b}2J\u{7f}\u{202e}\u{e0041}\u{1b} ü"});
        let line = serde_json::to_vec(&value).expect("writes");
        let shown = json(&line);
        assert!(shown.is_ascii() || std::str::from_utf8(&shown).is_ok());
        let shown_text = std::str::from_utf8(&shown).expect("text");
        assert!(!shown_text.chars().any(is_invisible), "{shown_text}");
        assert!(shown_text.contains("\\u009b2J\\u007f\\u202e\\udb40\\udc41"));
        let read: serde_json::Value = serde_json::from_slice(&shown).expect("JSON");
        assert_eq!(read, value);
    }

    #[test]
    fn a_log_keeps_its_own_colours_only() {
        let mut written = Vec::new();
        let line = b"\x1b[2m12:00\x1b[0m \x1b[1;33mWARN\x1b[0m \x1b[2J\x1b]0;x\x07\xe2\x80\xae\n";
        LogWriter(&mut written).write_all(line).expect("writes");
        let expected =
            "\x1b[2m12:00\x1b[0m \x1b[1;33mWARN\x1b[0m \\x1b[2J\\x1b]0;x\\x07\\u{202e}\n";
        assert_eq!(std::str::from_utf8(&written), Ok(expected));
    }
}
