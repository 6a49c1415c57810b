//! What a message says about itself beside its content: small texts by key, signed with it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Headers one message may have.
pub const HEADERS_MAX: usize = 64;
/// Bytes that the keys and values of one message's headers may have together.
pub const HEADERS_BYTES_MAX: usize = 8 << 10;
/// The longest key of a header, bytes.
pub const HEADER_KEY_BYTES_MAX: usize = 64;

/// The headers of a message: at most [`HEADERS_MAX`], with [`HEADERS_BYTES_MAX`] of keys and values
/// together. A key has lower-case letters, digits and `-`; a value is any text.
///
/// They travel with the message, signed by its publisher, and are no part of its content.
///
/// ```
/// use hedgerow_protocol::Headers;
///
/// let mut headers = Headers::default();
/// headers.insert("content-type", "text/plain")?;
/// assert_eq!(headers.get("content-type"), Some("text/plain"));
/// assert!(headers.insert("Content-Type", "text/plain").is_err());
/// # Ok::<(), hedgerow_protocol::HeaderError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Headers {
    values: BTreeMap<String, String>,
    /// Of keys and values together.
    bytes: usize,
}

/// Why a header is none; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a key.
    #[error(
        "header key {key:?}: a key has 1 to {HEADER_KEY_BYTES_MAX} lower-case letters, digits and `-`"
    )]
    Key {
        /// What was given.
        key: String,
    },
    /// Too many.
    #[error("more than {HEADERS_MAX} headers in one message")]
    TooMany,
    /// Too long.
    #[error("headers of {bytes} bytes, the limit of one message is {HEADERS_BYTES_MAX}")]
    TooLong {
        /// Keys and values together.
        bytes: usize,
    },
    /// Bytes that are no headers.
    #[error("no headers: {why}")]
    Unreadable {
        /// The decoder's word.
        why: String,
    },
}

impl Headers {
    /// Sets a header; one with this key is replaced.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), HeaderError> {
        let is_key = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=HEADER_KEY_BYTES_MAX).contains(&key.len()) || !key.bytes().all(is_key) {
            return Err(HeaderError::Key {
                key: key.to_owned(),
            });
        }
        let replaced = (self.values.get(key)).map_or(0, |value| key.len() + value.len());
        let bytes = self.bytes - replaced + key.len() + value.len();
        if bytes > HEADERS_BYTES_MAX {
            return Err(HeaderError::TooLong { bytes });
        }
        if replaced == 0 && self.values.len() >= HEADERS_MAX {
            return Err(HeaderError::TooMany);
        }
        self.values.insert(key.to_owned(), value.to_owned());
        self.bytes = bytes;
        Ok(())
    }

    /// The value of a header.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Keys and values, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (self.values.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Bytes of keys and values together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// As they stand before a message; nothing where there are none.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail, and texts serialize without error.
        ciborium::into_writer(&self.values, &mut bytes).expect("texts encode");
        bytes
    }

    /// The opposite, using all of `bytes`.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let decoded = ciborium::from_reader(&mut bytes);
        let headers = decoded.map_err(|error| HeaderError::Unreadable {
            why: error.to_string(),
        })?;
        if bytes.is_empty() {
            return Ok(headers);
        }
        let why = format!("{} bytes follow them", bytes.len());
        Err(HeaderError::Unreadable { why })
    }
}

/// A map from key to value.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Headers;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map from header key to text")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Headers, A::Error> {
                let mut headers = Headers::default();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    (headers.insert(&key, &value)).map_err(serde::de::Error::custom)?;
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bundle::MESSAGE_HEADERS_BYTES_MAX;
    use proptest::prelude::*;

    #[test]
    fn limits_hold_for_number_and_bytes() {
        let mut headers = Headers::default();
        for number in 0..HEADERS_MAX {
            headers
                .insert(&format!("k{number}"), "v")
                .expect("within the limits");
        }
        assert_eq!(headers.insert("more", "v"), Err(HeaderError::TooMany));
        headers.insert("k0", "another").expect("replaces");
        assert_eq!(
            (headers.len(), headers.get("k0")),
            (HEADERS_MAX, Some("another"))
        );
        let mut headers = Headers::default();
        headers
            .insert("a", &"x".repeat(HEADERS_BYTES_MAX - 1))
            .expect("at the limit");
        let bytes = HEADERS_BYTES_MAX + 2;
        assert_eq!(
            headers.insert("b", "x"),
            Err(HeaderError::TooLong { bytes })
        );
        headers.insert("a", "x").expect("shorter");
        headers.insert("b", "x").expect("there is room again");
    }

    #[test]
    fn a_key_is_lower_case_and_short() {
        let mut headers = Headers::default();
        for key in ["", "A", "a b", "a_b", "ä", &"k".repeat(65)] {
            assert!(
                matches!(headers.insert(key, "v"), Err(HeaderError::Key { .. })),
                "{key:?}"
            );
        }
        headers.insert(&"k".repeat(64), "").expect("a key");
    }

    #[test]
    fn the_fullest_headers_fit_the_wire() {
        let mut headers = Headers::default();
        for number in 0..HEADERS_MAX {
            headers
                .insert(&format!("{number:060}"), &"x".repeat(68))
                .expect("within the limits");
        }
        assert_eq!(headers.bytes, HEADERS_BYTES_MAX);
        assert!(headers.encode().len() <= MESSAGE_HEADERS_BYTES_MAX as usize);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            values in prop::collection::btree_map("[a-z0-9-]{1,64}", ".{0,20}", 0..10),
        ) {
            let mut headers = Headers::default();
            for (key, value) in &values {
                headers.insert(key, value).expect("within the limits");
            }
            prop_assert_eq!(Headers::decode(&headers.encode()), Ok(headers));
        }

        #[test]
        fn whatever_comes_is_within_the_limits_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            if let Ok(headers) = Headers::decode(&bytes) {
                prop_assert!(headers.len() <= HEADERS_MAX && headers.bytes <= HEADERS_BYTES_MAX);
            }
        }
    }
}
