//! What tabs tell each other, over a `BroadcastChannel`. Only hints: where there is no channel, tabs learn later.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::BroadcastChannel;

use super::listener::Listener;
use crate::engine::Announcement;

/// The channel of one database; closed when dropped.
pub(crate) struct Channel {
    channel: BroadcastChannel,
    _listener: Listener,
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
        Some(Self { channel, _listener: listener })
    }

    pub(crate) fn announce(&self, announcement: &Announcement) {
        let data =
            Array::of2(&JsValue::from_str(&announcement.to_json()), &Uint8Array::from(announcement.bytes()));
        let _ = self.channel.post_message(&data);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.close();
    }
}
