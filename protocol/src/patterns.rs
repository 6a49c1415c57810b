//! What stands on multicast, unicast and the overlay, a module each. None of them knows another one.
//!
//! A pattern is a folder here, a line below, and its arms in the engine's dispatch of frames and of
//! checks (`engine.rs`), which are exhaustive. What it asks of the parts below it are methods of
//! [`Overlay`] and [`Multicast`]; what they tell it are events.

use crate::base::interface::VerifyId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::multicast::{CxRef, Multicast, MulticastEvent};
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::unicast::Unicast;

/// What a pattern sees and asks for while it is called.
pub(crate) struct Cx<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) net: &'a mut Overlay,
    pub(crate) multicast: &'a mut Multicast,
    pub(crate) unicast: &'a mut Unicast,
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

/// What routed frames carry, by number. 0 stays free, and no number is used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `patterns/echo.rs`.
    Echo,
}

impl Protocol {
    /// `None`: a protocol that this build does not know.
    pub(crate) fn of(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Echo),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Echo => 1,
        }
    }
}

/// What a pattern has to have. It is a trait without defaults so that a part that is forgotten does
/// not compile.
pub(crate) trait Module {
    /// Something has happened to links, records or the view.
    fn on_overlay(&mut self, cx: &mut Cx<'_>, event: &OverlayEvent);
    /// Something has happened in a group.
    fn on_multicast(&mut self, cx: &mut Cx<'_>, event: &MulticastEvent);
    /// The answer to a signature check that it asked for.
    fn on_verified(&mut self, cx: &mut Cx<'_>, check: VerifyId, valid: bool);
    /// [`Self::next_timeout`] has come. To be called early or late does no harm.
    fn on_timeout(&mut self, cx: &mut Cx<'_>);
    /// When it is to be called next.
    fn next_timeout(&self) -> Option<Micros>;
}

macro_rules! patterns {
    ($($module:ident: $state:ident,)*) => {
        $(pub(crate) mod $module;)*

        /// The patterns of a peer. What happens is told to each, in this order.
        #[derive(Default)]
        pub(crate) struct Patterns {
            $(pub(crate) $module: $module::$state,)*
        }

        impl Patterns {
            pub(crate) fn on_overlay(&mut self, cx: &mut Cx<'_>, event: &OverlayEvent) {
                $(self.$module.on_overlay(cx, event);)*
            }

            pub(crate) fn on_multicast(&mut self, cx: &mut Cx<'_>, event: &MulticastEvent) {
                $(self.$module.on_multicast(cx, event);)*
            }

            pub(crate) fn on_timeout(&mut self, cx: &mut Cx<'_>) {
                $(self.$module.on_timeout(cx);)*
            }

            pub(crate) fn next_timeout(&self) -> Option<Micros> {
                [$(self.$module.next_timeout()),*].into_iter().flatten().min()
            }
        }
    };
}

patterns! {
    acknowledge: Acknowledgements,
    echo: Echoes,
    probe: Probes,
}
