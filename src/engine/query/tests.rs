use super::*;
use objectql_sync_protocol::{Operation, ServerVersion};

fn table() -> Table {
    let mut table = Table::default();
    for (id, text) in [
        (1, r#"{"id":1,"title":"beta","points":3,"tags":["x","y"],"n":{"a":{"b":1}},"done":false}"#),
        (2, r#"{"id":2,"title":"alpha","points":null,"a.b":"dotted"}"#),
        (3, r#"{"id":3,"title":"Gamma","points":"3","done":true}"#),
        (4, r#"{"id":4,"points":10}"#),
    ] {
        let fields = Fields::parse(text).unwrap();
        let id = RecordId::number(id).unwrap();
        table.entry(&id).rebase(Operation::Create, Some(&fields), ServerVersion::default());
    }
    table
}

fn ids(query: &str) -> Vec<i64> {
    let found = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).run(&table());
    let rows: Vec<serde_json::Value> = serde_json::from_str(&found).unwrap();
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
fn returns_only_the_fields_asked_for() {
    let query = Query::parse(r#"{"fields":["title"],"limit":1}"#).unwrap();
    assert_eq!(query.run(&table()), r#"[{"id":1,"title":"beta"}]"#);
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
        r#"{"fields":[1]}"#,
    ] {
        assert_eq!(Query::parse(query).unwrap_err().code(), "INVALID_QUERY", "{query}");
    }
    assert_eq!(Query::parse("[]").unwrap_err().code(), "INVALID_VALUE");
    assert_eq!(Query::parse("{").unwrap_err().code(), "INVALID_JSON");
}
