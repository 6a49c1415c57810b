//! `hedgerow trace`: one probe, and its way to every member.

use super::Context;
use super::args::TraceArgs;
use super::client::{group_path, with_query};
use super::error::CliError;
use super::table::{list, short};
use crate::api::types::TraceLine;
use hyper::Method;

pub(super) async fn trace(context: &Context, args: TraceArgs) -> Result<(), CliError> {
    let timeout = args
        .timeout
        .map(|time| humantime::format_duration(time).to_string());
    let query: Vec<_> = timeout.into_iter().map(|time| ("timeout", time)).collect();
    let path = with_query(&group_path(&args.group, "trace"), &query)?;
    let mut lines = context.client.lines(Method::POST, &path).await?;
    while let Some(line) = lines.next::<TraceLine>().await? {
        if context.output.is_json() {
            context.output.value(&line)?;
        }
        match line {
            TraceLine::Answer {
                member,
                path,
                round_trip_us,
            } if !context.output.is_json() => {
                let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                let path: Vec<&str> = path.iter().map(|peer| short(peer)).collect();
                let time = round_trip_us as f64 / 1_000.0;
                context
                    .output
                    .line(format!("{member}  {time:8.1} ms  {}", path.join(" > ")))?;
            }
            TraceLine::Answer { .. } => {}
            TraceLine::Summary {
                group,
                members,
                answered,
                missing,
            } => {
                if missing.is_empty() {
                    let what = format!("{answered} of {members} other members of {group} answered");
                    context.output.notice(what);
                    return Ok(());
                }
                let list = list(&missing);
                return Err(CliError::Partial(format!(
                    "{answered} of {members} other members of {group} answered; missing:{list}"
                )));
            }
        }
    }
    Err(CliError::Ended("the peer went away".to_owned()))
}
