//! Values as people write them: `"30s"`, `"5MB"`, `0.1`.

use hedgerow_protocol::Micros;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A length of time, written with its unit: `"150ms"`, `"1m 30s"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Micros);

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Micros::from_millis(seconds * 1_000))
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Micros::from_millis(millis))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_micros(self.0.0)).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is no time such as \"30s\" or \"150ms\": {error}"
            ))
        })?;
        let micros = u64::try_from(duration.as_micros())
            .ok()
            .filter(|micros| *micros <= TIME_MAX.0)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is more than a year")))?;
        Ok(Self(Micros(micros)))
    }
}

/// Longest time taken from a file: a year.
const TIME_MAX: Micros = Micros::from_millis(366 * 86_400_000);

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

/// A number of bytes, written as such or with a unit: `100`, `"64KiB"`, `"5MB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected bytes: a whole number, or text such as \"64KiB\""
        )]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text
                .parse::<bytesize::ByteSize>()
                .map(|size| Self(size.as_u64()))
                .map_err(|_| {
                    D::Error::custom(format!("{text:?} is no size such as \"64KiB\" or \"5MB\""))
                }),
        }
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "format": "bytes" })
    }
}

/// A share of something, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Share(pub f64);

impl Share {
    /// In parts per million.
    pub fn ppm(self) -> u32 {
        (self.0 * 1e6).round() as u32
    }

    /// That share of `count`, rounded.
    pub fn of(self, count: usize) -> usize {
        (self.0 * count as f64).round() as usize
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(D::Error::custom(format!("{share} is no share: 0 to 1")))
        }
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct One<T> {
        v: T,
    }

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        toml::from_str::<One<T>>(&format!("v = {text}"))
            .map(|one| one.v)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn times_have_units() {
        assert_eq!(read::<Span>("\"1m 30s\""), Ok(Span::seconds(90)));
        assert_eq!(read::<Span>("\"150ms\""), Ok(Span::millis(150)));
        assert!(read::<Span>("\"30\"").is_err(), "no unit");
        assert!(read::<Span>("30").is_err(), "no text");
        assert!(read::<Span>("\"9999999y\"").is_err(), "too long");
        assert_eq!(Span::millis(1_500).to_string(), "1s 500ms");
    }

    #[test]
    fn sizes_are_numbers_or_have_units() {
        assert_eq!(read::<Size>("100"), Ok(Size(100)));
        assert_eq!(read::<Size>("\"64KiB\""), Ok(Size(65_536)));
        assert_eq!(read::<Size>("\"5MB\""), Ok(Size(5_000_000)));
        assert!(read::<Size>("-1").is_err());
        assert!(read::<Size>("\"much\"").is_err());
    }

    #[test]
    fn shares_are_between_0_and_1() {
        assert_eq!(read::<Share>("0.25").map(Share::ppm), Ok(250_000));
        assert!(read::<Share>("1.5").is_err());
        assert_eq!(Share(0.1).of(25), 3);
    }
}
