//! `hedgerow pub` and `hedgerow broadcast`.

use super::Context;
use super::args::PublishArgs;
use super::client::{group_path, read, with_query};
use super::error::CliError;
use super::input::Input;
use super::join::within;
use super::one_shot::OneShot;
use super::signals::Signals;
use super::table::list;
use crate::api::types::{Acknowledged, PublishQuery, Published, Split};
use hedgerow_protocol::{GroupName, Headers};
use hyper::Method;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How long a peer of our own may take to find others.
const LINK_WAIT: Duration = Duration::from_secs(10);
/// The view of a peer of our own is taken as whole when nothing was added for so long.
const SETTLED: Duration = Duration::from_millis(300);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(25);

pub(super) async fn publish(
    context: &Context,
    group: GroupName,
    args: PublishArgs,
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    // A mistake in the arguments should start nothing.
    let headers = headers(&args.headers)?;
    let input = Input::open(&args).await?;
    let is_lines = input.split == Split::Lines;
    let peer = OneShot::find_or_start(context, &args.config).await?;
    let work = async {
        if peer.is_own() {
            await_view(context, args.timeout.unwrap_or(LINK_WAIT).min(LINK_WAIT)).await?;
        }
        upload(context, &group, input, headers, args.wait).await
    };
    let what = if args.wait {
        "not every member has all of it"
    } else {
        "not all was accepted"
    };
    let result = tokio::select! {
        result = within(args.timeout, what, work) => result,
        () = signals.next() => Err(CliError::Ended("interrupted".to_owned())),
    };
    let confirmed = peer.stop().await;
    let published = result?;
    if is_lines && !context.output.is_json() {
        let messages = published.messages;
        context
            .output
            .notice(format!("{messages} messages accepted"));
    }
    report(context, &published, args.allow_nobody)?;
    if !confirmed {
        return Err(CliError::Partial(
            "no neighbour confirmed that it holds what was published; others may not get it"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn upload(
    context: &Context,
    group: &GroupName,
    input: Input,
    headers: Headers,
    wait: bool,
) -> Result<Published, CliError> {
    let Input {
        body,
        split,
        progress,
        failure,
    } = input;
    let path = with_query(
        &group_path(group, "messages"),
        &PublishQuery {
            split,
            wait,
            headers,
        },
    )?;
    let sent = context
        .client
        .send(Method::POST, &path, "application/octet-stream", body)
        .await;
    progress.finish_and_clear();
    let sent = sent.map_err(|error| failure.or(error))?;
    Ok(read(sent).await?)
}

fn headers(given: &[(String, String)]) -> Result<Headers, CliError> {
    let mut headers = Headers::default();
    for (key, value) in given {
        (headers.insert(key, value))
            .map_err(|error| CliError::Usage(format!("--header: {error}")))?;
    }
    Ok(headers)
}

fn report(context: &Context, published: &Published, allow_nobody: bool) -> Result<(), CliError> {
    if context.output.is_json() {
        context.output.value(published)?;
    }
    let nobody = nobody(published);
    let Some(Acknowledged {
        members,
        missing,
        timed_out,
        ..
    }) = &published.acknowledged
    else {
        if let Some(nobody) = nobody {
            context.output.notice(nobody);
        }
        return Ok(());
    };
    if *members == 0 && published.messages > 0 {
        // Others may have come since, but have not confirmed anything.
        let what = nobody.unwrap_or_else(|| {
            format!(
                "nobody else was in group {} at publication",
                published.group
            )
        });
        if allow_nobody {
            context.output.notice(what);
            return Ok(());
        }
        return Err(CliError::Partial(format!(
            "{what}; nobody is known to have what was published (--allow-nobody takes that for \
             success)"
        )));
    }
    if missing.is_empty() && !timed_out {
        return Ok(());
    }
    let list = list(missing);
    let what = format!(
        "{} of {members} members do not have all of it",
        missing.len()
    );
    if *timed_out {
        Err(CliError::Unacknowledged(format!(
            "{what} in time (groups.acknowledge_ms){list}"
        )))
    } else {
        Err(CliError::Partial(format!(
            "{what}, they left or vanished{list}"
        )))
    }
}

/// Says that nobody else is in the group, if so.
fn nobody(published: &Published) -> Option<String> {
    if published.others > 0 || published.messages == 0 {
        return None;
    }
    if published.group.is_broadcast() {
        return Some("nobody else is in the network".to_owned());
    }
    let meant = published.similar.as_ref();
    let meant = meant.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
    Some(format!(
        "nobody else is in group {}{meant}",
        published.group
    ))
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
struct View {
    links: usize,
    #[serde(rename = "view_peers")]
    peers: usize,
    records: usize,
}

/// Waits until the peer has a link and knows the others behind it: what it publishes before
/// reaches nobody, and acknowledgements are asked of the members it knows.
async fn await_view(context: &Context, time: Duration) -> Result<(), CliError> {
    let begin = Instant::now();
    let mut last: Option<(View, Instant)> = None;
    loop {
        let view: View = context.client.get("/v1/status").await?;
        let since = match last {
            Some((before, since)) if before == view => since,
            _ => Instant::now(),
        };
        last = Some((view, since));
        if view.links > 0 && view.peers > 1 && since.elapsed() >= SETTLED {
            return Ok(());
        }
        if begin.elapsed() >= time {
            return Err(CliError::Partial(format!(
                "no peer could be reached within {}; check the address given with --connect, and \
                 that both peers have the same --network",
                humantime::format_duration(time)
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}
