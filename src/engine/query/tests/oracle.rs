//! Queries against an evaluator that could not be simpler, on random data: with indexes, without them, and kept up to date.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::*;
use crate::engine::random::Random;

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
        match self.below(18) {
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
        match self.below(if depth == 0 { 4 } else { 8 }) {
            0 => json!({ self.field(): self.value() }),
            1 => json!({ format!("{}.n", self.field()): self.operators() }),
            2 | 3 => json!({ self.field(): self.operators() }),
            4 => json!({ "$and": [self.filter(depth - 1), self.filter(depth - 1)] }),
            5 => json!({ "$or": [self.filter(depth - 1), self.filter(depth - 1)] }),
            6 => json!({ "$not": self.filter(depth - 1) }),
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
    found.sort_by(|a, b| compare(a, b, &order));
    let offset = query["offset"].as_u64().unwrap_or(0) as usize;
    let limit = query["limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
    found.into_iter().skip(offset).take(limit).collect()
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
    let (mut by_index, mut in_order) = (0, 0);
    for seed in 0..COLLECTIONS {
        let mut world = World { random: Random::new([seed; 32]) };
        let mut model: Vec<Value> = Vec::new();
        let (mut collections, definition) = collections(&[], INDEXES[usize::from(seed) % INDEXES.len()]);
        let object = &definition.name;
        for nth in 0..QUERIES {
            change(&mut world, &mut model, &mut collections, object);
            let query = world.query();
            let parsed = Query::parse(&query.to_string()).unwrap();
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
                let counted = Query { limit: None, offset: 0, order_by: Vec::new(), ..parsed };
                let all = naive(&model, &json!({ "where": query.get("where").unwrap_or(&json!({})) }));
                assert_eq!(collections.count(object, &counted), all.len(), "seed {seed}: {query}");
            }
        }
    }
    assert!(by_index > 5_000 && in_order > 1_000, "{by_index} by an index, {in_order} sorted by one");
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
        collections.update(object, changed.iter().map(|(id, fields)| (id, fields.as_ref())));
        let expected = naive(&model, &query);
        for _ in 0..if model.len() == 1500 { 12 } else { 1 } {
            collections.find(object, &parsed);
        }
        assert_eq!(rows(&collections.text(object, &parsed)), expected);
        for (change, found) in collections.changes(None) {
            result.splice(change.start..change.start + change.removed, found.stamps);
        }
        assert_eq!(result, collections.find(object, &parsed).stamps);
        let explained = collections.explain(object, &parsed);
        assert_eq!(explained.starts_with(r#"{"index":["a"]"#), model.len() == 1500, "{explained}");
    }
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
    collections.update(object, changed.iter().map(|(id, fields)| (id, fields.as_ref())));
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
            for (change, found) in collections.changes(None) {
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
        assert_eq!(collections.changes(None), []);
    }
}

/// A record that was changed and changed back within one commit looks the same and is another state.
fn same_ids(a: &[Value], b: &[Value]) -> bool {
    a.iter().map(|it| &it["id"]).eq(b.iter().map(|it| &it["id"]))
}
