//! Fields of later versions.
//!
//! Signed bytes and the header of a frame are a CBOR sequence (RFC 8742): an array whose length no
//! version changes, and behind it, if a version has more to say, one map from field number to value. A
//! field that a build does not know is skipped and counted. So a field goes into the map if a peer that
//! skips it still does the right thing; what must be understood stands in
//! [`Hello::needs`](super::frame::Hello::needs) or in a group's
//! [`later`](super::record::WireSettings::later) settings, and nowhere else.

use super::{WireError, decode_item, to_cbor_with_capacity, trailing};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The map behind an array.
pub(crate) trait Extension: Serialize + DeserializeOwned + Default {
    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool;
}

/// Defines the map behind one kind of array: a number and a type for each field that this build knows.
macro_rules! extension {
    (
        $(#[doc = $doc:literal])*
        $vis:vis $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $(#[cfg($($cfg:tt)*)])?
                $number:literal $field:ident: $type:ty,
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $(
                $(#[doc = $field_doc])*
                $(#[cfg($($cfg)*)])?
                $vis $field: Option<$type>,
            )*
            /// How many fields were skipped because this build does not know them.
            $vis unknown: u32,
        }

        impl $name {
            /// Whether there is nothing to write.
            $vis fn is_empty(&self) -> bool {
                $(
                    $(#[cfg($($cfg)*)])?
                    if self.$field.is_some() {
                        return false;
                    }
                )*
                true
            }

            /// How many fields an engine skips that knows, or does not know, what only builds with
            /// `wire-next` have.
            #[allow(unused_variables, reason = "most builds have no such field")]
            pub(crate) fn unknown_to(&self, knows_next: bool) -> u32 {
                #[allow(unused_mut, reason = "most builds have no such field")]
                let mut unknown = self.unknown;
                $($(
                    #[cfg($($cfg)*)]
                    if !knows_next && self.$field.is_some() {
                        unknown += 1;
                    }
                )?)*
                unknown
            }
        }

        impl $crate::wire::ext::Extension for $name {
            fn is_empty(&self) -> bool {
                Self::is_empty(self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                #[allow(unused_mut, reason = "there may be no fields")]
                let mut fields = 0;
                $(
                    $(#[cfg($($cfg)*)])?
                    {
                        fields += usize::from(self.$field.is_some());
                    }
                )*
                #[allow(unused_mut, reason = "there may be no fields")]
                let mut map = serializer.serialize_map(Some(fields))?;
                $(
                    $(#[cfg($($cfg)*)])?
                    if let Some(value) = &self.$field {
                        map.serialize_entry::<u64, _>(&$number, value)?;
                    }
                )*
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a map from field number to value")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        let mut found = $name::default();
                        let mut before = None;
                        while let Some(number) = map.next_key::<u64>()? {
                            if before.is_some_and(|before| before >= number) {
                                return Err(serde::de::Error::custom("field numbers do not ascend"));
                            }
                            before = Some(number);
                            $(
                                $(#[cfg($($cfg)*)])?
                                if number == $number {
                                    found.$field = Some(map.next_value()?);
                                    continue;
                                }
                            )*
                            map.next_value::<serde::de::IgnoredAny>()?;
                            found.unknown = found.unknown.saturating_add(1);
                        }
                        Ok(found)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}
pub(crate) use extension;

/// An array and the map behind it, which is left out where it is empty.
pub(crate) fn to_cbor<T: Serialize, E: Extension>(value: &T, ext: &E, capacity: usize) -> Vec<u8> {
    let mut bytes = to_cbor_with_capacity(value, capacity);
    if !ext.is_empty() {
        // Writing to a Vec cannot fail, and our types serialize without error.
        ciborium::into_writer(ext, &mut bytes).expect("our own types encode");
    }
    bytes
}

/// The opposite, using all of `bytes`.
pub(crate) fn from_cbor<T: DeserializeOwned, E: Extension>(
    what: &'static str,
    mut bytes: &[u8],
) -> Result<(T, E), WireError> {
    let value = decode_item(what, &mut bytes)?;
    if bytes.is_empty() {
        return Ok((value, E::default()));
    }
    let ext = decode_item(what, &mut bytes)?;
    trailing(what, bytes)?;
    Ok((value, ext))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extension! {
        /// What one version knows.
        Old {
            /// A number.
            3 number: u64,
        }
    }

    extension! {
        /// What a later one knows.
        New {
            /// A text.
            1 text: String,
            /// A number.
            3 number: u64,
            /// Pairs.
            40 pairs: Vec<(u8, String)>,
        }
    }

    #[test]
    fn nothing_more_to_say_takes_no_byte() {
        let plain = super::super::to_cbor(&(1_u8, 2_u8));
        assert_eq!(to_cbor(&(1_u8, 2_u8), &New::default(), 8), plain);
        let (value, ext): ((u8, u8), New) = from_cbor("pair", &plain).expect("well formed");
        assert_eq!((value, ext), ((1, 2), New::default()));
    }

    proptest! {
        #[test]
        fn an_older_build_reads_what_it_knows_and_counts_the_rest(
            text in prop::option::of("[a-z]{0,20}"),
            number in prop::option::of(any::<u64>()),
            pairs in prop::option::of(prop::collection::vec((any::<u8>(), "[a-z]{0,4}"), 0..5)),
        ) {
            let unknown = u32::from(text.is_some()) + u32::from(pairs.is_some());
            let new = New { text, number, pairs, unknown: 0 };
            let bytes = to_cbor(&(7_u8, "x"), &new, 8);
            let (value, old): ((u8, String), Old) = from_cbor("pair", &bytes).expect("well formed");
            prop_assert_eq!(value, (7, "x".to_owned()));
            prop_assert_eq!(old.unknown_to(false), unknown);
            prop_assert_eq!(old, Old { number, unknown });
            let (_, again): ((u8, String), New) = from_cbor("pair", &bytes).expect("well formed");
            prop_assert_eq!(again.unknown_to(false), 0);
            prop_assert_eq!(again, new);
        }
    }

    #[test]
    fn what_no_version_writes_is_malformed() {
        let array = super::super::to_cbor(&(1_u8, 2_u8));
        // A text as a field's number, a field twice, a map cut short, more behind the map, a second
        // array, and an array of another length.
        let behind: [&[u8]; 5] = [
            &[0xa1, 0x61, b'x', 1],
            &[0xa2, 3, 1, 3, 1],
            &[0xa2, 3, 1],
            &[0xa1, 3, 1, 0],
            &[0x82, 1, 2],
        ];
        for map in behind {
            let bytes = [&array[..], map].concat();
            let decoded = from_cbor::<(u8, u8), Old>("pair", &bytes);
            assert!(decoded.is_err(), "{map:?}: {decoded:?}");
        }
        let longer = super::super::to_cbor(&(1_u8, 2_u8, 3_u8));
        assert!(from_cbor::<(u8, u8), Old>("pair", &longer).is_err());
    }
}
