//! Access control: one policy decides who may do what, and is asked at four gates.
//!
//! | gate | asked in | a denial |
//! |---|---|---|
//! | a link comes up | `overlay/links/handshake.rs` | ends the connection with `LinkEnd::Denied` |
//! | a neighbour subscribes or pulls | `multicast/membership.rs`, `pull/serve.rs` | is not remembered; holds nothing |
//! | a bundle comes in | `multicast/receive.rs` | drops it: not checked, not stored, not passed on |
//! | settings change | `multicast/settings.rs` | leaves the settings as they are |
//!
//! [`Policy::decide`] is pure. The caller states the facts about the subject, so that the policy knows
//! the state of nobody else. docs/design/security.md

mod policy;

pub(crate) use policy::Policy;
#[cfg(test)]
pub(crate) use policy::Who;

use crate::base::identity::PeerKey;
use crate::base::name::GroupId;

/// A peer that wants something, and what its caller knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) peer: PeerKey,
    /// Whether it is the peer that decides, in this life or a former one.
    pub(crate) is_self: bool,
    /// Whether it is known to be a member of the group. Only what depends on it needs to ask.
    pub(crate) is_member: bool,
}

impl Subject {
    /// `peer`, as `me` sees it, where nobody has asked for its groups.
    pub(crate) fn new(peer: PeerKey, me: PeerKey) -> Self {
        Self {
            peer,
            is_self: peer == me,
            is_member: false,
        }
    }

    /// The same, known to be a member or not.
    pub(crate) fn member(self, is_member: bool) -> Self {
        Self { is_member, ..self }
    }
}

/// What a subject wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Be a neighbour.
    Link,
    /// Be sent what is published in a group.
    Subscribe,
    /// Be sent again what it has missed.
    Pull,
    /// Have its bundles taken. The subject is their origin, over whichever link they come.
    Publish,
    /// Change a group's settings.
    ChangeSettings,
}

/// With what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Network,
    Group(GroupId),
}

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Decision {
    Allowed,
    Denied(Reason),
}

/// Why something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Only members may do this.
    NotMember,
    /// An entry of the policy denies it.
    Entry,
}
