//! What stands on multicast and the overlay, a module each. None of them knows another one.

pub(crate) mod probe;

use crate::base::time::Micros;
use crate::core::Core;
use crate::multicast::{CxRef, Multicast};
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;

/// What a pattern sees and asks for while it is called.
pub(crate) struct Cx<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) net: &'a mut Overlay,
    pub(crate) multicast: &'a mut Multicast,
}

impl Cx<'_> {
    /// What lies below multicast, to look at.
    pub(crate) fn below(&self) -> CxRef<'_> {
        CxRef {
            core: self.core,
            net: self.net,
        }
    }
}

/// What a pattern has to have. It is a trait so that a part that is forgotten does not compile.
pub(crate) trait Module {
    /// Something has happened to links, records or the view.
    fn on_overlay(&mut self, cx: &mut Cx<'_>, event: &OverlayEvent);
    /// [`Self::next_timeout`] has come. To be called early or late does no harm.
    fn on_timeout(&mut self, cx: &mut Cx<'_>);
    /// When it is to be called next.
    fn next_timeout(&self) -> Option<Micros>;
}
