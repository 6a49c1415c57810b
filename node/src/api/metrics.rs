//! `GET /metrics` for Prometheus and `GET /v1/metrics` for programs; names in `docs/api.md`.

use super::error::ApiError;
use super::extract::Json;
use super::server::Api;
use crate::NodeError;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hedgerow_protocol::status::{BothWays, Counters, GroupStatus, LinkStatus, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::fmt::Error;

/// What `OpenMetrics` 1.0 is served as.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// As in [`QueuedBytes::lanes`](hedgerow_protocol::status::QueuedBytes::lanes).
const QUEUES: [&str; 4] = ["control", "repair", "data", "bulk"];
/// As in [`BothWays`].
const WAYS: [&str; 2] = ["received", "sent"];

/// What stands among the counters and can go down.
const LEVELS: [&str; 2] = ["node_ring_bytes", "node_subscribers"];

/// Everything that is measured, at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    status: Status,
    counters: Counters,
    links: Vec<LinkStatus>,
    groups: Vec<GroupStatus>,
}

impl Snapshot {
    async fn take(api: &Api) -> Result<Self, NodeError> {
        let mut counters = api.node.counters().await?;
        let cut_off = ("api_streams_cut_off", api.held.cut_off());
        counters.values.extend([cut_off]);
        Ok(Self {
            status: api.node.status().await?,
            counters,
            links: api.node.links().await?,
            groups: api.node.groups().await?,
        })
    }
}

pub(super) async fn json(State(api): State<Api>) -> Result<Json<Snapshot>, ApiError> {
    Ok(Json(Snapshot::take(&api).await?))
}

pub(super) async fn text(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let snapshot = Snapshot::take(&api).await?;
    let text = encode(snapshot).map_err(|error| {
        let remedy = "report it with the peer's version";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error, remedy)
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

fn encode(snapshot: Snapshot) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("hedgerow");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_status(&mut encoder)?;
        self.encode_counters(&mut encoder)?;
        self.encode_links(&mut encoder)?;
        self.encode_groups(&mut encoder)
    }
}

impl Snapshot {
    fn encode_status(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let status = &self.status;
        let info = [
            ("peer", status.peer.to_string()),
            ("network", status.network.to_string()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let labels: Vec<(&str, &str)> = info.iter().map(|(k, v)| (*k, v.as_str())).collect();
        gauges(encoder, "build", "Who this is; always 1", [(labels, 1)])?;
        let values: [(&str, &str, usize); 13] = [
            ("links", "Links that are up", status.links),
            (
                "connecting",
                "Handshakes and dials under way",
                status.connecting,
            ),
            (
                "banned",
                "Peers that broke the rules and are not linked to for now",
                status.banned,
            ),
            (
                "capacity",
                "Children it says it can feed",
                usize::from(status.capacity),
            ),
            (
                "database_records",
                "Records in the database",
                status.records,
            ),
            (
                "view_peers",
                "Peers in the view, this one included",
                status.view_peers,
            ),
            (
                "algorithm_unsupported",
                "Peers in the view that compute other trees",
                status.algorithm_unsupported,
            ),
            ("groups", "Groups, own and relayed ones", status.groups),
            (
                "retained_bytes",
                "Bytes retained over all groups",
                status.retained_bytes,
            ),
            (
                "ahead_bytes",
                "Bytes received ahead of what can be delivered, over all groups",
                status.ahead_bytes,
            ),
            (
                "queued_bytes",
                "Bytes waiting in link queues",
                status.queued_bytes,
            ),
            ("verifying", "Signature checks under way", status.verifying),
            (
                "stopping",
                "1 while the peer leaves",
                usize::from(status.stopping),
            ),
        ];
        for (name, help, value) in values {
            gauges(encoder, name, help, [(vec![], value as u64)])?;
        }
        Ok(())
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, value) in &self.counters.values {
            let one = [(vec![], *value)];
            if LEVELS.contains(name) {
                gauges(encoder, name, "At this moment", one)?;
            } else {
                counters(encoder, name, "Since the start of the peer", one)?;
            }
        }
        let kinds = [&self.counters.frames_received, &self.counters.frames_sent];
        let frames = WAYS.iter().zip(kinds).flat_map(|(way, kinds)| {
            kinds
                .iter()
                .map(move |(kind, count)| (vec![("kind", *kind), ("direction", *way)], *count))
        });
        counters(encoder, "frames", "Frames over all links, by kind", frames)?;
        let ends: Vec<(String, u64)> = self
            .counters
            .link_ends
            .iter()
            .map(|(reason, count)| (word(reason), *count))
            .collect();
        let series = ends
            .iter()
            .map(|(reason, count)| (vec![("reason", reason.as_str())], *count));
        counters(encoder, "link_ends", "Links that ended, by reason", series)
    }

    fn encode_links(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let peers: Vec<String> = self
            .links
            .iter()
            .map(|link| link.peer.to_string())
            .collect();
        let links = || self.links.iter().zip(peers.iter().map(String::as_str));
        let series = links().flat_map(|(link, peer)| {
            let queues = QUEUES.iter().zip(link.queued.lanes());
            queues
                .map(move |(queue, bytes)| (vec![("peer", peer), ("queue", *queue)], bytes as u64))
        });
        gauges(
            encoder,
            "link_queue_bytes",
            "Bytes waiting for a link, by queue",
            series,
        )?;
        let series = links().map(|(link, peer)| (vec![("peer", peer)], u64::from(link.lazy)));
        gauges(
            encoder,
            "link_lazy",
            "1 while data for a link is announced, not pushed",
            series,
        )?;
        let rtts = links().filter_map(|(link, peer)| Some((vec![("peer", peer)], link.rtt_us?)));
        gauges(
            encoder,
            "link_rtt_microseconds",
            "Smoothed round-trip time of a link",
            rtts,
        )?;
        let series = |of: fn(&LinkStatus) -> BothWays| {
            links().flat_map(move |(link, peer)| {
                let both = of(link);
                let both = WAYS.iter().zip([both.received, both.sent]);
                both.map(move |(way, count)| (vec![("peer", peer), ("direction", *way)], count))
            })
        };
        counters(
            encoder,
            "link_bytes",
            "Bytes over a link",
            series(|link| link.bytes),
        )?;
        counters(
            encoder,
            "link_bundles",
            "Bundles over a link",
            series(|link| link.bundles),
        )
    }

    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let series = |of: fn(&GroupStatus) -> u64| {
            self.groups.iter().filter_map(move |status| {
                let name = status.group.as_ref()?.as_str();
                Some((vec![("group", name)], of(status)))
            })
        };
        let members = series(|group| group.members as u64);
        gauges(
            encoder,
            "group_members",
            "Members known in the view",
            members,
        )?;
        let retained = series(|group| group.retained_bytes as u64);
        gauges(encoder, "group_retained_bytes", "Bytes retained", retained)?;
        let missing = series(|group| group.missing);
        gauges(
            encoder,
            "group_missing",
            "Entries known of and not here yet",
            missing,
        )?;
        let published = series(|group| group.published);
        counters(
            encoder,
            "group_published",
            "Messages published here",
            published,
        )?;
        let copies = series(|group| group.copies);
        counters(encoder, "group_copies", "Payload copies received", copies)?;
        let firsts = series(|group| group.firsts);
        counters(
            encoder,
            "group_firsts",
            "Copies that were the first of theirs",
            firsts,
        )?;
        let repaired = series(|group| group.repaired);
        counters(
            encoder,
            "group_repaired",
            "First copies that were pulled",
            repaired,
        )?;
        let delivered = series(|group| group.delivered);
        counters(encoder, "group_delivered", "Messages delivered", delivered)?;
        let gaps = series(|group| group.gaps);
        counters(
            encoder,
            "group_gaps",
            "Entries that can no longer be had",
            gaps,
        )
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> Result<(), Error> {
    family(encoder, name, help, series, |value| {
        ConstGauge::new(value as i64)
    })
}

fn counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> Result<(), Error> {
    family(encoder, name, help, series, ConstCounter::new)
}

fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, u64)>,
    make: impl Fn(u64) -> M,
) -> Result<(), Error> {
    let mut series = series.into_iter().peekable();
    let Some((_, first)) = series.peek() else {
        return Ok(());
    };
    let metric_type = make(*first).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
    for (labels, value) in series {
        let metric = make(value);
        if labels.is_empty() {
            // The only one of its family.
            return metric.encode(family);
        }
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The word by which serde writes an enum's variant.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}
