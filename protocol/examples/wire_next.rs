//! Prints what an engine writes that speaks as a later version may: a line of
//! `protocol/tests/golden/later.txt` for each kind of frame.
//!
//! ```text
//! cargo run -p hedgerow-protocol --features wire-next --example wire_next
//! ```

use bytes::Bytes;
use hedgerow_protocol::wire::{FRAME_BYTES_MAX, Frame, FrameDecoder, stream};
use hedgerow_protocol::{
    Action, Config, Engine, GroupName, Headers, Input, JoinOptions, Keypair, LinkId, Micros,
    PublishOptions, Time,
};
use std::collections::BTreeMap;

const LINK: LinkId = LinkId(0);

/// Two engines and the bytes between them.
struct Two {
    engines: [Engine; 2],
    now: Time,
    /// Chunks under way, and to whom.
    wire: Vec<(usize, Bytes)>,
    decoders: [FrameDecoder; 2],
    /// One line of each kind, by name.
    seen: BTreeMap<String, Vec<u8>>,
}

impl Two {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_764_500_000_000,
        };
        let config = Config {
            wire_next: true,
            ..Config::default()
        };
        let engine = |at: u8| Engine::new(key(at), config.clone(), [at; 32], now);
        Self {
            engines: [engine(0), engine(1)],
            now,
            wire: Vec::new(),
            decoders: decoders(),
            seen: BTreeMap::new(),
        }
    }

    fn link(&mut self) {
        for at in 0..2 {
            let linked = Input::Linked {
                link: LINK,
                peer: key(1 - at).peer(),
                dial: None,
                address: None,
            };
            self.feed(usize::from(at), linked);
        }
    }

    fn feed(&mut self, at: usize, input: Input) {
        self.engines[at].handle_input(self.now, input);
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(action) = self.engines[at].poll_action() {
            let answer = match action {
                Action::Send { link, chunks } => {
                    let bytes = chunks.iter().map(Bytes::len).sum();
                    self.wire.extend(chunks.map(|chunk| (1 - at, chunk)));
                    Input::Sent { link, bytes }
                }
                Action::Verify { id, job } => Input::Verified {
                    id,
                    valid: job.run(),
                },
                Action::Dial { dial, .. } => Input::DialFailed { dial },
                Action::Store { batch, .. } => Input::Stored {
                    batch,
                    result: Ok(()),
                },
                _ => continue,
            };
            self.engines[at].handle_input(self.now, answer);
        }
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now.mono = self.now.mono + Micros::from_millis(1);
            self.now.wall_ms += 1;
            for at in 0..2 {
                self.engines[at].handle_timeout(self.now);
                self.drain(at);
            }
            for (to, bytes) in std::mem::take(&mut self.wire) {
                self.note(to, bytes.clone());
                self.feed(to, Input::Bytes { link: LINK, bytes });
            }
        }
    }

    fn note(&mut self, to: usize, bytes: Bytes) {
        let decoder = &mut self.decoders[to];
        decoder.push(bytes);
        while let Some(raw) = decoder.next_frame().expect("well formed") {
            let head = stream::encode_head(raw.kind, &raw.header, raw.payload.len());
            let bytes = [&head[..], &raw.payload[..]].concat();
            let name = match Frame::decode(raw.clone()).expect("well formed") {
                Some(frame) => frame.name().to_owned(),
                None => format!("Kind-{}", raw.kind),
            };
            // The longest says most.
            let longest = self.seen.entry(name).or_default();
            if bytes.len() > longest.len() {
                *longest = bytes;
            }
        }
    }
}

fn decoders() -> [FrameDecoder; 2] {
    std::array::from_fn(|_| FrameDecoder::new(FRAME_BYTES_MAX))
}

fn key(number: u8) -> Keypair {
    Keypair::from_secret([number + 1; 32])
}

fn main() {
    let mut two = Two::new();
    two.link();
    let news = GroupName::new("news").expect("valid");
    for at in 0..2 {
        two.run_ms(10_000);
        let joined = two.engines[at].join(two.now, news.clone(), JoinOptions::default());
        joined.expect("joins");
        two.drain(at);
    }
    two.run_ms(10_000);
    let mut headers = Headers::default();
    headers.insert("key", "value").expect("a header");
    for acknowledge in [true, false] {
        let options = PublishOptions {
            acknowledge,
            headers: headers.clone(),
        };
        let message = Bytes::from_static(b"a message");
        (two.engines[0].publish(two.now, &news, message, options)).expect("publishes");
        two.drain(0);
        two.run_ms(2_000);
    }
    two.engines[0].probe(two.now, &news).expect("a member");
    two.drain(0);
    two.run_ms(10_000);
    // In the hellos of the next link are whole records.
    for at in 0..2 {
        two.feed(at, Input::LinkLost { link: LINK });
    }
    two.decoders = decoders();
    two.link();
    two.run_ms(10_000);
    for (name, bytes) in two.seen {
        print!("{name} ");
        for byte in bytes {
            print!("{byte:02x}");
        }
        println!();
    }
}
