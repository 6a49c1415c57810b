//! An overlay by itself, for unit tests: a test feeds calls and compares the commands that come out.
//!
//! Peers have numbers: [`key`] and [`peer`] turn one into a key. This peer is number [`ME`]. Nothing runs
//! by itself: a test moves the clock ([`Fixture::wait_ms`]), answers checks ([`Fixture::check`]) and
//! tells of what was written ([`Fixture::write`]). What stands above the overlay borrows `core` and `net`.

use crate::base::identity::{Keypair, PeerKey};
use crate::base::interface::{Action, DialId, Event, LinkEnd, LinkId, VerifyId};
use crate::base::message::Delivery;
use crate::base::name::{Address, GroupName};
use crate::base::store::{BatchId, StoreOp};
use crate::base::time::{Micros, Time};
use crate::base::verify::VerifyJob;
use crate::core::config::Config;
use crate::core::{Checked, Core};
use crate::overlay::Overlay;
use crate::overlay::cache::SharedCache;
use crate::overlay::links::{Link, OverlayEvent, Stage};
use crate::overlay::records::{Standing, first_epoch};
use crate::wire::frame::{Bye, Hello};
use crate::wire::record::{ALGORITHM_VERSION, RecordExt, WireRecord};
use crate::wire::{
    FRAME_BYTES_MAX, Frame, FrameDecoder, Record, RecordGroup, RecordLink, SignedRecord,
    WIRE_VERSION,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The number of this peer.
pub(crate) const ME: u8 = 1;
/// The epoch of other peers, a little before this peer's own ([`WALL_MS`]).
pub(crate) const EPOCH: u64 = WALL_MS - 60_000;
/// What clocks show when a test begins.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;
/// The RTT of links, as [`Fixture::measure`] measures and [`links_to`] states it, microseconds.
pub(crate) const RTT_US: u32 = 1_000;

/// The key of a peer.
pub(crate) fn key(number: u8) -> Keypair {
    Keypair::from_secret([number; 32])
}

/// Its name.
pub(crate) fn peer(number: u8) -> PeerKey {
    key(number).peer()
}

/// An address of a peer, outside every prefix that is trusted.
pub(crate) fn address(number: u8) -> Address {
    let text = format!("/ip4/192.0.2.{number}/tcp/4001");
    text.parse().expect("valid")
}

/// Links to these peers, as a record states them.
pub(crate) fn links_to(numbers: &[u8]) -> Vec<RecordLink> {
    let links = numbers.iter().map(|number| RecordLink {
        peer: peer(*number),
        rtt_us: RTT_US,
    });
    let mut links: Vec<RecordLink> = links.collect();
    links.sort_by_key(|link| link.peer);
    links
}

/// A group in which a record's peer is a member, with the default settings.
pub(crate) fn member_of(group: &GroupName) -> RecordGroup {
    RecordGroup {
        name: group.clone(),
        role: 1,
        settings_version: 0,
        settings: None,
        ext: crate::wire::record::GroupExt::default(),
    }
}

/// A record as it travels.
pub(crate) fn wire(record: &SignedRecord, age_ms: u64) -> WireRecord {
    WireRecord::new(record.signed.clone(), record.signature, age_ms)
}

/// What the overlay wants done: an [`Action`], with frames instead of bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Send(LinkId, Frame),
    Close(LinkId),
    Slow(LinkId, usize),
    Resume(LinkId),
    AwaitWritten(LinkId),
    Dial {
        dial: DialId,
        peer: Option<PeerKey>,
        addresses: Vec<Address>,
        timeout_ms: u64,
    },
    Verify(VerifyId),
    Store(BatchId, Vec<StoreOp>),
    Deliver(Delivery),
    Event(Event),
}

/// The frames among `commands` that go to a link.
pub(crate) fn frames_to(link: LinkId, commands: &[Command]) -> Vec<Frame> {
    let frames = commands.iter().filter_map(|command| match command {
        Command::Send(to, frame) if *to == link => Some(frame.clone()),
        _ => None,
    });
    frames.collect()
}

/// Whom the dials among `commands` go to.
pub(crate) fn dialled(commands: &[Command]) -> Vec<Option<PeerKey>> {
    let dials = commands.iter().filter_map(|command| match command {
        Command::Dial { peer, .. } => Some(*peer),
        _ => None,
    });
    dials.collect()
}

/// What this peer does when it ends a link.
pub(crate) fn ending(link: LinkId, number: u8, end: LinkEnd) -> [Command; 3] {
    let reason = format!("{end:?}");
    let down = Event::LinkDown {
        link,
        peer: peer(number),
        reason: end,
    };
    [
        Command::Send(link, Bye { reason }.into()),
        Command::Close(link),
        Command::Event(down),
    ]
}

/// An overlay, and what a driver would keep of it.
pub(crate) struct Fixture {
    pub(crate) core: Core,
    pub(crate) net: Overlay,
    links: u64,
    decoders: BTreeMap<LinkId, FrameDecoder>,
    /// Bytes that the transport was given and did not say it has written.
    unwritten: BTreeMap<LinkId, usize>,
    commands: Vec<Command>,
    checks: Vec<(VerifyId, VerifyJob)>,
}

impl Fixture {
    /// With the default configuration.
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    /// A peer whose epoch is stored, without links.
    pub(crate) fn with(config: Config) -> Self {
        let mut fixture = Self::unstored(config);
        for command in fixture.commands() {
            if let Command::Store(batch, _) = command {
                fixture.stored(batch);
            }
        }
        fixture.forget();
        fixture
    }

    /// The same before its epoch is stored. [`Self::commands`] gives what it has asked for.
    pub(crate) fn unstored(config: Config) -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: WALL_MS,
        };
        let epoch = first_epoch(now.wall_ms, 0);
        let mut core = Core::new(key(ME), config, [1; 32], now);
        let net = Overlay::new(&mut core, SharedCache::default(), epoch);
        let mut fixture = Self {
            core,
            net,
            links: 0,
            decoders: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            commands: Vec::new(),
            checks: Vec::new(),
        };
        fixture.net.store_first_epoch(&mut fixture.core, 0);
        fixture.net.issue_record(&mut fixture.core);
        fixture.net.refresh_view(&mut fixture.core);
        fixture
    }

    /// What was asked to be stored is durable.
    pub(crate) fn stored(&mut self, batch: BatchId) {
        if self.core.on_stored(batch, Ok(())).is_some() {
            self.net.on_stored(&mut self.core, batch);
        }
    }

    /// What is to be done since the last call.
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        self.take_actions();
        std::mem::take(&mut self.commands)
    }

    /// The frames for a link since the last call; other commands are dropped.
    pub(crate) fn frames_to(&mut self, link: LinkId) -> Vec<Frame> {
        frames_to(link, &self.commands())
    }

    /// What has happened since the last call.
    pub(crate) fn events(&mut self) -> Vec<OverlayEvent> {
        self.net.events.drain(..).collect()
    }

    /// Drops all commands and events so far.
    pub(crate) fn forget(&mut self) {
        self.commands();
        self.events();
    }

    /// How often something was counted.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let counters = self.core.counts.told();
        counters.values.get(name).copied().unwrap_or(0)
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.core.actions.pop_front() {
            let command = match action {
                Action::Send { link, chunks } => {
                    let bytes: usize = chunks.iter().map(bytes::Bytes::len).sum();
                    *self.unwritten.entry(link).or_default() += bytes;
                    let decoder = self.decoders.entry(link);
                    let decoder = decoder.or_insert_with(|| FrameDecoder::new(FRAME_BYTES_MAX));
                    for chunk in chunks {
                        decoder.push(chunk);
                    }
                    while let Some(raw) = decoder.next_frame().expect("a frame") {
                        let frame = Frame::decode(raw).expect("a frame").expect("a known kind");
                        self.commands.push(Command::Send(link, frame));
                    }
                    continue;
                }
                Action::Dial {
                    dial,
                    peer,
                    addresses,
                    timeout,
                } => Command::Dial {
                    dial,
                    peer,
                    addresses,
                    timeout_ms: timeout.as_millis(),
                },
                Action::Verify { id, job } => {
                    self.checks.push((id, job));
                    Command::Verify(id)
                }
                Action::Close { link } => Command::Close(link),
                Action::Slow { link, bytes } => Command::Slow(link, bytes),
                Action::Resume { link } => Command::Resume(link),
                Action::AwaitWritten { link } => Command::AwaitWritten(link),
                Action::Deliver(delivery) => Command::Deliver(delivery),
                Action::Event(event) => Command::Event(event),
                Action::Store { batch, ops, .. } => Command::Store(batch, ops),
            };
            self.commands.push(command);
        }
    }

    /// The checks that were asked for since the last call, and what each gives.
    pub(crate) fn take_checks(&mut self) -> Vec<(VerifyId, bool)> {
        self.take_actions();
        let checks = std::mem::take(&mut self.checks).into_iter();
        checks.map(|(id, job)| (id, job.run())).collect()
    }

    /// Checks the signatures of records that wait for it; others are left.
    pub(crate) fn check(&mut self) {
        self.take_actions();
        let is_record =
            |check: &(VerifyId, VerifyJob)| Checked::of(check.0) == Some(Checked::Record);
        let checks = std::mem::take(&mut self.checks).into_iter();
        let (records, others): (Vec<_>, Vec<_>) = checks.partition(is_record);
        self.checks = others;
        for (id, job) in records {
            self.net.on_record_verified(&mut self.core, id, job.run());
        }
    }

    /// The transport of a link has written what it was given.
    pub(crate) fn write(&mut self, link: LinkId) {
        self.take_actions();
        let bytes = self.unwritten.remove(&link).unwrap_or(0);
        self.net.on_sent(&mut self.core, link, bytes);
    }

    /// Whether data for a link is announced, not pushed.
    pub(crate) fn is_lazy(&self, link: LinkId) -> bool {
        self.net.links[&link].lazy
    }

    /// A new epoch of this peer, as if it were stored.
    pub(crate) fn begin_epoch(&mut self, epoch: u64) {
        self.net.own.epoch = epoch;
    }

    /// Moves both clocks. No timer runs.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.core.now.mono = self.core.in_ms(ms);
        self.core.now.wall_ms += ms;
    }

    pub(crate) fn now(&self) -> Micros {
        self.core.now.mono
    }

    /// A peer has connected; neither end has said hello.
    pub(crate) fn connect(&mut self, number: u8) -> LinkId {
        self.linked(number, None, None)
    }

    /// The same from a known address.
    pub(crate) fn connect_from(&mut self, number: u8, address: Address) -> LinkId {
        self.linked(number, None, Some(address))
    }

    /// A connection stands, in answer to a dial or not.
    pub(crate) fn linked(
        &mut self,
        number: u8,
        dial: Option<DialId>,
        address: Option<Address>,
    ) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let peer = peer(number);
        self.net
            .on_linked(&mut self.core, link, peer, dial, address);
        link
    }

    /// The hello of a peer that wants nothing in particular and has not stated a record yet.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            wire: WIRE_VERSION,
            network: self.core.config.network.clone(),
            epoch: EPOCH,
            capabilities: self.core.capabilities(),
            needs: Vec::new(),
            wants: 0,
            record: None,
        }
    }

    /// The other end of a link says hello.
    pub(crate) fn say_hello(&mut self, link: LinkId) {
        let hello = self.hello();
        self.net.on_hello(&mut self.core, link, hello);
    }

    /// A link that is up. Commands and events so far are dropped.
    pub(crate) fn link(&mut self, number: u8) -> LinkId {
        let link = self.connect(number);
        self.say_hello(link);
        assert_eq!(self.net.up.get(&peer(number)), Some(&link), "it is up");
        self.forget();
        link
    }

    /// A link that is up and stated by both ends: its peer is in the view. `change` may add to what
    /// the peer's record says. Commands, events and records to be passed on are dropped.
    pub(crate) fn neighbour(&mut self, number: u8, change: impl FnOnce(&mut Record)) -> LinkId {
        let link = self.link(number);
        self.measure(link, RTT_US);
        self.net.issue_record(&mut self.core);
        self.hold(number, |record| {
            record.links = links_to(&[ME]);
            change(record);
        });
        assert!(self.net.view.contains(peer(number)), "it is in the view");
        self.net.forget_record_pushes();
        self.forget();
        link
    }

    /// A link's RTT was measured.
    pub(crate) fn measure(&mut self, link: LinkId, rtt_us: u32) {
        let window = Micros::from_millis(self.core.config.links.rtt_window_ms);
        let now = self.now();
        if let Some(link) = self.net.links.get_mut(&link) {
            link.rtt.measure(now, rtt_us.into(), window);
        }
    }

    /// The first record of a peer, with what `change` adds, signed.
    pub(crate) fn record(&self, number: u8, change: impl FnOnce(&mut Record)) -> Arc<SignedRecord> {
        let mut record = Record {
            network: self.core.network_hash,
            peer: peer(number),
            epoch: EPOCH,
            version: 1,
            left: false,
            algorithm: ALGORITHM_VERSION,
            capabilities: self.core.capabilities(),
            capacity: self.core.config.links.capacity,
            coordinate: [0.0; 5],
            addresses: vec![address(number)],
            groups: Vec::new(),
            links: Vec::new(),
            ext: RecordExt::default(),
        };
        change(&mut record);
        Arc::new(SignedRecord::sign(record, &key(number)))
    }

    /// Puts such a record in, as if it had come and were checked, above what is held of its peer;
    /// and takes the view anew.
    pub(crate) fn hold(
        &mut self,
        number: u8,
        change: impl FnOnce(&mut Record),
    ) -> Arc<SignedRecord> {
        let held = self.net.database.get(peer(number));
        let held = held.map(|held| held.record.clone());
        let record = self.record(number, |record| {
            if let Some(held) = held {
                *record = held;
                record.version += 1;
            }
            change(record);
        });
        let standing = Standing::Linked;
        let (now, never) = (self.now(), |_| false);
        let database = &mut self.net.database;
        let put = database.replace(record.clone(), 0, now, standing, never);
        put.expect("it is newer and there is room");
        self.net.touch_view(&mut self.core);
        self.net.refresh_view(&mut self.core);
        record
    }
}

/// What tests of the layers above do to the overlay below them.
impl Overlay {
    /// Puts a record in, as if it had come and were checked; whether it was taken.
    pub(crate) fn put(&mut self, record: Arc<SignedRecord>, now: Micros) -> bool {
        let standing = Standing::Linked;
        let put = self.database.replace(record, 0, now, standing, |_| true);
        put.is_ok()
    }

    /// The same, whatever is held.
    pub(crate) fn put_own(&mut self, record: Arc<SignedRecord>, now: Micros) {
        self.database.replace_own(record, now);
    }

    /// How many records all of them were ever looked through for.
    pub(crate) fn record_visits(&self) -> usize {
        self.database.visits.get()
    }

    pub(crate) fn surcharge(&self, peer: PeerKey) -> Option<u32> {
        self.surcharges.get(&peer).copied()
    }

    /// A link is up, without a handshake.
    pub(crate) fn begin_link_up(&mut self, core: &Core, id: LinkId, peer: PeerKey) {
        let mut link = Link::new(id, peer, None, true, &core.config, core.now.mono);
        link.stage = Stage::Up;
        self.links.insert(id, link);
        self.up.insert(peer, id);
    }

    /// A link is gone, and nothing is told of it.
    pub(crate) fn forget_link(&mut self, id: LinkId, peer: PeerKey) {
        self.up.remove(&peer);
        self.links.remove(&id);
    }
}

/// The same for one link.
impl Link {
    pub(crate) fn set_equal_at(&mut self, at: Option<Micros>) {
        self.equal_at = at;
    }

    pub(crate) fn set_pull_budget(&mut self, bytes: usize) {
        self.pull_budget = bytes;
    }

    /// The first byte of a frame comes.
    pub(crate) fn begin_frame(&mut self) {
        self.decoder.push(vec![0].into());
    }
}

#[test]
fn a_neighbour_is_in_the_view_and_the_list_of_commands_is_empty() {
    let mut fixture = Fixture::new();
    let link = fixture.neighbour(2, |_| ());
    assert_eq!(fixture.commands(), []);
    assert_eq!(fixture.events(), []);
    fixture.hold(3, |record| record.links = links_to(&[2]));
    assert!(!fixture.net.view.contains(peer(3)), "one end states it");
    fixture.hold(2, |record| record.links = links_to(&[ME, 3]));
    assert!(fixture.net.view.contains(peer(3)));
    fixture.forget();
    fixture
        .net
        .close_link(&mut fixture.core, link, LinkEnd::Shed);
    assert_eq!(fixture.commands(), ending(link, 2, LinkEnd::Shed));
}
