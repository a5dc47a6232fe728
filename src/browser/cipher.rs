//! What goes on the disk is sealed where the app wants that: the facade does it, with WebCrypto (`pkg/src/encryption.ts`).

use std::ops::Range;

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::environment::describe;
use crate::error::Error;

/// What a sealed value begins with; nothing else that is stored does.
const MAGIC: [u8; 2] = *b"OE";
/// Where the name of its key is in it; what is noted under `schema::SEALED` begins with that.
const KEY_NAME: Range<u32> = 3..7;

/// What is sealed: it cannot be put in another's place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Row = 0,
    Segment = 1,
    Root = 2,
}

/// Seals what is stored, and opens it.
pub(crate) struct Cipher {
    seal: Function,
    open: Function,
}

/// Values to seal or to open.
pub(crate) struct Values(Array);

impl Values {
    pub(crate) fn new() -> Self {
        Self(Array::new())
    }

    #[expect(clippy::cast_precision_loss, reason = "keys and numbers are far below 2^53")]
    pub(crate) fn push(&self, place: Place, number: u64, bytes: &[u8]) {
        let (place, number) = (JsValue::from_f64(f64::from(place as u8)), JsValue::from_f64(number as f64));
        self.0.push(&Array::of3(&place, &number, &Uint8Array::from(bytes)));
    }
}

impl Cipher {
    /// The one among the hooks, if there is one.
    pub(crate) fn of(hooks: &JsValue) -> Option<Self> {
        let cipher = Reflect::get(hooks, &JsValue::from_str("cipher")).ok()?;
        let function = |name: &str| Reflect::get(&cipher, &JsValue::from_str(name)).ok()?.dyn_into().ok();
        Some(Self { seal: function("seal")?, open: function("open")? })
    }

    pub(crate) async fn seal(&self, values: Values) -> Result<Vec<Uint8Array>, Error> {
        convert(&self.seal, values).await
    }

    /// What cannot be opened, though the key is right, comes back as it is: it will be taken for damaged.
    pub(crate) async fn open(&self, values: Values) -> Result<Vec<Uint8Array>, Error> {
        convert(&self.open, values).await
    }
}

async fn convert(function: &Function, values: Values) -> Result<Vec<Uint8Array>, Error> {
    let result = match function.call1(&JsValue::NULL, &values.0) {
        Ok(promise) => JsFuture::from(Promise::resolve(&promise)).await,
        Err(thrown) => Err(thrown),
    };
    let converted = result.map_err(|thrown| {
        let code = Reflect::get(&thrown, &JsValue::from_str("code")).ok().and_then(|code| code.as_string());
        match code.as_deref() {
            Some("WRONG_KEY") => Error::WrongKey,
            Some("STORAGE_OUTDATED") => Error::StorageOutdated,
            _ => Error::StorageFailed(format!("encryption: {}", describe(&thrown))),
        }
    })?;
    Ok(Array::from(&converted).iter().filter_map(|value| value.dyn_into().ok()).collect())
}

/// Whether a value may be written beside what is there: where a key is noted by which all is sealed, it has to be by that one.
pub(crate) fn is_as_noted(noted: Option<&[u8]>, value: &Uint8Array) -> bool {
    let Some(noted) = noted else { return true };
    value.subarray(0, 2).to_vec() == MAGIC
        && noted.starts_with(&value.subarray(KEY_NAME.start, KEY_NAME.end).to_vec())
}

/// What is sealed cannot be read without a key, and must not be taken for damaged.
pub(crate) fn refuse_sealed(bytes: &[u8]) -> Result<(), Error> {
    if bytes.starts_with(&MAGIC) { Err(Error::WrongKey) } else { Ok(()) }
}
