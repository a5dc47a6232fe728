//! The web app beside the endpoint.

use std::path::PathBuf;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::{ServeDir, ServeFile};

use crate::error::Error;

/// Serves the files of a folder. A browser that navigates to a path without a file gets `index.html`: the app knows what
/// to show. What the app loads and is not there is 404, because a page in the place of a script only hides the mistake.
pub(super) fn files(folder: PathBuf) -> Router {
    let index = ServeFile::new(folder.join("index.html"));
    let missing = move |request: Request| async move {
        if !is_navigation(request.method(), request.headers()) {
            return Error::NotFound.into_response();
        }
        match index.oneshot(request).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        }
    };
    let missing = Router::new().fallback(missing);
    Router::new().fallback_service(ServeDir::new(folder).fallback(missing)).layer(from_fn(set_cache_control))
}

fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let accepts_html = |value: &HeaderValue| value.to_str().is_ok_and(|accept| accept.contains("text/html"));
    matches!(*method, Method::GET | Method::HEAD) && headers.get(header::ACCEPT).is_some_and(accepts_html)
}

/// Pages and the service worker are asked for anew each time, or a new version would never arrive.
async fn set_cache_control(uri: Uri, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let is_html = |value: &HeaderValue| value.as_bytes().starts_with(b"text/html");
    let headers = response.headers_mut();
    if uri.path().ends_with("/sw.js") || headers.get(header::CONTENT_TYPE).is_some_and(is_html) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
