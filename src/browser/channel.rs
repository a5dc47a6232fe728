//! What tabs tell each other, over a `BroadcastChannel`. Only hints: where there is no channel, tabs learn later.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::{BroadcastChannel, MessageChannel, MessagePort};

use super::listener::Listener;
use crate::engine::Announcement;

/// The channel of one database; closed when dropped.
pub(crate) struct Channel {
    posted: Rc<Posted>,
    _listener: Listener,
    /// Makes a task that posts what waits. Unlike a timer, it is not held up in a page that nobody sees.
    task: MessagePort,
    _on_task: Listener,
}

/// Where announcements go. Posting takes a browser some tenths of a millisecond: rows wait until the app has been told that they
/// are durable, and may make its next write.
struct Posted {
    channel: BroadcastChannel,
    waiting: RefCell<Vec<Array>>,
}

impl Posted {
    fn post_waiting(&self) {
        for data in self.waiting.take() {
            let _ = self.channel.post_message(&data);
        }
    }
}

impl Channel {
    /// Joins the channel of the database with that name.
    pub(crate) fn open(name: &str, mut on_announcement: impl FnMut(Announcement) + 'static) -> Option<Self> {
        let channel = BroadcastChannel::new(&format!("objectql-offline:{name}")).ok()?;
        let listener = Listener::new(channel.clone().into(), "message", move |event| {
            let data = js_sys::Reflect::get(&event, &JsValue::from_str("data"));
            // A text, and bytes beside it.
            let Ok(data) = data.map(|data| Array::from(&data)) else { return };
            let bytes = data.get(1).dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default();
            let text = data.get(0).as_string();
            if let Some(announcement) = text.and_then(|text| Announcement::parse(&text, bytes)) {
                on_announcement(announcement);
            }
        });
        let posted = Rc::new(Posted { channel, waiting: RefCell::default() });
        let ports = MessageChannel::new().ok()?;
        let weak = Rc::downgrade(&posted);
        let on_task = Listener::new(ports.port2().into(), "message", move |_| {
            if let Some(posted) = weak.upgrade() {
                posted.post_waiting();
            }
        });
        ports.port2().start();
        Some(Self { posted, _listener: listener, task: ports.port1(), _on_task: on_task })
    }

    /// Posts at once what waits for a task.
    pub(crate) fn post_waiting(&self) {
        self.posted.post_waiting();
    }

    pub(crate) fn announce(&self, announcement: &Announcement) {
        let data =
            Array::of2(&JsValue::from_str(&announcement.to_json()), &Uint8Array::from(announcement.bytes()));
        let is_first = self.posted.waiting.borrow().is_empty();
        self.posted.waiting.borrow_mut().push(data);
        if !matches!(announcement, Announcement::Rows { .. }) {
            self.post_waiting();
        } else if is_first {
            let _ = self.task.post_message(&JsValue::NULL);
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.post_waiting();
        self.posted.channel.close();
        self.task.close();
    }
}
