//! Commands about groups.

use super::Context;
use super::client::group_path;
use super::error::CliError;
use super::table::{bytes, table, text};
use crate::api::types::{Membership, SettingsRequest};
use hedgerow_protocol::GroupName;
use hyper::Method;
use serde_json::{Value, json};

pub(super) async fn leave(context: &Context, group: &GroupName) -> Result<(), CliError> {
    let path = group_path(group, "membership");
    let left: Membership = context
        .client
        .call(Method::DELETE, &path, &json!({}))
        .await?;
    if context.output.is_json() {
        return context.output.value(&left);
    }
    context.output.notice(format!("left {group}"));
    Ok(())
}

pub(super) async fn set(
    context: &Context,
    group: &GroupName,
    settings: SettingsRequest,
) -> Result<(), CliError> {
    let patch = settings
        .patch()
        .map_err(|error| CliError::Usage(error.to_string()))?;
    if patch.is_empty() {
        return Err(CliError::Usage(
            "nothing to change; give --overlay, --redundancy, --order, --retention or \
             --retention-bytes"
                .to_owned(),
        ));
    }
    let path = group_path(group, "");
    let status: Value = context.client.call(Method::PATCH, &path, &settings).await?;
    if context.output.is_json() {
        return context.output.value(&status);
    }
    context.output.line(groups_table(&[status]))
}

pub(super) async fn list(context: &Context) -> Result<(), CliError> {
    let answer: Value = context.client.get("/v1/groups").await?;
    if context.output.is_json() {
        return context.output.value(&answer);
    }
    let rows = answer["groups"].as_array().cloned().unwrap_or_default();
    context.output.line(groups_table(&rows))
}

fn groups_table(rows: &[Value]) -> String {
    table(
        &[
            ("GROUP", |group| text(&group["group"])),
            ("ROLE", |group| text(&group["role"])),
            ("OVERLAY", |group| overlay(&group["settings"]["redundancy"])),
            ("ORDER", |group| text(&group["settings"]["order"])),
            ("MEMBERS", |group| text(&group["members"])),
            ("ORIGINS", |group| text(&group["origins"])),
            ("RETAINED", |group| bytes(&group["retained_bytes"])),
            ("DELIVERED", |group| text(&group["delivered"])),
            ("MISSING", |group| text(&group["missing"])),
            ("GAPS", |group| text(&group["gaps"])),
        ],
        rows,
    )
}

fn overlay(redundancy: &Value) -> String {
    match redundancy.as_u64() {
        Some(1) => "tree".to_owned(),
        Some(k) => format!("mesh({k})"),
        None => "-".to_owned(),
    }
}

pub(super) async fn members(context: &Context, group: &GroupName) -> Result<(), CliError> {
    let answer: Value = context.client.get(&group_path(group, "members")).await?;
    if context.output.is_json() {
        return context.output.value(&answer);
    }
    let rows = answer["members"].as_array().cloned().unwrap_or_default();
    context.output.line(table(
        &[
            ("PEER", |member| text(&member["peer"])),
            ("STATE", |member| text(&member["state"])),
            ("ROLE", |member| text(&member["role"])),
            ("SELF", |member| text(&member["self"])),
        ],
        &rows,
    ))
}
