//! The rules: members change settings, entries deny, everything else is allowed.

use super::{Decision, Reason, Resource, Subject, Verb};
use crate::base::identity::PeerKey;

/// Entries one policy may have: they are looked through one by one.
#[cfg(test)]
const ENTRIES_MAX: usize = 64;

/// What is allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Empty in every build for users: what is to be denied will come with certificates.
    denied: Vec<Entry>,
}

/// Denies one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) who: Who,
    pub(crate) verb: Verb,
    pub(crate) resource: Resource,
}

/// Whom an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests deny anything yet"))]
pub(crate) enum Who {
    Peer(PeerKey),
    /// Everybody but the peer that decides.
    Others,
}

impl Who {
    fn includes(self, subject: Subject) -> bool {
        match self {
            Self::Peer(peer) => peer == subject.peer,
            Self::Others => !subject.is_self,
        }
    }
}

impl Policy {
    /// Whether `subject` may do this. A comparison or two while there are no entries: it is asked for
    /// every bundle.
    #[inline]
    pub(crate) fn decide(&self, subject: Subject, verb: Verb, resource: Resource) -> Decision {
        if verb == Verb::ChangeSettings && !subject.is_member {
            return Decision::Denied(Reason::NotMember);
        }
        if !self.denied.is_empty() && self.is_denied(subject, verb, resource) {
            return Decision::Denied(Reason::Entry);
        }
        Decision::Allowed
    }

    #[cold]
    fn is_denied(&self, subject: Subject, verb: Verb, resource: Resource) -> bool {
        self.denied.iter().any(|entry| {
            (entry.verb, entry.resource) == (verb, resource) && entry.who.includes(subject)
        })
    }

    /// Adds an entry; whether there was room for it.
    #[cfg(test)]
    pub(crate) fn deny(&mut self, who: Who, verb: Verb, resource: Resource) -> bool {
        let has_room = self.denied.len() < ENTRIES_MAX;
        if has_room {
            self.denied.push(Entry {
                who,
                verb,
                resource,
            });
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::GroupId;

    const VERBS: [Verb; 5] = [
        Verb::Link,
        Verb::Subscribe,
        Verb::Pull,
        Verb::Publish,
        Verb::ChangeSettings,
    ];
    const ME: PeerKey = PeerKey([1; 32]);
    const OTHER: PeerKey = PeerKey([2; 32]);
    const NEWS: Resource = Resource::Group(GroupId([7; 16]));

    fn member(peer: PeerKey) -> Subject {
        Subject::new(peer, ME).member(true)
    }

    #[test]
    fn an_empty_policy_allows_everything_but_settings_by_others_than_members() {
        let policy = Policy::default();
        for resource in [Resource::Network, NEWS] {
            for verb in VERBS {
                for peer in [ME, OTHER] {
                    assert_eq!(
                        policy.decide(member(peer), verb, resource),
                        Decision::Allowed
                    );
                    let stranger = policy.decide(Subject::new(peer, ME), verb, resource);
                    let expected = if verb == Verb::ChangeSettings {
                        Decision::Denied(Reason::NotMember)
                    } else {
                        Decision::Allowed
                    };
                    assert_eq!(stranger, expected, "{verb:?}");
                }
            }
        }
    }

    #[test]
    fn an_entry_denies_one_verb_on_one_resource_to_those_it_names() {
        for denied in VERBS {
            let mut policy = Policy::default();
            assert!(policy.deny(Who::Peer(OTHER), denied, NEWS));
            for verb in VERBS {
                let decision = policy.decide(member(OTHER), verb, NEWS);
                let expected = if verb == denied {
                    Decision::Denied(Reason::Entry)
                } else {
                    Decision::Allowed
                };
                assert_eq!(decision, expected, "{verb:?} where {denied:?} is denied");
                for (peer, resource) in [
                    (ME, NEWS),
                    (OTHER, Resource::Network),
                    (OTHER, Resource::Group(GroupId([8; 16]))),
                ] {
                    let decision = policy.decide(member(peer), verb, resource);
                    assert_eq!(decision, Decision::Allowed);
                }
            }
        }
    }

    #[test]
    fn an_entry_about_others_leaves_the_peer_itself_alone() {
        let mut policy = Policy::default();
        assert!(policy.deny(Who::Others, Verb::Publish, NEWS));
        let decide = |peer| policy.decide(member(peer), Verb::Publish, NEWS);
        assert_eq!(decide(ME), Decision::Allowed);
        assert_eq!(decide(OTHER), Decision::Denied(Reason::Entry));
    }

    #[test]
    fn a_policy_has_a_limit() {
        let mut policy = Policy::default();
        for _ in 0..ENTRIES_MAX {
            assert!(policy.deny(Who::Peer(OTHER), Verb::Link, Resource::Network));
        }
        assert!(!policy.deny(Who::Peer(ME), Verb::Link, Resource::Network));
        let decision = policy.decide(member(ME), Verb::Link, Resource::Network);
        assert_eq!(decision, Decision::Allowed);
    }
}
