//! `hedgerow ping`: one peer, and how long its answer takes.

use super::Context;
use super::args::PingArgs;
use super::client::ClientError;
use super::error::CliError;
use crate::api::types::Pinged;
use hedgerow_protocol::PeerKey;
use hyper::Method;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// From one ping to the next.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Request {
    peer: PeerKey,
}

/// A line with `--json`; a ping without an answer has neither time nor hops.
#[derive(Serialize)]
struct Line {
    peer: PeerKey,
    round_trip_us: Option<u64>,
    hops: Option<u8>,
}

pub(super) async fn ping(context: &Context, args: PingArgs) -> Result<(), CliError> {
    let PingArgs { peer, count } = args;
    let mut answered = 0;
    for number in 0..count {
        let next = Instant::now() + INTERVAL;
        let pinged = one(context, peer).await?;
        answered += u64::from(pinged.is_some());
        print(context, peer, pinged)?;
        if number + 1 < count {
            tokio::time::sleep_until(next).await;
        }
    }
    if answered < count {
        let text = format!("{answered} of {count} pings were answered");
        return Err(CliError::Partial(text));
    }
    Ok(())
}

/// `None`: it was lost.
async fn one(context: &Context, peer: PeerKey) -> Result<Option<Pinged>, CliError> {
    let request = Request { peer };
    match context
        .client
        .call(Method::POST, "/v1/ping", &request)
        .await
    {
        Ok(pinged) => Ok(Some(pinged)),
        Err(ClientError::Refused { detail, .. }) if detail.code == "ping_lost" => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn print(context: &Context, peer: PeerKey, pinged: Option<Pinged>) -> Result<(), CliError> {
    if context.output.is_json() {
        return context.output.value(&Line {
            peer,
            round_trip_us: pinged.map(|pinged| pinged.round_trip_us),
            hops: pinged.map(|pinged| pinged.hops),
        });
    }
    let Some(Pinged {
        round_trip_us,
        hops,
    }) = pinged
    else {
        context.output.notice(format!("{peer} does not answer"));
        return Ok(());
    };
    let time = round_trip_us as f64 / 1_000.0;
    let links = if hops == 1 { "link" } else { "links" };
    context
        .output
        .line(format!("{peer}  {time:8.1} ms  {hops} {links}"))
}
