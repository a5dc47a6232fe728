//! What can be wrong with a request or with the server, and how a client is told: problem details (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use objectql_sync_protocol::ProtocolError;
use serde::Serialize;
use thiserror::Error;

use crate::store::StoreError;

/// Why a request as a whole is not answered with verdicts. None of its mutations was applied, and none is rejected.
#[derive(Debug, Error)]
pub enum Error {
    /// The body is longer than the server takes.
    #[error("the body has more than {max_bytes} bytes: send fewer mutations at a time")]
    BodyTooLarge {
        /// The most bytes.
        max_bytes: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body broke off.
    #[error("the body could not be read")]
    BodyBroken,
    /// The body is not declared as JSON, or it is compressed.
    #[error("the content type must be application/json, without a content encoding")]
    UnsupportedMediaType,
    /// The body is no request.
    #[error("{0}")]
    InvalidMessage(#[from] ProtocolError),
    /// More mutations than the server takes at a time.
    #[error("{count} mutations in one request exceed the maximum of {max}")]
    TooManyMutations {
        /// How many there were.
        count: usize,
        /// The most that may be.
        max: usize,
    },
    /// The verdicts would be longer than clients take: conflicts hold up to three records each.
    #[error("the verdicts have more than {max_bytes} bytes: send fewer mutations at a time")]
    AnswerTooLarge {
        /// The most bytes.
        max_bytes: usize,
    },
    /// The checkpoint is none of this server's, or the changes after it are no longer there.
    #[error("the checkpoint is unknown or too old: take a fresh snapshot with a null checkpoint")]
    CheckpointUnknown,
    /// A sequence number of the client was used for another mutation.
    #[error(
        "another mutation of this client had the same sequence: the client was cloned and needs a new clientId"
    )]
    ClientIdCloned,
    /// There is nothing under this path.
    #[error("there is nothing under this path")]
    NotFound,
    /// The path takes another method.
    #[error("this path takes {allowed} requests only")]
    MethodNotAllowed {
        /// The method it takes.
        allowed: &'static str,
    },
    /// A page of another site wants to open a socket.
    #[error("pages of this origin may not open a socket here")]
    OriginRefused,
    /// The path is for sockets only.
    #[error("this path takes WebSocket connections only")]
    UpgradeRequired,
    /// Too many requests wait for the database, or too many sockets are open.
    #[error("the server is busy")]
    Busy,
    /// The database failed.
    #[error("the database failed")]
    Store(#[from] StoreError),
    /// The server has a bug.
    #[error("the server failed")]
    Internal,
}

impl Error {
    /// The stable code of this error, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BodyTooLarge { .. } => "BODY_TOO_LARGE",
            Self::BodyTimeout => "BODY_TIMEOUT",
            Self::BodyBroken => "BODY_BROKEN",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::InvalidMessage(_) => "INVALID_MESSAGE",
            Self::TooManyMutations { .. } => "TOO_MANY_MUTATIONS",
            Self::AnswerTooLarge { .. } => "ANSWER_TOO_LARGE",
            Self::CheckpointUnknown => "CHECKPOINT_UNKNOWN",
            Self::ClientIdCloned => "CLIENT_ID_CLONED",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed { .. } => "METHOD_NOT_ALLOWED",
            Self::OriginRefused => "ORIGIN_REFUSED",
            Self::UpgradeRequired => "UPGRADE_REQUIRED",
            Self::Busy => "BUSY",
            Self::Store(StoreError::Unavailable(_)) => "STORE_UNAVAILABLE",
            Self::Store(StoreError::Broken(_) | StoreError::TooNew { .. }) => "STORE_FAILED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLarge { .. } | Self::TooManyMutations { .. } | Self::AnswerTooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidMessage(_) | Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::CheckpointUnknown => StatusCode::GONE,
            Self::ClientIdCloned => StatusCode::CONFLICT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::Busy | Self::Store(StoreError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::Broken(_) | StoreError::TooNew { .. }) | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn log(&self) {
        // What the database says holds no values of records: statements are prepared, values are bound.
        match self {
            Self::Store(source) => tracing::error!(code = self.code(), %source, "request failed"),
            Self::Internal => tracing::error!(code = self.code(), "request failed"),
            _ => tracing::debug!(code = self.code(), "request refused"),
        }
    }
}

/// A problem as RFC 9457 writes it.
#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            code: self.code(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if let Self::MethodNotAllowed { allowed } = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}
