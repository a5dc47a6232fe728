//! Event listeners that go when they are dropped.

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// A listener; it is removed when this is dropped.
#[must_use]
pub(crate) struct Listener {
    target: EventTarget,
    event: &'static str,
    callback: Closure<dyn FnMut(JsValue)>,
}

impl Listener {
    pub(crate) fn new(
        target: EventTarget,
        event: &'static str,
        callback: impl FnMut(JsValue) + 'static,
    ) -> Self {
        let callback = Closure::new(callback);
        // Adding a listener throws only for arguments of a wrong type.
        let _ = target.add_event_listener_with_callback(event, callback.as_ref().unchecked_ref());
        Self { target, event, callback }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self
            .target
            .remove_event_listener_with_callback(self.event, self.callback.as_ref().unchecked_ref());
    }
}

/// The global object, where it takes listeners: a window or a worker.
pub(crate) fn global_target() -> Option<EventTarget> {
    js_sys::global().dyn_into().ok()
}

/// What tells whether somebody looks: the document of a window; in a worker its scope, which has it from the pages (`pkg/src/worker.ts`).
pub(crate) fn page() -> Option<EventTarget> {
    let document = js_sys::Reflect::get(&js_sys::global(), &JsValue::from_str("document")).ok();
    document.and_then(|document| document.dyn_into().ok()).or_else(global_target)
}

/// Whether somebody may be looking at the page; a worker that no page tells counts as looked at.
pub(crate) fn is_visible() -> bool {
    let Some(page) = page() else { return true };
    let state = js_sys::Reflect::get(&page, &JsValue::from_str("visibilityState"));
    state.ok().and_then(|state| state.as_string()).is_none_or(|state| state == "visible")
}
