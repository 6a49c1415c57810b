//! Joining, leaving, and what neighbours tell each other about it.

use super::past::PastLogs;
use super::{Group, LogKey, OwnLog};
use crate::access::{Resource, Verb};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::message::{GroupSettings, HISTORY_LAST_MAX, History, JoinError, JoinOptions};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::multicast::{Cx, CxRef, Multicast, MulticastEvent};
use crate::overlay::records::GroupGraph;
use crate::wire::frame::Subscribe;
use std::sync::Arc;

use super::settings::Settings;

/// Groups published in and closed since, in one epoch.
const FINISHED_MAX: usize = 65_536;

impl Multicast {
    #[allow(clippy::needless_pass_by_value)] // The engine keeps names it is given.
    pub(crate) fn join_group(
        &mut self,
        cx: &mut Cx<'_>,
        group: GroupName,
        options: JoinOptions,
    ) -> Result<(), JoinError> {
        let settings = self.check_join(cx.as_ref(), &group, &options)?;
        let id = GroupId::new(&cx.core.config.network, &group);
        self.open_group(cx.as_ref(), id, &group, Role::Member)?;
        let Some(known) = self.groups.get_mut(&id) else {
            return Ok(());
        };
        known.settings = settings;
        self.trim_retention(cx, id);
        let Some(known) = self.groups.get_mut(&id) else {
            return Ok(());
        };
        if known.role == Role::Member && known.delivering {
            if options.history != History::None {
                self.deliver_history(cx, id, options.history);
            }
            cx.net.record_changed();
            return Ok(());
        }
        let was_silent = known.baseline.is_taken() && known.role != Role::Relay;
        known.role = Role::Member;
        known.delivering = true;
        known.leaving = false;
        if was_silent {
            // A sender, or broadcast: the log is here already, delivery begins now. What is
            // known to have been published is not due.
            for log in known.logs.values_mut() {
                log.rebase(log.proven);
            }
            if options.history == History::None {
                self.baseline_reached(cx, id, true);
            } else {
                self.begin_recall(cx, id, options.history);
            }
        } else {
            self.begin_baseline(cx, id, options.history);
        }
        self.tell_neighbours(cx, id);
        cx.net.record_changed();
        cx.net.reconsider_links(cx.core);
        cx.core.wake_at(cx.core.now.mono);
        Ok(())
    }

    /// Whether a join would be accepted now, and with which settings.
    pub(crate) fn check_join(
        &self,
        cx: CxRef<'_>,
        group: &GroupName,
        options: &JoinOptions,
    ) -> Result<Settings, JoinError> {
        if cx.core.stopping.is_some() {
            return Err(JoinError::Stopped);
        }
        if let History::Last(count) = options.history
            && count > HISTORY_LAST_MAX
        {
            let max = HISTORY_LAST_MAX;
            return Err(JoinError::HistoryTooLong { count, max });
        }
        let id = GroupId::new(&cx.core.config.network, group);
        let settings = self.settings_for_join(cx, id, group, options)?;
        self.check_room(cx, id)?;
        Ok(settings)
    }

    /// What the group's settings are once `options` have been looked at.
    fn settings_for_join(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
        name: &GroupName,
        options: &JoinOptions,
    ) -> Result<Settings, JoinError> {
        let mut known = Self::settings_in_records(cx, name);
        if let Some(group) = self.groups.get(&id)
            && (known.loses_to(&group.settings) || known == group.settings)
        {
            known = group.settings.clone();
        }
        if let Some(setting) = known.unsupported() {
            let setting = setting.to_owned();
            return Err(JoinError::Unsupported { setting });
        }
        if options.settings.is_empty() {
            return Ok(known);
        }
        let asked = options.settings.apply(if known.version > 0 {
            known.values
        } else {
            GroupSettings::default()
        });
        let asked = asked.ok_or(JoinError::SettingsInvalid)?;
        if known.version > 0 {
            if asked != known.values {
                return Err(JoinError::SettingsDiffer {
                    current: known.values,
                });
            }
            return Ok(Settings {
                explicit: true,
                ..known
            });
        }
        Ok(Settings {
            version: 1,
            values: asked,
            explicit: true,
            beyond: None,
        })
    }

    /// Makes sure the group exists here, at least in `role`.
    pub(crate) fn open_group(
        &mut self,
        cx: CxRef<'_>,
        id: GroupId,
        name: &GroupName,
        role: Role,
    ) -> Result<(), JoinError> {
        if self.groups.contains_key(&id) {
            return Ok(());
        }
        self.check_room(cx, id)?;
        if role == Role::Sender && self.finished.len() >= FINISHED_MAX {
            let max = cx.core.config.groups.groups_max;
            return Err(JoinError::TooManyGroups { max });
        }
        let mut group = Group::new(id, Some(name.clone()), role, cx.core.config.groups.grace_ms);
        group.settings = Self::settings_in_records(cx, name);
        self.insert_group(group);
        Ok(())
    }

    /// Whether the group is here already or may be opened.
    fn check_room(&self, cx: CxRef<'_>, id: GroupId) -> Result<(), JoinError> {
        let max = cx.core.config.groups.groups_max;
        let own = self
            .groups
            .values()
            .filter(|group| group.role != Role::Relay)
            .count();
        // Broadcast does not count.
        if own > max && !self.groups.contains_key(&id) {
            return Err(JoinError::TooManyGroups { max });
        }
        Ok(())
    }

    /// Seqs go on where they ended, should this peer have published in the group before.
    pub(crate) fn insert_group(&mut self, mut group: Group) {
        if let Some(own) = self.finished.remove(&group.id) {
            group.own = own;
        }
        self.groups.insert(group.id, group);
    }

    /// Every peer carries `broadcast` from the start; nothing is delivered until it is joined.
    pub(crate) fn open_broadcast(&mut self, cx: &mut Cx<'_>) {
        let name = GroupName::broadcast();
        let id = GroupId::new(&cx.core.config.network, &name);
        // The limit on groups lies far above one.
        let _ = self.open_group(cx.as_ref(), id, &name, Role::Member);
        self.begin_baseline(cx, id, History::None);
    }

    pub(crate) fn leave_group(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
    ) -> Result<(), JoinError> {
        let id = GroupId::new(&cx.core.config.network, group);
        let known = self.groups.get_mut(&id);
        let Some(known) =
            known.filter(|g| g.role == Role::Sender || g.role == Role::Member && g.delivering)
        else {
            return Err(JoinError::NotMember(group.clone()));
        };
        known.delivering = false;
        known.leaving = true;
        let retires = !known.is_broadcast();
        self.close_batch(cx, id);
        if retires {
            self.retire(cx, id);
        }
        Ok(())
    }

    /// No longer a member or sender: a relay for as long as something published here is kept. While
    /// pieces of a message are still to be sent it is a sender, for they go out along its tree.
    pub(crate) fn retire(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let me = cx.core.me;
        let Some(known) = self.groups.get_mut(&id) else {
            return;
        };
        known.role = if known.own.has_unreleased() {
            Role::Sender
        } else {
            Role::Relay
        };
        known.baseline.forget();
        let others: Vec<LogKey> = known
            .logs
            .keys()
            .copied()
            .filter(|(origin, _)| *origin != me)
            .collect();
        known.sought.clear();
        known.past = PastLogs::default();
        self.drop_logs(id, &others);
        self.close_idle_relay(cx, id);
        self.tell_neighbours(cx, id);
        cx.net.record_changed();
        cx.net.reconsider_links(cx.core);
        cx.core.wake_at(cx.core.now.mono);
    }

    /// Tells every neighbour what this peer is in a group, and asks for a baseline if it needs
    /// one.
    pub(crate) fn tell_neighbours(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let links: Vec<LinkId> = cx.net.links_up().collect();
        for link in links {
            self.tell_neighbour(cx, link, id);
        }
    }

    pub(crate) fn tell_neighbour(&mut self, cx: &mut Cx<'_>, link: LinkId, id: GroupId) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let Some(name) = group.name.clone() else {
            return;
        };
        let subscribe = Subscribe {
            group: name,
            role: group.told_role(),
            baseline: group.baseline.is_waiting(now),
            history: group.baseline.history(now),
            older_ms: group.baseline.older_ms(now),
        };
        cx.net.send(cx.core, link, subscribe);
    }

    pub(crate) fn on_link_up_for_groups(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        let now = cx.core.now.mono;
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                // Whoever has come may hold what is missing.
                for log in group
                    .logs
                    .values_mut()
                    .filter(|log| !log.missing.is_empty())
                {
                    log.progress = now;
                }
            }
            self.tell_neighbour(cx, link, id);
        }
    }

    pub(crate) fn on_subscribe(&mut self, cx: &mut Cx<'_>, from: LinkId, subscribe: Subscribe) {
        let id = GroupId::new(&cx.core.config.network, &subscribe.group);
        let role = match subscribe.role {
            1 => Some(Role::Member),
            2 => Some(Role::Sender),
            3 => Some(Role::Relay),
            _ => None,
        };
        let Some(link) = cx.net.link(from) else {
            return;
        };
        // Nobody is kept from leaving.
        let wants_it = role.is_some() || subscribe.baseline;
        if wants_it && !(cx.core).allows(link.peer(), Verb::Subscribe, Resource::Group(id)) {
            // As if it had not asked: it is sent nothing, and remembered for nothing.
            self.remotes.remove(from, id);
            return cx.core.count(counter!("access_requests_refused"));
        }
        let Some(remote) = self.remotes.get_or_add(from, id) else {
            return cx.core.count(counter!("subscriptions_refused"));
        };
        let is_new = remote.role.is_none() && role.is_some();
        remote.role = role;
        if role.is_none() {
            return self.remotes.remove(from, id);
        }
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.name.is_none() {
            group.name = Some(subscribe.group);
        }
        if subscribe.baseline {
            self.answer_baseline(cx, from, id, subscribe.history, subscribe.older_ms);
        }
        if is_new || subscribe.baseline {
            self.send_full_digest(cx, from, id, false);
        }
    }

    /// What neighbours are in a group and have a link up.
    pub(crate) fn group_links<'a>(
        &'a self,
        cx: CxRef<'a>,
        id: GroupId,
    ) -> impl Iterator<Item = (PeerKey, LinkId)> + 'a {
        cx.net.neighbours().filter_map(move |(peer, link)| {
            let role = self.remotes.get(link, id)?.role;
            role.map(|_| (peer, link))
        })
    }

    /// The part of the view that carries a group.
    pub(crate) fn group_graph(&self, cx: CxRef<'_>, id: GroupId) -> Option<Arc<GroupGraph>> {
        let name = self.groups.get(&id)?.name.as_ref()?;
        cx.net.group_graph(id, name)
    }

    /// A relay that nothing more keeps.
    pub(crate) fn close_idle_relay(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let idle = self.groups.get(&id).is_some_and(|group| {
            group.role == Role::Relay && group.logs.values().all(|log| log.held().is_empty())
        });
        if idle {
            if let Some(name) = self.groups.get(&id).and_then(|group| group.name.clone()) {
                let links: Vec<LinkId> = cx.net.links_up().collect();
                for link in links {
                    let role = 0;
                    let subscribe = Subscribe {
                        group: name.clone(),
                        role,
                        baseline: false,
                        history: History::None,
                        older_ms: 0,
                    };
                    cx.net.send(cx.core, link, subscribe);
                }
            }
            let closed = self.groups.remove(&id);
            self.watched.remove(&id);
            let name = closed.as_ref().and_then(|group| group.name.clone());
            self.events
                .push_back(MulticastEvent::GroupClosed { group: id, name });
            if let Some(own) = closed.map(|group| group.own).filter(OwnLog::has_released) {
                self.finished.insert(id, own);
            }
        }
    }
}

#[cfg(test)]
mod tests;
