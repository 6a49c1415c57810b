//! `GET /v1/config`: the settings in force and where each came from.

use super::extract::Json;
use super::server::Api;
use crate::config::{Entry, entries};
use axum::extract::State;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Config {
    settings: Vec<Entry>,
}

pub(super) async fn show(State(api): State<Api>) -> Json<Config> {
    Json(Config {
        settings: entries(&api.effective),
    })
}
