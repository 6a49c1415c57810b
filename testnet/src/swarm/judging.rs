//! What must hold in every run, besides safety and liveness, which are judged in any case.

use super::draw::Toml;
use super::faults::Faults;
use super::groups::Groups;
use super::topology::Topology;

/// What must never happen to those that behave.
const NEVER: [&str; 3] = ["app_duplicates", "order_violations", "foreign"];
/// What must not be true in the end.
const NOT_IN_THE_END: [&str; 2] = ["hostile.wronged", "hostile.twins"];

pub(super) fn write(topology: &Topology, groups: &Groups, faults: &Faults, toml: &mut Toml) {
    for group in groups.heard() {
        for metric in NEVER {
            let assert = toml.table("[[assert]]");
            assert.text("metric", metric).text("group", group);
            assert.text("op", "==").plain("value", 0);
        }
        // A message may die with its publisher, with the last peer that had it, or of retention. Where
        // none of that is drawn, all members get everything.
        let stay = !faults.stop_peers() && !faults.change_members();
        if stay && topology.late == 0 && !groups.limit_retention(group) && groups.is_due(group) {
            let assert = toml.table("[[assert]]");
            assert.text("metric", "delivery_ratio").text("group", group);
            assert.text("op", "==").plain("value", "1.0");
        }
    }
    for metric in NOT_IN_THE_END {
        let assert = toml.table("[[assert]]");
        assert.text("metric", metric);
        assert.text("op", "==").plain("value", 0);
    }
}
