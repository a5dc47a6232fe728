//! The app's calls that wait for replies of the engine, and what replies are in JavaScript.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;

use crate::engine::{ErrorReport, Reply, RequestId, made_each};
use crate::error::Error;

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// An answer.
    Answer,
    /// The outcome of a write: closing waits for it.
    Outcome,
    /// The outcomes of writes that were made together and succeed or fail each by itself; closing waits for them. It is one
    /// promise for all of them, which the page takes apart.
    Outcomes,
}

/// The calls that wait.
#[derive(Default)]
pub(crate) struct Calls {
    /// By the number of a request; those of a call that made several lead to one.
    waiting: RefCell<HashMap<RequestId, Rc<Call>>>,
    next: Cell<u64>,
}

struct Call {
    wants: Wants,
    first: u64,
    /// One for each of its requests.
    replies: RefCell<Vec<Option<Result<Reply, Error>>>>,
    missing: Cell<usize>,
    resolve: Function,
    reject: Function,
}

impl Calls {
    /// Adds a call that makes so many requests; gives the first one's number, which those of the others follow, and the promise that is
    /// kept when all are replied to.
    pub(crate) fn add(&self, wants: Wants, count: usize) -> (RequestId, Promise) {
        let first = self.next.get();
        self.next.set(first + count as u64);
        let promise = Promise::new(&mut |resolve, reject| {
            let (replies, missing) = (RefCell::new(vec![None; count]), Cell::new(count));
            let call = Rc::new(Call { wants, first, replies, missing, resolve, reject });
            let requests = (first..).take(count).map(|number| (RequestId(number), Rc::clone(&call)));
            self.waiting.borrow_mut().extend(requests);
        });
        (RequestId(first), promise)
    }

    /// Whether closing has to wait.
    pub(crate) fn has_writes(&self) -> bool {
        self.waiting.borrow().values().any(|call| call.wants != Wants::Answer)
    }

    /// A request is replied to. What the app does with it runs after this, as a microtask of its own.
    pub(crate) fn reply(&self, request: RequestId, reply: Result<Reply, Error>) {
        let call = self.waiting.borrow_mut().remove(&request);
        let Some(call) = call else { return };
        let place = usize::try_from(request.0 - call.first).unwrap_or_default();
        if let Some(slot) = call.replies.borrow_mut().get_mut(place) {
            *slot = Some(reply);
        }
        call.missing.set(call.missing.get() - 1);
        if call.missing.get() > 0 {
            return;
        }
        let replies = call.replies.take();
        let mut replies = replies.iter().flatten();
        let _ = match (call.wants, replies.next()) {
            (Wants::Outcomes, first) => {
                let text = made_each(&mut first.into_iter().chain(replies));
                call.resolve.call1(&JsValue::NULL, &JsValue::from_str(&text))
            }
            (_, Some(Ok(reply))) => call.resolve.call1(&JsValue::NULL, &reply_to_js(reply)),
            (_, Some(Err(error))) => call.reject.call1(&JsValue::NULL, &to_js(error)),
            (_, None) => return,
        };
    }

    /// Tells those who wait still that the database is closed.
    pub(crate) fn close(&self) {
        for call in self.waiting.take().into_values() {
            let _ = call.reject.call1(&JsValue::NULL, &to_js(&Error::Closed));
        }
    }
}

/// What a reply is in JavaScript: records as JSON text.
pub(crate) fn reply_to_js(reply: &Reply) -> JsValue {
    match reply {
        Reply::Record(record) => JsValue::from_str(record.as_str()),
        Reply::Made(_) | Reply::Records(_) | Reply::Early(_) => JsValue::from_str(&reply.to_json()),
        Reply::Existed(existed) => JsValue::from_bool(*existed),
        Reply::Count(count) => JsValue::from_f64(*count as f64),
        Reply::Synced(report) => serde_wasm_bindgen::to_value(report).unwrap_or(JsValue::UNDEFINED),
        Reply::Settled(outcome) => JsValue::from_str(outcome.as_str()),
        Reply::Done => JsValue::UNDEFINED,
    }
}

/// An `Error` with a `code`.
pub(crate) fn to_js(error: &Error) -> JsValue {
    let ErrorReport { code, message } = ErrorReport::from(error);
    let error = js_sys::Error::new(&message);
    let _ = js_sys::Reflect::set(&error, &JsValue::from_str("code"), &JsValue::from_str(code));
    error.into()
}
