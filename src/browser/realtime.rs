//! The socket on which the server rings. The facade opens it (`pkg/src/realtime.ts`), as it calls `fetch`: a dozen lines there,
//! several times their bytes here.

use js_sys::Function;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;

/// What happens to a socket.
pub(crate) enum Happening {
    /// The hello was said.
    Opened,
    /// The server said something.
    Said(String),
    /// It is closed, or could not be opened: browsers tell no script why.
    Closed,
}

/// A socket; closed when dropped.
pub(crate) struct Socket {
    close: Function,
    _tell: Closure<dyn FnMut(JsValue)>,
}

impl Socket {
    /// Begins to open one. None where there are no sockets, or the page's policy forbids it.
    pub(crate) fn open(
        connect: &Function,
        client_id: &str,
        mut on_happening: impl FnMut(Happening) + 'static,
    ) -> Option<Self> {
        let tell = Closure::new(move |said: JsValue| {
            on_happening(match said.as_string() {
                Some(text) => Happening::Said(text),
                None if said.is_null() => Happening::Opened,
                None => Happening::Closed,
            });
        });
        let close = connect
            .call2(&JsValue::UNDEFINED, &JsValue::from_str(client_id), tell.as_ref().unchecked_ref())
            .ok()?;
        Some(Self { close: close.dyn_into().ok()?, _tell: tell })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.close.call0(&JsValue::UNDEFINED);
    }
}
