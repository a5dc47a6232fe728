//! Which tab syncs: the one that holds a Web Lock of the database's name.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, AbortSignal};

#[wasm_bindgen]
extern "C" {
    /// `navigator.locks`; web-sys has it behind a flag for unstable interfaces.
    type LockManager;

    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &JsValue,
        callback: &Function,
    ) -> Result<Promise, JsValue>;
}

/// The wish to lead, or the leadership. Given up when dropped.
pub(crate) struct Leader {
    controller: AbortController,
    is_dropped: Rc<Cell<bool>>,
    release: Rc<RefCell<Option<Function>>>,
    _granted: Closure<dyn FnMut(JsValue) -> Promise>,
}

impl Leader {
    /// Waits in line for the lock, or takes it from the tab that holds it; `on_change` hears when it is won, and when it is
    /// lost. None where the browser has no Web Locks (a page that is not served securely).
    pub(crate) fn stand(name: &str, steals: bool, on_change: impl Fn(bool) + 'static) -> Option<Self> {
        let navigator = Reflect::get(&js_sys::global(), &JsValue::from_str("navigator")).ok()?;
        let locks =
            Reflect::get(&navigator, &JsValue::from_str("locks")).ok().filter(|locks| locks.is_object())?;
        let locks: LockManager = locks.unchecked_into();
        let controller = AbortController::new().ok()?;
        let on_change = Rc::new(on_change);
        let release: Rc<RefCell<Option<Function>>> = Rc::default();
        let is_dropped: Rc<Cell<bool>> = Rc::default();
        let granted = {
            let (on_change, release) = (Rc::clone(&on_change), Rc::clone(&release));
            Closure::new(move |_lock: JsValue| {
                on_change(true);
                // The lock is held as long as this promise is not resolved.
                Promise::new(&mut |resolve, _| {
                    release.borrow_mut().replace(resolve);
                })
            })
        };
        let options = options(&controller.signal(), steals);
        let name = format!("objectql-offline:{name}");
        let held = locks.request(&name, &options, granted.as_ref().unchecked_ref()).ok()?;
        let is_gone = Rc::clone(&is_dropped);
        // The request's promise is rejected when the wish is given up, or the lock stolen: that may be after this is dropped.
        spawn_local(async move {
            if JsFuture::from(held).await.is_err() && !is_gone.get() {
                on_change(false);
            }
        });
        Some(Self { controller, is_dropped, release, _granted: granted })
    }
}

fn options(signal: &AbortSignal, steals: bool) -> JsValue {
    let options = js_sys::Object::new();
    // The two exclude each other: who steals does not wait, and has nothing to give up.
    let _ = if steals {
        Reflect::set(&options, &JsValue::from_str("steal"), &JsValue::TRUE)
    } else {
        Reflect::set(&options, &JsValue::from_str("signal"), signal)
    };
    options.into()
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.is_dropped.set(true);
        if let Some(release) = self.release.borrow_mut().take() {
            let _ = release.call0(&JsValue::NULL);
        }
        self.controller.abort();
    }
}
