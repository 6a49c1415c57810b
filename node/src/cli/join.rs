//! `hedgerow join`: messages to stdout, notices to stderr.

use super::Context;
use super::args::JoinArgs;
use super::client::{Lines, group_path, parse, with_query};
use super::error::CliError;
use super::hangup::stdout_hung_up;
use super::one_shot::OneShot;
use super::signals::Signals;
use crate::api::types::{Membership, MessageLine, SubscribeQuery, SubscriptionLine};
use hyper::Method;
use std::time::Duration;

/// How a message's line begins; what follows is what `--jsonl` prints.
pub(super) const MESSAGE: &[u8] = br#"{"type":"message","#;

pub(super) async fn join(context: &Context, args: JoinArgs) -> Result<(), CliError> {
    if let Err(conflict) = args.settings.patch() {
        return Err(CliError::Usage(conflict.to_string()));
    }
    if args.detach {
        return detach(context, &args).await;
    }
    if args.count == Some(0) {
        return Ok(());
    }
    let mut signals = Signals::new()?;
    let peer = OneShot::find_or_start(context, &args.config).await?;
    let result = tokio::select! {
        result = within(args.timeout, "not all messages came", print(context, &args)) => result,
        () = signals.next() => Ok(()),
        () = stdout_hung_up() => Err(CliError::BrokenPipe),
    };
    peer.stop().await;
    result
}

/// Runs `work`, at most for the time given.
pub(super) async fn within<T>(
    time: Option<Duration>,
    what: &str,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let Some(after) = time else { return work.await };
    tokio::time::timeout(after, work).await.unwrap_or_else(|_| {
        Err(CliError::Timeout {
            what: what.to_owned(),
            after,
        })
    })
}

async fn detach(context: &Context, args: &JoinArgs) -> Result<(), CliError> {
    if !args.config.connect.is_empty() && !context.client.is_peer_running().await? {
        return Err(CliError::Usage(
            "--detach needs a running peer to stay in the group; start one with \
             `hedgerow run --connect MULTIADDR --join GROUP`"
                .to_owned(),
        ));
    }
    let path = group_path(&args.group, "membership");
    let call = context
        .client
        .call::<Membership>(Method::PUT, &path, &args.settings);
    let call = async { call.await.map_err(CliError::from) };
    let membership = within(args.timeout, "messages are not due yet", call).await?;
    if context.output.is_json() {
        return context.output.value(&membership);
    }
    context.output.notice(format!("joined {}", args.group));
    Ok(())
}

async fn print(context: &Context, args: &JoinArgs) -> Result<(), CliError> {
    let query = SubscribeQuery::new(args.settings, args.since, args.last);
    let path = with_query(&group_path(&args.group, "messages"), &query)?;
    let lines = context.client.lines(Method::GET, &path).await?;
    let printer = Printer {
        context,
        style: match (args.raw, args.jsonl || context.output.is_json()) {
            (true, _) => Style::Raw,
            (false, true) => Style::Json,
            (false, false) => Style::Lines,
        },
        left: args.count,
    };
    printer.run(lines).await
}

enum Style {
    Lines,
    Raw,
    Json,
}

struct Printer<'a> {
    context: &'a Context,
    style: Style,
    left: Option<u64>,
}

impl Printer<'_> {
    async fn run(mut self, mut lines: Lines) -> Result<(), CliError> {
        while let Some(line) = lines.next_bytes().await? {
            // As it came: a large payload need not be held twice more, read and written again.
            if matches!(self.style, Style::Json)
                && let Some(fields) = line.strip_prefix(MESSAGE)
            {
                self.context.output.json(&[b"{", fields, b"\n"])?;
                if self.was_last() {
                    return Ok(());
                }
                continue;
            }
            match parse(line)? {
                SubscriptionLine::Message(message) => {
                    self.message(&message)?;
                    if self.was_last() {
                        return Ok(());
                    }
                }
                SubscriptionLine::End { group, reason } if reason == "left" => {
                    self.context.output.notice(format!("{group} was left"));
                    return match self.left {
                        Some(left) => Err(CliError::Ended(format!("{left} messages did not come"))),
                        None => Ok(()),
                    };
                }
                SubscriptionLine::End { .. } => {
                    return Err(CliError::Ended("the peer has stopped".to_owned()));
                }
                notice => self.notice(&notice),
            }
        }
        Err(CliError::Ended("the peer went away".to_owned()))
    }

    /// Counts a message; whether no more are wanted.
    fn was_last(&mut self) -> bool {
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.left == Some(0)
    }

    fn message(&self, message: &MessageLine) -> Result<(), CliError> {
        let output = &self.context.output;
        let payload = || {
            message.bytes().map_err(|error| {
                CliError::Ended(format!(
                    "the peer sent a payload that is no base64: {error}"
                ))
            })
        };
        match self.style {
            Style::Json => output.value(message),
            Style::Raw => output.bytes(&payload()?),
            Style::Lines => output.payload(&payload()?, b"\n"),
        }
    }

    fn notice(&self, line: &SubscriptionLine) {
        let output = &self.context.output;
        match line {
            SubscriptionLine::Joined { group } => output.notice(format!("joined {group}")),
            SubscriptionLine::Gap {
                group,
                origin,
                epoch,
                from,
                to,
            } => output.notice(format!(
                "gap in {group}: messages {from} to {to} of {origin} (epoch {epoch}) can no \
                 longer be had"
            )),
            SubscriptionLine::Lagged { group, messages } => output.notice(format!(
                "gap in {group}: {messages} messages were overtaken, stdout is read too slowly"
            )),
            SubscriptionLine::Settings {
                group,
                settings,
                lost,
            } => {
                let lost = if *lost {
                    "; settings given here lost to them"
                } else {
                    ""
                };
                output.notice(format!("{group} has other settings now: {settings}{lost}"));
            }
            SubscriptionLine::Message(_) | SubscriptionLine::End { .. } => {}
        }
    }
}
