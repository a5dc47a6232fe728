//! What is taken back and made again, in several tabs and over syncs.

use super::*;
use crate::engine::random::Random;

fn counters() -> World {
    World::new(Config::new(serde_json::from_value(json!([{ "name": "counter" }])).unwrap(), None).unwrap())
}

/// Goal: taking back everything, in whichever tab, leads back to where it began, and making it again to where it was; whatever the
/// writes were.
#[test]
fn undoing_and_redoing_everything_leads_back_and_forth() {
    for seed in 0..60 {
        let mut random = Random::new([seed; 32]);
        let mut world = counters();
        world.open_tab();
        world.settle();
        let seen = |world: &World| -> Vec<Vec<(String, String)>> {
            let records = world.find(0, "counter");
            let rows = records.iter().map(|record| {
                let shown = record.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
                let shown = shown.filter(|(name, _)| *name != "updated_at" && *name != "created_at");
                let mut shown: Vec<_> =
                    shown.map(|(name, value)| (name.clone(), value.to_string())).collect();
                shown.sort();
                shown
            });
            let mut rows: Vec<_> = rows.collect();
            rows.sort();
            rows
        };
        let mut states = vec![seen(&world)];
        for nth in 0..20 {
            let id = random.up_to(4).to_string();
            let object = object_name("counter");
            let patch = json!({ (["a", "b"])[random.up_to(1) as usize]: nth });
            let command = match random.up_to(5) {
                0 | 1 => Command::Upsert { object, record: fields(&json!({ "id": id, "a": nth, "c": "x" })) },
                2 => Command::UpdateMany { object, query: Query::default(), patch: fields(&patch) },
                3 => delete("counter", &id),
                4 => Command::DeleteMany {
                    object,
                    query: Query::parse(r#"{"where":{"a":{"$lt":3}}}"#).unwrap(),
                },
                _ => update("counter", &id, patch),
            };
            let before = world.tabs[0].engine.status().undoable;
            let _ = world.write(random.up_to(1) as usize, command);
            if world.tabs[0].engine.status().undoable > before {
                states.push(seen(&world));
            }
        }
        let steps = states.len() - 1;
        for back in (0..steps).rev() {
            assert_eq!(world.write(random.up_to(1) as usize, Command::Undo).unwrap(), Reply::Existed(true));
            assert_eq!(seen(&world), states[back], "seed {seed}, back to {back}");
        }
        assert_eq!(world.write(0, Command::Undo).unwrap(), Reply::Existed(false));
        for (forth, state) in states.iter().enumerate().skip(1) {
            assert_eq!(world.write(random.up_to(1) as usize, Command::Redo).unwrap(), Reply::Existed(true));
            assert_eq!(seen(&world), *state, "seed {seed}, forth to {forth}");
        }
        assert_eq!(world.write(1, Command::Redo).unwrap(), Reply::Existed(false));
    }
}

/// Goal: only so much is kept to be taken back.
#[test]
fn the_last_hundred_writes_can_be_taken_back() {
    let mut world = counters();
    for n in 0..130 {
        world.write(0, create("counter", json!({ "id": n }))).unwrap();
    }
    assert_eq!(world.tabs[0].engine.status().undoable, 100);
    while world.write(0, Command::Undo).unwrap() == Reply::Existed(true) {}
    assert_eq!(world.find(0, "counter").len(), 30);
    let large = "x".repeat(900 << 10);
    for n in 0..20 {
        world.write(0, create("counter", json!({ "id": format!("large {n}"), "text": large }))).unwrap();
    }
    assert_eq!(world.tabs[0].engine.status().undoable, 9);
}

impl World {
    /// Pushes what is pending, then takes a change of somebody else's.
    fn sync_and_take(&mut self, changed: Value) {
        let sync = self.start_sync(0);
        self.apply_all(0, 1, json!([]), "c1");
        let _ = self.report(0, sync);
        let sync = self.start_sync(0);
        let body = json!({ "results": [], "serverChanges": [change("update", "s", changed, 9)], "checkpoint": "c2" });
        self.answer(0, body);
        let _ = self.report(0, sync);
    }
}

#[test]
fn a_record_that_was_made_stays_when_somebody_has_changed_it_since() {
    for changed in [json!({ "title": "theirs" }), json!({ "body": "an hour of work" })] {
        let mut world = World::leading(by_hand());
        world.write(0, create("story", json!({ "id": "s", "title": "mine" }))).unwrap();
        world.sync_and_take(changed);
        assert_eq!(world.write(0, Command::Undo).unwrap(), Reply::Existed(true));
        assert!(world.get(0, "story", "s").is_some());
    }
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "s", "title": "mine" }))).unwrap();
    world.sync_and_take(json!({ "updated_at": "2027-01-01T00:00:00.000Z", "body": null }));
    assert_eq!(world.write(0, Command::Undo).unwrap(), Reply::Existed(true));
    assert_eq!(world.get(0, "story", "s"), None);
}

/// Goal: a server may give the fields of a nested value back in another order.
#[test]
fn a_value_is_as_it_was_left_when_it_is_deeply_equal() {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "s", "size": 0 }))).unwrap();
    let patch = Fields::parse(r#"{"size":{"w":1,"h":2}}"#).unwrap();
    let (object, id) = (object_name("story"), RecordId::string("s").unwrap());
    world.write(0, Command::Update { object, id, patch }).unwrap();
    let sync = world.start_sync(0);
    let change = r#"{"objectName":"story","recordId":"s","operation":"create","data":{"id":"s","size":{"h":2,"w":1}},
        "serverVersion":2,"timestamp":"2026-01-01T00:00:01.000Z"}"#;
    let results = r#"[{"status":"applied","serverVersion":1},{"status":"applied","serverVersion":2}]"#;
    let body = format!(r#"{{"results":{results},"serverChanges":[{change}],"checkpoint":"c1"}}"#);
    world.answer_with(0, ok(body.into_bytes()));
    let _ = world.report(0, sync);
    assert_eq!(world.write(0, Command::Undo).unwrap(), Reply::Existed(true));
    assert_eq!(world.get(0, "story", "s").unwrap()["size"], 0);
}

#[test]
fn no_record_becomes_too_large_by_being_put_back() {
    let mut world = World::leading(by_hand());
    let large = "x".repeat(700 << 10);
    world.write(0, create("story", json!({ "id": "s", "a": large }))).unwrap();
    world.write(0, update("story", "s", json!({ "a": "" }))).unwrap();
    world.sync_and_take(json!({ "b": large }));
    assert_eq!(world.write(0, Command::Undo).unwrap_err().code(), "VALUE_TOO_LARGE");
}

/// Goal: what a release cannot write any more is not in the way of what was done before it.
#[test]
fn what_cannot_be_written_any_more_is_passed_over() {
    let mut world = World::new(by_hand());
    world.write(0, create("story", json!({ "id": "s" }))).unwrap();
    world.write(0, create("task", json!({ "id": "t" }))).unwrap();
    let mut objects = objects();
    for object in objects.iter_mut().filter(|object| object.name.as_str() == "task") {
        object.sync.direction = objectql_sync_protocol::Direction::PullOnly;
    }
    world.config = Config::new(objects, world.config.sync).unwrap();
    let tab = world.open_tab();
    assert_eq!(world.write(tab, Command::Undo).unwrap(), Reply::Existed(true));
    assert_eq!(world.write(tab, Command::Undo).unwrap(), Reply::Existed(true));
    assert!(world.get(tab, "task", "t").is_some());
    assert_eq!(world.get(tab, "story", "s"), None);
}

/// Goal: many changes of one record in one call are one step back, and do not keep a version each.
#[test]
fn a_call_is_one_step_for_each_record() {
    let mut world = counters();
    let large = "x".repeat(100 << 10);
    world.write(0, create("counter", json!({ "id": "a", "n": 0, "text": large }))).unwrap();
    let patch = |n| (RecordId::string("a").unwrap(), fields(&json!({ "n": n })));
    let updates = (1..200).map(patch).collect();
    world.write(0, Command::BulkUpdate { object: object_name("counter"), updates }).unwrap();
    assert_eq!(world.tabs[0].engine.status().undoable, 2);
    world.write(0, Command::Undo).unwrap();
    assert_eq!(world.get(0, "counter", "a").unwrap()["n"], 0);
    world.write(0, Command::Redo).unwrap();
    assert_eq!(world.get(0, "counter", "a").unwrap()["n"], 199);
}
