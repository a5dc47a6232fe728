//! Requests to the endpoint, with `fetch`.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use gloo_timers::callback::Timeout;
use js_sys::{Array, Function, JsString, Object, Promise, Reflect, Uint8Array};
use objectql_sync_protocol::{Timestamp, header};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, Response};

use super::environment::describe;
use super::once::Once;
use crate::engine::{Answer, Features, RetryAfter};
use crate::error::Error;

/// Where and how to send.
pub(crate) struct Transport {
    pub(crate) url: String,
    pub(crate) timeout_ms: u32,
    /// The app's own headers, asked for before every request and kept nowhere.
    pub(crate) headers: Option<Function>,
    /// What sends instead of the global `fetch`.
    pub(crate) fetch: Option<Function>,
}

impl Transport {
    /// Posts a body. Anything that comes back whole is an answer, whatever its status.
    pub(crate) async fn send(&self, body: Vec<u8>) -> Result<Answer, Error> {
        let controller = AbortController::new().map_err(|error| failed(&error))?;
        let (filler, late) = Once::new();
        let timeout = {
            let (controller, timeout_ms) = (controller.clone(), self.timeout_ms);
            Timeout::new(timeout_ms, move || {
                filler.fill(Err(Error::Timeout(timeout_ms)));
                controller.abort();
            })
        };
        // The app's own `headers` and `fetch` may never answer, and need not heed the signal.
        let mut exchange = pin!(self.exchange(&body, &controller));
        let mut late = pin!(late.wait());
        let result = poll_fn(|context| match late.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => exchange.as_mut().poll(context),
        })
        .await;
        timeout.cancel();
        result
    }

    async fn exchange(&self, body: &[u8], controller: &AbortController) -> Result<Answer, Error> {
        let headers = self.headers().await?;
        let init = Object::new();
        for (name, value) in [
            ("method", JsValue::from_str("POST")),
            ("headers", headers.into()),
            ("body", Uint8Array::from(body).into()),
            // An answer from a cache would speak of another request.
            ("cache", JsValue::from_str("no-store")),
            ("signal", controller.signal().into()),
        ] {
            Reflect::set(&init, &JsValue::from_str(name), &value).map_err(|error| failed(&error))?;
        }
        let fetch = match &self.fetch {
            Some(fetch) => fetch.clone(),
            None => Reflect::get(&js_sys::global(), &JsValue::from_str("fetch"))
                .ok()
                .and_then(|fetch| fetch.dyn_into().ok())
                .ok_or_else(|| Error::Network("there is no fetch here".to_owned()))?,
        };
        let promise = fetch
            .call2(&JsValue::UNDEFINED, &JsValue::from_str(&self.url), &init)
            .map_err(|error| failed(&error))?;
        let response = settle(promise).await?;
        let response: Response = response
            .dyn_into()
            .map_err(|_| Error::Network("sync.fetch did not return a Response".to_owned()))?;
        let buffer = response.array_buffer().map_err(|error| failed(&error))?;
        let body = Uint8Array::new(&settle(buffer.into()).await?).to_vec();
        Ok(to_answer(&response, body))
    }

    async fn headers(&self) -> Result<Headers, Error> {
        let headers = Headers::new().map_err(|error| failed(&error))?;
        if let Some(callback) = &self.headers {
            let own = callback.call0(&JsValue::UNDEFINED).map_err(|error| header_failed(&error))?;
            let own = JsFuture::from(Promise::resolve(&own)).await.map_err(|error| header_failed(&error))?;
            if let Some(own) = own.dyn_ref::<Object>() {
                for entry in Object::entries(own).iter() {
                    let entry: Array = entry.unchecked_into();
                    let (name, value) = (text(&entry.get(0)), text(&entry.get(1)));
                    headers.set(&name, &value).map_err(|error| header_failed(&error))?;
                }
            }
        }
        headers.set("content-type", "application/json").map_err(|error| failed(&error))?;
        Ok(headers)
    }
}

/// A hook may answer with a value where a promise is expected.
async fn settle(value: JsValue) -> Result<JsValue, Error> {
    JsFuture::from(Promise::resolve(&value)).await.map_err(|error| failed(&error))
}

fn failed(error: &JsValue) -> Error {
    Error::Network(describe(error))
}

fn header_failed(error: &JsValue) -> Error {
    Error::Network(format!("sync.headers failed: {}", describe(error)))
}

fn text(value: &JsValue) -> String {
    value.as_string().unwrap_or_else(|| value.dyn_ref::<JsString>().map(String::from).unwrap_or_default())
}

fn to_answer(response: &Response, body: Vec<u8>) -> Answer {
    let headers = response.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    Answer {
        status: response.status(),
        content_type: header("content-type").unwrap_or_default(),
        is_redirected: response.redirected(),
        retry_after: header("retry-after").and_then(|value| parse_retry_after(&value)),
        features: header(header::FEATURES).map(|value| Features::parse(&value)).unwrap_or_default(),
        max_mutations: header(header::MAX_MUTATIONS).and_then(|value| value.trim().parse().ok()),
        server_time_ms: header(header::SERVER_TIME).and_then(|value| value.trim().parse().ok()),
        body,
    }
}

/// Seconds, or an HTTP date.
fn parse_retry_after(value: &str) -> Option<RetryAfter> {
    if let Ok(seconds) = value.trim().parse::<u32>() {
        return Some(RetryAfter::In(Duration::from_secs(seconds.into())));
    }
    let millis = js_sys::Date::parse(value);
    #[expect(clippy::cast_possible_truncation, reason = "a date in milliseconds is far below 2^53")]
    millis.is_finite().then(|| RetryAfter::At(Timestamp::from_millis(millis as i64)))
}
