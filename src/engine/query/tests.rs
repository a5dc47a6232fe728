use objectql_sync_protocol::{ObjectDefinition, ObjectName, RecordId};

use super::*;

fn collections(texts: &[&str], indexes: &str) -> (Collections, ObjectDefinition) {
    collections_at_once(texts, indexes, 1 << 15)
}

/// Of which so many records are looked at at once.
fn collections_at_once(texts: &[&str], indexes: &str, at_once: usize) -> (Collections, ObjectDefinition) {
    let definition = format!(r#"{{"name":"thing","indexes":{indexes}}}"#);
    let definition: ObjectDefinition = serde_json::from_str(&definition).unwrap();
    let mut collections = Collections::of(std::slice::from_ref(&definition), at_once);
    let records: Vec<(RecordId, Fields)> = texts.iter().map(|text| record(text)).collect();
    let seen: Vec<_> = records.iter().map(|(id, fields)| (id, Seen::As(0, fields))).collect();
    collections.update(&definition.name, &seen);
    (collections, definition)
}

fn record(text: &str) -> (RecordId, Fields) {
    let fields = Fields::parse(text).unwrap();
    (RecordId::parse_json(fields.get("id").unwrap().as_str()).unwrap(), fields)
}

fn ids(query: &str) -> Vec<i64> {
    let (collections, definition) = collections(
        &[
            r#"{"id":1,"title":"beta","points":3,"tags":["x","y"],"n":{"a":{"b":1}},"done":false}"#,
            r#"{"id":2,"title":"alpha","points":null,"a.b":"dotted","steps":[{"n":1},{"n":5}]}"#,
            r#"{"id":3,"title":"Gamma","points":"3","done":true,"least":3}"#,
            r#"{"id":4,"points":10,"least":3}"#,
        ],
        "{}",
    );
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&collections.text(&definition.name, &query)).unwrap();
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[test]
fn every_operator_means_what_the_module_says() {
    for (filter, expected) in [
        (r#"{}"#, vec![1, 2, 3, 4]),
        (r#"{"points":3}"#, vec![1]),
        (r#"{"points":"3"}"#, vec![3]),
        (r#"{"points":null}"#, vec![2]),
        (r#"{"title":null}"#, vec![4]),
        (r#"{"points":{"$ne":3}}"#, vec![2, 3, 4]),
        (r#"{"points":{"$gt":3}}"#, vec![4]),
        (r#"{"points":{"$gte":3,"$lt":10}}"#, vec![1]),
        (r#"{"points":{"$lte":10}}"#, vec![1, 4]),
        (r#"{"title":{"$gte":"alpha"}}"#, vec![1, 2]),
        (r#"{"points":{"$in":[3,10]}}"#, vec![1, 4]),
        (r#"{"points":{"$in":[null]}}"#, vec![2]),
        (r#"{"points":{"$nin":[3,null]}}"#, vec![3, 4]),
        (r#"{"title":{"$contains":"et"}}"#, vec![1]),
        (r#"{"tags":{"$contains":"y"}}"#, vec![1]),
        (r#"{"title":{"$startsWith":"al"}}"#, vec![2]),
        (r#"{"title":{"$endsWith":"a"}}"#, vec![1, 2, 3]),
        (r#"{"title":{"$null":true}}"#, vec![4]),
        (r#"{"title":{"$null":false}}"#, vec![1, 2, 3]),
        (r#"{"tags":["x","y"]}"#, vec![1]),
        (r#"{"n.a.b":1}"#, vec![1]),
        (r#"{"tags.1":"y"}"#, vec![1]),
        (r#"{"a.b":"dotted"}"#, vec![2]),
        (r#"{"n":{"a":{"b":1}}}"#, vec![1]),
        (r#"{"$or":[{"points":3},{"done":true}]}"#, vec![1, 3]),
        (r#"{"$and":[{"done":false},{"points":3}]}"#, vec![1]),
        (r#"{"$not":{"points":3}}"#, vec![2, 3, 4]),
        (r#"{"points":{"$not":{"$gt":3}}}"#, vec![1, 2, 3]),
        (r#"{"points":{"$between":[3,9]}}"#, vec![1]),
        (r#"{"title":{"$notContains":"a"}}"#, vec![4]),
        (r#"{"points":{"$exists":true}}"#, vec![1, 2, 3, 4]),
        (r#"{"title":{"$exists":false}}"#, vec![4]),
        (r#"{"points":{"$gt":{"$field":"least"}}}"#, vec![4]),
        (r#"{"points":{"$eq":{"$field":"least"}}}"#, vec![2]),
        (r#"{"title":{"$eq":{"$field":"nothing"}}}"#, vec![4]),
        (r#"{"steps.n":5}"#, vec![2]),
        (r#"{"steps.1.n":5}"#, vec![2]),
        (r#"{"steps.n":{"$gt":5}}"#, vec![]),
        (r#"{"id":2}"#, vec![2]),
        (r#"{"id":2,"title":"beta"}"#, vec![]),
        (r#"{"id":"2"}"#, vec![]),
    ] {
        assert_eq!(ids(&format!("{{\"where\":{filter}}}")), expected, "{filter}");
    }
}

#[test]
fn orders_by_kind_and_puts_nulls_last_both_ways() {
    for (query, expected) in [
        (r#"{"orderBy":[{"field":"points"}]}"#, vec![1, 4, 3, 2]),
        (r#"{"orderBy":[{"field":"points","order":"desc"}]}"#, vec![3, 4, 1, 2]),
        (r#"{"orderBy":[{"field":"title"}]}"#, vec![3, 2, 1, 4]),
        (r#"{"orderBy":[{"field":"done"},{"field":"id","order":"desc"}]}"#, vec![1, 3, 4, 2]),
        (r#"{"orderBy":[{"field":"nothing"}],"limit":2,"offset":1}"#, vec![2, 3]),
        (r#"{"orderBy":[{"field":"id","order":"desc"}],"limit":2}"#, vec![4, 3]),
        (r#"{"limit":2,"offset":3}"#, vec![4]),
        (r#"{"limit":0}"#, vec![]),
        (r#"{"offset":9,"orderBy":[{"field":"id"}]}"#, vec![]),
    ] {
        assert_eq!(ids(query), expected, "{query}");
    }
}

#[test]
fn a_cursor_goes_on_after_the_record_it_is_of() {
    let order = r#""orderBy":[{"field":"done","order":"desc"},{"field":"id"}]"#;
    assert_eq!(ids(&format!("{{{order}}}")), [3, 1, 2, 4]);
    for (cursor, expected) in [
        (r#"{"done":true,"id":3}"#, vec![1, 2, 4]),
        (r#"{"done":false,"id":1}"#, vec![2, 4]),
        (r#"{"done":null,"id":2}"#, vec![4]),
        (r#"{"done":true,"id":0}"#, vec![3, 1, 2, 4]),
    ] {
        assert_eq!(ids(&format!(r#"{{{order},"cursor":{cursor}}}"#)), expected, "{cursor}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for query in [
        r#"{"filters":[]}"#,
        r#"{"where":5}"#,
        r#"{"where":{"a":{"$regex":"x"}}}"#,
        r#"{"where":{"$nor":[]}}"#,
        r#"{"where":{"$or":{}}}"#,
        r#"{"where":{"a":{"$in":1}}}"#,
        r#"{"where":{"a":{"$null":1}}}"#,
        r#"{"where":{"a":{"$gt":1,"b":2}}}"#,
        r#"{"where":{"a":{"$contains":1}}}"#,
        r#"{"orderBy":"a"}"#,
        r#"{"orderBy":[{"order":"asc"}]}"#,
        r#"{"orderBy":[{"field":"a","order":"up"}]}"#,
        r#"{"limit":-1}"#,
        r#"{"limit":1.5}"#,
        r#"{"offset":"1"}"#,
        r#"{"fields":["a"]}"#,
        r#"{"where":{"a":{"$between":[1]}}}"#,
        r#"{"where":{"a":{"$exists":1}}}"#,
        r#"{"where":{"a":{"$gt":{"$field":1}}}}"#,
        r#"{"cursor":{"id":1}}"#,
        r#"{"cursor":{"a":1},"orderBy":[{"field":"a"}]}"#,
        r#"{"cursor":{"a":1},"orderBy":[{"field":"a"},{"field":"id"}]}"#,
    ] {
        assert_eq!(Query::parse(query).unwrap_err().code(), "INVALID_QUERY", "{query}");
    }
    assert_eq!(Query::parse("[]").unwrap_err().code(), "INVALID_VALUE");
    assert_eq!(Query::parse("{").unwrap_err().code(), "INVALID_JSON");
}

/// Records of some bytes each, as they are first seen.
fn large(count: i64, bytes: usize) -> (Collections, ObjectDefinition) {
    let long = "x".repeat(bytes);
    let texts: Vec<String> = (0..count).map(|id| format!(r#"{{"id":{id},"text":"{long}"}}"#)).collect();
    collections(&texts.iter().map(String::as_str).collect::<Vec<_>>(), "{}")
}

/// Has the page get to know what is ahead; gives how many portions that were.
fn introduce(collections: &mut Collections, object: &ObjectName, found: &Found) -> usize {
    assert!(found.stamps.is_empty() && found.unknown.is_empty(), "a part of it was handed over");
    for portion in &found.ahead {
        let met = collections.hand_over(object, portion);
        assert_eq!(met.stamps.len(), portion.len());
        assert!(met.ahead.is_empty() && met.unknown.len() <= (1 << 20) + portion.len() + 2);
    }
    found.ahead.len()
}

#[test]
fn a_page_gets_to_know_many_records_in_portions_and_then_what_it_asked_for() {
    let (mut collections, definition) = large(100, 40_000);
    let query = Query::parse("{}").unwrap();
    let found = collections.find(&definition.name, &query, false);
    assert_eq!(introduce(&mut collections, &definition.name, &found), 4);
    // One changes meanwhile: it comes with the answer.
    let (id, fields) = record(r#"{"id":7,"text":"changed"}"#);
    collections.update(&definition.name, &[(&id, Seen::As(0, &fields))]);
    let found = collections.find(&definition.name, &query, true);
    assert_eq!((found.stamps.len(), found.unknown.as_str()), (100, r#"[{"id":7,"text":"changed"}]"#));
    assert_eq!(found.stale.len(), 1);
}

#[test]
fn a_live_query_with_many_records_counts_as_not_told_until_the_page_knows_them() {
    let (mut collections, definition) = large(100, 40_000);
    let live = collections.watch(&definition.name, Query::parse("{}").unwrap());
    for _ in 0..2 {
        let (change, found) = collections.changes(None, false).pop().unwrap();
        assert_eq!((change.start, change.removed, found.ahead.len()), (0, 0, 4));
    }
    let (_, found) = collections.changes(Some(live), false).pop().unwrap();
    introduce(&mut collections, &definition.name, &found);
    let (change, found) = collections.changes(Some(live), true).pop().unwrap();
    assert_eq!((change.live, change.start, change.removed, found.stamps.len()), (live, 0, 0, 100));
    assert!(found.unknown.is_empty() && collections.changes(None, false).is_empty());
}

#[test]
fn what_a_page_was_introduced_to_it_gets_even_if_it_forgot_all_in_between() {
    let (mut collections, definition) = large(60, 1_000_000);
    let all = Query::parse("{}").unwrap();
    let found = collections.find(&definition.name, &all, false);
    introduce(&mut collections, &definition.name, &found);
    // More than it keeps: it forgets them for what is small.
    let one = Query::parse(r#"{"where":{"id":3}}"#).unwrap();
    let found = collections.find(&definition.name, &one, false);
    assert_eq!((found.stale.len(), found.stamps.len()), (60, 1));
    let found = collections.find(&definition.name, &all, true);
    assert_eq!((found.stamps.len(), found.ahead.len()), (60, 0));
    assert!(found.unknown.len() > 59_000_000);
}

/// So many records that an index of them is built in portions, in no order, and a query that wants it.
fn many() -> (Collections, ObjectDefinition, Query) {
    let texts: Vec<String> =
        (0..40_000).map(|id| format!(r#"{{"id":{id},"text":"{}"}}"#, id * 7919 % 20_011)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (collections, definition) = collections(&texts, r#"{"by_text":{"fields":["text"]}}"#);
    (collections, definition, Query::parse(r#"{"where":{"text":"7919"}}"#).unwrap())
}

#[test]
fn an_index_of_many_records_is_built_in_portions() {
    let (mut collections, ObjectDefinition { name, .. }, query) = many();
    assert!(!collections.build_next(&name), "nobody waits for anything");
    assert!(collections.is_waiting(&name, &query, None));
    let mut portions = 1;
    while collections.build_next(&name) {
        assert!(collections.is_waiting(&name, &query, None), "it waits for the same one");
        portions += 1;
    }
    assert!(portions > 5_000, "{portions}");
    assert!(!collections.is_waiting(&name, &query, None));
    assert!(
        collections
            .explain(&name, &query)
            .contains(r#""index":["text"],"sortedByIndex":false,"rowsExamined":2"#)
    );
    // As they come without an index.
    let sorted = Query::parse(r#"{"orderBy":[{"field":"text"}]}"#).unwrap();
    let built = collections.text(&name, &sorted);
    assert!(built == many().0.text(&name, &sorted), "another order");
}

#[test]
fn an_index_is_begun_anew_when_records_change_and_built_at_once_when_they_go_on_changing() {
    let (mut collections, ObjectDefinition { name, .. }, query) = many();
    for change in 0..3 {
        assert!(collections.is_waiting(&name, &query, None));
        assert!(collections.build_next(&name));
        let (id, fields) = record(&format!(r#"{{"id":1,"text":"change {change}"}}"#));
        collections.update(&name, &[(&id, Seen::As(0, &fields))]);
        assert!(!collections.build_next(&name), "it was of records that are not there any more");
    }
    assert!(!collections.is_waiting(&name, &query, None));
    assert_eq!(collections.find(&name, &query, false).stamps.len(), 1);
    assert!(!collections.build_next(&name));
}

/// Has all done that a query waits for; gives how many portions that took.
fn wait(collections: &mut Collections, object: &ObjectName, query: &Query) -> usize {
    wait_for(collections, object, query, None)
}

fn wait_for(
    collections: &mut Collections,
    object: &ObjectName,
    query: &Query,
    of: Option<&Aggregate>,
) -> usize {
    let mut portions = 0;
    while collections.is_waiting(object, query, of) {
        portions += 1;
        while collections.build_next(object) {
            portions += 1;
        }
        assert!(portions < 10_000, "no end");
    }
    portions
}

/// 1,000 records of which each fifth is looked for, where 160 at once are too many.
fn thousand() -> (Collections, ObjectDefinition) {
    let texts: Vec<String> =
        (0..1_000).map(|id| format!(r#"{{"id":{id},"n":{}}}"#, id * 7 % 1_000)).collect();
    collections_at_once(&texts.iter().map(String::as_str).collect::<Vec<_>>(), "{}", 160)
}

#[test]
fn a_filter_without_an_index_looks_at_many_records_in_portions() {
    let (mut collections, ObjectDefinition { name, .. }) = thousand();
    let query = Query::parse(r#"{"where":{"n":{"$lt":200}}}"#).unwrap();
    assert_eq!(wait(&mut collections, &name, &query), 1_000_usize.div_ceil(10) + 1);
    assert_eq!(collections.find(&name, &query, false).stamps.len(), 200);
    assert!(collections.explain(&name, &query).contains(r#""rowsExamined":1000,"rowsReturned":200"#));
    let filter = Filter::parse(r#"{"n":{"$lt":200}}"#).unwrap();
    assert_eq!(collections.count(&name, &Query::from(filter)), 200, "the same rows");
    // Enough are found among the first, or there is nothing to look at.
    for at_once in [r#"{"where":{"n":{"$lt":200}},"limit":5}"#, "{}", r#"{"where":{"id":3}}"#] {
        assert_eq!(wait(&mut collections, &name, &Query::parse(at_once).unwrap()), 0, "{at_once}");
    }
    // What is to be sorted, and is too much for that, gets an index.
    let sorted = Query::parse(r#"{"orderBy":[{"field":"n","order":"desc"}],"limit":3}"#).unwrap();
    assert!(wait(&mut collections, &name, &sorted) > 100);
    assert!(
        collections
            .explain(&name, &sorted)
            .contains(r#""index":["n"],"sortedByIndex":true,"rowsExamined":3"#)
    );
}

#[test]
fn many_queries_wait_at_once_and_none_for_ever() {
    let (mut collections, ObjectDefinition { name, .. }) = thousand();
    let queries = (0..20).map(|n| Query::parse(&format!(r#"{{"where":{{"n":{{"$gt":{n}}}}}}}"#)).unwrap());
    let queries: Vec<Query> = queries.collect();
    let waits: Vec<bool> = queries.iter().map(|query| collections.is_waiting(&name, query, None)).collect();
    assert_eq!(waits.iter().filter(|waits| **waits).count(), 8, "the others are answered at once");
    while collections.build_next(&name) {}
    for _ in 0..2 {
        for (n, query) in queries.iter().enumerate() {
            wait(&mut collections, &name, query);
            assert_eq!(collections.find(&name, query, false).stamps.len(), 999 - n);
        }
    }
    let changed = |collections: &mut Collections, n: usize| {
        let (id, fields) = record(&format!(r#"{{"id":1,"n":{n}}}"#));
        collections.update(&name, &[(&id, Seen::As(0, &fields))]);
    };
    // Records that change all the time hold nobody up for ever: neither two of which only one is ever done in time,
    let mut waiting = vec![Query::parse(r#"{"where":{"n":{"$lt":-2}}}"#).unwrap(), queries[3].clone()];
    changed(&mut collections, 1);
    for change in 2.. {
        waiting.retain(|query| collections.is_waiting(&name, query, None));
        if waiting.is_empty() {
            break;
        }
        assert!(change < 12, "{waiting:?}");
        for _ in 0..150 {
            collections.build_next(&name);
        }
        changed(&mut collections, change);
    }
    // nor one.
    let query = Query::parse(r#"{"where":{"n":{"$lt":-1}}}"#).unwrap();
    let mut begun = 0;
    while collections.is_waiting(&name, &query, None) {
        begun += 1;
        assert!(collections.build_next(&name));
        changed(&mut collections, begun);
        assert!(!collections.build_next(&name), "it was of records that are not there any more");
    }
    assert_eq!(begun, 3);
    // What looks as before is no change.
    assert!(collections.is_waiting(&name, &query, None) && collections.build_next(&name));
    changed(&mut collections, begun);
    assert!(collections.build_next(&name));
}

#[test]
fn what_was_found_in_portions_is_sorted_or_walked_in_the_order_of_an_index() {
    let texts: Vec<String> = (0..1_000)
        .map(|id| format!(r#"{{"id":{id},"n":{},"by":{}}}"#, id * 7 % 1_000, id * 31 % 1_000))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (mut collections, ObjectDefinition { name, .. }) =
        collections_at_once(&texts, r#"{"by":{"fields":["by"]}}"#, 160);
    for (most, is_by_index) in [(20, false), (900, true)] {
        let query = format!(r#"{{"where":{{"n":{{"$lt":{most}}}}},"orderBy":[{{"field":"by"}}]}}"#);
        let query = Query::parse(&query).unwrap();
        assert!(wait(&mut collections, &name, &query) > 100);
        let explained = collections.explain(&name, &query);
        assert_eq!(explained.contains(r#""sortedByIndex":true"#), is_by_index, "{explained}");
        let found: Vec<serde_json::Value> = serde_json::from_str(&collections.text(&name, &query)).unwrap();
        assert_eq!(found.len(), most);
        assert!(found.is_sorted_by_key(|record| record["by"].as_i64().unwrap()));
    }
}

mod oracle;
