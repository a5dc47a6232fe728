//! The surface for the TypeScript facade. It translates, and nothing else: text into types, replies into values.
//!
//! Records, ids, filters and lists cross as JSON text, because one `JSON.parse` of many records is several times faster
//! than building their objects one property at a time; and each state of a record crosses once: after that, its stamp does.

use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Promise, Reflect, Uint8Array, Uint32Array};
use objectql_sync_protocol::{
    Fields, Json, MAX_DEPTH, MutationId, ObjectDefinition, ObjectName, RecordId, RecordKey, array_text,
    normalise,
};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::browser::calls::{Wants, reply_to_js, to_js};
use crate::browser::cipher::Cipher;
use crate::browser::driver::{Hooks, Settings, Shell};
use crate::browser::environment::now;
use crate::browser::log::{Durability, Opener};
use crate::browser::memory::MemoryLog;
use crate::browser::store::{DiskSettings, Storage};
use crate::browser::transport::Transport;
use crate::engine::{
    Aggregate, Command, Config, Engine, Filter, Found, Input, LiveChange, Migration, Need, Portion, Query,
    Resolution, SyncSettings, TabId, read_list,
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

    /// Deletes a database that is in memory.
    pub fn destroy(name: &str) {
        MemoryLog::delete(name);
    }

    /// Writes, in a transaction if one is named: `kind` says what, see [`command`]. A long text comes as bytes, which are copied at
    /// once, while those of a string are one by one. One door for all, because each exported method
    /// costs a kilobyte of code on both sides.
    #[wasm_bindgen(unchecked_return_type = "Promise<unknown>")]
    pub fn write(
        &self,
        kind: &str,
        object: &str,
        first: &JsValue,
        second: &str,
        within: Option<u32>,
    ) -> Promise {
        let shell = &self.0;
        or_rejected(text(first).and_then(|first| match (kind, within) {
            ("createEach", _) => {
                let object = shell.read(|engine| engine.object_name(object))?;
                shell.write_each(Command::parse_creates(&object, &first)?)
            }
            ("early", _) => shell.call(Wants::Outcome, |request| Input::Early {
                request,
                tab: TabId(first.parse().unwrap_or_default()),
                number: second.parse().unwrap_or_default(),
            }),
            ("migrate", _) => {
                let migration = migration(shell, object, &first, second)?;
                shell.call(Wants::Outcome, |request| Input::Migrate { request, migration })
            }
            (_, None) => {
                let command = command(shell, kind, object, &first, second)?;
                shell.call(Wants::Outcome, |request| Input::Write(vec![(request, command)]))
            }
            (_, Some(transaction)) => {
                let command = command(shell, kind, object, &first, second)?;
                let reply = shell.read(|engine| engine.stage(now(), transaction, command))?;
                Ok(Promise::resolve(&reply_to_js(&reply)))
            }
        }))
    }

    /// Begins a transaction; gives its number.
    pub fn begin(&self) -> Result<u32, JsValue> {
        self.read(|engine| Ok(engine.begin()))
    }

    /// Forgets a transaction.
    pub fn rollback(&self, transaction: u32) -> Result<(), JsValue> {
        self.read(|engine| engine.take_transaction(transaction).map(drop))
    }

    /// Answers with JSON, in a transaction if one is named: `kind` says what, see [`answer`].
    pub fn ask(
        &self,
        kind: &str,
        object: &str,
        first: &str,
        second: &str,
        within: Option<u32>,
    ) -> Result<String, JsValue> {
        self.read(|engine| answer(engine, kind, object, first, second, within))
    }

    /// One record: its stamp and, after a colon, its JSON if the page does not know it; after an exclamation mark where stale
    /// stamps are to be taken first. One text, because arrays cost more than the record.
    pub fn get(&self, object: &str, id: &str) -> Result<Option<String>, JsValue> {
        self.read(|engine| engine.get_row(object, &RecordId::parse_json(id)?))
    }

    /// The rows a query finds: `[stamps, unknown, stale, ahead]`, see `Found`; the last only where there is something in it. Or rows of a
    /// portion of that; of the empty portion, which comes last, what the query finds, and nothing is ahead any more.
    #[wasm_bindgen(unchecked_return_type = "[Uint32Array, string, Uint32Array, Uint32Array[]?]")]
    pub fn find(&self, object: &str, query: &str, portion: Option<Vec<u32>>) -> Result<Array, JsValue> {
        self.read(|engine| match portion {
            Some(numbers) if !numbers.is_empty() => engine.introduce(object, &numbers),
            end => engine.find_rows(object, Query::parse(query)?, end.is_some()),
        })
        .map(found_to_js)
    }

    /// Has all records of an object taken into memory, or one of them first; resolves when what is named is there. What is asked
    /// before rejects with `NOT_LOADED`, and the object's name as its message.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn load(&self, object: &str, id: Option<String>) -> Promise {
        let need = self.0.read(|engine| engine.object_name(object)).and_then(|object| match id {
            None => Ok(Need::Object(object)),
            Some(id) => Ok(Need::Record(RecordKey { object, id: RecordId::parse_json(&id)? })),
        });
        or_rejected(need.and_then(|need| self.0.call(Wants::Answer, |request| Input::Load { request, need })))
    }

    /// Does a part of what keeps a query waiting, which rejected with `NOT_LOADED` although all records of its object are in memory; whether
    /// there is more to do.
    pub fn prepare(&self, object: &str) -> Result<bool, JsValue> {
        self.read(|engine| engine.prepare_next(object))
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
    #[wasm_bindgen(js_name = liveChanges, unchecked_return_type = "[number, number, number, [Uint32Array, string, Uint32Array, Uint32Array[]?]][]")]
    pub fn live_changes(&self, only: Option<u32>, is_introduced: Option<bool>) -> Result<Array, JsValue> {
        let to_js = |(LiveChange { live, start, removed, .. }, found): (LiveChange, Found)| {
            let found = JsValue::from(found_to_js(found));
            [JsValue::from(live), start.into(), removed.into(), found].into_iter().collect::<Array>()
        };
        self.read(|engine| {
            Ok(engine.live_changes(only, is_introduced == Some(true)).into_iter().map(to_js).collect())
        })
    }

    /// Pushes and pulls until both are drained; gives a report.
    #[wasm_bindgen(unchecked_return_type = "Promise<object>")]
    pub fn sync(&self) -> Promise {
        or_rejected(self.0.call(Wants::Answer, |request| Input::Sync { request }))
    }

    /// Waits until a pending mutation has an outcome; gives it in one word.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn settled(&self, mutation: &str) -> Promise {
        or_rejected(
            MutationId::parse(mutation).map_err(Error::from).and_then(|mutation| {
                self.0.call(Wants::Answer, |request| Input::Watch { request, mutation })
            }),
        )
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

    fn read<T>(&self, look: impl FnOnce(&mut Engine) -> Result<T, Error>) -> Result<T, JsValue> {
        self.0.read(look).map_err(|error| to_js(&error))
    }
}

/// A text that came as a string, or as bytes.
fn text(value: &JsValue) -> Result<String, Error> {
    let text = match value.dyn_ref::<Uint8Array>() {
        Some(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        None => value.as_string(),
    };
    text.ok_or_else(|| Error::Internal("a text is wanted".to_owned()))
}

/// What became of values, and of which portion they are.
fn migration(shell: &Shell, object: &str, values: &str, portion: &str) -> Result<Migration, Error> {
    let object = shell.read(|engine| engine.object_name(object))?;
    let values = read_list(values, 1, Fields::from_json)?;
    Ok(Migration { object, portion: Portion::parse(portion)?, values })
}

/// The command for a kind of write. `first` and `second` are JSON text but for the ids of mutations.
fn command(shell: &Shell, kind: &str, object: &str, first: &str, second: &str) -> Result<Command, Error> {
    let mutation = || MutationId::parse(first);
    match kind {
        "undo" => return Ok(Command::Undo),
        "redo" => return Ok(Command::Redo),
        "commit" => {
            let number = first.parse().map_err(|_| Error::TransactionEnded)?;
            return shell.read(|engine| engine.take_transaction(number));
        }
        "resolve" => {
            let resolution = match second {
                "\"mine\"" => Resolution::Mine,
                "\"theirs\"" => Resolution::Theirs,
                record => Resolution::Record(Fields::parse(record)?),
            };
            return Ok(Command::Resolve { mutation: mutation()?, resolution });
        }
        "retry" => {
            let patch = if second.is_empty() { None } else { Some(Fields::parse(second)?) };
            return Ok(Command::Retry { mutation: mutation()?, patch });
        }
        "discard" => return Ok(Command::Discard { mutation: mutation()? }),
        _ => {}
    }
    let object = shell.read(|engine| engine.object_name(object))?;
    Command::parse(kind, object, first, second)
}

/// The answer to a question. `first` is JSON text but for the name of a field.
fn answer(
    engine: &mut Engine,
    kind: &str,
    object: &str,
    first: &str,
    second: &str,
    within: Option<u32>,
) -> Result<String, Error> {
    Ok(match kind {
        "status" => engine.status().to_json(),
        "pendingMutations" => engine.pending_mutations(),
        "conflicts" => engine.conflicts(),
        "rejected" => engine.rejected(),
        "count" => match within {
            None => engine.count_rows(object, Filter::parse(first)?.into())?,
            Some(within) => engine.find_in(within, object, Filter::parse(first)?.into())?.len(),
        }
        .to_string(),
        "beginExport" => engine.begin_export()?.to_string(),
        "nextExport" => engine.next_export(within.unwrap_or_default()).unwrap_or_else(|| "null".to_owned()),
        "endExport" => {
            engine.end_export(within.unwrap_or_default());
            "null".to_owned()
        }
        "objectsToMigrate" => engine.objects_to_migrate(),
        "portionToMigrate" => engine.portion_to_migrate(object, first)?,
        "explain" => engine.explain(object, Query::parse(first)?)?,
        "aggregate" => engine.aggregate(object, &Aggregate::parse(first)?, within)?,
        "distinct" => engine.distinct(object, first, Filter::parse(second)?, within)?,
        // In a transaction.
        "find" => {
            let found = engine.find_in(within.unwrap_or_default(), object, Query::parse(first)?)?;
            array_text(found.iter().map(|record| record.as_str().to_owned()))
        }
        _ => return Err(Error::Internal(format!("there is no answer {kind}"))),
    })
}

fn found_to_js(Found { stamps, unknown, stale, ahead }: Found) -> Array {
    let numbers = |list: &[u32]| JsValue::from(Uint32Array::from(list));
    let found: Array = [numbers(&stamps), JsValue::from_str(&unknown), numbers(&stale)].into_iter().collect();
    if !ahead.is_empty() {
        found.push(&ahead.iter().map(|portion| numbers(portion)).collect::<Array>());
    }
    found
}

fn or_rejected(started: Result<Promise, Error>) -> Promise {
    started.unwrap_or_else(|error| Promise::reject(&to_js(&error)))
}

fn settings(options: &str, hooks: &JsValue) -> Result<Settings, Error> {
    let text = normalise(options, MAX_OPTIONS_DEPTH)?;
    let options = Json::from_normalised(&text);
    let hook = |name: &str| hook(hooks, name);
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
    let storage = storage(options, hooks)?;
    let mut config = Config::new(objects, sync_settings)?;
    config.is_durable = matches!(storage, Storage::IndexedDb(_));
    config.versions = versions(options)?;
    config.asker = find(options, "\"asker\"").and_then(Json::as_safe_integer).map(TabId);
    Ok(Settings {
        name: text_of(options, "\"name\"")?.ok_or_else(|| wrong("name", "a string"))?,
        storage,
        config,
        hooks: Hooks {
            transport: transport.transpose()?,
            connect,
            on_event: hook("event").ok_or_else(|| wrong("hooks.event", "a function"))?,
            wants_changes: hook("wantsChanges"),
        },
    })
}

/// A function among the hooks.
fn hook(hooks: &JsValue, name: &str) -> Option<Function> {
    Reflect::get(hooks, &JsValue::from_str(name)).ok().and_then(|hook| hook.dyn_into().ok())
}

/// The versions of objects: numbers by name.
fn versions(options: Json<'_>) -> Result<Vec<(ObjectName, u32)>, Error> {
    let mut versions = Vec::new();
    for (name, version) in find(options, "\"versions\"").into_iter().flat_map(Json::members) {
        let name = Json::from_normalised(name).as_text().unwrap_or_default();
        let version = version.as_str().parse().map_err(|_| wrong("a version", "a whole number"))?;
        versions.push((ObjectName::new(name)?, version));
    }
    Ok(versions)
}

fn storage(options: Json<'_>, hooks: &JsValue) -> Result<Storage, Error> {
    let durability = match find(options, "\"durability\"").map(Json::as_str) {
        None | Some("\"strict\"") => Durability::Strict,
        Some("\"relaxed\"") => Durability::Relaxed,
        Some(_) => return Err(wrong("durability", "'strict' or 'relaxed'")),
    };
    match find(options, "\"storage\"").map(Json::as_str) {
        None | Some("\"indexeddb\"") => Ok(Storage::IndexedDb(DiskSettings {
            durability,
            opener: Opener {
                open: hook(hooks, "openLog").ok_or_else(|| wrong("hooks.openLog", "a function"))?,
                begin: hook(hooks, "beginLog").ok_or_else(|| wrong("hooks.beginLog", "a function"))?,
            },
            before_writing: hook(hooks, "beforeWriting"),
            cipher: Cipher::of(hooks),
            began: hook(hooks, "began"),
        })),
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
