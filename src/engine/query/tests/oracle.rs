//! Queries against an evaluator that could not be simpler, on random data: with indexes, without them, and kept up to date.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::*;
use crate::engine::random::Random;
use crate::engine::views::Views;

/// So many queries are asked of each of so many collections: more than 100,000 pairs.
const COLLECTIONS: u8 = 200;
const QUERIES: usize = 520;

struct World {
    random: Random,
}

impl World {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.random.up_to(end as u64 - 1)).unwrap()
    }

    fn value(&mut self) -> Value {
        let values = [
            json!(null),
            json!(0),
            json!(1),
            json!(2),
            json!(10),
            json!(-1.5),
            json!("a"),
            json!("ab"),
            json!("b"),
            json!("é\\n"),
            json!(true),
            json!(false),
            json!([1, "a"]),
            json!({ "n": 1 }),
            json!("thirty-one letters and then an a"),
            json!("thirty-one letters and then a b"),
            json!("thirty-one letters and then a"),
            json!(-3),
            json!(1e300),
            json!([{ "n": 2 }, { "n": "a" }]),
            json!([]),
        ];
        let place = self.below(values.len());
        values[place].clone()
    }

    fn values(&mut self) -> Vec<Value> {
        (0..self.below(4)).map(|_| self.value()).collect()
    }

    fn field(&mut self) -> &'static str {
        ["a", "b", "c"][self.below(3)]
    }

    fn record(&mut self, id: usize) -> Value {
        let mut record = json!({ "id": id });
        for field in ["a", "b", "c"] {
            if self.below(5) > 0 {
                record[field] = self.value();
            }
        }
        record
    }

    fn operators(&mut self) -> Value {
        let value = self.value();
        match self.below(19) {
            18 => json!({ "$icontains": (["A", "LETTERS", "é"])[self.below(3)] }),
            0 => json!({ "$eq": value }),
            1 => json!({ "$ne": value }),
            2 => json!({ "$gt": value }),
            3 => json!({ "$gte": value }),
            4 => json!({ "$lt": value }),
            5 => json!({ "$lte": value }),
            6 => json!({ "$in": self.values() }),
            7 => json!({ "$nin": self.values() }),
            8 => json!({ "$between": [value, self.value()] }),
            9 => json!({ "$contains": "a" }),
            10 => json!({ "$notContains": "b" }),
            11 => json!({ "$startsWith": "a" }),
            12 => json!({ "$endsWith": "b" }),
            13 => json!({ "$null": self.below(2) == 0 }),
            14 => json!({ "$exists": self.below(2) == 0 }),
            15 => json!({ "$gt": value, "$lte": self.value() }),
            16 => json!({ "$not": { "$gte": value } }),
            _ => json!({ ["$eq", "$gt", "$lte"][self.below(3)]: { "$field": self.field() } }),
        }
    }

    fn filter(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 9 }) {
            4 if self.below(2) == 0 => {
                json!({ "id": { "$in": [self.below(12), self.below(30), "a", self.below(30)] } })
            }
            4 => json!({ "id": self.below(12) }),
            0 => json!({ self.field(): self.value() }),
            1 => json!({ format!("{}.n", self.field()): self.operators() }),
            2 | 3 => json!({ self.field(): self.operators() }),
            5 => json!({ "$and": [self.filter(depth - 1), self.filter(depth - 1)] }),
            6 => json!({ "$or": [self.filter(depth - 1), self.filter(depth - 1)] }),
            7 => json!({ "$not": self.filter(depth - 1) }),
            _ => json!({ "a": self.operators(), "b": self.value() }),
        }
    }

    fn query(&mut self) -> Value {
        let mut query = json!({});
        if self.below(5) > 0 {
            query["where"] = self.filter(2);
        }
        let keys = self.below(4);
        let order: Vec<Value> = (0..keys)
            .map(|_| json!({ "field": self.field(), "order": (["asc", "desc"])[self.below(2)] }))
            .collect();
        query["orderBy"] = json!(order);
        if self.below(2) == 0 {
            query["limit"] = json!(self.below(6));
        }
        if self.below(3) == 0 {
            query["offset"] = json!(self.below(4));
        }
        if self.below(8) == 0 {
            let words = ["a", "AB", "then letters", "b nothing", "é", "an thirty a"][self.below(6)];
            query["search"] = json!({ "query": words, "operator": (["and", "or"])[self.below(2)] });
            if self.below(2) == 0 {
                query["searchFields"] = json!([self.field(), "c"]);
            }
        }
        if self.below(8) == 0 {
            let mut order = order;
            order.push(json!({ "field": "id" }));
            let mut cursor = json!({ "id": self.below(12) });
            for key in ["a", "b", "c"] {
                cursor[key] = [json!(null), json!(1), json!("ab"), json!(true)][self.below(4)].clone();
            }
            query["orderBy"] = json!(order);
            query["cursor"] = cursor;
        }
        query
    }
}

/// The meaning of a query, in the simplest way: `records` are in the order in which they came.
fn naive(records: &[Value], query: &Value) -> Vec<Value> {
    let order = query["orderBy"].as_array().cloned().unwrap_or_default();
    let matching =
        records.iter().filter(|record| query.get("where").is_none_or(|filter| matches(record, filter)));
    let mut found: Vec<Value> = matching.cloned().collect();
    if let Some(cursor) = query.get("cursor") {
        found.retain(|record| compare(record, cursor, &order) == Ordering::Greater);
    }
    if let Some(search) = query.get("search") {
        let fields = query.get("searchFields");
        found.retain(|record| score(record, search, fields) > 0);
        if order.is_empty() {
            found.sort_by_key(|record| std::cmp::Reverse(score(record, search, fields)));
        }
    }
    found.sort_by(|a, b| compare(a, b, &order));
    let offset = query["offset"].as_u64().unwrap_or(0) as usize;
    let limit = query["limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
    found.into_iter().skip(offset).take(limit).collect()
}

/// How well a record fits a search, word by word.
fn score(record: &Value, search: &Value, fields: Option<&Value>) -> u32 {
    let words = |text: &str| -> Vec<String> {
        let text = text.to_lowercase();
        text.split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let texts = |value: &Value| match value {
        Value::Array(elements) => elements.iter().filter_map(Value::as_str).flat_map(words).collect(),
        value => value.as_str().map(words).unwrap_or_default(),
    };
    let all = json!(["a", "b", "c"]);
    let names = fields.unwrap_or(&all).as_array().unwrap();
    let scores: Vec<u32> = words(search["query"].as_str().unwrap())
        .iter()
        .map(|wanted| {
            let of_field = |(place, name): (usize, &Value)| {
                let early = if fields.is_some() { 15 - place as u32 } else { 15 };
                let found: Vec<String> = texts(&record[name.as_str().unwrap()]);
                let fit = |word: &String| match word {
                    word if word == wanted => 32 + early,
                    word if word.starts_with(wanted.as_str()) => 16 + early,
                    _ => 0,
                };
                found.iter().map(fit).max().unwrap_or(0)
            };
            names.iter().enumerate().map(of_field).max().unwrap_or(0)
        })
        .collect();
    if search["operator"] == "and" && scores.contains(&0) { 0 } else { scores.iter().sum() }
}

fn matches(record: &Value, filter: &Value) -> bool {
    filter.as_object().unwrap().iter().all(|(name, operand)| match name.as_str() {
        "$and" => operand.as_array().unwrap().iter().all(|part| matches(record, part)),
        "$or" => operand.as_array().unwrap().iter().any(|part| matches(record, part)),
        "$not" => !matches(record, operand),
        name => {
            let (first, rest) =
                name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
            let values = match (record.get(first), rest) {
                (Some(Value::Array(elements)), Some(rest)) => {
                    elements.iter().map(|it| it.get(rest)).collect()
                }
                (Some(value), Some(rest)) => vec![value.get(rest)],
                (value, _) => vec![value],
            };
            let is_operators =
                operand.as_object().is_some_and(|it| it.keys().any(|key| key.starts_with('$')));
            let operators = if is_operators { operand.clone() } else { json!({ "$eq": operand }) };
            all_hold(record, &values, &operators)
        }
    })
}

fn all_hold(record: &Value, values: &[Option<&Value>], operators: &Value) -> bool {
    operators.as_object().unwrap().iter().all(|(operator, operand)| {
        let operand = operand.get("$field").map_or(Some(operand), |name| record.get(name.as_str().unwrap()));
        let operand = operand.unwrap_or(&Value::Null);
        let any =
            |test: &dyn Fn(&Value) -> bool| values.iter().any(|value| test(value.unwrap_or(&Value::Null)));
        let text = |test: &dyn Fn(&str) -> bool| any(&|value| value.as_str().is_some_and(test));
        let contains = || {
            let wanted = operand.as_str().unwrap();
            any(&|value| match value {
                Value::Array(elements) => elements.iter().any(|element| element == wanted),
                value => value.as_str().is_some_and(|text| text.contains(wanted)),
            })
        };
        let ordered = |bound: &Value, wanted: &[Ordering]| {
            any(&|value| comparable(value, bound).is_some_and(|order| wanted.contains(&order)))
        };
        let list = || operand.as_array().unwrap();
        match operator.as_str() {
            "$eq" => any(&|value| value == operand),
            "$ne" => !any(&|value| value == operand),
            "$gt" => ordered(operand, &[Ordering::Greater]),
            "$gte" => ordered(operand, &[Ordering::Greater, Ordering::Equal]),
            "$lt" => ordered(operand, &[Ordering::Less]),
            "$lte" => ordered(operand, &[Ordering::Less, Ordering::Equal]),
            "$between" => {
                ordered(&list()[0], &[Ordering::Greater, Ordering::Equal])
                    && ordered(&list()[1], &[Ordering::Less, Ordering::Equal])
            }
            "$in" => any(&|value| list().contains(value)),
            "$nin" => !any(&|value| list().contains(value)),
            "$contains" => contains(),
            "$notContains" => !contains(),
            "$icontains" => {
                let wanted = operand.as_str().unwrap().to_ascii_lowercase();
                text(&|text| text.to_ascii_lowercase().contains(&wanted))
            }
            "$startsWith" => text(&|text| text.starts_with(operand.as_str().unwrap())),
            "$endsWith" => text(&|text| text.ends_with(operand.as_str().unwrap())),
            "$null" => any(&Value::is_null) == operand.as_bool().unwrap(),
            "$exists" => values.iter().any(Option::is_some) == operand.as_bool().unwrap(),
            "$not" => !all_hold(record, values, operand),
            other => panic!("{other}"),
        }
    })
}

fn comparable(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compare(a: &Value, b: &Value, order: &[Value]) -> Ordering {
    let kind = |value: &Value| match value {
        Value::Bool(_) => 0,
        Value::Number(_) => 1,
        Value::String(_) => 2,
        Value::Array(_) | Value::Object(_) => 3,
        Value::Null => 4,
    };
    let orders = order.iter().map(|key| {
        let field = key["field"].as_str().unwrap();
        let (a, b) = (&a[field], &b[field]);
        if a.is_null() || b.is_null() {
            return a.is_null().cmp(&b.is_null());
        }
        let order = comparable(a, b).unwrap_or_else(|| match kind(a).cmp(&kind(b)) {
            Ordering::Equal => a.to_string().cmp(&b.to_string()),
            order => order,
        });
        if key["order"] == "desc" { order.reverse() } else { order }
    });
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn rows(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

const INDEXES: [&str; 3] = [
    "{}",
    r#"{"x":{"fields":["a"]},"y":{"fields":["b"]},"z":{"fields":["c"]}}"#,
    r#"{"x":{"fields":["a","b"]},"y":{"fields":["b","a","c"]},"z":{"fields":["c","id"]}}"#,
];

/// Goal: on more than 100,000 random pairs of query and data, which change in between, every way to an answer gives the same one.
#[test]
fn every_plan_finds_what_the_naive_evaluator_finds() {
    let (mut by_index, mut in_order, mut waited) = (0, 0, 0);
    for seed in 0..COLLECTIONS {
        let mut world = World { random: Random::new([seed; 32]) };
        let mut model: Vec<Value> = Vec::new();
        let indexes = INDEXES[usize::from(seed) % INDEXES.len()];
        // In half of them, what takes longer is done in portions.
        let at_once = if seed % 2 == 0 { 1 << 15 } else { 4 };
        let (mut collections, definition) = collections_at_once(&[], indexes, at_once);
        let object = &definition.name;
        for nth in 0..QUERIES {
            change(&mut world, &mut model, &mut collections, object);
            let query = world.query();
            let parsed = Query::parse(&query.to_string()).unwrap();
            waited += wait(&mut collections, object, &parsed);
            collections.prepare(object, &parsed);
            let expected = naive(&model, &query);
            let found = rows(&collections.text(object, &parsed));
            assert_eq!(found, expected, "seed {seed}: {query}\\n{model:?}");
            if nth % 4 > 0 {
                continue;
            }
            let explained = collections.explain(object, &parsed);
            by_index += usize::from(!explained.starts_with(r#"{"index":null"#));
            in_order += usize::from(explained.contains(r#""sortedByIndex":true"#));
            if query.get("cursor").is_none() {
                let counted = Query::from(parsed.filter);
                let all = naive(&model, &json!({ "where": query.get("where").unwrap_or(&json!({})) }));
                assert_eq!(collections.count(object, &counted), all.len(), "seed {seed}: {query}");
            }
        }
    }
    assert!(by_index > 5_000 && in_order > 1_000, "{by_index} by an index, {in_order} sorted by one");
    assert!(waited > 100_000, "{waited} portions");
}

/// Goal: with many rows, many changes at once and most rows gone, results stay right, and an index is built for queries that need one.
#[test]
fn many_rows_may_change_at_once() {
    let mut world = World { random: Random::new([1; 32]) };
    let (mut collections, definition) = collections(&[], "{}");
    let object = &definition.name;
    let query = json!({ "where": { "a": 1 }, "orderBy": [{ "field": "b" }], "limit": 5, "offset": 1 });
    let parsed = Query::parse(&query.to_string()).unwrap();
    collections.watch(object, parsed.clone());
    let mut model: Vec<Value> = Vec::new();
    let mut result: Vec<u32> = Vec::new();
    for (first, last, is_there) in
        [(0, 1500, true), (300, 900, true), (20, 1480, false), (5, 6, true), (0, 8, false)]
    {
        let mut changed = Vec::new();
        for id in first..last {
            model.retain(|record| is_there || record["id"] != id);
            let record = is_there.then(|| world.record(id));
            if let Some(record) = &record {
                match model.iter_mut().find(|other| other["id"] == id) {
                    Some(other) => *other = record.clone(),
                    None => model.push(record.clone()),
                }
            }
            let fields = record.map(|record| Fields::parse(&record.to_string()).unwrap());
            changed.push((RecordId::number(id as i64).unwrap(), fields));
        }
        update(&mut collections, object, &changed);
        let expected = naive(&model, &query);
        for _ in 0..if model.len() == 1500 { 12 } else { 1 } {
            collections.find(object, &parsed, false);
        }
        assert_eq!(rows(&collections.text(object, &parsed)), expected);
        for (change, found) in collections.changes(None, false) {
            result.splice(change.start..change.start + change.removed, found.stamps);
        }
        assert_eq!(result, collections.find(object, &parsed, false).stamps);
        let explained = collections.explain(object, &parsed);
        assert_eq!(explained.starts_with(r#"{"index":["a"]"#), model.len() == 1500, "{explained}");
    }
}

/// Records that are there, or not any more.
fn update(collections: &mut Collections, object: &ObjectName, records: &[(RecordId, Option<Fields>)]) {
    let records = records
        .iter()
        .map(|(id, fields)| (id, fields.as_ref().map_or(Seen::Gone, |fields| Seen::As(0, fields))));
    collections.update(object, &records.collect::<Vec<_>>());
}

/// Makes, changes or removes some records.
fn change(
    world: &mut World,
    model: &mut Vec<Value>,
    collections: &mut Collections,
    object: &objectql_sync_protocol::ObjectName,
) {
    let mut changed: Vec<(RecordId, Option<Fields>)> = Vec::new();
    for _ in 0..world.below(4) {
        let id = world.below(30);
        let place = model.iter().position(|record| record["id"] == id);
        let record = (world.below(4) > 0).then(|| world.record(id));
        let id = RecordId::number(id as i64).unwrap();
        if changed.iter().any(|(other, _)| *other == id) {
            continue;
        }
        changed.push((id, record.as_ref().map(|record| Fields::parse(&record.to_string()).unwrap())));
        match (place, record) {
            (Some(place), Some(record)) => model[place] = record,
            (None, Some(record)) => model.push(record),
            (Some(place), None) => drop(model.remove(place)),
            (None, None) => {}
        }
    }
    update(collections, object, &changed);
}

/// Goal: what live queries tell, put together, is at every commit what the query finds; and nothing is told where it finds the same.
#[test]
fn live_queries_tell_what_changed_and_nothing_else() {
    for seed in 0..60_u8 {
        let mut world = World { random: Random::new([seed; 32]) };
        let mut model: Vec<Value> = Vec::new();
        let (mut collections, definition) = collections(&[], INDEXES[usize::from(seed) % INDEXES.len()]);
        let object = &definition.name;
        let queries: Vec<Value> = (0..20).map(|_| world.query()).collect();
        let ids: Vec<u32> = queries
            .iter()
            .map(|query| collections.watch(object, Query::parse(&query.to_string()).unwrap()))
            .collect();
        let mut results: Vec<Vec<Value>> = vec![Vec::new(); queries.len()];
        // The page of this test: the records by their stamps.
        let mut known: std::collections::HashMap<u32, Value> = std::collections::HashMap::new();
        for _ in 0..120 {
            change(&mut world, &mut model, &mut collections, object);
            let before = results.clone();
            let mut told = Vec::new();
            for (change, found) in collections.changes(None, false) {
                for stamp in &found.stale {
                    known.remove(stamp);
                }
                let unknown = if found.unknown.is_empty() { Vec::new() } else { rows(&found.unknown) };
                let mut unknown = unknown.into_iter();
                let place = ids.iter().position(|id| *id == change.live).unwrap();
                let new: Vec<Value> = found
                    .stamps
                    .iter()
                    .map(|stamp| known.entry(*stamp).or_insert_with(|| unknown.next().unwrap()).clone())
                    .collect();
                assert_eq!(unknown.next(), None);
                results[place].splice(change.start..change.start + change.removed, new);
                told.push(place);
            }
            for stamp in collections.take_stale() {
                known.remove(&stamp);
            }
            for (place, query) in queries.iter().enumerate() {
                assert_eq!(results[place], naive(&model, query), "seed {seed}: {query}");
                assert!(
                    results[place] != before[place]
                        || !told.contains(&place)
                        || same_ids(&results[place], &before[place])
                );
            }
        }
        for id in ids {
            collections.unwatch(id);
        }
        change(&mut world, &mut model, &mut collections, object);
        assert_eq!(collections.changes(None, false), []);
    }
}

/// A record that was changed and changed back within one commit looks the same and is another state.
fn same_ids(a: &[Value], b: &[Value]) -> bool {
    a.iter().map(|it| &it["id"]).eq(b.iter().map(|it| &it["id"]))
}

/// Goal: over changes that are not folded yet, a query finds what it would find if they were.
#[test]
fn a_query_over_changes_finds_what_it_finds_once_they_are_made() {
    for seed in 0..60_u8 {
        let mut world = World { random: Random::new([seed; 32]) };
        let mut model: Vec<Value> = Vec::new();
        let (mut collections, definition) = collections(&[], INDEXES[usize::from(seed) % INDEXES.len()]);
        let object = &definition.name;
        for _ in 0..100 {
            change(&mut world, &mut model, &mut collections, object);
            let mut views = Views::default();
            let mut after = model.clone();
            for _ in 0..world.below(6) {
                let id = world.below(40);
                let record = (world.below(4) > 0).then(|| world.record(id));
                let place = after.iter().position(|other| other["id"] == id);
                let key = objectql_sync_protocol::RecordKey {
                    object: object.clone(),
                    id: RecordId::number(id as i64).unwrap(),
                };
                // One that went and comes again in the same changes keeps the place that it had.
                if place.is_none() && views.get(&key).is_some() {
                    continue;
                }
                views.set(&key, record.as_ref().map(|it| Fields::parse(&it.to_string()).unwrap()));
                match (place, record) {
                    (Some(place), Some(record)) => after[place] = record,
                    (None, Some(record)) => after.push(record),
                    (Some(place), None) => drop(after.remove(place)),
                    (None, None) => {}
                }
            }
            for _ in 0..5 {
                let query = world.query();
                let parsed = Query::parse(&query.to_string()).unwrap();
                collections.prepare(object, &parsed);
                let found = collections.over(object, &parsed, &views);
                let found: Vec<Value> =
                    found.iter().map(|(_, it)| serde_json::from_str(it.as_str()).unwrap()).collect();
                assert_eq!(found, naive(&after, &query), "seed {seed}: {query}");
            }
        }
    }
}

/// The meaning of an aggregation, in the simplest way.
fn aggregated(records: &[Value], query: &Value) -> Vec<Value> {
    let no_filter = json!({});
    let of = |query: &Value, name: &str| query.get(name).unwrap_or(&no_filter).clone();
    let records: Vec<&Value> = records.iter().filter(|record| matches(record, &of(query, "where"))).collect();
    let names: Vec<&str> =
        query["groupBy"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let mut groups: Vec<(Vec<&Value>, Vec<&Value>)> = Vec::new();
    if names.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    for record in records {
        let key: Vec<&Value> = names.iter().map(|name| &record[*name]).collect();
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, members)) => members.push(record),
            None => groups.push((key, vec![record])),
        }
    }
    let number = |value: &Value| value.as_f64().or(value.as_bool().map(|it| f64::from(u8::from(it))));
    let rows = groups.into_iter().map(|(key, members)| {
        let mut row = serde_json::Map::new();
        for (name, value) in names.iter().zip(key) {
            row.insert((*name).to_owned(), value.clone());
        }
        for column in query["aggregations"].as_array().unwrap() {
            let members = members.iter().filter(|record| matches(record, &of(column, "filter")));
            let field = column.get("field").map(|name| name.as_str().unwrap());
            let values: Vec<&Value> = members
                .map(|record| field.map_or(&Value::Bool(true), |field| &record[field]))
                .filter(|value| !value.is_null())
                .collect();
            let numbers: Vec<f64> = values.iter().filter_map(|value| number(value)).collect();
            let sum: f64 = numbers.iter().sum();
            let mut sorted: Vec<Value> = values
                .iter()
                .map(
                    |value| if value.is_boolean() { whole(number(value).unwrap()) } else { (*value).clone() },
                )
                .collect();
            let order = [json!({ "field": "v" })];
            sorted.sort_by(|a, b| compare(&json!({ "v": a }), &json!({ "v": b }), &order));
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let value = match column["function"].as_str().unwrap() {
                "count" => json!(values.len()),
                "count_distinct" => {
                    let mut distinct: Vec<&Value> = Vec::new();
                    values.iter().for_each(|value| {
                        if !distinct.contains(value) {
                            distinct.push(value)
                        }
                    });
                    json!(distinct.len())
                }
                "sum" => whole(sum),
                "avg" if numbers.is_empty() => Value::Null,
                "avg" => whole(sum / numbers.len() as f64),
                "min" => sorted.first().cloned().unwrap_or(Value::Null),
                "max" => sorted.last().cloned().unwrap_or(Value::Null),
                "array_agg" => json!(values),
                "string_agg" => json!(values.iter().map(|value| text(value)).collect::<Vec<_>>().join("; ")),
                other => panic!("{other}"),
            };
            row.insert(column["alias"].as_str().unwrap().to_owned(), value);
        }
        Value::Object(row)
    });
    let mut rows: Vec<Value> = rows.filter(|row| matches(row, &of(query, "having"))).collect();
    rows.sort_by(|a, b| compare(a, b, query["orderBy"].as_array().unwrap()));
    let offset = query["offset"].as_u64().unwrap_or(0) as usize;
    rows.into_iter().skip(offset).take(query["limit"].as_u64().map_or(usize::MAX, |it| it as usize)).collect()
}

/// A number that looks like others that are equal.
fn whole(number: f64) -> Value {
    serde_json::from_str(&objectql_sync_protocol::number_text(number)).unwrap()
}

/// Goal: groups, aggregates and distinct values are those of the simplest evaluator, with indexes and without.
#[test]
fn aggregates_are_those_of_the_naive_evaluator() {
    const FUNCTIONS: [&str; 8] =
        ["count", "count_distinct", "sum", "avg", "min", "max", "array_agg", "string_agg"];
    let mut waited = 0;
    for seed in 0..100_u8 {
        let mut world = World { random: Random::new([seed; 32]) };
        let mut model: Vec<Value> = Vec::new();
        let indexes = INDEXES[usize::from(seed) % INDEXES.len()];
        let at_once = if seed % 2 == 0 { 1 << 15 } else { 4 };
        let (mut collections, definition) = collections_at_once(&[], indexes, at_once);
        let object = &definition.name;
        for _ in 0..60 {
            change(&mut world, &mut model, &mut collections, object);
            let mut query = json!({ "groupBy": [], "orderBy": [] });
            for field in ["a", "b"] {
                if world.below(3) == 0 {
                    query["groupBy"].as_array_mut().unwrap().push(json!(field));
                }
            }
            let columns = (0..=world.below(3)).map(|nth| {
                let function = FUNCTIONS[world.below(FUNCTIONS.len())];
                let mut column = json!({ "function": function, "alias": format!("x{nth}") });
                if function != "count" || world.below(2) == 0 {
                    column["field"] = json!(world.field());
                }
                if function == "string_agg" {
                    column["separator"] = json!("; ");
                }
                if world.below(4) == 0 {
                    column["filter"] = world.filter(1);
                }
                column
            });
            query["aggregations"] = columns.collect::<Vec<_>>().into();
            if world.below(2) == 0 {
                query["where"] = world.filter(1);
            }
            if world.below(4) == 0 {
                query["having"] = json!({ "x0": world.operators() });
            }
            if world.below(3) == 0 {
                query["orderBy"] = json!([{ "field": "x0", "order": (["asc", "desc"])[world.below(2)] }]);
                query["limit"] = json!(world.below(4));
                query["offset"] = json!(world.below(3));
            }
            let parsed =
                Aggregate::parse(&query.to_string()).unwrap_or_else(|error| panic!("{query}: {error}"));
            waited += wait_for(&mut collections, object, &parsed.source, Some(&parsed));
            let text = collections.aggregate(object, &parsed);
            assert_eq!(rows(&text), aggregated(&model, &query), "seed {seed}: {query}\n{model:?}");
            let field = world.field();
            let distinct = Aggregate::distinct(field, parsed.source.filter);
            waited += wait_for(&mut collections, object, &distinct.source, Some(&distinct));
            let text = collections.aggregate(object, &distinct);
            let mut expected: Vec<Value> = Vec::new();
            for record in naive(&model, &json!({ "where": query.get("where").unwrap_or(&json!({})) })) {
                let value = record[field].clone();
                if !value.is_null() && !expected.contains(&value) {
                    expected.push(value);
                }
            }
            assert_eq!(rows(&text), expected, "seed {seed}: {field} {query}");
        }
    }
    assert!(waited > 10_000, "{waited} portions");
}
