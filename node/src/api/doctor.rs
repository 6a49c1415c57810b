//! `GET /v1/doctor`: what the running peer finds wrong with itself, and what to do.

use super::error::ApiError;
use super::extract::Json;
use super::server::Api;
use super::types::{Check, Health};
use crate::config::Settings;
use crate::{Multiaddr, NodeError};
use axum::extract::State;
use hedgerow_protocol::Address;
use hedgerow_protocol::status::{IdentityConflict, LinkStatus, Status};
use libp2p::multiaddr::Protocol;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 1 January 2024: no machine that runs this should think it is earlier.
const PLAUSIBLE_MS: u64 = 1_704_067_200_000;

/// What clocks may differ by.
const CLOCK_OFF: Duration = Duration::from_secs(600);

#[derive(Serialize)]
pub(super) struct Report {
    checks: Vec<Check>,
}

pub(super) async fn examine(State(api): State<Api>) -> Result<Json<Report>, ApiError> {
    let status = api.node.status().await?;
    let links = api.node.links().await?;
    let listen = api.node.listen_addresses();
    let settings = &api.effective.settings;
    let counters = api.node.counters().await?;
    let gaps: u64 = api
        .node
        .groups()
        .await?
        .iter()
        .map(|group| group.gaps)
        .sum();
    let counter = |name: &str| counters.values.get(name).copied().unwrap_or_default();
    let checks = vec![
        identity(&status),
        storage(api.node.check_store().await),
        clock(&status),
        listening(&listen),
        linked(&status, &links, settings),
        view(&status),
        queues(&links),
        lost(gaps),
        overtaken(counter("node_overtaken")),
        honest(counter("origins_cut_off")),
    ];
    Ok(Json(Report { checks }))
}

fn check(name: &str, health: Health, found: impl Into<String>, remedy: &str) -> Check {
    Check {
        name: name.to_owned(),
        health,
        found: found.into(),
        remedy: remedy.to_owned(),
    }
}

fn identity(status: &Status) -> Check {
    let found = format!(
        "{} in network {}, epoch {}",
        status.peer, status.network, status.epoch
    );
    if status.stopping {
        let remedy = "if nobody asked it to, another peer runs with a copy of this identity: \
                      give every peer a data directory of its own";
        return check(
            "identity",
            Health::Fail,
            format!("{found}; leaving or stopped"),
            remedy,
        );
    }
    let places = |conflict: &IdentityConflict| {
        let users = conflict.users.iter().map(|user| {
            let places: Vec<&str> = user.addresses.iter().map(Address::as_str).collect();
            format!("epoch {} at {}", user.epoch, places.join(", "))
        });
        users.collect::<Vec<_>>().join("; ")
    };
    let conflicts = &status.identity_conflicts;
    let own = conflicts.iter().find(|other| other.peer == status.peer);
    if let Some(conflict) = own {
        let remedy = "another peer runs with a copy of this peer's key or data directory: give one \
                      of them its own (--data-dir DIR, or --new-identity)";
        let found = format!("{found}; also used by {}", places(conflict));
        return check("identity", Health::Fail, found, remedy);
    }
    if let Some(conflict) = conflicts.first() {
        let remedy = "two peers run with copies of one key or data directory: give one of them its \
                      own (--data-dir DIR, or --new-identity)";
        let found = format!("{found}; {} is used by {}", conflict.peer, places(conflict));
        return check("identity", Health::Warn, found, remedy);
    }
    check("identity", Health::Ok, found, "")
}

fn storage(written: Result<(), NodeError>) -> Check {
    match written {
        Ok(()) => check("storage", Health::Ok, "takes what is written", ""),
        Err(error) => {
            let remedy = "the peer cannot store its epoch, its groups and its neighbours: free \
                          space on that disk, or make it writable";
            check("storage", Health::Fail, error.to_string(), remedy)
        }
    }
}

fn clock(status: &Status) -> Check {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let found = format!("{now_ms} ms since 1970");
    if now_ms < PLAUSIBLE_MS {
        let remedy = "set the clock (NTP): epochs and times of publication depend on it";
        return check("clock", Health::Fail, found, remedy);
    }
    let off = Duration::from_millis(status.clock_off_ms.unsigned_abs());
    if off > CLOCK_OFF {
        let way = if status.clock_off_ms < 0 {
            "behind"
        } else {
            "ahead of"
        };
        let found = format!("{} s {way} the neighbours' clocks", off.as_secs());
        let remedy = "set the clock (NTP), here or there: times of publication are shown wrong; \
                      messages are delivered all the same";
        return check("clock", Health::Warn, found, remedy);
    }
    check("clock", Health::Ok, found, "")
}

fn listening(listen: &[Multiaddr]) -> Check {
    let all = listen
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if listen.is_empty() {
        let remedy = "nobody can dial this peer: give --listen /ip4/0.0.0.0/tcp/4001";
        return check("listen", Health::Warn, "not listening", remedy);
    }
    let loopback = |address: &Multiaddr| {
        address.iter().any(|part| match part {
            Protocol::Ip4(ip) => ip.is_loopback(),
            Protocol::Ip6(ip) => ip.is_loopback(),
            _ => false,
        })
    };
    if listen.iter().all(loopback) {
        let remedy = "only this machine can dial it: listen on another interface for others";
        return check("listen", Health::Warn, all, remedy);
    }
    check("listen", Health::Ok, all, "")
}

fn linked(status: &Status, links: &[LinkStatus], settings: &Settings) -> Check {
    let degree = settings.links.degree;
    let found = format!(
        "{} up, {} connecting, {degree} aimed for",
        status.links, status.connecting
    );
    if status.links == 0 && settings.connect.is_empty() {
        let remedy = "nobody else is here. If somebody should be: name a running peer with \
                      --connect MULTIADDR (`hedgerow id` there prints its addresses)";
        return check("links", Health::Warn, found, remedy);
    }
    if status.links == 0 {
        let remedy = "no peer it was told to connect to answers: check that they run, firewalls, \
                      and that both sides have the same network (`hedgerow status`)";
        return check("links", Health::Fail, found, remedy);
    }
    if status.links == 1 && status.view_peers > 2 {
        let remedy = "one link is one failure away from none: wait a little; if it stays so, \
                      others cannot dial this peer (listen, firewall)";
        return check("links", Health::Warn, found, remedy);
    }
    let slow = links
        .iter()
        .filter(|link| link.rtt_us.is_some_and(|rtt| rtt > 1_000_000))
        .count();
    if slow > 0 {
        let remedy = "`hedgerow links` shows which; the network there is slow or overloaded";
        return check(
            "links",
            Health::Warn,
            format!("{found}; {slow} over 1 s away"),
            remedy,
        );
    }
    check("links", Health::Ok, found, "")
}

fn view(status: &Status) -> Check {
    let found = format!(
        "{} peers in the view, {} records",
        status.view_peers, status.records
    );
    if status.records > 2 * status.view_peers.max(1) {
        let remedy = "many known peers are not reachable: they died, or the network is \
                      partitioned; it heals by itself once a single connection works";
        return check("view", Health::Warn, found, remedy);
    }
    check("view", Health::Ok, found, "")
}

fn queues(links: &[LinkStatus]) -> Check {
    let lazy = links.iter().filter(|link| link.lazy).count();
    let queued: usize = links.iter().map(|link| link.queued.total()).sum();
    let found = format!("{queued} bytes waiting, {lazy} links behind");
    if lazy > 0 {
        let remedy = "those neighbours read slower than messages come; they pull at their pace. \
                      A larger flow.data_queue_bytes bears longer bursts";
        return check("queues", Health::Warn, found, remedy);
    }
    check("queues", Health::Ok, found, "")
}

fn lost(gaps: u64) -> Check {
    if gaps > 0 {
        let remedy = "messages went out of retention before this peer came to them: raise \
                      retention with `hedgerow group set`";
        return check("gaps", Health::Warn, format!("{gaps} entries lost"), remedy);
    }
    check("gaps", Health::Ok, "none", "")
}

fn overtaken(messages: u64) -> Check {
    if messages > 0 {
        let remedy = "local readers were slower than messages came: let them read faster, or raise \
                      delivery.messages_max and delivery.bytes_max";
        let found = format!("overtaken by {messages} messages");
        return check("subscribers", Health::Warn, found, remedy);
    }
    check("subscribers", Health::Ok, "all kept up", "")
}

fn honest(equivocations: u64) -> Check {
    if equivocations > 0 {
        let remedy = "a peer signed different messages under one name and is cut off; \
                      `GET /v1/events` names it when it happens";
        return check(
            "origins",
            Health::Warn,
            format!("{equivocations} equivocations"),
            remedy,
        );
    }
    check("origins", Health::Ok, "no equivocation seen", "")
}
