//! Extractors that reject in the API's own error format.

use super::error::ApiError;
use super::server::Api;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A JSON body. It must come within `api.request_ms`.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let reading = <axum::Json<T> as FromRequest<Api>>::from_request(request, api);
        let axum::Json(value) = in_time(api, reading).await?;
        Ok(Self(value))
    }
}

async fn in_time<T, E: Into<ApiError>>(
    api: &Api,
    reading: impl Future<Output = Result<T, E>>,
) -> Result<T, ApiError> {
    let limit = api.request_limit();
    match tokio::time::timeout(limit, reading).await {
        Ok(read) => read.map_err(Into::into),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!("the request's body has not come within {limit:?}"),
            "send it at once (api.request_ms)",
        )),
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// No body at all is no request for anything special.
impl<T: DeserializeOwned> OptionalFromRequest<Api> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Option<Self>, ApiError> {
        let reading = async {
            let body = Bytes::from_request(request, api).await;
            body.map_err(JsonRejection::from)
        };
        let body = in_time(api, reading).await?;
        if body.is_empty() {
            return Ok(None);
        }
        let axum::Json(value) = axum::Json::from_bytes(&body)?;
        Ok(Some(Self(value)))
    }
}

/// A query.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(super) struct Query<T>(pub(super) T);

/// For endpoints without a query: a misspelt or misplaced key is told, not ignored.
pub(super) async fn refuse_query(request: Request, next: Next) -> Result<Response, ApiError> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(request.uri())?;
    if let Some((key, _)) = pairs.0.first() {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_query",
            format!(
                "unknown key `{key}`: {} takes no query",
                request.uri().path()
            ),
            "leave it out; docs/api.md has each endpoint's query",
        ));
    }
    Ok(next.run(request).await)
}

/// A part of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(super) struct Path<T>(pub(super) T);
