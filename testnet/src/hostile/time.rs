//! Offences with numbers that are to be times: versions of settings, epochs.

use super::lies::wire;
use super::{Out, after, believe_sent, frame_of, links_up, send};
use crate::sim::Mask;
use hedgerow_protocol::wire::frame::{Hello, Records};
use hedgerow_protocol::wire::record::{WireRecord, WireSettings};
use hedgerow_protocol::wire::{EPOCH_MAX, Frame, Record, SignedRecord};
use hedgerow_protocol::{Action, Engine, Keypair, SettingsPatch, Time};

/// How often settings are changed, ms.
const CHANGE_MS: u64 = 250;
/// For how long in a row it is done as a member, and then as a stranger, ms.
const TURN_MS: u64 = 3_000;

/// Changes the settings of every group all the time: as the member that it is, or as somebody who is not
/// in the group, with versions that nothing could follow.
pub(super) struct SettingsWar {
    keypair: Keypair,
    role: Role,
    changes: u8,
}

/// What it does that as.
enum Role {
    Member,
    Stranger,
    /// One after the other.
    Both {
        /// Which turn comes first.
        phase: u64,
    },
}

impl SettingsWar {
    /// As a member and as a stranger, by turns.
    pub(super) fn by_turns(keypair: Keypair, seed: [u8; 32]) -> Self {
        let phase = u64::from(seed[0]);
        Self::new(keypair, Role::Both { phase })
    }

    pub(super) fn always(keypair: Keypair, as_member: bool) -> Self {
        let role = if as_member {
            Role::Member
        } else {
            Role::Stranger
        };
        Self::new(keypair, role)
    }

    fn new(keypair: Keypair, role: Role) -> Self {
        Self {
            keypair,
            role,
            changes: 0,
        }
    }

    fn is_member(&self, now: Time) -> bool {
        match self.role {
            Role::Member => true,
            Role::Stranger => false,
            Role::Both { phase } => (now.mono.as_millis() / TURN_MS + phase).is_multiple_of(2),
        }
    }

    fn as_stranger(&self, record: WireRecord) -> WireRecord {
        let WireRecord {
            signed,
            signature,
            age_ms,
        } = record;
        match SignedRecord::decode(signed.clone(), signature) {
            Ok(mine) if mine.record.peer == self.keypair.peer() => {
                let mut record = mine.record;
                for group in &mut record.groups {
                    group.role = 0;
                    group.settings_version = u64::MAX - record.version % 2;
                    // As many parents as there may be, any order, nothing retained.
                    group.settings = Some(WireSettings {
                        redundancy: 8,
                        order: 1,
                        retention_bytes: 0,
                        retention_ms: 0,
                        later: Vec::new(),
                    });
                }
                let lie = SignedRecord::sign(record, &self.keypair);
                WireRecord::new(lie.signed, lie.signature, age_ms)
            }
            _ => WireRecord::new(signed, signature, age_ms),
        }
    }
}

impl Mask for SettingsWar {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        let Action::Send { link, chunks } = &action else {
            return out.push_back(action);
        };
        if self.is_member(now) || !chunks[1].is_empty() {
            return out.push_back(action);
        }
        let lie = match frame_of(chunks) {
            Some(Frame::Records(Records { records })) => {
                let records = records.into_iter();
                let records = records.map(|record| self.as_stranger(record)).collect();
                Frame::Records(Records { records })
            }
            Some(Frame::Hello(hello)) => {
                let record = hello.record.map(|record| self.as_stranger(record));
                Frame::Hello(Hello {
                    record,
                    // Its records cannot be made from those before.
                    capabilities: 0,
                    ..hello
                })
            }
            // Nobody is to learn what its engine would say.
            Some(Frame::RecordDeltas(_)) => return believe_sent(engine, now, &action),
            _ => return out.push_back(action),
        };
        out.push_back(send(*link, &lie));
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, _: &mut Out) -> Option<Time> {
        if self.is_member(now) {
            self.changes = self.changes.wrapping_add(1);
            let patch = SettingsPatch {
                redundancy: Some(1 + self.changes % 3),
                retention_ms: Some(60_000 + u64::from(self.changes)),
                ..SettingsPatch::default()
            };
            for group in super::origin::groups(engine) {
                // Refused or not: an offender minds neither.
                let _ = engine.set_group(now, &group, patch);
            }
        }
        Some(after(now, CHANGE_MS))
    }
}

/// How often records of lives to come are sent, ms.
const RECORDS_MS: u64 = 500;
/// How far ahead of now the first of them are, ms: a year, many years; the last one is the last there is.
const AHEAD_MS: [u64; 2] = [365 * 86_400_000, 1 << 50];

/// States records of a victim whose key it once had, of lives that are far ahead: with links and
/// groups that the victim does not have.
pub(super) struct EpochAbuse {
    victim: Keypair,
    version: u64,
}

impl EpochAbuse {
    pub(super) fn new(victim: Keypair) -> Self {
        let version = 0;
        Self { victim, version }
    }
}

impl Mask for EpochAbuse {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        if let Some(own) = engine.own_record() {
            self.version += 1;
            let of_life = |epoch| {
                let record = Record {
                    peer: self.victim.peer(),
                    epoch,
                    version: self.version,
                    left: self.version.is_multiple_of(2),
                    addresses: Vec::new(),
                    groups: Vec::new(),
                    links: Vec::new(),
                    ..own.record.clone()
                };
                wire(&SignedRecord::sign(record, &self.victim))
            };
            let epochs = AHEAD_MS.map(|ahead_ms| now.wall_ms + ahead_ms);
            let epochs = epochs.into_iter().chain([EPOCH_MAX - 1, EPOCH_MAX]);
            let records = epochs.map(of_life).collect();
            let frame = Frame::from(Records { records });
            for link in links_up(engine) {
                out.push_back(send(link, &frame));
            }
        }
        Some(after(now, RECORDS_MS))
    }
}
