//! What pages wrote before their engines were there: decided once, in order, by whichever tab.

use super::*;
use crate::engine::{Asked, Migration, Portion, TabId};

/// Who asks, in most tests.
const PAGE: u64 = 7_000_000_001;

pub(super) fn asked(kind: &str, object: &str, first: Value, second: Value) -> Asked {
    let text = |value: Value| if value.is_null() { String::new() } else { value.to_string() };
    Asked {
        kind: kind.to_owned(),
        object: object.to_owned(),
        version: 1,
        first: text(first),
        second: text(second),
    }
}

fn creation(id: &str) -> Asked {
    asked("createEach", "story", json!([{ "id": id, "title": "Early" }]), Value::Null)
}

impl World {
    /// A page without an engine appends what it asks for, behind whatever there is.
    pub(super) fn ask(&mut self, page: u64, number: u64, asked: Asked) {
        let row = Row { tab: TabId(page), number, events: vec![Event::Asked(asked)] };
        let bytes = row.encode().unwrap();
        self.add_row(bytes);
    }

    /// A page whose engine is there by now waits for the outcome.
    pub(super) fn wait_for_early(&mut self, tab: usize, page: u64, number: u64) -> u64 {
        let request = self.request();
        self.tabs[tab].waiting.insert(request);
        self.give(tab, Input::Early { request: RequestId(request), tab: TabId(page), number });
        request
    }

    /// What the page is told: the kind of outcome, and its JSON.
    fn outcome(&mut self, tab: usize, number: u64) -> (String, Value) {
        let call = self.wait_for_early(tab, PAGE, number);
        self.settle();
        match self.reply(tab, call) {
            Ok(Reply::Early(text)) => {
                let (kind, json) = text.split_at(1);
                (kind.to_owned(), serde_json::from_str(json).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn errors_of(&self, tab: usize) -> Vec<&'static str> {
        let errors = self.tabs[tab].notices.iter().filter_map(|notice| match notice {
            Notice::Error(error) => Some(error.code),
            _ => None,
        });
        errors.collect()
    }

    fn ids(&self, tab: usize) -> Vec<String> {
        self.find(tab, "story").iter().map(|story| story["id"].as_str().unwrap().to_owned()).collect()
    }

    /// A tab that has not heard of anything since.
    /// The app of a tab changes the story that was asked for early: that comes after it.
    fn change_late(&mut self) {
        self.write(0, update("story", "a", json!({ "title": "Late" }))).unwrap();
        assert_eq!(self.get(0, "story", "a").unwrap()["title"], "Late");
    }

    fn nudge(&mut self, tab: usize) {
        self.give(tab, Input::Nudge);
        self.settle();
    }
}

#[test]
fn what_is_asked_in_a_database_that_nobody_opened_yet_is_done_when_somebody_does() {
    let mut world = World::empty(local());
    world.ask(PAGE, 1, creation("a"));
    world.open_tab();
    world.settle();
    assert_eq!(world.ids(0), ["a"]);
    let (kind, made) = world.outcome(0, 1);
    assert_eq!((kind.as_str(), &made[1][1]), ("=", &json!("a")));
}

#[test]
fn every_kind_of_write_is_done_in_order_and_answered() {
    let mut world = World::empty(local());
    let asks = [
        asked("create", "story", json!([{ "id": "a" }, { "id": "b" }, { "id": "c" }]), Value::Null),
        asked("update", "story", json!("a"), json!({ "title": "New" })),
        asked("upsert", "story", json!({ "id": "d", "title": "New" }), Value::Null),
        asked("updateMany", "story", json!({ "title": "New" }), json!({ "points": 1 })),
        asked("delete", "story", json!("b"), Value::Null),
        asked("bulkDelete", "story", json!(["b", "c"]), Value::Null),
        asked("deleteMany", "story", json!({ "id": "d" }), Value::Null),
    ];
    for (number, asked) in (1..).zip(asks) {
        world.ask(PAGE, number, asked);
    }
    world.open_tab();
    world.settle();
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "title": "New", "points": 1 })));
    assert_eq!(world.ids(0), ["a"]);
    let outcomes: Vec<(String, Value)> = (1..=7).map(|number| world.outcome(0, number)).collect();
    assert!(outcomes.iter().all(|(kind, _)| kind == "="));
    assert_eq!(outcomes[0].1[1].as_array().unwrap()[1..], [json!("a"), json!("b"), json!("c")]);
    assert_eq!([&outcomes[1].1["title"], &outcomes[2].1["id"]], [&json!("New"), &json!("d")]);
    let counts: Vec<Value> = outcomes[3..].iter().map(|(_, json)| json.clone()).collect();
    assert_eq!(counts, [json!(2), json!(true), json!(1), json!(1)]);
}

/// Goal: who opens a database finds in it what was asked for, whoever asked.
#[test]
fn that_all_is_decided_can_be_waited_for() {
    let mut world = World::empty(local());
    world.ask(PAGE, 1, creation("a"));
    let (tab, open) = world.start_tab();
    while !world.is_answered(tab, open) {
        world.serve_store(tab);
    }
    let call = world.wait_for_early(tab, 0, 0);
    assert!(!world.is_answered(tab, call));
    world.serve_store(tab);
    assert_eq!(world.reply(tab, call), Ok(Reply::Done));
    assert_eq!(world.ids(tab), ["a"]);
    let call = world.wait_for_early(tab, 0, 0);
    assert_eq!(world.reply(tab, call), Ok(Reply::Done), "without a look at the store");
}

/// Goal: an engine that decided something which another one had decided before would do it twice.
#[test]
fn two_tabs_that_decide_at_once_decide_once() {
    let mut world = World::new(local());
    world.open_tab();
    world.ask(PAGE, 1, asked("create", "story", json!([{ "title": "Early" }]), Value::Null));
    for tab in [0, 1] {
        world.give(tab, Input::Nudge);
        world.serve_store(tab);
        assert!(matches!(world.tabs[tab].store, Some(StoreCall::Append { .. })));
    }
    world.settle();
    assert_eq!(world.find(0, "story").len(), 1);
    assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
    assert_eq!(world.outcome(1, 1).0, "=");
    assert_eq!(world.outcome(0, 1).0, "=", "whoever decided");
}

#[test]
fn a_tab_that_dies_while_it_decides_leaves_it_to_the_next() {
    for is_made in [true, false] {
        let mut world = World::new(local());
        world.ask(PAGE, 1, asked("create", "story", json!([{ "title": "Early" }]), Value::Null));
        world.give(0, Input::Nudge);
        world.serve_store(0);
        world.lose_append(0, is_made);
        world.crash(0);
        let tab = world.open_tab();
        world.settle();
        assert_eq!(world.find(tab, "story").len(), 1, "made: {is_made}");
    }
}

#[test]
fn an_append_of_which_nobody_knows_decides_once() {
    for is_made in [true, false] {
        let mut world = World::new(local());
        world.ask(PAGE, 1, asked("create", "story", json!([{ "title": "Early" }]), Value::Null));
        world.give(0, Input::Nudge);
        world.serve_store(0);
        world.lose_append(0, is_made);
        world.settle();
        assert_eq!(world.find(0, "story").len(), 1, "made: {is_made}");
    }
}

/// Goal: the page's engine takes over while a row of the page is still on its way: what the app writes then comes behind it.
#[test]
fn what_is_written_after_it_comes_after_it() {
    let mut world = World::new(local());
    world.ask(PAGE, 1, creation("a"));
    // The engine has not heard of the row: a page asks for what became of its rows before it writes anything else.
    world.wait_for_early(0, PAGE, 1);
    world.change_late();
}

#[test]
fn a_refusal_is_told_to_the_page_or_else_to_the_app_of_the_tab_that_decided() {
    let mut world = World::empty(local());
    world.ask(PAGE, 1, asked("update", "story", json!("nobody"), json!({ "title": "New" })));
    world.ask(PAGE, 2, asked("createEach", "story", json!([{ "id": "a" }, { "id": "a" }]), Value::Null));
    world.ask(PAGE, 3, asked("upsert", "story", json!([]), Value::Null));
    world.open_tab();
    world.settle();
    assert_eq!(world.errors_of(0), ["NOT_FOUND", "ALREADY_EXISTS", "INVALID_VALUE"]);
    let (kind, error) = world.outcome(0, 1);
    assert_eq!((kind.as_str(), &error["code"]), ("!", &json!("NOT_FOUND")));
    assert_eq!(world.outcome(0, 2).1[1][2]["code"], "ALREADY_EXISTS");
    assert_eq!(world.ids(0), ["a"]);

    world.config.asker = Some(TabId(PAGE));
    let own = world.open_tab();
    world.ask(PAGE, 4, asked("update", "story", json!("nobody"), json!({ "title": "New" })));
    world.nudge(own);
    assert_eq!(world.errors_of(own), Vec::<&str>::new(), "its call rejects");
    assert_eq!(world.outcome(own, 4).0, "!");
}

#[test]
fn a_page_gets_the_outcome_of_all_that_it_asked_for_however_much_that_was() {
    let mut world = World::empty(local());
    for number in 1..=600 {
        let page = if number % 2 == 0 { PAGE } else { PAGE + 1 };
        world.ask(page, number, creation(&format!("s{number}")));
    }
    world.config.asker = Some(TabId(PAGE));
    let own = world.open_tab();
    for number in (2..=600).step_by(2) {
        assert_eq!(world.outcome(own, number).0, "=", "{number}");
    }
}

/// Goal: nothing that was asked later overtakes what could not be decided for want of room, and that is not lost.
#[test]
fn where_there_is_no_room_it_waits_and_nothing_overtakes_it() {
    let mut world = World::new(local());
    world.ask(PAGE, 1, creation("a"));
    let call = world.wait_for_early(0, PAGE, 1);
    world.serve_store(0);
    world.fail_append(0, Error::QuotaExceeded);
    assert!(matches!(world.reply(0, call), Err(Error::StorageUnknown(_))), "it shows later");
    world.change_late();
}

/// Goal: room comes back, and nobody writes.
#[test]
fn what_had_no_room_is_tried_again_by_itself() {
    let mut world = World::new(local());
    world.start_write(0, create("task", json!({ "id": "t" })));
    world.fail_append(0, Error::QuotaExceeded);
    world.ask(PAGE, 1, creation("a"));
    world.nudge(0);
    assert_eq!(world.ids(0), Vec::<String>::new());
    world.advance(Duration::from_secs(16));
    assert_eq!(world.ids(0), ["a"]);
    world.ask(PAGE, 2, creation("b"));
    world.give(0, Input::Nudge);
    world.serve_store(0);
    world.fail_append(0, Error::QuotaExceeded);
    world.advance(Duration::from_secs(20));
    assert_eq!(world.ids(0), ["a", "b"]);
}

#[test]
fn what_is_asked_survives_a_compaction_until_a_tab_knows_its_object() {
    let mut world =
        World::leading(Config { compact_after: CompactAfter { rows: 3, bytes: 1 << 20 }, ..local() });
    world.ask(PAGE, 1, asked("create", "epic", json!([{ "id": "e" }]), Value::Null));
    for id in ["a", "b", "c", "d"] {
        world.write(0, create("story", json!({ "id": id }))).unwrap();
    }
    world.advance(Duration::from_secs(5));
    assert!(world.removed > 2, "it was compacted");
    let epic = serde_json::from_value(json!({ "name": "epic" })).unwrap();
    world.config.objects.push(epic);
    let tab = world.open_tab();
    world.settle();
    assert_eq!(world.find(tab, "epic").len(), 1);
    assert_eq!(world.outcome(tab, 1).0, "=");
}

#[test]
fn an_outcome_that_was_compacted_away_is_not_made_up() {
    let mut world =
        World::leading(Config { compact_after: CompactAfter { rows: 3, bytes: 1 << 20 }, ..local() });
    world.ask(PAGE, 1, creation("a"));
    for id in ["b", "c", "d", "e"] {
        world.write(0, create("story", json!({ "id": id }))).unwrap();
    }
    world.advance(Duration::from_secs(5));
    assert!(world.removed > 2, "it was compacted");
    let tab = world.open_tab();
    let call = world.wait_for_early(tab, PAGE, 1);
    world.settle();
    let error = world.reply(tab, call).unwrap_err();
    assert_eq!((error.code(), error), ("STORAGE_UNKNOWN", Error::AnswerGone));
    assert_eq!(world.ids(tab), ["a", "b", "c", "d", "e"]);
}

/// Goal: what was made for a version of the data is done to data of that version.
#[test]
fn what_a_page_of_the_next_release_asks_for_waits_for_the_migration() {
    let mut world = World::new(local());
    world.write(0, create("story", json!({ "id": "old" }))).unwrap();
    world.ask(PAGE, 1, creation("before"));
    let versioned = |asked: Asked, version| Asked { version, ..asked };
    world.ask(PAGE + 1, 1, versioned(creation("new"), 2));
    world.ask(PAGE + 1, 2, asked("createEach", "task", json!([{ "id": "later" }]), Value::Null));
    world.config.versions = vec![(object_name("story"), 2)];
    let next = world.open_tab();
    world.settle();
    assert_eq!(world.ids(next), ["old", "before"]);
    assert_eq!(world.find(next, "task").len(), 0, "a page's writes are done in their order");
    let portion: Value =
        serde_json::from_str(&world.tabs[next].engine.portion_to_migrate("story", "").unwrap()).unwrap();
    let values = portion[2].as_array().unwrap().iter().map(|_| fields(&json!({ "is_new": true }))).collect();
    let request = world.request();
    world.tabs[next].waiting.insert(request);
    let portion = Portion::parse(portion[0].as_str().unwrap()).unwrap();
    let migration = Migration { object: object_name("story"), portion, values };
    world.give(next, Input::Migrate { request: RequestId(request), migration });
    world.settle();
    assert_eq!(world.ids(next), ["old", "before", "new"]);
    assert_eq!(world.get(next, "story", "new").unwrap().get("is_new"), None);
    assert_eq!(world.find(next, "task").len(), 1);
    world.ask(PAGE, 2, creation("too-late"));
    world.nudge(next);
    let (kind, error) = world.outcome(next, 2);
    assert_eq!((kind.as_str(), &error["code"]), ("!", &json!("STORAGE_OUTDATED")));
}

#[test]
fn a_row_of_a_page_that_is_damaged_is_passed_over_and_its_page_is_not_told_that_it_was_done() {
    let mut world = World::empty(local());
    world.ask(PAGE, 1, creation("a"));
    world.ask(PAGE, 2, creation("b"));
    world.disk[0][9] ^= 1;
    world.open_tab();
    world.settle();
    assert_eq!(world.ids(0), ["b"]);
    let call = world.wait_for_early(0, PAGE, 1);
    world.settle();
    assert_eq!(world.reply(0, call).unwrap_err().code(), "STORAGE_UNKNOWN");
}

/// Goal: what comes of it would not fit in a row, and would be decided again and again.
#[test]
fn what_is_too_large_is_refused() {
    let mut world = World::empty(local());
    let text = "x".repeat(1 << 20);
    world.ask(PAGE, 1, asked("createEach", "story", json!([{ "title": text }]), Value::Null));
    world.open_tab();
    world.settle();
    assert_eq!(world.outcome(0, 1).1["code"], "VALUE_TOO_LARGE");
}

#[test]
fn what_is_asked_goes_to_the_server_once() {
    let mut world = World::leading(automatic());
    world.ask(PAGE, 1, creation("a"));
    world.nudge(0);
    world.advance(Duration::from_secs(10));
    assert_eq!(world.sent(0).mutations().len(), 1);
    world.apply_all(0, 1, json!([]), "c1");
    world.nudge(0);
    world.advance(Duration::from_secs(100));
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.recorded.len(), 1);
}

#[test]
fn what_a_page_that_is_gone_asked_for_can_be_undone() {
    let mut world = World::empty(local());
    world.ask(PAGE, 1, creation("a"));
    world.open_tab();
    world.settle();
    assert_eq!(world.write(0, Command::Undo), Ok(Reply::Existed(true)));
    assert_eq!(world.ids(0), Vec::<String>::new());
}
