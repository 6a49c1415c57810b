//! Two databases compared: buckets of hashes, then the records that differ.

use super::{CONGESTED_BYTES, NAMES_PER_FRAME, PULLS_PER_LINK};
use crate::base::interface::LinkId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::Priority;
use crate::overlay::records::Offer;
use crate::wire::frame::{BucketRecords, Buckets, RecordAnnounce, RecordName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Ends that have differed for so many times the wait are reconciled while records still come.
const LONG_UNEQUAL: u64 = 5;
/// What has been announced by a neighbour has been pulled after so many such waits.
const ANNOUNCES: u64 = 3;
/// Names in a page: the records that are lacking of it are a few hundred KiB at most as a rule.
const NAMES_PER_PAGE: usize = 1_024;
/// A comparison ends after as many pages as twice the records that may be held, and so many more.
const MORE_PAGES: usize = 16;
/// For so long it is taken as known to whom the view states links, ms.
const LINKED_FRESH_MS: u64 = 1_000;
/// Where nothing has changed at either end since the last comparison the next one waits twice as
/// long, up to so many times `database.reconcile_ms`.
pub(super) const FUTILE_MAX: u64 = 16;

/// How far the comparison of two databases has come at the end that asks.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// The key prefix that the page begins with which was asked for or is next; `None`: none is.
    page: Option<u64>,
    /// Whether it is next: it is asked for when what is lacking of the one before has come.
    is_next: bool,
    pages_left: usize,
    /// When the last one began, both hashes then, and the wait after it in multiples of
    /// `database.reconcile_ms`.
    began: Option<Micros>,
    hashes: (u64, u64),
    pauses: u64,
}

impl Overlay {
    /// Starts finding out where two databases differ.
    pub(crate) fn reconcile(&mut self, core: &mut Core, id: LinkId) {
        let now = core.now.mono;
        let pages = 2 * core.config.database.records_max / NAMES_PER_PAGE + MORE_PAGES;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.comparison.began = Some(now);
        link.comparison.pages_left = pages;
        link.unequal_since = None;
        core.count(counter!("reconciliations"));
        self.ask_page(core, id, 0);
    }

    /// Asks for the names of the records in which the other end differs, from a key prefix on.
    fn ask_page(&mut self, core: &mut Core, id: LinkId, from: u64) {
        let hashes = self.database.buckets().to_vec();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let comparison = &mut link.comparison;
        if comparison.pages_left == 0 {
            comparison.page = None;
            return;
        }
        comparison.pages_left -= 1;
        comparison.page = Some(from);
        comparison.is_next = false;
        self.send(core, id, Buckets { hashes, from });
    }

    /// Asks for the next page when what was lacking of the last one has come.
    pub(super) fn go_on_reconciling(&mut self, core: &mut Core, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if let Some(from) = link.comparison.page
            && link.comparison.is_next
            && link.requests.is_empty()
        {
            self.ask_page(core, id, from);
        }
    }

    pub(crate) fn on_buckets(&mut self, core: &mut Core, from: LinkId, asked: Buckets) {
        if asked.hashes.len() != 256 {
            let error = crate::wire::WireError::Invalid {
                what: "buckets",
                why: "not 256 hashes",
            };
            return self.on_malformed(core, from, &error);
        }
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        link.page_asked = Some(asked);
        self.answer_page(core, from);
    }

    /// Sends the page that was asked for, once the link has written what it had to.
    pub(super) fn answer_page(&mut self, core: &mut Core, to: LinkId) {
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        if link.queue.bytes_in(Priority::Control) > CONGESTED_BYTES {
            return;
        }
        let Some(asked) = link.page_asked.take() else {
            return;
        };
        let first = (asked.from >> 56) as u8;
        let differing = (first..=255_u8).filter(|&bucket| {
            let at = usize::from(bucket);
            self.database.buckets()[at] != asked.hashes[at]
        });
        let mut buckets = Vec::new();
        let mut names: Vec<RecordName> = Vec::new();
        let mut until = None;
        'page: for bucket in differing {
            buckets.push(bucket);
            for name in self.database.names_in(bucket, asked.from) {
                // Keys that begin alike stay together.
                let is_full = names.len() >= NAMES_PER_PAGE;
                if is_full && names.last().is_none_or(|last| last.0 != name.0)
                    || names.len() >= NAMES_PER_FRAME
                {
                    until = Some(name.0).filter(|until| *until > asked.from);
                    break 'page;
                }
                names.push(name);
            }
        }
        let from = asked.from;
        let page = BucketRecords {
            buckets,
            names,
            from,
            until,
        };
        self.send(core, to, page);
    }

    pub(crate) fn on_bucket_records(&mut self, core: &mut Core, from: LinkId, page: BucketRecords) {
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        let comparison = &mut link.comparison;
        if comparison.page != Some(page.from) || comparison.is_next {
            return core.count(counter!("pages_unasked"));
        }
        comparison.page = page.until.filter(|until| *until > page.from);
        comparison.is_next = true;
        let is_in_page = |prefix: u64| {
            let is_before = page.until.is_none_or(|until| prefix < until);
            prefix >= page.from && is_before
        };
        let mut theirs: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (prefix, epoch, version) in page.names {
            theirs.insert(prefix, (epoch, version));
        }
        let mut lacking = Vec::new();
        for bucket in page.buckets {
            for (prefix, epoch, version) in self.database.names_in(bucket, page.from) {
                if !is_in_page(prefix) || lacking.len() >= PULLS_PER_LINK {
                    break;
                }
                match theirs.get(&prefix) {
                    Some(order) if *order > (epoch, version) => {}
                    Some(order) if *order == (epoch, version) => {
                        theirs.remove(&prefix);
                    }
                    _ => lacking.push((prefix, epoch, version)),
                }
            }
        }
        // It asks for what it wants of this.
        for names in lacking.chunks(NAMES_PER_FRAME) {
            let names = names.to_vec();
            self.send(core, from, RecordAnnounce { names });
        }
        self.request_lacking(core, from, &theirs);
        self.ask_records(core, from);
        self.go_on_reconciling(core, from);
    }

    /// Asks for what the other end holds and this one lacks. Of peers outside the view as much as may
    /// come now, and besides those that somebody inside states a link to.
    fn request_lacking(&mut self, core: &Core, from: LinkId, theirs: &BTreeMap<u64, (u64, u64)>) {
        let mut room = self.sync.admission.outside_room(core.now.mono);
        let mut linked: Option<Arc<BTreeSet<u64>>> = None;
        for (prefix, order) in theirs {
            let (peer, offer) = self.database.compare_named(*prefix, *order);
            if offer != Offer::Newer {
                continue;
            }
            let is_inside = peer.is_some_and(|peer| !self.database.is_outside(peer));
            if !is_inside && room > 0 {
                room -= 1;
            } else if !is_inside {
                let linked = linked.get_or_insert_with(|| self.linked_from_inside(core));
                if !linked.contains(prefix) {
                    continue;
                }
            }
            self.request_record(from, *prefix, *order);
        }
    }

    /// Those to whom somebody inside the view states a link and who are not inside, as of a moment ago:
    /// pages come faster than views change.
    fn linked_from_inside(&mut self, core: &Core) -> Arc<BTreeSet<u64>> {
        let now = core.now.mono;
        let fresh = Micros::from_millis(LINKED_FRESH_MS);
        match &self.sync.linked {
            Some((at, linked)) if now.since(*at) < fresh => linked.clone(),
            _ => {
                let linked = Arc::new(self.database.linked_from_inside());
                self.sync.linked = Some((now, linked.clone()));
                linked
            }
        }
    }

    /// Reconciles a link whose ends have differed for a while in which no record has come from
    /// anywhere: while records travel, ends differ by those that are on their way. A link whose
    /// ends differ for long is reconciled all the same.
    pub(crate) fn compare_databases(&mut self, core: &mut Core, id: LinkId, theirs: u64) {
        let now = core.now.mono;
        // Where records are announced later, their absence tells nothing before.
        let announced = self.announce_wait().times(ANNOUNCES);
        let unequal = Micros::from_millis(core.config.database.unequal_ms).max(announced);
        // What is outside one view may be inside the other until both have been taken anew.
        let settled = unequal.max(self.view.settling(&core.config.database));
        let ours = self.database.hash();
        let accepted = self.sync.accepted;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if theirs == ours {
            link.unequal_since = None;
            return;
        }
        if link.queue.total() > CONGESTED_BYTES {
            // What was heard is old, and more would only make it older.
            link.unequal_since = None;
            return;
        }
        let since = *link.unequal_since.get_or_insert(now);
        let comparison = &mut link.comparison;
        let pause = Micros::from_millis(core.config.database.reconcile_ms);
        let pause = pause.times(comparison.pauses.max(1));
        let rested = (comparison.began).is_none_or(|last| now.since(last) >= pause);
        let still = now.since(since.max(accepted)) >= settled;
        let long = now.since(since) >= unequal.times(LONG_UNEQUAL);
        if (still || long) && rested {
            // Records that have no room at one end would be compared for ever.
            comparison.pauses = if comparison.hashes == (ours, theirs) {
                (comparison.pauses.max(1) * 2).min(FUTILE_MAX)
            } else {
                1
            };
            comparison.hashes = (ours, theirs);
            self.reconcile(core, id);
        }
    }
}
