//! What tabs tell each other, over a `BroadcastChannel`. Only hints: where there is no channel, tabs learn later.

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
            let data = js_sys::Reflect::get(&event, &JsValue::from_str("data"))
                .ok()
                .and_then(|data| data.as_string());
            if let Some(announcement) = data.and_then(|text| Announcement::parse(&text)) {
                on_announcement(announcement);
            }
        });
        Some(Self { channel, _listener: listener })
    }

    pub(crate) fn announce(&self, announcement: &Announcement) {
        let _ = self.channel.post_message(&JsValue::from_str(&announcement.to_json()));
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.close();
    }
}
