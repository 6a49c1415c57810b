//! Names: networks, groups, addresses. Checked once where they enter, trusted afterwards.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest group or network name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 192;
/// The reserved group that every peer is in.
pub const BROADCAST: &str = "broadcast";

/// Why a text cannot be a name or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name needs at least one byte")]
    Empty,
    /// Over the limit.
    #[error("{bytes} bytes are too many, the limit is {max}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// A control character, which would break terminals and line-based output.
    #[error("control character U+{0:04X} at byte {1}: names are printable text")]
    Control(u32, usize),
    /// A character that shows nothing, or changes how its neighbours are shown.
    #[error("invisible character U+{0:04X} at byte {1}: names must look like what they are")]
    Invisible(u32, usize),
}

/// Whether `c` shows nothing by itself, or changes how the text around it is shown: control
/// characters, marks and overrides of direction, line and paragraph separators, the other format
/// characters that show nothing, and fillers (letters that show nothing). The two joiners are not
/// among them: emoji and several scripts need them.
///
/// Two texts that differ in such characters can look the same (Unicode Technical Report 36).
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{115f}'..='\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

/// The zero-width joiner and non-joiner. Beside a character of ASCII they show nothing.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn check(text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong {
            bytes: text.len(),
            max,
        });
    }
    let mut before = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let after = characters.peek().map(|(_, c)| *c);
        let joins_nothing = |beside: Option<char>| beside.is_none_or(|c| c.is_ascii());
        if c.is_control() {
            return Err(NameError::Control(c as u32, at));
        }
        if is_invisible(c) || is_joiner(c) && (joins_nothing(before) || joins_nothing(after)) {
            return Err(NameError::Invisible(c as u32, at));
        }
        before = Some(c);
    }
    Ok(())
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, $max)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_name!(
    /// A group's name: 1 to 128 bytes of UTF-8 without control or invisible characters.
    GroupName,
    NAME_BYTES_MAX
);
text_name!(
    /// A network's name; peers of different networks do not link.
    NetworkName,
    NAME_BYTES_MAX
);
text_name!(
    /// Where a peer can be dialled: a multiaddr in production, opaque here.
    Address,
    ADDRESS_BYTES_MAX
);

impl GroupName {
    /// The group that every peer is in.
    pub fn broadcast() -> Self {
        Self(BROADCAST.into())
    }

    /// Whether this is the reserved group of every peer.
    pub fn is_broadcast(&self) -> bool {
        self.as_str() == BROADCAST
    }
}

impl NetworkName {
    /// The hash by which records name it.
    pub fn hash(&self) -> [u8; 16] {
        let hash = blake3::derive_key("hedgerow network v1", self.as_str().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash[..16]);
        short
    }
}

impl Default for NetworkName {
    fn default() -> Self {
        Self("hedgerow".into())
    }
}

/// A group within a network, as it stands in frames: 16 bytes of a hash of both names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GroupId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl GroupId {
    /// The id of `group` in `network`.
    pub fn new(network: &NetworkName, group: &GroupName) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow group id v1");
        hasher.update(&(network.as_str().len() as u64).to_be_bytes());
        hasher.update(network.as_str().as_bytes());
        hasher.update(group.as_str().as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(id)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GroupId({:08x})",
            u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_printable_text() {
        assert!(GroupName::new("news").is_ok());
        assert!(GroupName::new("hêdge 🌳").is_ok());
        assert_eq!(GroupName::new(""), Err(NameError::Empty));
        assert_eq!(GroupName::new("a\nb"), Err(NameError::Control(10, 1)));
        assert!(GroupName::new(&"x".repeat(128)).is_ok());
        assert_eq!(
            GroupName::new(&"x".repeat(129)),
            Err(NameError::TooLong {
                bytes: 129,
                max: 128
            })
        );
    }

    #[test]
    fn names_look_like_what_they_are() {
        for c in [
            '\u{202e}',
            '\u{202a}',
            '\u{2066}',
            '\u{2069}',
            '\u{200e}',
            '\u{200b}',
            '\u{2028}',
            '\u{2029}',
            '\u{feff}',
            '\u{ad}',
            '\u{61c}',
            '\u{e0041}',
            '\u{3164}',
            '\u{200d}',
        ] {
            let name = format!("ne{c}ws");
            let error = NameError::Invisible(c as u32, 2);
            assert_eq!(GroupName::new(&name), Err(error.clone()), "{name:?}");
            assert_eq!(NetworkName::new(&name).err(), Some(error.clone()));
            assert_eq!(Address::new(&name).err(), Some(error));
        }
        // The escape sequence of a terminal, in its 7-bit and its 8-bit form.
        assert_eq!(GroupName::new("\u{9b}2J"), Err(NameError::Control(0x9b, 0)));
        assert_eq!(
            GroupName::new("\u{1b}[2J"),
            Err(NameError::Control(0x1b, 0))
        );
        // Names that arrive are held to the same rule.
        for (name, right) in [
            ("news", true),
            ("ne\u{202e}ws", false),
            ("ne\u{1b}ws", false),
        ] {
            let mut bytes = Vec::new();
            ciborium::into_writer(name, &mut bytes).expect("writes");
            let read: Result<GroupName, _> = ciborium::from_reader(bytes.as_slice());
            assert_eq!(read.is_ok(), right, "{name:?}");
        }
        // Joiners where they mean something: a family, a Persian word.
        for name in ["👩\u{200d}👩\u{200d}👧", "می\u{200c}خواهم", "❤\u{fe0f}"] {
            assert!(GroupName::new(name).is_ok(), "{name:?}");
        }
        assert!(GroupName::new("👩\u{200d}").is_err());
    }

    #[test]
    fn group_ids_differ_between_networks_and_do_not_run_together() {
        let net = |text| NetworkName::new(text).expect("valid");
        let group = |text| GroupName::new(text).expect("valid");
        assert_ne!(
            GroupId::new(&net("a"), &group("b")),
            GroupId::new(&net("c"), &group("b"))
        );
        assert_ne!(
            GroupId::new(&net("ab"), &group("c")),
            GroupId::new(&net("a"), &group("bc"))
        );
    }
}
