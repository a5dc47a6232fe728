//! How often the engine asks for memory: a count that no machine, however busy, changes. What grows by more than a tenth fails; what
//! is meant to cost more is written down anew in [`RECORDED`], with the reason in the commit.
//!
//! `cargo test --test allocations -- --nocapture` prints the counts.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use objectql_offline::engine::{Command, Config, Engine, Input, Now, Output, Query, RequestId};
use objectql_sync_protocol::{Fields, ObjectDefinition, ObjectName, RecordId};

/// Allocations of each step, as `(name, count)`.
const RECORDED: [(&str, u64); 6] = [
    ("create, 1,000 at once", 8_162),
    ("bulk create, 1,000", 3_093),
    ("update, one by one (100)", 3_402),
    ("find 20 %, for the first time", 61),
    ("find 20 %, again", 19),
    ("get by id (100)", 260),
];

/// An engine on a store that has nothing yet, and takes every row.
struct Database {
    engine: Engine,
    rows: u64,
    replies: u64,
}

impl Database {
    fn open() -> Self {
        let definition = r#"{"name":"task","fields":{"status":{"type":"text"}},"indexes":{"status":{"fields":["status"]}}}"#;
        let definition: ObjectDefinition = serde_json::from_str(definition).unwrap();
        let config = Config::new(vec![definition], None).unwrap();
        let mut database = Self { engine: Engine::new(config, [7; 32], RequestId(0)), rows: 0, replies: 0 };
        database.hand(Input::Wake);
        assert_eq!(database.replies, 1, "the database is open");
        database
    }

    fn hand(&mut self, input: Input) {
        self.engine.handle_input(Now::default(), input);
        self.run();
    }

    fn run(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            let answer = match output {
                Output::Begin { read, .. } => {
                    Input::Begun { read, root: None, rows: Vec::new(), is_last: true }
                }
                Output::Read { read, .. } => Input::Rows { read, rows: Vec::new(), is_last: true },
                Output::Append { append, .. } => {
                    self.rows += 1;
                    Input::Appended { append }
                }
                Output::Reply { result, .. } => {
                    result.unwrap();
                    self.replies += 1;
                    continue;
                }
                _ => continue,
            };
            self.engine.handle_input(Now::default(), answer);
        }
    }

    fn write(&mut self, command: Command) {
        self.write_all(vec![command]);
    }

    fn write_all(&mut self, commands: Vec<Command>) {
        let calls = commands.into_iter().map(|command| (RequestId(1), command)).collect();
        self.engine.handle_input(Now::default(), Input::Write(calls));
    }
}

fn records(count: usize, from: usize) -> Vec<Fields> {
    let record = |at: usize| {
        let text = format!(
            r#"{{"id":"task-{at:06}","title":"Call about the renewal of contract {at}","status":"{}","points":{},"done":false}}"#,
            ["open", "doing", "waiting", "done", "cancelled"].get(at % 5).unwrap(),
            at % 100
        );
        Fields::parse(&text).unwrap()
    };
    (from..from + count).map(record).collect()
}

fn task() -> ObjectName {
    ObjectName::new("task").unwrap()
}

fn id(at: usize) -> RecordId {
    RecordId::string(format!("task-{at:06}")).unwrap()
}

/// Counts the steps in order, on one database.
fn count() -> Vec<u64> {
    let mut database = Database::open();
    let mut counts = Vec::new();
    let mut count = |step: &mut dyn FnMut(&mut Database)| {
        counts.push(allocation_counter::measure(|| step(&mut database)).count_total);
    };

    // What the app hands over is made before it is counted.
    let mut made = records(1_000, 0);
    count(&mut |database| {
        let create = |record| Command::Create { object: task(), records: vec![record] };
        database.write_all(made.drain(..).map(create).collect());
        database.run();
        assert!(database.rows <= 2, "writes that are made at once share a row: {} rows", database.rows);
    });
    let mut made = Some(records(1_000, 1_000));
    count(&mut |database| {
        database.write(Command::Create { object: task(), records: made.take().unwrap() });
        database.run();
    });
    let patch = Fields::parse(r#"{"title":"Called"}"#).unwrap();
    count(&mut |database| {
        for at in 0..100 {
            database.write(Command::Update { object: task(), id: id(at * 7), patch: patch.clone() });
            database.run();
        }
    });
    let query = Query::parse(r#"{"where":{"status":"done"}}"#).unwrap();
    for _ in 0..2 {
        let mut query = Some(query.clone());
        count(&mut |database| {
            database.engine.find_rows("task", query.take().unwrap(), false).unwrap();
        });
    }
    let ids: Vec<_> = (0..100).map(|at| id(at * 13)).collect();
    count(&mut |database| {
        for id in &ids {
            assert!(database.engine.get_row("task", id).unwrap().is_some());
        }
    });
    assert_eq!(database.replies, 1 + 1_000 + 1 + 100, "every write was answered");
    counts
}

#[test]
fn the_engine_asks_for_memory_about_as_often_as_recorded() {
    let counts = count();
    assert_eq!(counts.len(), RECORDED.len());
    let mut grown = Vec::new();
    for ((step, recorded), counted) in RECORDED.into_iter().zip(counts) {
        println!("{step:<32}{counted:>8} allocations, recorded {recorded}");
        if counted * 10 > recorded * 11 {
            grown.push(format!("{step}: {counted} allocations instead of {recorded}"));
        }
    }
    assert!(grown.is_empty(), "more than a tenth above what is recorded: {grown:?}");
}
