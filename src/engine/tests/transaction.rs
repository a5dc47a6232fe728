//! Transactions in several tabs on one log.

use super::*;
use crate::engine::random::Random;

fn counters() -> World {
    World::new(Config::new(serde_json::from_value(json!([{ "name": "counter" }])).unwrap(), None).unwrap())
}

impl World {
    fn counter(&self, tab: usize) -> u64 {
        let record = self.tabs[tab].engine.get("counter", RecordId::string("n").unwrap()).unwrap();
        record.map_or(0, |fields| fields.get("value").unwrap().as_safe_integer().unwrap())
    }

    /// Reads the counter in a transaction and writes one more; gives the command that commits it.
    fn count_up(&mut self, tab: usize) -> Command {
        let now = self.now();
        let engine = &mut self.tabs[tab].engine;
        let number = engine.begin();
        let query = Query::parse(r#"{"where":{"id":"n"}}"#).unwrap();
        let found = engine.find_in(number, "counter", query).unwrap();
        let value = found.first().map_or(0, |it| it.get("value").unwrap().as_safe_integer().unwrap());
        let record = fields(&json!({ "id": "n", "value": value + 1 }));
        engine.stage(now, number, Command::Upsert { object: object_name("counter"), record }).unwrap();
        engine.take_transaction(number).unwrap()
    }
}

/// Goal: whoever wins the race for the log, each transaction that is committed counted once, on what it had read.
#[test]
fn no_count_is_lost_between_tabs() {
    let (mut committed, mut conflicts) = (0, 0);
    for seed in 0..40 {
        let mut random = Random::new([seed; 32]);
        let mut world = counters();
        world.open_tab();
        world.open_tab();
        world.settle();
        let mut sum = 0;
        for _ in 0..60 {
            let mut calls = Vec::new();
            for _ in 0..=random.up_to(3) {
                let tab = random.up_to(2) as usize;
                let command = world.count_up(tab);
                calls.push((tab, world.start_write(tab, command)));
                if random.up_to(1) == 0 {
                    world.settle();
                }
            }
            world.settle();
            for (tab, call) in calls {
                match world.reply(tab, call) {
                    Ok(reply) => {
                        assert_eq!(reply, Reply::Done);
                        sum += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.code(), "TRANSACTION_CONFLICT");
                        conflicts += 1;
                    }
                }
            }
            for tab in 0..3 {
                assert_eq!(world.counter(tab), sum, "seed {seed}");
            }
        }
        committed += sum;
    }
    assert!(committed > 1000 && conflicts > 500, "{committed} committed, {conflicts} in conflict");
}

/// Goal: what is refused leaves nothing behind, also for the calls that share its row.
#[test]
fn a_command_that_fails_in_the_middle_is_undone_in_its_row() {
    let mut world = counters();
    world.write(0, create("counter", json!({ "id": "a", "value": 1 }))).unwrap();
    let busy = world.start_write(0, create("counter", json!({ "id": "busy" })));
    let object = || object_name("counter");
    let some = |id: &str| (RecordId::string(id).unwrap(), fields(&json!({ "value": 2 })));
    let fails =
        world.start_write(0, Command::BulkUpdate { object: object(), updates: vec![some("a"), some("z")] });
    let commands = vec![
        create("counter", json!({ "id": "z" })),
        delete("counter", "a"),
        update("counter", "a", json!({})),
    ];
    let fails_too = world.start_write(0, Command::Transaction { reads: Vec::new(), commands });
    let reads = world.start_write(0, update("counter", "a", json!({ "seen": true })));
    world.settle();
    assert!(world.is_answered(0, busy));
    assert_eq!(world.reply(0, fails).unwrap_err().code(), "NOT_FOUND");
    assert_eq!(world.reply(0, fails_too).unwrap_err().code(), "NOT_FOUND");
    let Reply::Record(record) = world.reply(0, reads).unwrap() else { panic!("not a record") };
    assert_eq!(record.get("value").unwrap().as_str(), "1");
    assert_eq!(world.find(0, "counter").len(), 2);
}

/// Two items, and a second tab.
fn items() -> World {
    let item = json!([{ "name": "item", "fields": { "code": { "type": "text", "unique": true } } }]);
    let mut world = World::new(Config::new(serde_json::from_value(item).unwrap(), None).unwrap());
    world.open_tab();
    world.write(0, create("item", json!({ "id": "a", "n": 1, "code": "x" }))).unwrap();
    world.write(0, create("item", json!({ "id": "b", "n": 2 }))).unwrap();
    world
}

/// Looks in a transaction, has another tab change something, and commits a write of its own: whether that is a conflict.
fn conflicts(look: impl FnOnce(&mut Engine, Now, u32), change: Command) -> bool {
    let mut world = items();
    let now = world.now();
    let engine = &mut world.tabs[0].engine;
    let number = engine.begin();
    look(engine, now, number);
    engine.stage(now, number, create("item", json!({ "text": "own" }))).unwrap();
    world.write(1, change).unwrap();
    let commit = world.tabs[0].engine.take_transaction(number).unwrap();
    match world.write(0, commit) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code(), "TRANSACTION_CONFLICT");
            true
        }
    }
}

/// Goal: rows that move up from behind the limit, because the transaction itself took others away, are among what it read.
#[test]
fn what_moves_up_into_a_limit_was_read() {
    let query = |text| Query::parse(text).unwrap();
    let first = r#"{"orderBy":[{"field":"n"}],"limit":1}"#;
    let behind_own_delete = |engine: &mut Engine, now, number| {
        engine.stage(now, number, delete("item", "a")).unwrap();
        let found = engine.find_in(number, "item", query(first)).unwrap();
        assert_eq!(found[0].get("id").unwrap().as_str(), "\"b\"");
    };
    assert!(conflicts(behind_own_delete, update("item", "b", json!({ "n": 100 }))));
    let behind_own_create = |engine: &mut Engine, now, number| {
        engine.stage(now, number, create("item", json!({ "id": "0", "n": 0 }))).unwrap();
        let second = r#"{"orderBy":[{"field":"n"}],"limit":1,"offset":1}"#;
        engine.find_in(number, "item", query(second)).unwrap();
    };
    assert!(conflicts(behind_own_create, update("item", "a", json!({ "n": 100 }))));
    let before_it = |engine: &mut Engine, _, number| {
        engine.find_in(number, "item", query(first)).unwrap();
    };
    assert!(!conflicts(before_it, update("item", "b", json!({ "n": 100 }))));
}

/// Goal: a write that was refused, or that found nothing, tells the app something: it rests on that.
#[test]
fn what_a_refusal_rests_on_was_read() {
    let refused = |engine: &mut Engine, now, number| {
        let error = engine.stage(now, number, create("item", json!({ "id": "a" }))).unwrap_err();
        assert_eq!(error.code(), "ALREADY_EXISTS");
    };
    assert!(conflicts(refused, delete("item", "a")));
    let taken = |engine: &mut Engine, now, number| {
        let error = engine.stage(now, number, create("item", json!({ "code": "x" }))).unwrap_err();
        assert_eq!(error.code(), "UNIQUE_VIOLATION");
    };
    assert!(conflicts(taken, update("item", "a", json!({ "code": "y" }))));
    let nothing = |engine: &mut Engine, now, number| {
        assert_eq!(engine.stage(now, number, delete("item", "z")).unwrap(), Reply::Existed(false));
    };
    assert!(conflicts(nothing, create("item", json!({ "id": "z" }))));
    let beaten = |engine: &mut Engine, now, number| {
        engine.stage(now, number, create("item", json!({ "id": "z" }))).unwrap();
    };
    assert!(conflicts(beaten, create("item", json!({ "id": "z" }))));
}

#[test]
fn what_is_no_write_of_records_is_no_part_of_a_transaction() {
    let mut world = items();
    let now = world.now();
    let engine = &mut world.tabs[0].engine;
    let number = engine.begin();
    let inner = Command::Transaction { reads: Vec::new(), commands: Vec::new() };
    for command in [Command::Undo, Command::Redo, inner] {
        assert_eq!(engine.stage(now, number, command).unwrap_err().code(), "INTERNAL");
    }
}

/// Goal: a transaction keeps only so much of what it read.
#[test]
fn a_transaction_that_reads_too_much_is_told() {
    let mut world = items();
    let engine = &mut world.tabs[0].engine;
    let number = engine.begin();
    let mut reads = 0;
    let error = loop {
        match engine.find_in(number, "item", Query::default()) {
            Ok(_) => reads += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), reads), ("VALUE_TOO_LARGE", (1 << 20) / 3));
}
