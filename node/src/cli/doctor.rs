//! `hedgerow doctor`: what can be seen from outside, then what the peer says of itself.

use super::Context;
use super::args::ConfigArgs;
use super::client::ClientError;
use super::daemon;
use super::error::CliError;
use super::table::{table, text};
use crate::api::types::{Check, Health};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Written to see whether that can be done: one block of most file systems.
const PROBE_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Report {
    checks: Vec<Check>,
}

pub(super) async fn doctor(context: &Context) -> Result<(), CliError> {
    let mut checks = vec![data_dir(context.paths.data_dir()), configuration(context)];
    checks.extend(secrets(context.paths.data_dir()));
    let report = context.client.get::<Report>("/v1/doctor").await;
    let unreachable = match report {
        Ok(report) => {
            let socket = context.paths.socket_of_running_peer().display().to_string();
            checks.push(check("socket", Health::Ok, socket, ""));
            checks.extend(report.checks);
            None
        }
        Err(error) => {
            let remedy = match &error {
                ClientError::NoPeer { .. } => "start the peer: `hedgerow run`",
                ClientError::Denied { .. } => "run as the user that runs the peer",
                _ => "run as the user that runs the peer, with the same version",
            };
            checks.push(check("socket", Health::Fail, error.to_string(), remedy));
            Some(error)
        }
    };
    print(context, &checks)?;
    match unreachable {
        Some(error) => Err(error.into()),
        None if checks.iter().any(|check| check.health == Health::Fail) => Err(CliError::Reported),
        None => Ok(()),
    }
}

fn print(context: &Context, checks: &[Check]) -> Result<(), CliError> {
    if context.output.is_json() {
        return context.output.value(&json!({ "checks": checks }));
    }
    let rows: Vec<Value> = checks.iter().map(|check| json!(check)).collect();
    context.output.line(table(
        &[
            ("CHECK", |check| text(&check["name"])),
            ("HEALTH", |check| text(&check["health"])),
            ("FOUND", |check| text(&check["found"])),
        ],
        &rows,
    ))?;
    for check in checks.iter().filter(|check| check.health > Health::Ok) {
        context
            .output
            .line(format!("\n{}: {}", check.name, check.remedy))?;
    }
    Ok(())
}

fn check(name: &str, health: Health, found: impl Into<String>, remedy: &str) -> Check {
    Check {
        name: name.to_owned(),
        health,
        found: found.into(),
        remedy: remedy.to_owned(),
    }
}

fn data_dir(directory: &Path) -> Check {
    let shown = directory.display().to_string();
    let remedy = "name the peer's directory with --data-dir or HEDGEROW_DATA_DIR; `hedgerow run` \
                  makes a new one";
    match std::fs::metadata(directory) {
        Err(error) => check(
            "data directory",
            Health::Fail,
            format!("{shown}: {error}"),
            remedy,
        ),
        Ok(metadata) if !metadata.is_dir() => check(
            "data directory",
            Health::Fail,
            format!("{shown} is not a directory"),
            remedy,
        ),
        Ok(metadata) if metadata.permissions().mode() & 0o022 != 0 => {
            let remedy = "others may write into it: `chmod go-w` it";
            check("data directory", Health::Fail, shown, remedy)
        }
        Ok(_) => match probe(directory) {
            Ok(()) => check("data directory", Health::Ok, shown, ""),
            Err(error) => {
                let remedy = "nothing can be written there: free space on that disk, or run as \
                              the user that it belongs to";
                let found = format!("{shown}: {error}");
                check("data directory", Health::Fail, found, remedy)
            }
        },
    }
}

/// Writes a file in `directory` and removes it.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".doctor-{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_all()
    });
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => written.and(Err(error)),
        _ => written,
    }
}

/// Files that hold secrets and that others could read.
fn secrets(directory: &Path) -> Vec<Check> {
    let open: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().contains("key"))
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
        })
        .map(|entry| entry.path().display().to_string())
        .collect();
    if open.is_empty() {
        return Vec::new();
    }
    let remedy = "others can read the identity: `chmod 600` it, and if they may have, delete it \
                  to get a new one";
    vec![check(
        "identity file",
        Health::Fail,
        open.join(", "),
        remedy,
    )]
}

fn configuration(context: &Context) -> Check {
    let args = ConfigArgs::of_environment();
    match daemon::settings(context, &args, Vec::new()) {
        Ok(_) => check("configuration", Health::Ok, "in order", ""),
        Err(error) => {
            let remedy = "`hedgerow config show --origin` shows where values come from";
            check("configuration", Health::Fail, error.to_string(), remedy)
        }
    }
}
