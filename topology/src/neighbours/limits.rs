//! What a full peer does: whom it takes, whom it sheds, whom it refuses.

use super::Reason;

/// How many links a peer accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Beyond this many links only ring and repair links are taken, each for another one.
    pub accepted: usize,
    /// At this many links everything is refused.
    pub max_links: usize,
}

impl Default for Limits {
    /// 12 accepted: half as many again as the degree of 8 that peers aim at. 64 refuse: bounds
    /// memory when somebody claims to be everybody's ring neighbour.
    fn default() -> Self {
        Self {
            accepted: 12,
            max_links: 64,
        }
    }
}

/// A live link and who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkUse {
    /// Index of the candidate at the other end.
    pub peer: usize,
    /// Why this peer wants it.
    pub mine: Option<Reason>,
    /// Why the other end says it wants it.
    pub theirs: Option<Reason>,
    /// Whether the view would part without it.
    pub is_bridge: bool,
    /// Whether the peer at the other end has been known for long: it is not shed for a newcomer.
    pub is_long_known: bool,
    /// How many other links come from the address that it comes from.
    pub crowd: usize,
    /// Whether this peer dialled it.
    pub own_dial: bool,
    /// Round-trip time in microseconds.
    pub rtt_us: u32,
}

impl LinkUse {
    fn is_kept(&self) -> bool {
        let is_ring = |reason: Option<Reason>| reason.is_some_and(Reason::is_ring);
        // Any peer can say that it is on the ring: of many from one address that counts for nothing.
        let is_theirs = self.crowd == 0 && is_ring(self.theirs);
        self.is_bridge || self.is_long_known || is_ring(self.mine) || is_theirs
    }
}

/// What to do with a peer that asks for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is room.
    Accept,
    /// Take it and drop this one of the links (an index into what was given).
    AcceptAndShed(usize),
    /// No; name alternatives.
    Refuse,
}

/// Whether to take a further link that the other end wants for `theirs`. `confirmed`: this peer's
/// own database bears the reason out ([`super::confirms_ring`], an articulation point between the
/// two, or this peer wants the link itself).
pub fn admit(links: &[LinkUse], theirs: Reason, confirmed: bool, limits: Limits) -> Admission {
    if links.len() >= limits.max_links {
        Admission::Refuse
    } else if links.len() < limits.accepted {
        Admission::Accept
    } else if confirmed && (theirs.is_ring() || theirs == Reason::Repair) {
        shed(links).map_or(Admission::Accept, Admission::AcceptAndShed)
    } else {
        Admission::Refuse
    }
}

/// Whether neither end wants the link and nothing hangs on it.
pub fn is_closable(link: &LinkUse) -> bool {
    link.mine.is_none() && link.theirs.is_none() && !link.is_bridge
}

/// Which link a full peer drops, as an index into `links`: never one of the ring nor a bridge;
/// nor one to a peer known for long; first the one of most that come from one address, then what
/// nobody wants, then what has the weakest reason on either end, then the longest.
/// Own dials stay while they are no more than half of all, so that inbound links cannot displace
/// them (against eclipse).
pub fn shed(links: &[LinkUse]) -> Option<usize> {
    let own_dials = links.iter().filter(|link| link.own_dial).count();
    let own_dials_stay = own_dials * 2 <= links.len();
    let weakest = |spare_own_dials: bool| {
        links
            .iter()
            .enumerate()
            .filter(|(_, link)| !(link.is_kept() || spare_own_dials && link.own_dial))
            .min_by_key(|&(index, link)| {
                let strongest = strength(link.mine).max(strength(link.theirs));
                let crowd = std::cmp::Reverse(link.crowd);
                (crowd, strongest, std::cmp::Reverse(link.rtt_us), index)
            })
            .map(|(index, _)| index)
    };
    weakest(own_dials_stay)
}

/// How much hangs on a reason.
fn strength(reason: Option<Reason>) -> u8 {
    match reason {
        None => 0,
        Some(Reason::Path) => 1,
        Some(Reason::Shell(_)) => 2,
        Some(Reason::Nearest) => 3,
        Some(Reason::Random(_)) => 4,
        Some(Reason::Repair) => 5,
        Some(Reason::RingSuccessor | Reason::RingPredecessor) => 6,
    }
}
