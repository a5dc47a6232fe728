//! A page as the facade keeps it: what it knows of records by the stamps of their states, and the results of its live queries, put
//! together from what it is told of them.

use std::collections::BTreeMap;

use objectql_offline::engine::{Engine, Found, Query};
use objectql_offline::error::Error;
use objectql_sync_protocol::{Json, array_text};

use crate::setup::{Edition, OBJECTS};

/// All records as they came, and some of them in an order, where others move up.
const QUERIES: [&str; 2] = [
    "{}",
    r#"{"where":{"a":{"$exists":true}},"orderBy":[{"field":"updated_at","order":"desc"}],"limit":3,"offset":1}"#,
];

/// What a page knows.
#[derive(Debug, Default)]
pub(crate) struct Page {
    texts: BTreeMap<u32, String>,
    lives: Vec<Live>,
}

/// A live query that it follows, and the stamps of its rows.
#[derive(Debug)]
struct Live {
    number: u32,
    object: &'static str,
    query: Query,
    stamps: Vec<u32>,
}

impl Page {
    /// Reads what changed, and compares it with what the queries find.
    pub(crate) fn follow(&mut self, engine: &mut Engine, edition: &Edition) -> Result<(), String> {
        for object in OBJECTS.into_iter().filter(|object| edition.defines(object)) {
            let is_followed = self.lives.iter().any(|live| live.object == object);
            if is_followed || engine.is_readable(object) != Ok(true) {
                continue;
            }
            for query in QUERIES {
                let query = Query::parse(query).map_err(|error| error.to_string())?;
                let number = loop {
                    match engine.watch_query(object, query.clone()) {
                        Ok(number) => break number,
                        // It waits until many rows are looked at.
                        Err(Error::NotLoaded(_)) => while engine.prepare_next(object) == Ok(true) {},
                        Err(error) => return Err(error.to_string()),
                    }
                };
                self.lives.push(Live { number, object, query, stamps: Vec::new() });
            }
        }
        for (change, found) in engine.live_changes(None, false) {
            let stamps = found.stamps.clone();
            self.read(found);
            let live = self.lives.iter_mut().find(|live| live.number == change.live);
            let live = live.ok_or("S6: a change of a live query that nobody follows")?;
            let end = change.start + change.removed;
            if end > live.stamps.len() {
                return Err(format!("S6: {end} rows of {} that are not there change", live.stamps.len()));
            }
            live.stamps.splice(change.start..end, stamps);
        }
        for Live { object, query, stamps, .. } in &self.lives {
            if engine.is_readable(object) != Ok(true) {
                continue;
            }
            let unknown = || "a record that the page does not know".to_owned();
            let shown = stamps.iter().map(|stamp| self.texts.get(stamp).cloned().unwrap_or_else(unknown));
            let shown = array_text(shown);
            let found = engine.find(object, query).map_err(|error| error.to_string())?;
            if shown != found {
                return Err(format!("S6: of {object}, the page shows {shown} and {found} is found"));
            }
        }
        Ok(())
    }

    fn read(&mut self, found: Found) {
        for stamp in found.stale {
            self.texts.remove(&stamp);
        }
        let unknown = if found.unknown.is_empty() { "[]" } else { &found.unknown };
        let mut news = Json::from_normalised(unknown).elements();
        for stamp in found.stamps {
            self.texts
                .entry(stamp)
                .or_insert_with(|| news.next().map_or_else(String::new, |it| it.as_str().to_owned()));
        }
    }
}
