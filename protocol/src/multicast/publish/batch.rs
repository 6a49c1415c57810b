//! Messages that wait to share a bundle, and how long they do.
//!
//! One signature, one frame and one check at every hop serve all messages of a bundle. So what is
//! published while the last bundle is still being written shares the next one; a lone message finds
//! nothing being written, and goes at once.

use super::own_log::Unreleased;
use crate::base::interface::LinkId;
use crate::base::time::Micros;
use bytes::{Bytes, BytesMut};

/// Messages that share a bundle, at most: their lengths stay a small part of a frame.
pub(super) const BATCH_MESSAGES_MAX: usize = 1_024;
/// What waits for the last bundle to be written waits no longer than this, ms.
const WAIT_MS: u64 = 20;

/// The messages that wait.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Bytes>,
    bytes: usize,
    /// When the first was published, ms since the Unix epoch.
    published_at: u64,
    /// How much later each was; empty while none was.
    delays: Vec<u32>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether a message of `bytes` may share a bundle with what waits.
    pub(super) fn fits(&self, bytes: usize, bytes_max: usize) -> bool {
        self.messages.len() < BATCH_MESSAGES_MAX && self.bytes + bytes <= bytes_max
    }

    pub(super) fn push(&mut self, message: Bytes, wall_ms: u64) {
        if self.messages.is_empty() {
            self.published_at = wall_ms;
        }
        // A clock that is set back has published nothing earlier.
        let delay = wall_ms.saturating_sub(self.published_at);
        let delay = u32::try_from(delay).unwrap_or(u32::MAX);
        if delay > 0 || !self.delays.is_empty() {
            self.delays.resize(self.messages.len(), 0);
            self.delays.push(delay);
        }
        self.bytes += message.len();
        self.messages.push(message);
    }

    /// What waits as the content of a bundle; nothing waits after that.
    pub(super) fn take(&mut self) -> Option<Unreleased> {
        let Self {
            mut messages,
            bytes,
            published_at,
            delays,
        } = std::mem::take(self);
        let lengths = messages.iter().map(|message| message.len() as u32);
        let lengths = lengths.collect();
        let payload = match messages.len() {
            0 => return None,
            1 => messages.pop()?,
            _ => {
                let mut payload = BytesMut::with_capacity(bytes);
                for message in messages {
                    payload.extend_from_slice(&message);
                }
                payload.freeze()
            }
        };
        Some(Unreleased {
            payload,
            lengths,
            header_lengths: Vec::new(),
            published_at,
            delays,
            flags: 0,
            fragment: None,
        })
    }
}

/// The links that carry the last bundle, as far as they are still writing.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    links: Vec<LinkId>,
    /// How many they were.
    all: usize,
    /// What comes after it waits no longer than until then.
    until: Micros,
    /// Whether the transport was asked to tell when it has written.
    asked: bool,
}

impl Carriers {
    /// Another bundle is about to be released.
    pub(super) fn clear(&mut self) {
        self.links.clear();
        self.all = 0;
        self.asked = false;
    }

    /// It was handed to this link.
    pub(super) fn add(&mut self, link: LinkId, now: Micros) {
        self.links.push(link);
        self.all += 1;
        self.until = now + Micros::from_millis(WAIT_MS);
    }

    pub(super) fn carries(&self, link: LinkId) -> bool {
        self.links.contains(&link)
    }

    /// Whether half of the links or more are still writing, as `is_writing` knows them.
    pub(super) fn are_writing(&mut self, now: Micros, is_writing: impl Fn(LinkId) -> bool) -> bool {
        if now >= self.until {
            self.links.clear();
        }
        self.links.retain(|link| is_writing(*link));
        !self.links.is_empty() && self.links.len() * 2 >= self.all
    }

    pub(super) fn until(&self) -> Micros {
        self.until
    }

    /// The links that are to tell when they have written; each is asked once for a bundle.
    pub(super) fn ask(&mut self) -> &[LinkId] {
        if std::mem::replace(&mut self.asked, true) {
            &[]
        } else {
            &self.links
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Micros {
        Micros::from_millis(ms)
    }

    fn text(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_lone_message_is_not_copied() {
        let mut batch = Batch::default();
        let message = Bytes::from(vec![7; 100]);
        batch.push(message.clone(), 1);
        let taken = batch.take().expect("one");
        assert_eq!(taken.payload.as_ptr(), message.as_ptr());
        assert!(batch.is_empty() && batch.take().is_none());
    }

    #[test]
    fn messages_keep_their_order_and_times() {
        let mut batch = Batch::default();
        for (message, wall_ms) in [("a", 100), ("", 100), ("bcd", 103), ("e", 99)] {
            batch.push(text(message), wall_ms);
        }
        let taken = batch.take().expect("four");
        assert_eq!(taken.payload, text("abcde"));
        assert_eq!(taken.lengths, [1, 0, 3, 1]);
        assert_eq!((taken.published_at, taken.delays), (100, vec![0, 0, 3, 0]));
        batch.push(text("f"), 200);
        let taken = batch.take().expect("one");
        assert_eq!((taken.published_at, taken.delays), (200, Vec::new()));
    }

    #[test]
    fn a_bundle_has_a_limit_of_bytes_and_of_messages() {
        let mut batch = Batch::default();
        assert!(batch.fits(10, 10) && !batch.fits(11, 10));
        batch.push(text("12345678"), 0);
        assert!(batch.fits(2, 10) && !batch.fits(3, 10));
        let mut batch = Batch::default();
        (0..BATCH_MESSAGES_MAX).for_each(|_| batch.push(Bytes::new(), 0));
        assert!(!batch.fits(0, 10));
    }

    #[test]
    fn half_of_the_links_decide_and_time_does() {
        let mut carriers = Carriers::default();
        assert!(!carriers.are_writing(at(0), |_| true), "nothing is carried");
        (1..=4).for_each(|link| carriers.add(LinkId(link), at(5)));
        assert!(carriers.are_writing(at(6), |_| true));
        assert!(
            carriers.are_writing(at(6), |link| link.0 > 2),
            "two of four"
        );
        assert!(
            !carriers.are_writing(at(6), |link| link.0 > 3),
            "one of four"
        );
        assert!(!carriers.are_writing(at(6), |_| true), "written is written");
        (1..=4).for_each(|link| carriers.add(LinkId(link), at(5)));
        assert!(carriers.are_writing(at(24), |_| true));
        assert!(!carriers.are_writing(at(25), |_| true));
    }

    #[test]
    fn links_are_asked_once_for_a_bundle() {
        let mut carriers = Carriers::default();
        carriers.add(LinkId(1), at(0));
        assert_eq!(carriers.ask(), [LinkId(1)]);
        assert!(carriers.ask().is_empty());
        carriers.clear();
        carriers.add(LinkId(2), at(1));
        assert_eq!(carriers.ask(), [LinkId(2)]);
    }
}
