//! Memory stays within what the configuration allows.

use super::{Findings, Snapshot};
use hedgerow_protocol::wire::FRAME_BYTES_MAX;

/// Judges one peer: links, queues, retention, records, checks under way.
pub fn bounds(snapshot: &Snapshot) -> Findings {
    let (config, status) = (&snapshot.config, &snapshot.status);
    let flow = &config.flow;
    let mut findings = Findings::default();
    // A frame is taken into a queue when there is room for a part of it.
    let slack = FRAME_BYTES_MAX;
    let mut limit = |what: &str, is: usize, max: usize| {
        if is > max {
            let node = snapshot.node;
            findings.add(|| format!("node {node}: {is} {what}, the limit is {max}"));
        }
    };
    limit("links", status.links, config.links.links_max);
    limit("records", status.records, config.database.records_max);
    limit(
        "bytes of records",
        status.record_bytes,
        config.memory().records,
    );
    limit(
        "signature checks under way",
        status.verifying,
        flow.verifying_max,
    );
    limit(
        "bytes retained",
        status.retained_bytes,
        config.memory().retained,
    );
    limit(
        "bytes ahead of delivery",
        status.ahead_bytes,
        config.memory().ahead,
    );
    limit(
        "groups",
        status.groups,
        config.groups.groups_max + config.groups.relayed_max,
    );
    let queue_max = [
        flow.control_queue_bytes,
        flow.repair_queue_bytes,
        flow.data_queue_bytes,
        flow.bulk_queue_bytes + flow.repair_queue_bytes,
    ];
    for link in &snapshot.links {
        for (kind, (is, max)) in ["control", "repair", "data", "bulk"]
            .iter()
            .zip(link.queued.lanes().into_iter().zip(queue_max))
        {
            limit(
                &format!("bytes of {kind} queued for a link"),
                is,
                max + slack,
            );
        }
    }
    for group in &snapshot.groups {
        // What a peer has published itself stays for a moment in any case.
        let own = if group.published > 0 {
            config.message_weight_max()
        } else {
            0
        };
        let max = (group.settings.retention_bytes as usize).max(own);
        limit("bytes retained for a group", group.retained_bytes, max);
        // This peer's own log has room in any case.
        let max = config.groups.origins_max + 1;
        limit("logs in a group", group.origins, max);
    }
    findings
}
