//! Errors as answers: a status code and a body that says what to do.

use super::types::{ErrorBody, ErrorDetail};
use crate::NodeError;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hedgerow_protocol::{GroupName, JoinError, PingError, PublishError};

/// An answer that is not a success.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Messages accepted before, for uploads.
    pub messages: Option<u64>,
}

impl ApiError {
    /// An error with a remedy.
    #[allow(clippy::needless_pass_by_value)] // texts and errors alike read best without `&`
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl ToString,
        remedy: impl ToString,
    ) -> Self {
        Self {
            status,
            code,
            message: message.to_string(),
            remedy: remedy.to_string(),
            messages: None,
        }
    }

    /// The same after so many messages of an upload were accepted.
    pub(super) fn after(self, messages: u64) -> Self {
        Self {
            messages: Some(messages),
            ..self
        }
    }

    /// The same with another remedy.
    pub(super) fn with_remedy(self, remedy: &str) -> Self {
        Self {
            remedy: remedy.to_owned(),
            ..self
        }
    }

    pub(super) fn bad_request(message: impl ToString, remedy: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, remedy)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorDetail {
            code: self.code.to_owned(),
            message: self.message,
            remedy: self.remedy,
        };
        (
            self.status,
            Json(ErrorBody {
                error,
                messages: self.messages,
            }),
        )
            .into_response()
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        let (status, code, remedy) = match &error {
            JoinError::SettingsDiffer { .. } => (
                StatusCode::CONFLICT,
                "settings_differ",
                "join without settings, or change them for all with `hedgerow group set`",
            ),
            JoinError::SettingsInvalid => (
                StatusCode::BAD_REQUEST,
                "settings_invalid",
                "choose values in these ranges",
            ),
            JoinError::TooManyGroups { .. } => (
                StatusCode::CONFLICT,
                "too_many_groups",
                "leave a group, or raise groups.groups_max in the configuration",
            ),
            JoinError::HistoryTooLong { .. } => (
                StatusCode::BAD_REQUEST,
                "history_too_long",
                "ask for fewer, or for a duration: `--since 10m`",
            ),
            JoinError::Unsupported { .. } => (
                StatusCode::CONFLICT,
                "setting_unsupported",
                "run a later version of Hedgerow on this peer",
            ),
            JoinError::NotMember(group) => {
                let remedy = format!("join the group first: `hedgerow join {}`", quoted(group));
                return Self::new(StatusCode::NOT_FOUND, "not_member", error, remedy);
            }
            JoinError::Stopped => return stopped(&error),
            JoinError::Name(_) => (
                StatusCode::BAD_REQUEST,
                "bad_name",
                "a group name is 1 to 128 bytes of UTF-8 without control or invisible \
                 characters",
            ),
        };
        Self::new(status, code, error, remedy)
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let (status, code, remedy) = match &error {
            PublishError::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "message_too_large",
                "publish smaller messages (`--split lines`), or raise groups.message_bytes_max \
                 at every peer",
            ),
            // Uploads wait while the peer is busy.
            PublishError::Busy => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "look into the peer's log, and at `hedgerow doctor`",
            ),
            PublishError::TooManyGroups { .. } => (
                StatusCode::CONFLICT,
                "too_many_groups",
                "leave a group, or raise groups.groups_max in the configuration",
            ),
            PublishError::Unsupported { .. } => (
                StatusCode::CONFLICT,
                "setting_unsupported",
                "run a later version of Hedgerow on this peer",
            ),
            PublishError::Stopped => return stopped(&error),
        };
        Self::new(status, code, error, remedy)
    }
}

/// A group's name as a shell reads it.
fn quoted(group: &GroupName) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+,".contains(c);
    let name = group.as_str();
    if name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

fn stopped(error: &impl std::fmt::Display) -> ApiError {
    let remedy = "start it again: `hedgerow run`";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", error, remedy)
}

impl From<PingError> for ApiError {
    fn from(error: PingError) -> Self {
        let (status, code, remedy) = match error {
            PingError::UnknownPeer(_) => (
                StatusCode::NOT_FOUND,
                "unknown_peer",
                "`hedgerow members` lists the peers that can be reached",
            ),
            PingError::OwnPeer => (
                StatusCode::BAD_REQUEST,
                "own_peer",
                "name another peer: `hedgerow members` lists them",
            ),
            PingError::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_pings",
                "try again soon",
            ),
        };
        Self::new(status, code, error, remedy)
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Join(error) => error.into(),
            NodeError::Publish(error) => error.into(),
            NodeError::Ping(error) => error.into(),
            NodeError::PingLost { .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "ping_lost",
                error,
                "it may have crashed or be cut off: see `hedgerow members` in a few seconds",
            ),
            NodeError::Stopped => stopped(&error),
            NodeError::Address { .. } => {
                Self::bad_request(&error, "write addresses like /ip4/192.0.2.1/tcp/4001")
            }
            NodeError::Config(_) => Self::bad_request(
                &error,
                "`hedgerow config show --origin` says where it is set",
            ),
            NodeError::DataDir { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "not_stored",
                error,
                "nothing has changed; free space on that disk, or make it writable, and try again",
            ),
            error => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                error,
                "look into the peer's log, and at `hedgerow doctor`",
            ),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            _ => "bad_body",
        };
        let remedy = "send a JSON object with Content-Type: application/json; see docs/api.md";
        Self::new(rejection.status(), code, rejection.body_text(), remedy)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        let remedy = "see the endpoint's query in docs/api.md";
        Self::new(
            rejection.status(),
            "bad_query",
            rejection.body_text(),
            remedy,
        )
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        let remedy = "a group name is 1 to 128 bytes of UTF-8 without control or invisible \
                      characters, percent-encoded in paths";
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_name",
            rejection.body_text(),
            remedy,
        )
    }
}

/// No such endpoint.
pub(super) async fn not_found(uri: axum::http::Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_endpoint",
        format!("there is no {}", uri.path()),
        "docs/api.md lists the endpoints; they begin with /v1/",
    )
}

/// An endpoint, but not with this method.
pub(super) async fn method_not_allowed(
    method: axum::http::Method,
    uri: axum::http::Uri,
) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}", uri.path()),
        "docs/api.md lists the methods of each endpoint",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_name_the_group_as_a_shell_reads_it() {
        for (name, shown) in [
            ("news", "news"),
            ("a/b-c.d", "a/b-c.d"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            let group = GroupName::new(name).expect("valid");
            assert_eq!(quoted(&group), shown);
        }
    }
}
