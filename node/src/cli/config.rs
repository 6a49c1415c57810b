//! `hedgerow config`: what a peer would run with, or runs with, and why.

use super::Context;
use super::args::ConfigShowArgs;
use super::daemon;
use super::error::CliError;
use crate::config::{Sources, entries, load, to_toml};
use serde_json::{Value, json};
use std::path::Path;

pub(super) async fn show(context: &Context, args: ConfigShowArgs) -> Result<(), CliError> {
    if args.running {
        let answer: Value = context.client.get("/v1/config").await?;
        if context.output.is_json() {
            return context.output.value(&answer);
        }
        for entry in answer["settings"].as_array().into_iter().flatten() {
            let key = entry["key"].as_str().unwrap_or_default();
            let origin = entry["origin"].as_str().unwrap_or_default();
            let origin = if args.origin {
                format!("  # {origin}")
            } else {
                String::new()
            };
            context
                .output
                .line(format!("{key} = {}{origin}", entry["value"]))?;
        }
        return Ok(());
    }
    let effective = daemon::settings(context, &args.config, Vec::new())?;
    if context.output.is_json() {
        return context
            .output
            .value(&json!({ "settings": entries(&effective) }));
    }
    context.output.text(&to_toml(&effective, args.origin))
}

pub(super) fn check(context: &Context, file: &Path) -> Result<(), CliError> {
    load(&Sources {
        file: Some(file.to_owned()),
        ..Sources::default()
    })?;
    context
        .output
        .notice(format!("{} is in order", file.display()));
    Ok(())
}
