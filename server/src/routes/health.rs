//! `GET /health`: whether the database can be read and written.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::error::Error;

pub(super) async fn health(State(app): State<App>) -> Result<Response, Error> {
    app.blocking(&app.0.writing, |app| Ok(app.0.store.check_health()?)).await?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, r#"{"status":"ok"}"#).into_response())
}
