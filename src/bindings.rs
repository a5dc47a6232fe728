//! The surface for the TypeScript facade. It translates, and nothing else: text into types, replies into values.
//!
//! Records, ids, filters and lists cross as JSON text, because one `JSON.parse` of many records is several times faster
//! than building their objects one property at a time; and each state of a record crosses once: after that, its stamp does.

use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Promise, Reflect, Uint32Array};
use objectql_sync_protocol::{
    Fields, Json, MAX_DEPTH, MutationId, ObjectDefinition, ObjectName, ProtocolError, RecordId, array_text,
    normalise,
};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::browser::driver::{Settings, Shell, reply_to_js, to_js};
use crate::browser::environment::now;
use crate::browser::log::Durability;
use crate::browser::memory::MemoryLog;
use crate::browser::schema;
use crate::browser::store::Storage;
use crate::browser::transport::Transport;
use crate::engine::{
    Aggregate, Command, Config, Filter, Found, Input, LiveChange, MAX_COMMAND_BYTES, Query, RequestId,
    Resolution, SyncSettings,
};
use crate::error::Error;

/// How long one request may take when the app does not say: 30 seconds.
const DEFAULT_TIMEOUT_MS: u32 = 30_000;
/// How deep the options may be: far more than an object definition is.
const MAX_OPTIONS_DEPTH: usize = MAX_DEPTH;

/// An open database.
#[wasm_bindgen]
pub struct Driver(Rc<Shell>);

#[wasm_bindgen]
impl Driver {
    /// Opens a database, given the options as JSON; the promise is kept with a `Driver` when it can be used.
    #[wasm_bindgen(unchecked_return_type = "Promise<Driver>")]
    pub fn open(options: &str, hooks: &JsValue) -> Promise {
        let started = settings(options, hooks).and_then(Shell::open);
        future_to_promise(async move {
            let (shell, opened) = started.map_err(|error| to_js(&error))?;
            match JsFuture::from(opened).await {
                Ok(_) => Ok(Self(shell).into()),
                Err(error) => {
                    let _ = shell.close();
                    Err(error)
                }
            }
        })
    }

    /// Deletes a database.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn destroy(name: String, is_in_memory: bool) -> Promise {
        future_to_promise(async move {
            if is_in_memory {
                MemoryLog::delete(&name);
                return Ok(JsValue::UNDEFINED);
            }
            schema::delete(&name).await.map(|()| JsValue::UNDEFINED).map_err(|error| to_js(&error))
        })
    }

    /// Makes a record; gives it back as JSON. This and the other writes: in a transaction, if one is named.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn create(&self, object: &str, record: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| Ok(Command::Create { object, record: Fields::parse(record)? }))
    }

    /// Makes records, all or none; gives them back as a JSON array.
    #[wasm_bindgen(js_name = bulkCreate, unchecked_return_type = "Promise<string>")]
    pub fn bulk_create(&self, object: &str, records: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| {
            let records = list(records, 1, Fields::from_json)?;
            Ok(Command::BulkCreate { object, records })
        })
    }

    /// Changes fields of a record; gives the record back as JSON.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn update(&self, object: &str, id: &str, patch: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| {
            Ok(Command::Update { object, id: RecordId::parse_json(id)?, patch: Fields::parse(patch)? })
        })
    }

    /// Changes records, given as an array of `[id, patch]`, all or none; gives them back as a JSON array.
    #[wasm_bindgen(js_name = bulkUpdate, unchecked_return_type = "Promise<string>")]
    pub fn bulk_update(&self, object: &str, updates: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| {
            let updates = list(updates, 2, |update| {
                let mut parts = update.elements();
                let mut part = || parts.next().unwrap_or(Json::from_normalised("null"));
                Ok((RecordId::parse_json(part().as_str())?, Fields::from_json(part())?))
            })?;
            Ok(Command::BulkUpdate { object, updates })
        })
    }

    /// Changes the same fields of the records that match a `where`; gives how many.
    #[wasm_bindgen(js_name = updateMany, unchecked_return_type = "Promise<number>")]
    pub fn update_many(&self, object: &str, filter: &str, patch: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| {
            let query = Filter::parse(filter)?.into();
            Ok(Command::UpdateMany { object, query, patch: Fields::parse(patch)? })
        })
    }

    /// Changes the record with that id, or makes it; gives it back as JSON.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn upsert(&self, object: &str, record: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| Ok(Command::Upsert { object, record: Fields::parse(record)? }))
    }

    /// Removes a record; tells whether there was one.
    #[wasm_bindgen(unchecked_return_type = "Promise<boolean>")]
    pub fn delete(&self, object: &str, id: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| Ok(Command::Delete { object, id: RecordId::parse_json(id)? }))
    }

    /// Removes records, given by an array of their ids, all or none; gives how many there were.
    #[wasm_bindgen(js_name = bulkDelete, unchecked_return_type = "Promise<number>")]
    pub fn bulk_delete(&self, object: &str, ids: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| {
            let ids = list(ids, 0, |id| RecordId::parse_json(id.as_str()))?;
            Ok(Command::BulkDelete { object, ids })
        })
    }

    /// Removes the records that match a `where`; gives how many.
    #[wasm_bindgen(js_name = deleteMany, unchecked_return_type = "Promise<number>")]
    pub fn delete_many(&self, object: &str, filter: &str, within: Option<u32>) -> Promise {
        self.write(within, object, |object| {
            let query = Filter::parse(filter)?.into();
            Ok(Command::DeleteMany { object, query })
        })
    }

    /// Begins a transaction; gives its number.
    pub fn begin(&self) -> Result<u32, JsValue> {
        self.read(|engine| Ok(engine.begin()))
    }

    /// Commits a transaction, if what it read is as it was.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn commit(&self, transaction: u32) -> Promise {
        self.send(|shell| shell.read(|engine| engine.take_transaction(transaction)))
    }

    /// Forgets a transaction.
    pub fn rollback(&self, transaction: u32) -> Result<(), JsValue> {
        self.read(|engine| engine.take_transaction(transaction).map(drop))
    }

    /// Takes back the last write; tells whether there was one.
    #[wasm_bindgen(unchecked_return_type = "Promise<boolean>")]
    pub fn undo(&self) -> Promise {
        self.send(|_| Ok(Command::Undo))
    }

    /// Makes again what was taken back; tells whether there was something.
    #[wasm_bindgen(unchecked_return_type = "Promise<boolean>")]
    pub fn redo(&self) -> Promise {
        self.send(|_| Ok(Command::Redo))
    }

    /// Decides a conflict: `"mine"`, `"theirs"`, or a record.
    #[wasm_bindgen(js_name = resolveConflict, unchecked_return_type = "Promise<void>")]
    pub fn resolve_conflict(&self, mutation: &str, resolution: &str) -> Promise {
        self.send(|_| {
            let resolution = match resolution {
                "\"mine\"" => Resolution::Mine,
                "\"theirs\"" => Resolution::Theirs,
                record => Resolution::Record(Fields::parse(record)?),
            };
            Ok(Command::Resolve { mutation: MutationId::parse(mutation)?, resolution })
        })
    }

    /// Records a rejected mutation again, with a patch over its data or not.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn retry(&self, mutation: &str, patch: Option<String>) -> Promise {
        self.send(|_| {
            let patch = patch.as_deref().map(Fields::parse).transpose()?;
            Ok(Command::Retry { mutation: MutationId::parse(mutation)?, patch })
        })
    }

    /// Drops a rejected mutation.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn discard(&self, mutation: &str) -> Promise {
        self.send(|_| Ok(Command::Discard { mutation: MutationId::parse(mutation)? }))
    }

    /// One record, as the rows a query finds.
    #[wasm_bindgen(unchecked_return_type = "[Uint32Array, string, Uint32Array]")]
    pub fn get(&self, object: &str, id: &str) -> Result<Array, JsValue> {
        self.read(|engine| engine.get_row(object, &RecordId::parse_json(id)?).map(found_to_js))
    }

    /// The rows a query finds: `[stamps, unknown, stale]`, see `Found`.
    #[wasm_bindgen(unchecked_return_type = "[Uint32Array, string, Uint32Array]")]
    pub fn find(&self, object: &str, query: &str) -> Result<Array, JsValue> {
        self.read(|engine| engine.find_rows(object, Query::parse(query)?).map(found_to_js))
    }

    /// How many records match a `where`.
    pub fn count(&self, object: &str, filter: &str) -> Result<u32, JsValue> {
        self.read(|engine| {
            let count = engine.count_rows(object, &Filter::parse(filter)?.into())?;
            Ok(u32::try_from(count).unwrap_or(u32::MAX))
        })
    }

    /// The records that a query finds in a transaction, as a JSON array.
    #[wasm_bindgen(js_name = findIn)]
    pub fn find_in(&self, object: &str, query: &str, within: u32) -> Result<String, JsValue> {
        self.read(|engine| {
            let found = engine.find_in(within, object, Query::parse(query)?)?;
            Ok(array_text(found.iter().map(|record| record.as_str().to_owned())))
        })
    }

    /// What is computed of groups of records, as a JSON array.
    pub fn aggregate(&self, object: &str, query: &str, within: Option<u32>) -> Result<String, JsValue> {
        self.read(|engine| engine.aggregate(object, &Aggregate::parse(query)?, within))
    }

    /// The values of a field, each once, as a JSON array.
    pub fn distinct(
        &self,
        object: &str,
        field: &str,
        filter: &str,
        within: Option<u32>,
    ) -> Result<String, JsValue> {
        self.read(|engine| engine.distinct(object, field, Filter::parse(filter)?, within))
    }

    /// How a query is answered, as JSON.
    pub fn explain(&self, object: &str, query: &str) -> Result<String, JsValue> {
        self.read(|engine| engine.explain(object, Query::parse(query)?))
    }

    /// Changes whenever a record does.
    pub fn revision(&self) -> u32 {
        self.0.read(|engine| Ok(engine.revision())).unwrap_or_default()
    }

    /// The stamps that the page need not keep any more.
    #[wasm_bindgen(js_name = takeStale)]
    pub fn take_stale(&self) -> Result<Vec<u32>, JsValue> {
        self.read(|engine| Ok(engine.take_stale()))
    }

    /// Begins to keep the result of a query up to date; gives its number.
    pub fn watch(&self, object: &str, query: &str) -> Result<u32, JsValue> {
        self.read(|engine| engine.watch_query(object, Query::parse(query)?))
    }

    /// Keeps it up to date no more.
    pub fn unwatch(&self, live: u32) -> Result<(), JsValue> {
        self.read(|engine| {
            engine.unwatch_query(live);
            Ok(())
        })
    }

    /// What changed in the results of live queries, or of one of them, since they were last told: `[live, start, removed, found]`
    /// each.
    #[wasm_bindgen(js_name = liveChanges, unchecked_return_type = "[number, number, number, [Uint32Array, string, Uint32Array]][]")]
    pub fn live_changes(&self, only: Option<u32>) -> Result<Array, JsValue> {
        let to_js = |(LiveChange { live, start, removed, .. }, found): (LiveChange, Found)| {
            let found = JsValue::from(found_to_js(found));
            [JsValue::from(live), start.into(), removed.into(), found].into_iter().collect::<Array>()
        };
        self.read(|engine| Ok(engine.live_changes(only).into_iter().map(to_js).collect()))
    }

    /// Pushes and pulls until both are drained; gives a report.
    #[wasm_bindgen(unchecked_return_type = "Promise<object>")]
    pub fn sync(&self) -> Promise {
        or_rejected(self.0.call(false, |request| Input::Sync { request }))
    }

    /// Waits until a pending mutation has an outcome; gives it in one word.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn settled(&self, mutation: &str) -> Promise {
        or_rejected(
            MutationId::parse(mutation)
                .map_err(Error::from)
                .and_then(|mutation| self.0.call(false, |request| Input::Watch { request, mutation })),
        )
    }

    /// What the database is doing, as JSON.
    pub fn status(&self) -> Result<String, JsValue> {
        self.read(|engine| Ok(engine.status().to_json()))
    }

    /// The mutations not settled, as a JSON array.
    #[wasm_bindgen(js_name = pendingMutations)]
    pub fn pending_mutations(&self) -> Result<String, JsValue> {
        self.read(|engine| Ok(engine.pending_mutations()))
    }

    /// The mutations that wait for a decision, as a JSON array.
    pub fn conflicts(&self) -> Result<String, JsValue> {
        self.read(|engine| Ok(engine.conflicts()))
    }

    /// The mutations that the server will never take, as a JSON array.
    pub fn rejected(&self) -> Result<String, JsValue> {
        self.read(|engine| Ok(engine.rejected()))
    }

    /// How many read-write transactions of IndexedDB this database made since it was opened.
    pub fn transactions(&self) -> u32 {
        self.0.transactions()
    }

    /// Waits for the writes under way and closes.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn close(&self) -> Promise {
        self.0.close()
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&mut crate::engine::Engine) -> Result<T, Error>,
    ) -> Result<T, JsValue> {
        self.0.read(look).map_err(|error| to_js(&error))
    }

    /// Parses a write and hands it to the engine, or to a transaction. The arguments are read before this returns.
    fn write(
        &self,
        within: Option<u32>,
        object: &str,
        command: impl FnOnce(ObjectName) -> Result<Command, Error>,
    ) -> Promise {
        let command = self.0.read(|engine| engine.object_name(object)).and_then(command);
        match within {
            None => self.send(|_| command),
            Some(transaction) => or_rejected(command.and_then(|command| {
                let reply = self.0.read(|engine| engine.stage(now(), transaction, command))?;
                Ok(Promise::resolve(&reply_to_js(&reply)))
            })),
        }
    }

    fn send(&self, command: impl FnOnce(&Shell) -> Result<Command, Error>) -> Promise {
        or_rejected(
            command(&self.0).and_then(|command| {
                self.0.call(true, |request: RequestId| Input::Write { request, command })
            }),
        )
    }
}

/// Reads the elements of an array that holds records so many levels down.
fn list<T>(
    text: &str,
    levels: usize,
    read: impl FnMut(Json<'_>) -> Result<T, ProtocolError>,
) -> Result<Vec<T>, Error> {
    if text.len() > MAX_COMMAND_BYTES {
        return Err(ProtocolError::ValueTooLarge.into());
    }
    let text = normalise(text, MAX_DEPTH + levels)?;
    if !text.starts_with('[') {
        return Err(ProtocolError::InvalidValue("an array is wanted".to_owned()).into());
    }
    Ok(Json::from_normalised(&text).elements().map(read).collect::<Result<_, _>>()?)
}

fn found_to_js(Found { stamps, unknown, stale }: Found) -> Array {
    let numbers = |list: &[u32]| JsValue::from(Uint32Array::from(list));
    [numbers(&stamps), JsValue::from_str(&unknown), numbers(&stale)].into_iter().collect()
}

fn or_rejected(started: Result<Promise, Error>) -> Promise {
    started.unwrap_or_else(|error| Promise::reject(&to_js(&error)))
}

fn settings(options: &str, hooks: &JsValue) -> Result<Settings, Error> {
    let text = normalise(options, MAX_OPTIONS_DEPTH)?;
    let options = Json::from_normalised(&text);
    let hook = |name: &str| -> Option<Function> {
        Reflect::get(hooks, &JsValue::from_str(name)).ok().and_then(|hook| hook.dyn_into().ok())
    };
    let objects = find(options, "\"objects\"").into_iter().flat_map(Json::elements);
    let objects = objects.map(ObjectDefinition::from_json).collect::<Result<Vec<_>, _>>()?;
    let sync = find(options, "\"sync\"");
    let connect = hook("connect");
    let sync_settings = sync.map(|sync| sync_settings(sync, connect.is_some())).transpose()?;
    let transport = sync.map(|sync| -> Result<Transport, Error> {
        Ok(Transport {
            url: text_of(sync, "\"url\"")?.ok_or_else(|| wrong("sync.url", "a string"))?,
            timeout_ms: millis(sync, "\"timeoutMs\"")?.unwrap_or(DEFAULT_TIMEOUT_MS),
            headers: hook("headers"),
            fetch: hook("fetch"),
        })
    });
    Ok(Settings {
        name: text_of(options, "\"name\"")?.ok_or_else(|| wrong("name", "a string"))?,
        storage: storage(options)?,
        config: Config::new(objects, sync_settings)?,
        transport: transport.transpose()?,
        connect,
        on_event: hook("event").ok_or_else(|| wrong("hooks.event", "a function"))?,
    })
}

fn storage(options: Json<'_>) -> Result<Storage, Error> {
    let durability = match find(options, "\"durability\"").map(Json::as_str) {
        None | Some("\"strict\"") => Durability::Strict,
        Some("\"relaxed\"") => Durability::Relaxed,
        Some(_) => return Err(wrong("durability", "'strict' or 'relaxed'")),
    };
    match find(options, "\"storage\"").map(Json::as_str) {
        None | Some("\"indexeddb\"") => Ok(Storage::IndexedDb(durability)),
        Some("\"memory\"") => Ok(Storage::Memory),
        Some(_) => Err(wrong("storage", "'indexeddb' or 'memory'")),
    }
}

fn sync_settings(sync: Json<'_>, is_realtime: bool) -> Result<SyncSettings, Error> {
    let default = SyncSettings::default();
    Ok(SyncSettings {
        is_automatic: flag(sync, "\"auto\"")?.unwrap_or(default.is_automatic),
        poll_interval: match millis(sync, "\"pollIntervalMs\"")? {
            Some(0) => None,
            Some(millis) => Some(Duration::from_millis(millis.into())),
            None => default.poll_interval,
        },
        is_realtime,
    })
}

/// A property that is neither absent nor null.
fn find<'a>(json: Json<'a>, key: &str) -> Option<Json<'a>> {
    json.member(key).filter(|value| !value.is_null())
}

fn text_of(json: Json<'_>, key: &str) -> Result<Option<String>, Error> {
    let text = |value: Json<'_>| value.as_text().map(std::borrow::Cow::into_owned);
    find(json, key).map(|value| text(value).ok_or_else(|| wrong(key, "a string"))).transpose()
}

fn flag(json: Json<'_>, key: &str) -> Result<Option<bool>, Error> {
    let flag = |value: Json<'_>| value.as_str().parse().map_err(|_| wrong(key, "true or false"));
    find(json, key).map(flag).transpose()
}

fn millis(json: Json<'_>, key: &str) -> Result<Option<u32>, Error> {
    let number = |value: Json<'_>| u32::try_from(value.as_safe_integer()?).ok();
    let wrong = || wrong(key, "a whole number of milliseconds");
    find(json, key).map(|value| number(value).ok_or_else(wrong)).transpose()
}

fn wrong(key: &str, kind: &str) -> Error {
    Error::InvalidOptions(format!("{key} must be {kind}"))
}
