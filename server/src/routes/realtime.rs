//! `GET /api/sync/realtime`: who may open a socket.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use objectql_sync_protocol::realtime::MAX_FRAME_BYTES;

use super::App;
use crate::error::Error;

/// What a socket reads at a time. Clients say little, and each socket has a buffer of this size.
const READ_BUFFER_BYTES: usize = 1024;

pub(super) async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let Some(doorbell) = &app.0.doorbell else { return Err(Error::NotFound) };
    if !is_origin_allowed(&headers, &app.0.http.allow_origin) {
        return Err(Error::OriginRefused);
    }
    let upgrade = upgrade.map_err(|_| Error::UpgradeRequired)?;
    let place = doorbell.enter().ok_or(Error::Busy)?;
    let doorbell = Arc::clone(doorbell);
    let upgrade = upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0);
    Ok(upgrade.on_upgrade(async move |socket| doorbell.serve(socket, place).await))
}

/// Browsers let the pages of any site open a socket to any other, with that site's cookies, and leave it to the server to look
/// at the origin. What is no browser need not send one, and may lie.
fn is_origin_allowed(headers: &HeaderMap, others: &[HeaderValue]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    others.contains(origin) || host_of(origin).is_some_and(|own| host == Some(own.as_bytes()))
}

/// The host of an origin, with the port if it has one; none for `null`.
fn host_of(origin: &HeaderValue) -> Option<String> {
    let uri: Uri = origin.to_str().ok()?.parse().ok()?;
    uri.scheme()?;
    Some(uri.authority()?.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_and_listed_origins_are_allowed() {
        let listed = [HeaderValue::from_static("https://other.example")];
        for (origin, host, is_allowed) in [
            (None, Some("a.example"), true),
            (Some("https://a.example"), Some("a.example"), true),
            (Some("http://127.0.0.1:8787"), Some("127.0.0.1:8787"), true),
            (Some("http://[::1]:8787"), Some("[::1]:8787"), true),
            (Some("https://other.example"), Some("a.example"), true),
            (Some("http://other.example"), Some("a.example"), false),
            (Some("http://a.example:81"), Some("a.example"), false),
            (Some("https://a.example.evil.example"), Some("a.example"), false),
            (Some("https://evil.example"), Some("a.example"), false),
            (Some("a.example"), Some("a.example"), false),
            (Some("null"), Some("null"), false),
            (Some("null"), None, false),
            (Some("https://a.example"), None, false),
            (Some(""), Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::ORIGIN, origin), (header::HOST, host)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_origin_allowed(&headers, &listed), is_allowed, "{origin:?} at {host:?}");
        }
    }
}
