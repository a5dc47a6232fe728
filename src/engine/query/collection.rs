//! The records of all objects as an app sees them: rows, their indexes, and the live queries over them.

use objectql_sync_protocol::{Fields, ObjectDefinition, ObjectName, ObjectText, RecordId, array_text};

use super::aggregate::Aggregate;
use super::index::{Building, Index};
use super::live::{Live, LiveChange};
use super::pass::Pass;
use super::plan::{Plan, Source};
use super::prepare::known_among;
use super::rows::{Row, RowNumber, Rows, Stamp};
use super::{Path, Query};
use crate::engine::record::Record;
use crate::engine::sort::sort;
use crate::engine::table::Table;

/// When more than a quarter of the rows and of this number change at once, indexes are built anew with the next query.
const MANY: usize = 256;
/// How many bytes of records a page may know: 48 MiB of JSON text. Beyond, it forgets them all.
const MOST_KNOWN: usize = 48 << 20;
/// So many bytes of records that the page does not know are handed over at a time: 1 MiB, of which objects are made in some
/// milliseconds.
const MOST_AT_ONCE: usize = 1 << 20;

/// The records of all objects. There are few objects: one is found by going through them.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    list: Vec<(ObjectName, Collection)>,
    /// See [`Config`](crate::engine::Config).
    at_once: usize,
    last_stamp: Stamp,
    last_live: u32,
    page: Page,
}

/// What the page knows: objects it has made of records' JSON, by stamp.
#[derive(Debug)]
struct Page {
    /// The number of its memory: it begins a new one when it forgets all.
    memory: u32,
    /// How many bytes of JSON text are in it.
    bytes: usize,
    /// Stamps that it knows and that nothing has any more.
    stale: Vec<Stamp>,
}

impl Default for Page {
    fn default() -> Self {
        Self { memory: 1, bytes: 0, stale: Vec::new() }
    }
}

/// The records of one object.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) rows: Rows,
    /// See [`Config`](crate::engine::Config).
    pub(super) at_once: usize,
    /// Where not all records are taken over yet that there are: the number of the next one. No index is built meanwhile.
    pub(super) filling: Option<u64>,
    pub(super) indexes: Vec<Index>,
    /// One that is being built, of the rows as they were with that stamp; and how often one was begun since one was done.
    pub(super) building: Option<(Building, Stamp)>,
    pub(super) begun: u32,
    /// Which rows match what was asked, of the rows as they were.
    pub(super) passes: Vec<Pass>,
    /// The fields of the declared indexes.
    pub(super) declared: Vec<Vec<Path>>,
    /// Those of others that are to be built, in portions.
    pub(super) wanted: Vec<Vec<Path>>,
    /// Those of them of whose values no two records may have the same.
    pub(super) unique: Vec<Vec<Path>>,
    /// What was looked at for want of an index on these fields.
    pub(super) wanting: Vec<(Vec<Path>, usize)>,
    pub(super) lives: Vec<Live>,
    /// The stamp of the last change of any of the records.
    pub(super) last_change: Stamp,
}

/// Rows for the page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The states of the records, in order.
    pub stamps: Vec<u32>,
    /// Those that the page does not know yet, as a JSON array in the order of their first places; empty where there is none.
    pub unknown: String,
    /// The states that the page need not keep any more: to be forgotten before the unknown ones are read.
    pub stale: Vec<u32>,
    /// Where the page knows so few of them that all at once would hold it up, there is nothing else but this: the numbers of those that it
    /// does not know, in portions. With [`Engine::introduce`](super::super::Engine::introduce) it gets to know them, and then asks for all.
    pub ahead: Vec<Vec<u32>>,
}

impl Collections {
    /// None yet, with the indexes that are declared.
    pub(crate) fn of(definitions: &[ObjectDefinition], at_once: usize) -> Self {
        let list = definitions.iter().map(|definition| {
            let mut collection = Collection { at_once, ..Collection::default() };
            let indexes = definition.indexes.iter().map(|(_, index)| (index.fields.as_slice(), index.unique));
            let unique = definition.fields.iter().filter(|(_, field)| field.unique);
            let unique = unique.map(|(name, _)| (std::slice::from_ref(name), true));
            for (names, is_unique) in indexes.chain(unique) {
                let paths: Vec<Path> = names.iter().map(|name| Path::new(name)).collect();
                // Nested values are found by going through the rows: a path may lead to several.
                if paths.iter().any(|path| path.parts.is_some()) {
                    continue;
                }
                if is_unique {
                    collection.unique.push(paths.clone());
                }
                if !collection.declared.contains(&paths) {
                    collection.declared.push(paths);
                }
            }
            (definition.name.clone(), collection)
        });
        Self { list: list.collect(), at_once, ..Self::default() }
    }

    fn get(&self, object: &ObjectName) -> Option<&Collection> {
        self.list.iter().find(|(name, _)| name == object).map(|(_, collection)| collection)
    }

    /// The rows of an object and their indexes.
    pub(super) fn rows_of(&self, object: &ObjectName) -> Option<(&Rows, &[Index])> {
        self.get(object).map(|collection| (&collection.rows, collection.indexes.as_slice()))
    }

    /// All records of an object, the last one first.
    pub(crate) fn all(&self, object: &ObjectName) -> Vec<Fields> {
        let rows = self.get(object).into_iter().flat_map(|collection| collection.rows.iter());
        let mut all: Vec<Fields> = rows.map(|(_, row)| row.fields.clone()).collect();
        all.reverse();
        all
    }

    /// The stamp of the last change of any of an object's records.
    pub(super) fn last_change(&self, object: &ObjectName) -> Stamp {
        self.get(object).map_or(0, |collection| collection.last_change)
    }

    fn entry(&mut self, object: &ObjectName) -> &mut Collection {
        let place = self.list.iter().position(|(name, _)| name == object).unwrap_or_else(|| {
            let collection = Collection { at_once: self.at_once, ..Collection::default() };
            self.list.push((object.clone(), collection));
            self.list.len() - 1
        });
        &mut self.list.get_mut(place).expect("the place was found or just made").1
    }

    /// Takes over how records look now; what looks as before is passed over.
    pub(crate) fn update(&mut self, object: &ObjectName, records: &[(&RecordId, Seen<'_>)]) {
        // New ones come behind those that are there, in the order of their numbers.
        let mut order: Vec<u32> = (0..).take(records.len()).collect();
        let get = |place: u32| records.get(place as usize).copied();
        let number = |place: u32| get(place).and_then(|(_, seen)| seen.number());
        if !records.is_sorted_by_key(|(_, seen)| seen.number()) {
            sort(&mut order, &|a, b| number(a) < number(b));
        }
        let mut stamp = self.last_stamp;
        let mut gone = Vec::new();
        let collection = self.entry(object);
        if records.len() > MANY && records.len() * 4 > collection.rows.len() {
            collection.start_over();
        }
        for (id, mut seen) in order.into_iter().filter_map(get) {
            if collection.filling.is_some_and(|next| seen.number() >= Some(next)) {
                seen = Seen::Gone;
            }
            stamp += 1;
            gone.extend(collection.set(id, seen, stamp));
        }
        if collection.rows.close_up() {
            collection.start_over();
        }
        self.last_stamp = stamp;
        for Gone { stamp, bytes, known_in } in gone {
            if known_in == self.page.memory {
                self.page.bytes -= bytes;
                self.page.stale.push(stamp);
            }
        }
    }

    /// Takes over how all records of an object look, which are in order. In portions where there are many and nobody has seen any of them:
    /// then [`fill_next`](Self::fill_next) does it, and of what changes meanwhile only what is before [`filling`](Self::filling) is taken
    /// over at once.
    pub(crate) fn fill(&mut self, object: &ObjectName, table: &Table) {
        let collection = self.entry(object);
        if collection.filling.take().is_some() {
            collection.rows = Rows::default();
        }
        if collection.rows.next_number() > 0 {
            let all = table.numbered_from(0).map(|(number, record)| (&record.id, Seen::of(number, record)));
            return self.update(object, &all.collect::<Vec<_>>());
        }
        collection.start_over();
        collection.rows.reserve(table.count());
        collection.filling = Some(0);
        if table.count() <= collection.at_once || !collection.lives.is_empty() {
            while self.fill_next(object, table) {}
        }
    }

    /// Takes over a portion of the records of an object where that was begun; whether there are more.
    pub(crate) fn fill_next(&mut self, object: &ObjectName, table: &Table) -> bool {
        let mut stamp = self.last_stamp;
        let collection = self.entry(object);
        let Some(next) = collection.filling else { return false };
        let mut rest = table.numbered_from(next);
        for (number, record) in rest.by_ref().take(collection.portion()) {
            stamp += 1;
            if let Some(fields) = record.visible() {
                let (id, fields) = (record.id.clone(), fields.clone());
                collection.rows.push(Row { id, fields, number, stamp, known_in: 0 });
            } else {
                collection.rows.hide(&record.id, number);
            }
        }
        collection.filling = rest.next().map(|(number, _)| number);
        collection.last_change = stamp;
        let is_filling = collection.filling.is_some();
        self.last_stamp = stamp;
        is_filling
    }

    /// Where not all records of an object are taken over yet: the number of the next one.
    pub(crate) fn filling(&self, object: &ObjectName) -> Option<u64> {
        self.get(object)?.filling
    }

    /// Lets go of so many records, which are not asked for any more; whether there are more.
    pub(crate) fn drop_next(&mut self, mut count: usize) -> bool {
        while let Some((_, collection)) = self.list.last_mut() {
            count -= collection.rows.drop_last(count);
            if !collection.rows.is_empty() {
                return true;
            }
            self.list.pop();
        }
        false
    }

    /// Whether there is an object of which not all records are taken over yet.
    pub(crate) fn is_any_filling(&self) -> bool {
        self.list.iter().any(|(_, collection)| collection.filling.is_some())
    }

    /// The records a query finds, as a JSON array. Builds no index.
    pub(crate) fn text(&self, object: &ObjectName, query: &Query) -> String {
        let Some(collection) = self.get(object) else { return "[]".to_owned() };
        let Collection { rows, indexes, .. } = collection;
        let (numbers, ..) = query.run(rows, indexes, collection.known(query));
        array_text(numbers.into_iter().filter_map(|number| Some(rows.fields(number)?.as_str().to_owned())))
    }

    /// What is computed of records.
    pub(crate) fn aggregate(&mut self, object: &ObjectName, aggregate: &Aggregate) -> String {
        let collection = self.entry(object);
        let query = &aggregate.source;
        collection.build_for(query);
        let Collection { rows, indexes, passes, last_change, .. } = collection;
        let known = known_among(passes, query, Some(aggregate), *last_change);
        known.and_then(Pass::result).unwrap_or_else(|| {
            let (numbers, ..) = query.run(rows, indexes, None);
            aggregate.rows(&mut numbers.into_iter().filter_map(|number| rows.fields(number)))
        })
    }

    /// Whether a live query has to wait before it is begun.
    pub(crate) fn is_waiting_to_watch(&mut self, object: &ObjectName, query: &Query) -> bool {
        self.is_waiting(object, &Live::new(0, query.clone()).search_query(), None)
    }

    /// Whether a query, or what is computed of what it finds, has to wait until an index is built that may be of use to it, or many rows
    /// are looked at.
    pub(crate) fn is_waiting(&mut self, object: &ObjectName, query: &Query, of: Option<&Aggregate>) -> bool {
        self.entry(object).is_waiting(query, of)
    }

    /// Does a portion of what queries wait for; whether there is more to do.
    pub(crate) fn build_next(&mut self, object: &ObjectName) -> bool {
        let collection = self.entry(object);
        collection.build_next() || collection.pass_next()
    }

    /// Builds the declared indexes that may be of use to a query.
    pub(crate) fn prepare(&mut self, object: &ObjectName, query: &Query) {
        self.entry(object).build_for(query);
    }

    /// How many records match. Builds no index.
    pub(crate) fn count(&self, object: &ObjectName, query: &Query) -> usize {
        self.get(object).map_or(0, |collection| collection.count(query))
    }

    /// Builds the indexes that tell whether a value is taken.
    pub(crate) fn prepare_unique(&mut self) {
        for (_, Collection { rows, indexes, unique, filling, .. }) in &mut self.list {
            for paths in unique.iter().filter(|_| filling.is_none()) {
                if !indexes.iter().any(|index| index.paths == *paths) {
                    indexes.push(Index::build(paths.clone(), rows));
                }
            }
        }
    }

    /// The fields of whose values no two records of an object may have the same.
    pub(crate) fn unique(&self, object: &ObjectName) -> &[Vec<Path>] {
        self.get(object).map_or(&[], |collection| &collection.unique)
    }

    /// The records that have the same values in these fields, once [`prepare_unique`](Self::prepare_unique) was called.
    pub(crate) fn with_same<'a>(
        &'a self,
        object: &ObjectName,
        paths: &[Path],
        fields: &Fields,
    ) -> impl Iterator<Item = &'a RecordId> {
        let found = self.get(object).and_then(|collection| {
            let index = collection.indexes.iter().find(|index| index.paths == *paths)?;
            Some(index.with_same(&collection.rows, fields))
        });
        found.into_iter().flatten().map(|row| &row.id)
    }

    /// One record as one text: its stamp, and after a colon its JSON if the page does not know it. An exclamation mark comes first
    /// where stale stamps are to be taken before it is read.
    pub(crate) fn get_one(&mut self, object: &ObjectName, id: &RecordId) -> Option<String> {
        if self.page.bytes > MOST_KNOWN {
            self.forget_all();
        }
        let (_, collection) = self.list.iter_mut().find(|(name, _)| name == object)?;
        let number = collection.rows.find(id)?;
        let is_new = collection.rows.note_known(number, self.page.memory);
        let row = collection.rows.get(number)?;
        let mut text = row.stamp.to_string();
        if !self.page.stale.is_empty() {
            text.insert(0, '!');
        }
        if is_new {
            self.page.bytes += row.fields.as_str().len();
            text.push(':');
            text.push_str(row.fields.as_str());
        }
        Some(text)
    }

    /// The rows a query finds; all at once, whatever it takes, where the page was introduced to what was ahead.
    pub(crate) fn find(&mut self, object: &ObjectName, query: &Query, is_introduced: bool) -> Found {
        let (numbers, ..) = self.entry(object).run(query);
        if is_introduced { self.hand_over(object, &numbers) } else { self.for_page(object, &numbers) }
    }

    /// How a query is answered, as JSON.
    pub(crate) fn explain(&mut self, object: &ObjectName, query: &Query) -> String {
        let collection = self.entry(object);
        let (numbers, plan, looked_at) = collection.run(query);
        let index = match &plan.source {
            Source::Scan => "null".to_owned(),
            Source::Ids(_) => r#"["id"]"#.to_owned(),
            Source::Index { index, .. } => {
                let paths = collection.indexes.get(*index).map(|index| index.paths.as_slice());
                array_text(paths.unwrap_or_default().iter().map(|path| path.whole.clone()))
            }
        };
        ObjectText::default()
            .json("index", &index)
            .plain("sortedByIndex", Some(!query.order_by.is_empty() && plan.sorted_by.is_some()))
            .plain("rowsExamined", Some(looked_at))
            .plain("rowsReturned", Some(numbers.len()))
            .finish()
    }

    /// Begins to keep the result of a query; what it is comes with the next changes.
    pub(crate) fn watch(&mut self, object: &ObjectName, query: Query) -> u32 {
        self.last_live += 1;
        let id = self.last_live;
        self.entry(object).lives.push(Live::new(id, query));
        id
    }

    /// Keeps it no more.
    pub(crate) fn unwatch(&mut self, id: u32) {
        for (_, collection) in &mut self.list {
            collection.lives.retain(|live| live.id != id);
        }
    }

    /// How the results of live queries changed since they were last told, or of one of them. One of which the page is to get to know
    /// records first counts as not told, until it was introduced to them.
    pub(crate) fn changes(&mut self, only: Option<u32>, is_introduced: bool) -> Vec<(LiveChange, Found)> {
        let mut changes = Vec::new();
        for (object, collection) in &mut self.list {
            let Collection { lives, rows, indexes, passes, last_change, .. } = collection;
            let lives = lives.iter_mut().filter(|live| only.is_none_or(|id| live.id == id));
            let of_lives = lives.filter_map(|live| {
                let known = known_among(passes, &live.query, None, *last_change);
                live.change(rows, indexes, known)
            });
            changes.extend(of_lives.map(|change| (object.clone(), change)));
        }
        changes
            .into_iter()
            .map(|(object, mut change)| {
                if is_introduced {
                    let found = self.hand_over(&object, &change.rows);
                    return (change, found);
                }
                let found = self.for_page(&object, &change.rows);
                if !found.ahead.is_empty() {
                    let lives = &mut self.entry(&object).lives;
                    if let Some(live) = lives.iter_mut().find(|live| live.id == change.live) {
                        live.put_off(&mut change);
                    }
                }
                (change, found)
            })
            .collect()
    }

    fn forget_all(&mut self) {
        let Self { list, page, .. } = self;
        let known = list.iter().flat_map(|(_, collection)| collection.rows.iter());
        page.stale.extend(known.filter(|(_, row)| row.known_in == page.memory).map(|(_, row)| row.stamp));
        page.memory += 1;
        page.bytes = 0;
    }

    /// The stamps that the page need not keep, since the last time.
    pub(crate) fn take_stale(&mut self) -> Vec<Stamp> {
        std::mem::take(&mut self.page.stale)
    }

    /// How often a record changed: a page compares it with the last time before it trusts what it knows.
    pub(crate) const fn last_stamp(&self) -> Stamp {
        self.last_stamp
    }

    fn for_page(&mut self, object: &ObjectName, numbers: &[RowNumber]) -> Found {
        if self.page.bytes > MOST_KNOWN {
            self.forget_all();
        }
        let ahead = self.unknown_among(object, numbers);
        if ahead.len() > 1 {
            return Found { ahead, stale: self.take_stale(), ..Found::default() };
        }
        self.hand_over(object, numbers)
    }

    /// Which of the rows the page does not know, in portions.
    fn unknown_among(&self, object: &ObjectName, numbers: &[RowNumber]) -> Vec<Vec<RowNumber>> {
        let (mut in_portion, mut portions) = (0, Vec::new());
        let rows = self.get(object).map(|collection| &collection.rows);
        for number in numbers {
            let Some(row) = rows.and_then(|rows| rows.get(*number)) else { continue };
            if row.known_in == self.page.memory {
                continue;
            }
            let length = row.fields.as_str().len();
            in_portion += length;
            if in_portion > MOST_AT_ONCE || portions.is_empty() {
                in_portion = length;
                portions.push(Vec::new());
            }
            if let Some(portion) = portions.last_mut() {
                portion.push(*number);
            }
        }
        portions
    }

    /// The rows with these numbers, whatever they hold by now.
    pub(crate) fn hand_over(&mut self, object: &ObjectName, numbers: &[RowNumber]) -> Found {
        let stamps = Vec::with_capacity(numbers.len());
        let mut found = Found { stamps, stale: self.take_stale(), ..Found::default() };
        let Some((_, collection)) = self.list.iter_mut().find(|(name, _)| name == object) else {
            return found;
        };
        for number in numbers {
            let is_new = collection.rows.note_known(*number, self.page.memory);
            let Some(row) = collection.rows.get(*number) else { continue };
            found.stamps.push(row.stamp);
            if is_new {
                let text = row.fields.as_str();
                self.page.bytes += text.len();
                found.unknown.push(if found.unknown.is_empty() { '[' } else { ',' });
                found.unknown.push_str(text);
            }
        }
        if !found.unknown.is_empty() {
            found.unknown.push(']');
        }
        found
    }
}

/// How a record looks: with its number, which tells it from another that had its id before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    As(u64, &'a Fields),
    /// It is there, and nobody sees it.
    Hidden(u64),
    Gone,
}

impl<'a> Seen<'a> {
    /// How a record of the state looks.
    pub(crate) fn of(number: u64, record: &'a Record) -> Self {
        record.visible().map_or(Self::Hidden(number), |fields| Self::As(number, fields))
    }

    const fn number(&self) -> Option<u64> {
        match self {
            Self::As(number, _) | Self::Hidden(number) => Some(*number),
            Self::Gone => None,
        }
    }
}

/// The state of a record that is not any more.
struct Gone {
    stamp: Stamp,
    bytes: usize,
    known_in: u32,
}

impl Collection {
    /// Takes over how a record looks now; gives the state that is gone.
    fn set(&mut self, id: &RecordId, seen: Seen<'_>, stamp: Stamp) -> Option<Gone> {
        let place = self.rows.place_of(id);
        let held = place.and_then(|place| self.rows.held_at(place));
        if held.is_none() && seen.number().is_none() {
            return None;
        }
        if held.zip(seen.number()).is_some_and(|(held, number)| held != number) {
            // It went and came again: behind the others.
            let gone = self.set(id, Seen::Gone, stamp);
            self.set(id, seen, stamp);
            return gone;
        }
        let Self { rows, indexes, lives, last_change, .. } = self;
        let fields = if let Seen::As(_, fields) = seen { Some(fields) } else { None };
        let before = place.filter(|place| rows.get(*place).is_some());
        let mut gone = None;
        if let Some(row) = before.and_then(|number| rows.get(number)) {
            if fields.is_some_and(|fields| *fields == row.fields) {
                return None;
            }
            gone = Some(Gone { stamp: row.stamp, bytes: row.fields.as_str().len(), known_in: row.known_in });
            let number = before.unwrap_or_default();
            for index in indexes.iter_mut() {
                index.remove(rows, number);
            }
            for live in lives.iter_mut() {
                live.leave(rows, number, &row.fields);
            }
        }
        *last_change = stamp;
        let number = match (before, seen) {
            (Some(place), Seen::As(_, fields)) => {
                rows.change(place, fields.clone(), stamp);
                place
            }
            (None, Seen::As(number, fields)) => {
                rows.add(Row { id: id.clone(), fields: fields.clone(), number, stamp, known_in: 0 })
            }
            (_, Seen::Hidden(number)) => {
                rows.hide(id, number);
                return gone;
            }
            (_, Seen::Gone) => {
                rows.remove(id);
                return gone;
            }
        };
        for index in indexes.iter_mut() {
            index.insert(rows, number);
        }
        if let Some(fields) = fields {
            for live in lives.iter_mut() {
                live.enter(rows, number, fields);
            }
        }
        gone
    }

    fn start_over(&mut self) {
        self.indexes.clear();
        self.building = None;
        self.passes.clear();
        self.lives.iter_mut().for_each(Live::invalidate);
    }

    fn run(&mut self, query: &Query) -> (Vec<RowNumber>, Plan, usize) {
        self.build_for(query);
        let (numbers, plan, looked_at) = query.run(&self.rows, &self.indexes, self.known(query));
        self.note_waste(query, &plan, looked_at.saturating_sub(numbers.len()));
        (numbers, plan, looked_at)
    }

    fn count(&self, query: &Query) -> usize {
        let plan = query.plan(&self.rows, &self.indexes);
        match &plan.source {
            Source::Scan if plan.is_exact => self.rows.len(),
            Source::Index { index, ranges } if plan.is_exact => {
                let index = self.indexes.get(*index);
                index.map_or(0, |index| ranges.iter().map(|(from, to)| index.count(*from, *to)).sum())
            }
            _ => query.run(&self.rows, &self.indexes, self.known(query)).0.len(),
        }
    }
}
