//! The clocks and the randomness of the browser.

use std::time::Duration;

use js_sys::Uint8Array;
use objectql_sync_protocol::Timestamp;
use wasm_bindgen::prelude::*;

use crate::engine::Now;
use crate::error::Error;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn get_random_values(bytes: &Uint8Array) -> Result<(), JsValue>;
}

/// Both clocks, now.
pub(crate) fn now() -> Now {
    #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    let wall = Timestamp::from_millis(js_sys::Date::now() as i64);
    let monotonic = Duration::try_from_secs_f64(performance_now() / 1000.0).unwrap_or_default();
    Now { wall, monotonic }
}

/// Random bytes to seed the engine with.
pub(crate) fn seed() -> Result<[u8; 32], Error> {
    let bytes = Uint8Array::new_with_length(32);
    get_random_values(&bytes).map_err(|error| Error::Internal(describe(&error)))?;
    let mut seed = [0; 32];
    bytes.copy_to(&mut seed);
    Ok(seed)
}

/// What a JavaScript error says, for people.
pub(crate) fn describe(error: &JsValue) -> String {
    let text = |name: &str| js_sys::Reflect::get(error, &JsValue::from_str(name)).ok()?.as_string();
    match (text("name"), text("message")) {
        (Some(name), Some(message)) => format!("{name}: {message}"),
        _ => error.as_string().unwrap_or_else(|| "an error without a message".to_owned()),
    }
}

/// The name of a JavaScript error, such as `QuotaExceededError`.
pub(crate) fn error_name(error: &JsValue) -> String {
    js_sys::Reflect::get(error, &JsValue::from_str("name"))
        .ok()
        .and_then(|name| name.as_string())
        .unwrap_or_default()
}
