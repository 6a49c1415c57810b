//! Messages on their way in and out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hedgerow_protocol::{Arrival, Delivery, GroupName, GroupSettings, Headers, MessageId, PeerKey};
use serde::{Deserialize, Serialize};

/// One message, as `join --jsonl` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLine {
    /// The group.
    pub group: GroupName,
    /// Who published it.
    pub origin: PeerKey,
    /// In which of its lives.
    pub epoch: u64,
    /// Its number there.
    pub seq: u64,
    /// When, ms since the Unix epoch, by the origin's clock.
    pub published_at: u64,
    /// How `payload` is written.
    pub encoding: Encoding,
    /// The content.
    pub payload: String,
    /// What its publisher says about it: text by key. Stands behind the payload, where long payloads are
    /// written in pieces.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Links it crossed.
    pub hops: u16,
    /// How it came.
    pub arrival: Arrival,
}

/// How a payload is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is: it is UTF-8.
    Utf8,
    /// RFC 4648, with padding: it is not.
    Base64,
}

impl Encoding {
    /// How this payload is written.
    pub fn of(payload: &[u8]) -> Self {
        match std::str::from_utf8(payload) {
            Ok(_) => Self::Utf8,
            Err(_) => Self::Base64,
        }
    }
}

impl From<&Delivery> for MessageLine {
    fn from(delivery: &Delivery) -> Self {
        let (encoding, payload) = match std::str::from_utf8(&delivery.payload) {
            Ok(text) => (Encoding::Utf8, text.to_owned()),
            Err(_) => (Encoding::Base64, BASE64_STANDARD.encode(&delivery.payload)),
        };
        Self::new(delivery, encoding, payload)
    }
}

impl MessageLine {
    /// The line of `delivery` with its payload written like this.
    pub fn new(delivery: &Delivery, encoding: Encoding, payload: String) -> Self {
        Self {
            group: delivery.group.clone(),
            origin: delivery.id.origin,
            epoch: delivery.id.epoch,
            seq: delivery.id.seq,
            published_at: delivery.published_at,
            encoding,
            payload,
            headers: delivery.headers.clone(),
            hops: delivery.hops,
            arrival: delivery.arrival,
        }
    }

    /// The content's bytes.
    pub fn bytes(&self) -> Result<std::borrow::Cow<'_, [u8]>, base64::DecodeError> {
        match self.encoding {
            Encoding::Utf8 => Ok(self.payload.as_bytes().into()),
            Encoding::Base64 => Ok(BASE64_STANDARD.decode(&self.payload)?.into()),
        }
    }
}

/// One line of a subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SubscriptionLine {
    /// Messages published from now on are due here.
    Joined {
        /// The group.
        group: GroupName,
    },
    /// A message.
    Message(MessageLine),
    /// Messages that can no longer be had.
    Gap {
        /// The group.
        group: GroupName,
        /// Whose.
        origin: PeerKey,
        /// Which life.
        epoch: u64,
        /// The first lost seq.
        from: u64,
        /// The last lost seq.
        to: u64,
    },
    /// The client read too slowly and was overtaken.
    Lagged {
        /// The group.
        group: GroupName,
        /// Messages it will not get.
        messages: u64,
    },
    /// The group's settings changed.
    Settings {
        /// The group.
        group: GroupName,
        /// What holds now.
        settings: GroupSettings,
        /// Whether explicit settings of this peer lost to another's.
        lost: bool,
    },
    /// The stream ends: the group was left, or the peer stops.
    End {
        /// The group.
        group: GroupName,
        /// `left` or `stopped`.
        reason: String,
    },
}

/// Query of `POST /v1/groups/GROUP/messages`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishQuery {
    /// How the body is cut into messages.
    pub split: Split,
    /// Whether to answer only when every live member has everything.
    pub wait: bool,
    /// Headers of each message: a JSON object with a text by key.
    #[serde(with = "json_text", skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

/// A value as JSON in a text, for queries have no other way to nest.
mod json_text {
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(value).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(serde::de::Error::custom)
    }
}

/// How bytes are cut into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// One message.
    #[default]
    None,
    /// A message per line; the line feed is no part of it.
    Lines,
}

/// Answer of `POST /v1/groups/GROUP/messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The group.
    pub group: GroupName,
    /// Messages accepted.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// The first one's name.
    pub first: Option<MessageId>,
    /// The last one's name.
    pub last: Option<MessageId>,
    /// Other members of the group that the peer knows, in the view or linked, once all is accepted.
    pub others: usize,
    /// If there are none: the group with the most similar name that has members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similar: Option<GroupName>,
    /// Who has them, when that was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
}

/// Who has everything that was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Members that were counted: those at publication of any of the messages, in the view or
    /// linked. Zero: nobody is known to have anything.
    pub members: usize,
    /// Of those, members that have everything.
    pub holders: Vec<PeerKey>,
    /// Members at publication that left or vanished without all of it, or were not heard of in
    /// time.
    pub missing: Vec<PeerKey>,
    /// Whether waiting ended by time (`groups.acknowledge_ms`).
    pub timed_out: bool,
}
