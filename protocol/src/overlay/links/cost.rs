//! What a link is stated to cost.

use crate::base::identity::PeerKey;
use crate::overlay::Overlay;

/// What a raised cost is more than the RTT, microseconds.
const SURCHARGE_US: u32 = 20_000;

/// The RTT to state, microseconds, of a link whose cost is raised by so many steps.
fn surcharged(rtt_us: u32, raised: u32) -> u32 {
    let factor = 4_u32.saturating_pow(raised);
    rtt_us
        .saturating_mul(factor)
        .saturating_add(SURCHARGE_US.saturating_mul(factor - 1))
}

impl Overlay {
    /// The RTT to state of a link to `peer`, microseconds.
    pub(crate) fn stated_rtt_us(&self, peer: PeerKey, rtt_us: u32) -> u32 {
        let raised = self.surcharges.get(&peer).copied().unwrap_or(0);
        surcharged(rtt_us, raised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_grows_by_steps_and_never_overflows() {
        assert_eq!(surcharged(1_000, 0), 1_000);
        assert_eq!(surcharged(1_000, 1), 64_000);
        assert_eq!(surcharged(1_000, 2), 316_000);
        assert_eq!(surcharged(u32::MAX, 2), u32::MAX);
    }
}
