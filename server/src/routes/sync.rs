//! `POST /api/sync`: limits, then parsing, then the exchange, then the answer.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use objectql_sync_protocol::{ReceivedPush, header as sync_header};

use super::App;
use crate::error::Error;
use crate::exchange::Answer;

const FEATURES: HeaderValue = HeaderValue::from_static("idempotent,chains,echoes,paged,snapshot,strategies");
const FEATURES_WITH_REALTIME: HeaderValue =
    HeaderValue::from_static("idempotent,chains,echoes,paged,snapshot,strategies,realtime");

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers a push or a pull, and says with any answer what this server does.
pub(super) async fn exchange(State(app): State<App>, request: Request) -> Response {
    let mut response = match answer(&app, request).await {
        Ok(answer) => to_response(&answer),
        Err(error) => error.into_response(),
    };
    let max_mutations = app.rules().max_mutations.into();
    let now = HeaderValue::from(app.now().millis());
    let features = if app.0.doorbell.is_some() { FEATURES_WITH_REALTIME } else { FEATURES };
    for (name, value) in [
        (sync_header::FEATURES, features),
        (sync_header::MAX_MUTATIONS, max_mutations),
        (sync_header::SERVER_TIME, now),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

fn to_response(answer: &Answer) -> Response {
    let Ok(body) = serde_json::to_vec(answer) else { return Error::Internal.into_response() };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

async fn answer(app: &App, request: Request) -> Result<Answer, Error> {
    let began = Instant::now();
    check_content_type(request.headers())?;
    let max_bytes = app.0.http.max_body_bytes;
    let body = read_body(request, max_bytes).await?;
    let max = app.rules().max_mutations;
    let push = ReceivedPush::parse(&body)?;
    let count = push.mutations.len();
    if count > max {
        return Err(Error::TooManyMutations { count, max });
    }
    let answer = run(app, push).await?;
    let (changes, more, ms) = (answer.server_changes.len(), answer.has_more, began.elapsed().as_millis());
    if count == 0 {
        tracing::debug!(changes, more, ms, "pulled");
    } else {
        tracing::info!(mutations = count, changes, more, ms, "pushed");
    }
    Ok(answer)
}

/// A form of another site's page can send text/plain or form data with this site's cookies, but not JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), Error> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    let is_plain = headers.get(header::CONTENT_ENCODING).is_none_or(|value| value == "identity");
    if is_json && is_plain { Ok(()) } else { Err(Error::UnsupportedMediaType) }
}

async fn read_body(request: Request, max_bytes: usize) -> Result<Bytes, Error> {
    let too_large = Error::BodyTooLarge { max_bytes };
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: u64| usize::try_from(bytes).is_ok_and(|bytes| bytes > max_bytes)) {
        return Err(too_large);
    }
    let body: Body = request.into_body();
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, max_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large),
        Ok(Err(_)) => Err(Error::BodyBroken),
        Err(_) => Err(Error::BodyTimeout),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

async fn run(app: &App, push: ReceivedPush) -> Result<Answer, Error> {
    if push.mutations.is_empty() {
        let pull = move |app: &App| {
            let mut answer = Err(Error::Internal);
            app.0.store.read(&mut |view| {
                answer = Ok(app.rules().pull(view, push.last_checkpoint.as_deref())?);
                Ok(())
            })?;
            answer
        };
        return app.blocking(&app.0.reading, pull).await;
    }
    let push = move |app: &App| {
        let mut answer = Err(Error::Internal);
        let mut written = 0..0;
        let now = app.now();
        app.0.store.write(&mut |store| {
            let before = store.state()?.last_position;
            answer = Ok(app.rules().push(store, &push, now)?);
            written = before..store.state()?.last_position;
            Ok(())
        })?;
        // Still in turn, so that the positions rise.
        if let Some(doorbell) = &app.0.doorbell {
            doorbell.ring(&push.client_id, written);
        }
        answer
    };
    app.blocking(&app.0.writing, push).await
}
