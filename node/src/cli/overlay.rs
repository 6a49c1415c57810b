//! `hedgerow overlay`: which links carry a group's messages.

use super::Context;
use super::args::{Format, OverlayArgs};
use super::client::{group_path, with_query};
use super::error::CliError;
use super::table::{millis, short, table, text};
use serde_json::{Value, json};

pub(super) async fn overlay(context: &Context, args: OverlayArgs) -> Result<(), CliError> {
    let json = context.output.is_json() && args.format == Format::Table;
    let format = match args.format {
        Format::Table | Format::Json => "json",
        Format::Dot => "dot",
        Format::Graphml => "graphml",
    };
    let mut query = vec![("format", format.to_owned())];
    query.extend(args.origin.map(|origin| ("origin", origin.to_string())));
    let path = with_query(&group_path(&args.group, "overlay"), &query)?;
    if args.format == Format::Table && !json {
        let overlay: Value = context.client.get(&path).await?;
        return print(context, &overlay);
    }
    let mut text = context.client.text(&path).await?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if format == "json" {
        return context.output.json(&[text.as_bytes()]);
    }
    context.output.text(&text)
}

fn print(context: &Context, overlay: &Value) -> Result<(), CliError> {
    context.output.notice(format!(
        "{} from {}, redundancy {}",
        text(&overlay["group"]),
        text(&overlay["origin"]),
        text(&overlay["redundancy"])
    ));
    let mut rows = overlay["nodes"].as_array().cloned().unwrap_or_default();
    rows.sort_by_key(|node| (node["depth"].as_u64(), node["delay_us"].as_u64()));
    for row in &mut rows {
        let parents = row["parents"].as_array().cloned().unwrap_or_default();
        let parents: Vec<_> = parents
            .iter()
            .map(|parent| json!(short(&text(parent))))
            .collect();
        row["parents"] = Value::Array(parents);
    }
    context.output.line(table(
        &[
            ("PEER", |node| text(&node["peer"])),
            ("DEPTH", |node| text(&node["depth"])),
            ("DELAY", |node| millis(&node["delay_us"])),
            ("PARENTS", |node| text(&node["parents"])),
            ("RELAY", |node| text(&node["relay"])),
        ],
        &rows,
    ))
}
