//! What a peer is banned for: what no honest peer can have sent.

use crate::base::identity::PeerKey;
use crate::base::interface::{LinkEnd, LinkId};
use crate::core::Core;
use crate::overlay::Overlay;
use crate::wire::WireError;

impl Overlay {
    /// What came on a link can only be made or passed on by a peer that breaks the rules.
    pub(crate) fn on_malformed(&mut self, core: &mut Core, id: LinkId, error: &WireError) {
        if let Some(link) = self.links.get(&id) {
            let peer = link.peer;
            self.on_offence(core, id, peer, error);
        }
    }

    /// The same where the link may have ended meanwhile. Only for what docs/design/penalties.md
    /// lists: what an honest peer may have passed on is dropped and counted.
    pub(crate) fn on_offence(
        &mut self,
        core: &mut Core,
        id: LinkId,
        peer: PeerKey,
        error: &WireError,
    ) {
        tracing::warn!(%peer, %error, "the peer breaks the rules, closing its links");
        core.count(counter!("frames_malformed"));
        self.ban(core, peer);
        self.close_link(core, id, LinkEnd::Malformed);
        let links = self.links.values().filter(|link| link.peer == peer);
        for other in links.map(|link| link.id).collect::<Vec<_>>() {
            self.close_link(core, other, LinkEnd::Banned);
        }
    }

    /// A signature that came on `id` is not its signer's, and nobody honest passes on what they
    /// have not checked.
    pub(crate) fn on_forgery(
        &mut self,
        core: &mut Core,
        id: LinkId,
        peer: PeerKey,
        what: &'static str,
    ) {
        let why = "bad signature";
        self.on_offence(core, id, peer, &WireError::Invalid { what, why });
    }
}
