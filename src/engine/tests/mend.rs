//! What is stored and cannot be read: everything else goes on, the server is asked for its records anew, and the app is told.

use super::absent::{id, key, reopened};
use super::*;
use crate::engine::stored::{Entries, Kind, Root};

fn story(n: usize) -> Command {
    create("story", json!({ "id": format!("s{n}"), "n": n }))
}

fn ids(world: &World, tab: usize, object: &str) -> Vec<String> {
    let records = world.find(tab, object);
    let mut ids: Vec<_> = records.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn page(checkpoint: &str, changes: Value, has_more: bool) -> Value {
    json!({ "results": [], "serverChanges": changes, "checkpoint": checkpoint, "hasMore": has_more })
}

/// What a tab was told of losses.
fn losses(world: &World, tab: usize) -> Vec<Value> {
    let losses = world.tabs[tab].notices.iter().filter_map(|notice| match notice {
        Notice::DataLost(json) => Some(serde_json::from_str(json).unwrap()),
        _ => None,
    });
    losses.collect()
}

fn details(loss: &Value) -> Vec<&str> {
    loss["details"].as_array().unwrap().iter().map(|detail| detail.as_str().unwrap()).collect()
}

fn client_id(world: &World, tab: usize) -> String {
    world.tabs[tab].engine.status().client_id.unwrap()
}

fn damage_row(world: &mut World, place: usize) {
    *world.disk[place].last_mut().unwrap() ^= 1;
}

/// Damages the segments of a kind; gives how many there are.
fn damage_segments(world: &mut World, is_kind: impl Fn(&Kind) -> bool) -> usize {
    let kinds = world.stored.segments.iter_mut().filter(|(_, bytes)| is_kind(&Entries::of(bytes).unwrap().0));
    kinds.map(|(_, bytes)| *bytes.last_mut().unwrap() ^= 1).count()
}

/// A database with a compaction behind it: `count` synced stories, and `pending` more that were not pushed.
fn compacted(config: Config, count: usize, pending: usize) -> World {
    let after = CompactAfter { rows: 10, bytes: 1 << 30 };
    let mut world = World::leading(Config { compact_after: after, ..config });
    for n in 0..count {
        world.write(0, story(n)).unwrap();
    }
    world.start_sync(0);
    while world.is_sending(0) {
        let first = 100 * u64::try_from(world.tabs[0].requests).unwrap();
        world.apply_all(0, first, json!([]), &format!("c{first}"));
    }
    for n in count..count + pending {
        world.write(0, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.removed > 0);
    world.crash(0);
    world
}

#[test]
fn a_damaged_row_costs_what_is_in_it_and_nothing_else() {
    let mut world = World::leading(by_hand());
    world.start_sync(0);
    world.answer(0, page("c1", json!([change("create", "there", json!({ "n": 0 }), 1)]), false));
    let first = world.disk.len();
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    let before = client_id(&world, 0);
    world.crash(0);
    damage_row(&mut world, first + 1);
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story"), ["s0", "s2", "there"]);
    let losses = losses(&world, tab);
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0]["reason"], "damaged");
    let row = first + 2;
    assert_eq!(details(&losses[0]), [format!("rows {row} to {row}: the checksum does not fit")]);
    let renamed = client_id(&world, tab);
    assert_ne!(before, renamed, "the sequence of what is lost may have been used");
    world.check(tab);

    // The server is asked for everything, then for what is pending.
    world.give(tab, Input::Leader(true));
    world.start_sync(tab);
    assert_eq!((world.sent(tab).checkpoint(), world.sent(tab).mutations().len()), (None, 0));
    world.answer(tab, page("c2", json!([change("create", "there", json!({ "n": 1 }), 2)]), false));
    let pushed = world.sent(tab);
    assert_eq!(pushed.sequences(), [1, 3]);
    assert!(pushed.mutations().iter().all(|mutation| mutation["clientId"] == renamed.as_str()));
    world.apply_all(tab, 3, json!([]), "c3");
    assert_eq!(world.pending(tab).len(), 0);

    // Whoever opens the database later knows all that, and tells nobody again.
    world.crash(tab);
    let later = world.open_tab();
    assert_eq!(world.tabs[later].engine.state(), world.tabs[tab].engine.state());
    assert!(self::losses(&world, later).is_empty());
    assert_eq!(client_id(&world, later), renamed);
}

#[test]
fn a_row_that_was_refused_by_nobody_is_appended_after_the_damaged_ones() {
    let mut world = World::leading(local());
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    let last = world.disk.len() - 1;
    for place in 0..=last {
        damage_row(&mut world, place);
    }
    // Every row, the one that made the database too.
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story"), [] as [&str; 0]);
    assert_eq!(losses(&world, tab).len(), 1);
    world.write(tab, story(9)).unwrap();
    let again = world.open_tab();
    assert_eq!(ids(&world, again, "story"), ["s9"]);
    assert!(losses(&world, again).is_empty());
    assert_eq!(client_id(&world, again), client_id(&world, tab));
}

#[test]
fn rows_that_are_missing_are_passed_over_once_it_is_sure() {
    for removed in [1, 2] {
        let mut world = World::leading(local());
        for n in 0..4 {
            world.write(0, story(n)).unwrap();
        }
        world.crash(0);
        world.removed = removed;
        let (tab, open) = world.start_tab();
        assert!(!world.is_answered(tab, open));
        world.settle();
        assert_eq!(world.reply(tab, open), Ok(Reply::Done));
        assert_eq!(details(&losses(&world, tab)[0]), [format!("rows 1 to {removed}: it is missing")]);
        assert_eq!(ids(&world, tab, "story").last().unwrap(), "s3");
        world.check(tab);
    }
}

#[test]
fn a_damaged_root_leaves_the_rows_after_it_and_what_the_server_has() {
    let mut world = compacted(by_hand(), 20, 3);
    let tab = world.open_tab();
    world.write(tab, story(50)).unwrap();
    world.crash(tab);
    *world.stored.root.as_mut().unwrap().last_mut().unwrap() ^= 1;
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story"), ["s50"]);
    assert_eq!(details(&losses(&world, tab)[0])[0], "the root: the checksum does not fit");
    world.give(tab, Input::Leader(true));
    world.settle();
    world.start_sync(tab);
    assert_eq!(world.sent(tab).checkpoint(), None);
    let all = (0..20).map(|n| change("create", &format!("s{n}"), json!({ "n": n }), 100 + n));
    world.answer(tab, page("c9", json!(all.collect::<Vec<_>>()), false));
    assert_eq!(world.sent(tab).mutations().len(), 1);
    world.apply_all(tab, 200, json!([]), "c10");
    assert_eq!(ids(&world, tab, "story").len(), 21);
    // A compaction puts a root there that can be read.
    for n in 60..80 {
        world.write(tab, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(Root::decode(world.stored.root.as_ref().unwrap()).is_ok());
    let later = world.open_tab();
    assert_eq!(world.find(later, "story"), world.find(tab, "story"));
    assert!(losses(&world, later).is_empty());
}

#[test]
fn damaged_segments_of_pending_mutations_cost_these() {
    let mut world = compacted(by_hand(), 12, 8);
    let before = client_id(&world, 0);
    assert_eq!(damage_segments(&mut world, |kind| *kind == Kind::Pending), 1);
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story").len(), 12);
    assert!(world.pending(tab).is_empty());
    let losses = losses(&world, tab);
    assert!(details(&losses[0])[0].contains("with mutations that were not pushed"), "{losses:?}");
    assert_ne!(client_id(&world, tab), before);
    world.check(tab);
    assert!(world.write(tab, story(70)).is_ok());
    assert_eq!(world.pending(tab).len(), 1);
}

/// Goal: a damaged segment of records is found when it is read, and what it held comes back from the server; no root names it then.
#[test]
fn damaged_segments_of_records_are_collected_from_the_server() {
    let (mut world, tab) = reopened(by_hand(), 2_000);
    let before = client_id(&world, tab);
    let lost = world.tabs[tab].engine.absent.holding(&Need::Record(key("story", 7))).next().unwrap();
    let found = world.stored.segments.iter_mut().find(|(segment, _)| *segment == lost).unwrap();
    *found.1.last_mut().unwrap() ^= 1;
    // Others are not concerned.
    assert_eq!(world.load(tab, Need::Object(object_name("draft"))), Ok(Reply::Done));
    assert!(losses(&world, tab).is_empty());
    assert_eq!(world.load(tab, Need::Object(object_name("story"))), Ok(Reply::Done));
    let there = world.find(tab, "story").len();
    assert!((1..2_000).contains(&there), "{there}");
    assert_eq!(world.get(tab, "story", &id(7)), None);
    let losses = losses(&world, tab);
    assert_eq!(
        details(&losses[0]),
        [format!("segment {lost}, with records of story: the checksum does not fit")]
    );
    assert_eq!(client_id(&world, tab), before, "no sequence is lost");
    world.check(tab);

    world.start_sync(tab);
    assert_eq!(world.sent(tab).checkpoint(), None);
    let all = (0..2_000).map(|n| change("create", &id(n), json!({ "value": n }), 5_000 + n as u64));
    let all: Vec<_> = all.chain([change("create", "t", json!({}), 9_999)]).collect();
    world.answer(tab, page("c9", json!(all), false));
    assert_eq!(world.find(tab, "story").len(), 2_001);
    for n in 0..40 {
        world.write(tab, update("draft", &id(n), json!({ "value": -1 }))).unwrap();
    }
    world.advance(Duration::from_secs(60));
    let root = Root::decode(world.stored.root.as_ref().unwrap()).unwrap();
    assert!(!root.segments().any(|segment| segment == lost));
    let later = world.open_tab();
    world.load_all(later);
    assert_eq!(world.find(later, "story"), world.find(tab, "story"));
    assert!(self::losses(&world, later).is_empty());
}

/// Goal: whoever opens the database after the loss was written down, and before a compaction, goes by what is written.
#[test]
fn what_is_written_down_is_not_found_again() {
    let (mut world, tab) = reopened(by_hand(), 300);
    assert_eq!(damage_segments(&mut world, |kind| *kind == Kind::Records(object_name("story"))), 1);
    world.write(tab, update("story", &id(3), json!({ "value": 1 }))).unwrap_err();
    assert_eq!(losses(&world, tab).len(), 1);
    let rows = world.disk.len();
    world.crash(tab);
    let later = world.open_tab();
    world.load_all(later);
    assert!(world.find(later, "story").is_empty());
    assert!(losses(&world, later).is_empty());
    assert_eq!(world.disk.len(), rows);
}

#[test]
fn segments_that_are_missing_are_lost_once_it_is_sure() {
    let (mut world, tab) = reopened(by_hand(), 500);
    world
        .stored
        .segments
        .retain(|(_, bytes)| Entries::of(bytes).unwrap().0 != Kind::Records(object_name("story")));
    assert_eq!(world.load(tab, Need::Object(object_name("story"))), Ok(Reply::Done));
    assert!(details(&losses(&world, tab)[0])[0].ends_with("it is missing"));
    assert_eq!(world.load(tab, Need::Object(object_name("draft"))), Ok(Reply::Done));
    assert_eq!(world.find(tab, "draft").len(), 500);
    // Those that are read while the database is opened, too.
    let mut world = compacted(by_hand(), 12, 8);
    world.stored.segments.clear();
    let tab = world.open_tab();
    assert!(details(&losses(&world, tab)[0])[0].ends_with("it is missing"));
    assert!(world.write(tab, story(70)).is_ok());
}

#[test]
fn of_two_tabs_that_find_the_same_damage_one_writes_it_down_and_tells() {
    let mut world = World::leading(by_hand());
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    let last = world.disk.len() - 1;
    damage_row(&mut world, last);
    let (one, open_one) = world.start_tab();
    let (two, open_two) = world.start_tab();
    world.serve_store(one);
    world.serve_store(two);
    world.settle();
    for (tab, open) in [(one, open_one), (two, open_two)] {
        assert_eq!(world.reply(tab, open), Ok(Reply::Done));
        assert_eq!(ids(&world, tab, "story"), ["s0", "s1"]);
    }
    let mended = world.disk.iter().filter_map(|row| Row::decode(row).ok());
    let mended = mended.filter(|row| row.events.iter().any(|it| matches!(it, Event::Mended { .. }))).count();
    assert_eq!(mended, 1);
    assert_eq!(world.tabs[one].engine.state(), world.tabs[two].engine.state());
    assert_eq!(losses(&world, one).len() + losses(&world, two).len(), 1);
}

/// Goal: where the loss cannot be written down, that is told, what can be read is read, and it is written down later.
#[test]
fn a_loss_that_cannot_be_written_down_at_first_is_written_down_later() {
    let mut world = World::leading(by_hand());
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    damage_row(&mut world, 2);
    let (tab, open) = world.start_tab();
    world.serve_store(tab);
    world.fail_append(tab, Error::QuotaExceeded);
    world.settle();
    assert_eq!(world.reply(tab, open), Ok(Reply::Done));
    assert!(losses(&world, tab).is_empty());
    world.write(tab, story(7)).unwrap();
    assert_eq!(losses(&world, tab).len(), 1);
    world.check(tab);
}

#[test]
fn what_could_be_taken_back_is_no_loss_to_be_told() {
    let mut world = compacted(local(), 20, 0);
    world.config.is_eager = false;
    assert!(damage_segments(&mut world, |kind| *kind == Kind::Undo) > 0);
    let tab = world.open_tab();
    assert_eq!(world.write(tab, Command::Undo), Ok(Reply::Existed(false)));
    assert!(losses(&world, tab).is_empty());
    assert_eq!(world.tabs[tab].engine.status().undoable, 0);
    world.load_all(tab);
    assert_eq!(ids(&world, tab, "story").len(), 20);
}
