//! One engine whose peers, dials, checks and clocks do what the input says.

use crate::frames::{self, KEYS, keypair};
use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use hedgerow_protocol::wire::{FRAME_BYTES_MAX, Frame};
use hedgerow_protocol::{
    Action, Address, BatchId, Config, DialId, Engine, GroupName, Headers, History, Input,
    JoinOptions, LinkId, Micros, PublishOptions, SettingsPatch, StoreError, Time, VerifyId,
};
use hedgerow_testnet::check::{self, Snapshot};
use std::collections::BTreeMap;

const STEPS_MAX: usize = 300;
/// Timeouts that one instant may need.
const SPINS_MAX: usize = 1_000;

/// Runs the operations in `data` against one engine.
pub fn engine(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut hostile = Hostile::new();
    for _ in 0..STEPS_MAX {
        if input.is_empty() || hostile.step(&mut input).is_err() {
            break;
        }
        hostile.check();
    }
}

struct Hostile {
    engine: Engine,
    config: Config,
    now: Time,
    links: BTreeMap<LinkId, usize>,
    unsent: BTreeMap<LinkId, usize>,
    dials: Vec<DialId>,
    checks: Vec<VerifyId>,
    stores: Vec<BatchId>,
    next_link: u64,
}

/// Limits so low that an input can reach them.
fn tight() -> Config {
    let mut config = Config {
        addresses: vec![Address::new("/memory/0").expect("valid")],
        ..Config::default()
    };
    config.links.links_max = 8;
    config.links.accept_max = 6;
    config.links.degree = 4;
    config.database.records_max = 16;
    config.database.tombstones_max = 16;
    config.groups.groups_max = 4;
    config.groups.relayed_max = 4;
    config.groups.origins_max = 8;
    config.groups.message_bytes_max = 256 << 10;
    config.groups.ahead_bytes_max = 256 << 10;
    config.groups.fragment_bytes = 8 << 10;
    config.groups.bulk_bytes = 32 << 10;
    config.memory_max = 2 << 20;
    config.groups.window = 64;
    config.flow.unsent_bytes = 16 << 10;
    config.flow.data_queue_bytes = 64 << 10;
    config.flow.repair_queue_bytes = 64 << 10;
    config.flow.control_queue_bytes = 256 << 10;
    config.flow.verifying_max = 32;
    config.check().expect("tight, but possible");
    config
}

impl Hostile {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let config = tight();
        let engine = Engine::new(keypair(0), config.clone(), [9; 32], now);
        let mut hostile = Self {
            engine,
            config,
            now,
            links: BTreeMap::new(),
            unsent: BTreeMap::new(),
            dials: Vec::new(),
            checks: Vec::new(),
            stores: Vec::new(),
            next_link: 1,
        };
        hostile.drain();
        hostile
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=15)? {
            0 => self.wait(input.int_in_range(0..=12_000)?),
            1 => self.link(input)?,
            2 => self.end_dial(input)?,
            3..=7 => self.frame(input)?,
            8 => self.raw(input)?,
            9 => {
                if let Some(link) = self.some_link(input)? {
                    self.links.remove(&link);
                    self.unsent.remove(&link);
                    self.feed(Input::LinkLost { link });
                }
            }
            10 => {
                if let Some(link) = self.some_link(input)? {
                    let bytes = self.unsent.insert(link, 0).unwrap_or(0);
                    self.feed(Input::Sent { link, bytes });
                }
            }
            11 | 12 => {
                if !self.checks.is_empty() {
                    let id = self.checks.remove(input.choose_index(self.checks.len())?);
                    let valid = input.ratio(7, 8)?;
                    self.feed(Input::Verified { id, valid });
                }
            }
            13 => {
                if let Some(batch) = self.stores.pop() {
                    let fits = input.ratio(7, 8)?;
                    let result = fits
                        .then_some(())
                        .ok_or_else(|| StoreError::NoRoom("full".to_owned()));
                    self.feed(Input::Stored { batch, result });
                }
            }
            14 => self.publish(input)?,
            _ => self.command(input)?,
        }
        Ok(())
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now.mono + Micros::from_millis(ms);
        let mut spins = 0;
        while let Some(deadline) = self.engine.poll_timeout()
            && deadline.mono <= until
        {
            spins = if deadline.mono > self.now.mono {
                0
            } else {
                spins + 1
            };
            assert!(spins < SPINS_MAX, "the engine spins");
            self.advance(deadline.mono.max(self.now.mono));
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.advance(until);
    }

    fn advance(&mut self, mono: Micros) {
        self.now.wall_ms += mono.since(self.now.mono).as_millis();
        self.now.mono = mono;
    }

    fn link(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let key = input.int_in_range(1..=KEYS - 1)?;
        self.linked(key, None, input)
    }

    fn linked(
        &mut self,
        key: usize,
        dial: Option<DialId>,
        input: &mut Unstructured<'_>,
    ) -> Result<()> {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, key);
        self.unsent.insert(link, 0);
        let peer = keypair(key).peer();
        self.feed(Input::Linked {
            link,
            peer,
            dial,
            address: None,
        });
        if input.ratio(7, 8)? && self.links.contains_key(&link) {
            let hello = frames::hello(key, input)?;
            self.write(link, &hello);
        }
        Ok(())
    }

    fn end_dial(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if self.dials.is_empty() {
            return Ok(());
        }
        let dial = self.dials.remove(input.choose_index(self.dials.len())?);
        if input.arbitrary()? {
            self.feed(Input::DialFailed { dial });
            return Ok(());
        }
        let key = input.int_in_range(1..=KEYS - 1)?;
        self.linked(key, Some(dial), input)
    }

    fn frame(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if let Some(link) = self.some_link(input)? {
            let now_ms = self.now.wall_ms;
            let frame = frames::any(self.links[&link], now_ms, input)?;
            self.write(link, &frame);
        }
        Ok(())
    }

    fn write(&mut self, link: LinkId, frame: &Frame) {
        for bytes in frame.encode() {
            if self.links.contains_key(&link) && !bytes.is_empty() {
                self.feed(Input::Bytes { link, bytes });
            }
        }
    }

    fn raw(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if let Some(link) = self.some_link(input)? {
            let len = input.int_in_range(0..=512)?.min(input.len());
            let bytes = Bytes::copy_from_slice(input.bytes(len)?);
            self.feed(Input::Bytes { link, bytes });
        }
        Ok(())
    }

    fn publish(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let group = frames::group(input)?;
        let bytes = match input.int_in_range(0..=7)? {
            0 => 300 << 10,
            1 => 40 << 10,
            _ => input.int_in_range(0..=9_000)?,
        };
        let options = PublishOptions {
            acknowledge: input.arbitrary()?,
            headers: headers(input)?,
        };
        let payload = vec![bytes as u8; bytes].into();
        // Any refusal is an answer.
        let _ = self.engine.publish(self.now, &group, payload, options);
        self.drain();
        Ok(())
    }

    fn command(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let group: GroupName = frames::group(input)?;
        let patch = SettingsPatch {
            redundancy: input.arbitrary()?,
            order: None,
            retention_bytes: input.arbitrary::<Option<u16>>()?.map(u64::from),
            retention_ms: input.arbitrary::<Option<u16>>()?.map(u64::from),
        };
        let now = self.now;
        // Any refusal is an answer.
        match input.int_in_range(0..=7)? {
            0..=2 => {
                let history = match input.int_in_range(0..=2)? {
                    0 => History::None,
                    1 => History::Last(input.int_in_range(0..=20)?),
                    _ => History::SinceMs(input.int_in_range(0..=60_000)?),
                };
                let settings = if input.arbitrary()? {
                    patch
                } else {
                    SettingsPatch::default()
                };
                let _ = self
                    .engine
                    .join(now, group.clone(), JoinOptions { settings, history });
            }
            3 => {
                let _ = self.engine.leave(now, &group);
            }
            4 => {
                let _ = self.engine.set_group(now, &group, patch);
            }
            5 => {
                let _ = self.engine.probe(now, &group);
            }
            6 => {
                let address = Address::new(&format!("/memory/{}", input.arbitrary::<u8>()?));
                let found = vec![address.expect("valid")];
                self.engine.handle_input(now, Input::Discovered(found));
            }
            _ => {
                if input.ratio(1, 8)? {
                    self.engine.shutdown(now);
                } else {
                    let jump = input.int_in_range(0..=7_200_000)?;
                    self.now.wall_ms = (now.wall_ms + jump).saturating_sub(3_600_000);
                }
            }
        }
        self.drain();
        let _ = (
            self.engine.members(&group),
            self.engine.overlay(&group, None),
        );
        Ok(())
    }

    fn some_link(&self, input: &mut Unstructured<'_>) -> Result<Option<LinkId>> {
        if self.links.is_empty() {
            return Ok(None);
        }
        let index = input.choose_index(self.links.len())?;
        Ok(self.links.keys().nth(index).copied())
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Dial { dial, .. } => self.dials.push(dial),
                Action::Close { link } => {
                    self.links.remove(&link);
                    self.unsent.remove(&link);
                }
                Action::Send { link, chunks } => {
                    let unsent = self.unsent.get_mut(&link).expect("sends on links it has");
                    *unsent += chunks.iter().map(Bytes::len).sum::<usize>();
                }
                Action::Verify { id, .. } => self.checks.push(id),
                Action::Store { batch, .. } => self.stores.push(batch),
                Action::Slow { .. }
                | Action::Resume { .. }
                | Action::AwaitWritten { .. }
                | Action::Deliver(_)
                | Action::Event(_) => {}
            }
        }
    }

    fn check(&self) {
        let bounds = check::bounds(&Snapshot::of(0, &self.engine, &self.config));
        assert!(bounds.is_clean(), "{bounds}");
        let flow = &self.config.flow;
        for (link, &unsent) in &self.unsent {
            let max = flow.unsent_bytes + FRAME_BYTES_MAX;
            assert!(unsent <= max, "{unsent} unsent bytes on {link:?}");
        }
        assert!(
            self.checks.len() <= flow.verifying_max + 64,
            "{} checks",
            self.checks.len()
        );
    }
}

/// Mostly none.
fn headers(input: &mut Unstructured<'_>) -> Result<Headers> {
    let mut headers = Headers::default();
    if input.ratio(1, 8)? {
        for _ in 0..input.int_in_range(0..=3)? {
            let key = format!("k{}", input.int_in_range(0..=9)?);
            // Whatever is over the limits is left out.
            let _ = headers.insert(&key, &"v".repeat(input.int_in_range(0..=3_000)?));
        }
    }
    Ok(headers)
}
