//! Who publishes what, when.

use super::{Cast, Run, Task};
use crate::scenario::Scenario;
use crate::sim::NodeState;
use bytes::{BufMut, Bytes, BytesMut};
use hedgerow_protocol::{Micros, PublishError};

/// A publisher that was told `Busy` tries again after so long.
const BUSY_RETRY: Micros = Micros::from_millis(1);

/// One workload under way.
#[derive(Clone, Debug)]
pub(super) struct Publishing {
    /// Names of the groups, in turn.
    groups: Vec<String>,
    /// By group.
    publishers: Vec<Vec<usize>>,
    turn: usize,
    size: usize,
    /// When more messages fall due, how many, and after which time the next ones do.
    pub(super) next_at: Micros,
    each: u64,
    began: Micros,
    /// Messages a second, of those that come one by one.
    rate: Option<f64>,
    every: Option<Micros>,
    steps: u64,
    until: Micros,
    left: u64,
    /// Due and not yet taken.
    owed: u64,
    /// Of these, what was offered last.
    offered: Vec<Bytes>,
    /// Tells messages apart.
    number: u64,
    /// Messages that fell due while nobody was there to publish them.
    unheard: u64,
    /// What a publisher that runs said when it refused one for good.
    refusal: Option<String>,
}

/// So many messages are handed over together at most, and so many bytes of them.
const OFFERED_MAX: usize = 1_024;
const OFFERED_BYTES_MAX: usize = 1 << 20;

/// Where a payload's number begins: above is the workload's.
const NUMBER_BITS: u32 = 48;

/// The workload of a number that stands at the head of a payload.
#[cfg(feature = "process")]
pub(super) fn workload_of(number: u64) -> usize {
    (number >> NUMBER_BITS) as usize
}

impl Publishing {
    /// All of a scenario.
    pub(super) fn all(scenario: &Scenario, cast: &Cast, zero: Micros, heal: Micros) -> Vec<Self> {
        let one = |(index, workload): (usize, &crate::scenario::Workload)| {
            let began = zero + workload.at.0;
            let until = workload
                .lasts
                .map_or(heal, |lasts| (began + lasts.0).min(heal));
            let groups = cast.groups_of(&workload.group);
            Self {
                groups: groups.map(|group| group.name.as_str().to_owned()).collect(),
                publishers: cast.publishers[index].clone(),
                turn: 0,
                size: workload.size.0 as usize,
                next_at: began,
                each: workload.burst.unwrap_or(1),
                began,
                rate: workload.rate,
                every: workload.every.map(|every| every.0),
                steps: 0,
                until,
                left: workload.total.unwrap_or(u64::MAX),
                owed: 0,
                offered: Vec::new(),
                number: (index as u64) << NUMBER_BITS,
                unheard: 0,
                refusal: None,
            }
        };
        scenario.file.workload.iter().enumerate().map(one).collect()
    }

    /// Notes what is due by `now`.
    fn accrue(&mut self, now: Micros) {
        while self.next_at <= now && self.next_at < self.until && self.left > 0 {
            let each = self.each.min(self.left);
            self.owed += each;
            self.left -= each;
            self.steps += 1;
            let after = match (self.rate, self.every) {
                (Some(rate), _) => Micros((self.steps as f64 * 1e6 / rate) as u64),
                (None, Some(every)) => Micros(every.0 * self.steps),
                (None, None) => Micros(u64::MAX / 2),
            };
            self.next_at = self.began + after;
        }
    }

    /// Messages that fell due, those included that would have while publishers were too busy.
    fn close(&mut self) {
        self.accrue(self.until);
    }

    /// Nobody is there to publish what is due: it is none.
    fn give_up(&mut self) {
        self.unheard += std::mem::take(&mut self.owed);
        self.offered.clear();
    }

    /// A peer that leaves, or has, takes nothing more; any other has no reason to refuse.
    fn refused(&mut self, node: usize, error: &PublishError) {
        if *error != PublishError::Stopped {
            let said = || format!("node {node} refused a message: {error}");
            self.refusal.get_or_insert_with(said);
        }
    }

    /// The group and the publisher, where there is only one.
    fn only(&self) -> Option<(String, usize)> {
        let mut pairs = (self.groups.iter().zip(&self.publishers))
            .flat_map(|(group, nodes)| nodes.iter().map(move |node| (group, *node)));
        let (group, node) = pairs.next()?;
        pairs.next().is_none().then(|| (group.clone(), node))
    }

    /// The next messages that are due, some of them; what was offered before comes first.
    fn offer(&mut self) -> Vec<Bytes> {
        let fit = OFFERED_MAX.min(OFFERED_BYTES_MAX / self.size.max(1)).max(1);
        let most = usize::try_from(self.owed).map_or(fit, |owed| fit.min(owed));
        let mut offered = std::mem::take(&mut self.offered);
        while offered.len() < most {
            offered.push(self.payload());
        }
        offered
    }

    fn payload(&mut self) -> Bytes {
        self.number += 1;
        let mut payload = BytesMut::with_capacity(self.size);
        payload.put_u64(self.number);
        payload.resize(self.size, b'.');
        payload.freeze()
    }
}

impl Run<'_> {
    pub(super) fn publish(&mut self, index: usize) {
        let now = self.world.now();
        self.workloads[index].accrue(now);
        let mut busy = false;
        while self.workloads[index].owed > 0 && now < self.workloads[index].until {
            match self.publish_next(index) {
                Published::Taken(messages) => self.workloads[index].owed -= messages,
                Published::Nobody => self.workloads[index].give_up(),
                Published::Busy => {
                    busy = true;
                    break;
                }
            }
        }
        let workload = &self.workloads[index];
        let next = if busy {
            now + BUSY_RETRY
        } else {
            workload.next_at
        };
        if next < workload.until && (busy || workload.left > 0) {
            self.task(next, Task::Publish(index));
        }
    }

    /// What is due from one publisher is handed over together.
    fn publish_next(&mut self, index: usize) -> Published {
        let workload = &mut self.workloads[index];
        if workload.owed > 1
            && let Some((group, node)) = workload.only()
            && self.world.state(node) == NodeState::Running
        {
            let mut offered = workload.offer();
            let result = match self.world.publish_many(node, &group, &offered) {
                Ok(taken) => {
                    offered.drain(..taken);
                    Published::Taken(taken as u64)
                }
                Err(PublishError::Busy) => Published::Busy,
                Err(error) => {
                    self.workloads[index].refused(node, &error);
                    offered.clear();
                    Published::Nobody
                }
            };
            self.workloads[index].offered = offered;
            return result;
        }
        self.publish_one(index)
    }

    fn publish_one(&mut self, index: usize) -> Published {
        let payload = self.workloads[index].payload();
        let groups = self.workloads[index].groups.len();
        let count: usize = self.workloads[index].publishers.iter().map(Vec::len).sum();
        let mut result = Published::Nobody;
        // Groups take turns, and within each its publishers.
        for _ in 0..count {
            let workload = &mut self.workloads[index];
            let (at, round) = (workload.turn % groups, workload.turn / groups);
            workload.turn += 1;
            let publishers = &workload.publishers[at];
            if publishers.is_empty() {
                continue;
            }
            let node = publishers[round % publishers.len()];
            if self.world.state(node) != NodeState::Running {
                continue;
            }
            let group = workload.groups[at].clone();
            match self.world.publish(node, &group, payload.clone()) {
                Ok(()) => return Published::Taken(1),
                Err(PublishError::Busy) => result = Published::Busy,
                Err(error) => self.workloads[index].refused(node, &error),
            }
        }
        result
    }

    /// Nothing more is published.
    pub(super) fn finish_publishing(&mut self) {
        self.workloads.iter_mut().for_each(Publishing::close);
    }

    /// Messages that fell due and were not taken, in words.
    pub(super) fn untaken(&self) -> Vec<String> {
        let mut said = Vec::new();
        for (index, workload) in self.workloads.iter().enumerate() {
            for (count, what) in [
                (workload.unheard, "found nobody to publish them"),
                (
                    workload.owed,
                    "waited for publishers that were busy until it ended",
                ),
                (
                    self.world.untaken(index),
                    "were given to peers that did not take them",
                ),
            ] {
                if count > 0 {
                    said.push(format!("workload[{index}]: {count} messages {what}"));
                }
            }
        }
        said
    }

    /// What peers that run said when they refused messages.
    pub(super) fn refusals(&self) -> impl Iterator<Item = String> + '_ {
        let workloads = self.workloads.iter().enumerate();
        workloads.filter_map(|(index, workload)| {
            let said = workload.refusal.as_ref()?;
            Some(format!("workload[{index}]: {said}"))
        })
    }
}

enum Published {
    /// So many messages.
    Taken(u64),
    Busy,
    Nobody,
}
