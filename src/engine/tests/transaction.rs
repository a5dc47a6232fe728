//! Transactions and undo in several tabs on one log.

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
        let query = Query::of_id(&RecordId::string("n").unwrap());
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
