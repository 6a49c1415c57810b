//! Commands that ask the peer one thing about itself.

use super::Context;
use super::error::CliError;
use super::hangup::stdout_hung_up;
use super::signals::Signals;
use super::table::{bytes, millis, pairs, span, table, text};
use crate::Multiaddr;
use crate::api::types::Stopped;
use hyper::Method;
use serde_json::{Value, json};

pub(super) async fn id(context: &Context) -> Result<(), CliError> {
    let id: Value = context.client.get("/v1/id").await?;
    if context.output.is_json() {
        return context.output.value(&id);
    }
    let listen = id["listen"].as_array().into_iter().flatten().map(text);
    context.output.line(text(&id["peer"]))?;
    listen
        .into_iter()
        .try_for_each(|address| context.output.line(address))
}

pub(super) async fn status(context: &Context) -> Result<(), CliError> {
    let status: Value = context.client.get("/v1/status").await?;
    if context.output.is_json() {
        return context.output.value(&status);
    }
    context.output.line(pairs(&[
        ("peer", text(&status["peer"])),
        ("network", text(&status["network"])),
        ("epoch", text(&status["epoch"])),
        ("addresses", text(&status["addresses"])),
        (
            "links",
            format!(
                "{} up, {} connecting, {} peers banned",
                status["links"], status["connecting"], status["banned"]
            ),
        ),
        (
            "view",
            format!(
                "{} peers, {} records known",
                status["view_peers"], status["records"]
            ),
        ),
        ("groups", text(&status["groups"])),
        ("retained", bytes(&status["retained_bytes"])),
        ("queued", bytes(&status["queued_bytes"])),
        ("clock off", format!("{} ms", status["clock_off_ms"])),
        ("leaving", text(&status["stopping"])),
        ("copies", copies(&status["identity_conflicts"])),
    ]))
}

/// Identities that two running peers use.
fn copies(conflicts: &Value) -> String {
    let conflicts = conflicts.as_array().into_iter().flatten();
    let peers: Vec<String> = conflicts.map(|conflict| text(&conflict["peer"])).collect();
    if peers.is_empty() {
        return "no identity is used twice".to_owned();
    }
    format!("used by two running peers: {}", peers.join(", "))
}

pub(super) async fn links(context: &Context) -> Result<(), CliError> {
    let answer: Value = context.client.get("/v1/links").await?;
    if context.output.is_json() {
        return context.output.value(&answer);
    }
    let rows = answer["links"].as_array().cloned().unwrap_or_default();
    context.output.line(table(
        &[
            ("PEER", |link| text(&link["peer"])),
            ("RTT", |link| millis(&link["rtt_us"])),
            ("UP", |link| span(&link["up_ms"])),
            ("DIALLED", |link| text(&link["dialled"])),
            ("WANTED", |link| text(&link["wanted"])),
            ("IN", |link| bytes(&link["bytes"]["received"])),
            ("OUT", |link| bytes(&link["bytes"]["sent"])),
            ("LAZY", |link| text(&link["lazy"])),
            ("ADDRESS", |link| text(&link["address"])),
        ],
        &rows,
    ))
}

pub(super) async fn metrics(context: &Context) -> Result<(), CliError> {
    if context.output.is_json() {
        let metrics: Value = context.client.get("/v1/metrics").await?;
        return context.output.value(&metrics);
    }
    let metrics = context.client.text("/metrics").await?;
    context.output.text(&metrics)
}

pub(super) async fn events(context: &Context) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let mut lines = context.client.lines(Method::GET, "/v1/events").await?;
    let print = async {
        while let Some(line) = lines.next_bytes().await? {
            context.output.json(&[line, b"\n"])?;
        }
        Err(CliError::Ended("the peer has stopped".to_owned()))
    };
    tokio::select! {
        result = print => result,
        () = signals.next() => Ok(()),
        () = stdout_hung_up() => Err(CliError::BrokenPipe),
    }
}

pub(super) async fn connect(context: &Context, addresses: &[Multiaddr]) -> Result<(), CliError> {
    let request = json!({ "addresses": addresses });
    let _: Value = context
        .client
        .call(Method::POST, "/v1/connect", &request)
        .await?;
    context
        .output
        .notice("trying; `hedgerow links` shows what comes of it");
    Ok(())
}

pub(super) async fn shutdown(context: &Context) -> Result<(), CliError> {
    let stopped: Stopped = context
        .client
        .call(Method::POST, "/v1/shutdown", &json!({}))
        .await?;
    if context.output.is_json() {
        return context.output.value(&stopped);
    }
    let how = if stopped.confirmed {
        "neighbours confirmed"
    } else {
        "nobody confirmed"
    };
    context
        .output
        .notice(format!("the peer has left the network ({how})"));
    Ok(())
}
