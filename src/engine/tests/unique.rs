//! Values that only one record may have.

use super::*;

/// People whose `email` is theirs alone, and whose place in a `team`, too.
fn people() -> World {
    let definition = json!([{
        "name": "person",
        "fields": {
            "email": { "type": "email", "unique": true },
            "team": { "type": "text" },
            "place": { "type": "number" },
        },
        "indexes": { "place": { "fields": ["team", "place"], "unique": true } },
    }]);
    World::new(Config::new(serde_json::from_value(definition).unwrap(), None).unwrap())
}

fn person(record: Value) -> Command {
    create("person", record)
}

fn code(world: &mut World, command: Command) -> Option<&'static str> {
    world.write(0, command).err().map(|error| error.code())
}

const TAKEN: Option<&str> = Some("UNIQUE_VIOLATION");

#[test]
fn a_value_that_is_taken_is_refused_until_it_is_free() {
    let mut world = people();
    assert_eq!(code(&mut world, person(json!({ "id": "a", "email": "a@x", "team": "t", "place": 1 }))), None);
    assert_eq!(code(&mut world, person(json!({ "id": "b", "email": "a@x" }))), TAKEN);
    assert_eq!(
        code(&mut world, person(json!({ "id": "b", "email": "b@x", "team": "t", "place": 1 }))),
        TAKEN
    );
    assert_eq!(code(&mut world, person(json!({ "id": "b", "email": "b@x", "team": "t", "place": 2 }))), None);
    assert_eq!(code(&mut world, update("person", "b", json!({ "email": "a@x" }))), TAKEN);
    assert_eq!(code(&mut world, update("person", "b", json!({ "place": 1 }))), TAKEN);
    // Its own value is nobody else's.
    assert_eq!(code(&mut world, update("person", "a", json!({ "email": "a@x", "place": 1 }))), None);
    assert_eq!(code(&mut world, update("person", "a", json!({ "email": "new@x", "place": 3 }))), None);
    assert_eq!(code(&mut world, update("person", "b", json!({ "email": "a@x", "place": 1 }))), None);
    assert_eq!(code(&mut world, delete("person", "b")), None);
    assert_eq!(code(&mut world, person(json!({ "id": "c", "email": "a@x", "team": "t", "place": 1 }))), None);
    assert_eq!(world.find(0, "person").len(), 2);
}

#[test]
fn null_is_no_value() {
    let mut world = people();
    for (id, team) in [("a", "t"), ("b", "t"), ("c", "u")] {
        assert_eq!(code(&mut world, person(json!({ "id": id, "email": null, "team": team }))), None);
    }
}

#[test]
fn writes_of_one_row_see_each_other() {
    let mut world = people();
    let busy = world.start_write(0, person(json!({ "id": "busy" })));
    let calls = [
        person(json!({ "id": "a", "email": "1" })),
        person(json!({ "id": "b", "email": "1" })),
        update("person", "a", json!({ "email": "2" })),
        person(json!({ "id": "c", "email": "1" })),
        delete("person", "c"),
        person(json!({ "id": "d", "email": "1" })),
        update("person", "a", json!({ "email": "1" })),
    ]
    .map(|command| world.start_write(0, command));
    world.settle();
    assert!(world.is_answered(0, busy));
    let codes = calls.map(|call| world.reply(0, call).err().map(|error| error.code()));
    assert_eq!(codes, [None, TAKEN, None, None, None, None, TAKEN]);
}

#[test]
fn of_many_that_are_made_at_once_none_is_when_two_share_a_value() {
    let mut world = people();
    let bulk = |emails: [&str; 3]| {
        let records = emails.map(|email| fields(&json!({ "email": email }))).into();
        Command::Create { object: object_name("person"), records }
    };
    assert_eq!(code(&mut world, bulk(["1", "2", "1"])), TAKEN);
    assert_eq!(code(&mut world, bulk(["1", "2", "3"])), None);
    assert_eq!(code(&mut world, bulk(["4", "5", "3"])), TAKEN);
    assert_eq!(code(&mut world, bulk(["4", "5", "6"])), None);
    assert_eq!(world.find(0, "person").len(), 6);
}
