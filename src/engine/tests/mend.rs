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

/// Goal: rows that are missing at the end show only when the next one gets a key that is too high. What is left goes on, as another client.
#[test]
fn rows_that_are_missing_at_the_end_are_passed_over_with_the_next_write() {
    for removed in [1, 3] {
        let mut world = World::leading(by_hand());
        for n in 0..6 {
            world.write(0, story(n)).unwrap();
        }
        let before = client_id(&world, 0);
        world.crash(0);
        let count = world.disk.len();
        world.disk.iter_mut().rev().take(removed).for_each(Vec::clear);
        let tab = world.open_tab();
        assert_eq!(ids(&world, tab, "story").len(), 6 - removed);
        assert!(losses(&world, tab).is_empty());
        world.write(tab, story(9)).unwrap();
        let losses = losses(&world, tab);
        let detail = format!("rows {} to {count}: it is missing", count + 1 - removed);
        assert_eq!((losses.len(), details(&losses[0])), (1, vec![detail.as_str()]));
        assert_ne!(client_id(&world, tab), before, "the sequence of what is lost may have been used");
        world.check(tab);
        let later = world.open_tab();
        assert_eq!(world.tabs[later].engine.state(), world.tabs[tab].engine.state());
        assert!(self::losses(&world, later).is_empty());
        world.write(later, story(10)).unwrap();
        assert_eq!(ids(&world, later, "story").len(), 6 - removed + 2);
    }
}

/// Goal: likewise behind a root, of which the last row's key is gone, too.
#[test]
fn rows_that_are_missing_after_a_root_are_passed_over() {
    let mut world = compacted(by_hand(), 12, 2);
    let tab = world.open_tab();
    for n in 50..53 {
        world.write(tab, story(n)).unwrap();
    }
    world.crash(tab);
    world.disk.iter_mut().rev().take(3).for_each(Vec::clear);
    let tab = world.open_tab();
    world.write(tab, story(60)).unwrap();
    assert_eq!(losses(&world, tab).len(), 1);
    assert_eq!(ids(&world, tab, "story").len(), 15);
    for n in 70..90 {
        world.write(tab, story(n)).unwrap();
    }
    world.give(tab, Input::Leader(true));
    world.advance(Duration::from_secs(20));
    let later = world.open_tab();
    world.load_all(later);
    assert_eq!(ids(&world, later, "story"), ids(&world, tab, "story"));
}

/// Goal: a store that went back behind what a tab has in memory is what counts; the tab knows what is lost and tells.
#[test]
fn a_store_that_went_back_takes_along_the_tab_that_writes_next() {
    let mut world = World::leading(by_hand());
    for n in 0..6 {
        world.write(0, story(n)).unwrap();
    }
    let before = client_id(&world, 0);
    let gone = world.disk.len() - 2;
    world.disk.truncate(gone);
    world.went_back = true;
    world.write(0, story(9)).unwrap();
    assert_eq!(ids(&world, 0, "story"), ["s0", "s1", "s2", "s3", "s9"]);
    let losses = losses(&world, 0);
    let lost = losses[0]["mutations"].as_array().unwrap().iter().map(|it| it["recordId"].clone());
    assert_eq!((losses.len(), lost.collect()), (1, vec![json!("s4"), json!("s5")]));
    assert_ne!(client_id(&world, 0), before);
    world.check(0);
    let later = world.open_tab();
    assert_eq!(world.tabs[later].engine.state(), world.tabs[0].engine.state());
}

/// Goal: what is before a gap is folded once, although all is looked at again when the gap is met.
#[test]
fn a_row_that_is_missing_in_the_middle_is_passed_over_and_the_others_count_once() {
    let mut world = World::leading(by_hand());
    for n in 0..4 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    let middle = world.disk.len() - 2;
    world.disk[middle].clear();
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story"), ["s0", "s1", "s3"]);
    assert_eq!(details(&losses(&world, tab)[0]).len(), 1);
    world.check(tab);
    let later = world.open_tab();
    assert_eq!(world.tabs[later].engine.state(), world.tabs[tab].engine.state());
}

#[test]
fn rows_before_a_missing_one_are_folded_once() {
    let mut world = World::leading(local());
    for n in 0..4 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    world.disk[3].clear();
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story"), ["s0", "s1", "s3"]);
    assert_eq!(world.tabs[tab].engine.status().undoable, 3);
    world.check(tab);
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

/// Goal: which writes can be taken back is the same in all tabs, though one has their steps in memory and the other finds them lost.
#[test]
fn what_one_tab_can_take_back_is_passed_over_by_all_once_another_cannot() {
    let mut world = compacted(Config { is_eager: false, ..local() }, 20, 0);
    let knowing = world.open_tab();
    world.load(knowing, Need::History).unwrap();
    assert!(damage_segments(&mut world, |kind| *kind == Kind::Undo) > 0);
    let tab = world.open_tab();
    world.load(tab, Need::History).unwrap();
    world.write(knowing, story(50)).unwrap();
    let undoable = |world: &World, tab: usize| world.tabs[tab].engine.status().undoable;
    assert_eq!(world.write(tab, Command::Undo), Ok(Reply::Existed(true)));
    assert_eq!((undoable(&world, tab), undoable(&world, knowing)), (20, 20));
    assert_eq!(world.write(tab, Command::Undo), Ok(Reply::Existed(false)));
    assert_eq!((undoable(&world, tab), undoable(&world, knowing)), (0, 0));
    assert_eq!(world.write(knowing, Command::Undo), Ok(Reply::Existed(false)));
    assert_eq!(ids(&world, tab, "story").len(), 20);
}

/// Goal: a tab that reads everything again, for whatever reason, names what it knew and does not find: with rows behind what is gone, and
/// where nothing is left of which one could see that something is missing.
#[test]
fn what_is_not_found_again_when_everything_is_read_again_is_told() {
    for rows_behind in [0, 1] {
        let mut world = compacted(by_hand(), 4, 12);
        let tab = world.open_tab();
        let known: Vec<Value> = world.pending(tab).iter().map(|it| it["id"].clone()).collect();
        for n in 0..rows_behind {
            world.write(tab, story(50 + n)).unwrap();
        }
        world.stored.root = None;
        // As a compaction does that finds another root than it knows.
        world.tabs[tab].engine.begin_over();
        world.give(tab, Input::Nudge);
        world.settle();
        world.write(tab, story(60)).unwrap();
        let left = world.pending(tab);
        let losses = losses(&world, tab);
        let told: Vec<&Value> = losses.iter().flat_map(|it| it["mutations"].as_array().unwrap()).collect();
        let is_named =
            |id: &&Value| told.iter().chain(&left.iter().collect::<Vec<_>>()).any(|it| it["id"] == **id);
        assert!(left.len() < known.len());
        assert_eq!(known.iter().find(|id| !is_named(id)), None, "{losses:?}");
    }
}

#[test]
fn a_tab_that_has_the_damaged_row_in_memory_reads_everything_again() {
    let mut world = World::leading(by_hand());
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    let last = world.disk.len() - 1;
    damage_row(&mut world, last);
    let tab = world.open_tab();
    world.settle();
    world.write(tab, story(7)).unwrap();
    world.settle();
    world.check(0);
    assert_eq!(world.tabs[0].engine.state(), world.tabs[tab].engine.state());
    // It knows what is lost.
    let losses = losses(&world, 0);
    assert_eq!((losses.len(), &losses[0]["mutations"][0]["recordId"]), (1, &json!("s2")));
}

#[test]
fn record_numbers_mean_the_same_in_all_tabs_after_a_loss() {
    let after = CompactAfter { rows: 6, bytes: 1 << 40 };
    let mut world = World::leading(Config { compact_after: after, ..local() });
    let text = "x".repeat(200_000);
    for id in ["a", "x", "b"] {
        world.write(0, create("draft", json!({ "id": id, "v": 0, "text": text }))).unwrap();
    }
    damage_row(&mut world, 2);
    let tab = world.open_tab();
    world.settle();
    for v in 0..40 {
        world.write(0, update("draft", "a", json!({ "v": v }))).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.stored.root.is_some());
    world.crash(0);
    world.give(tab, Input::Leader(true));
    world.settle();
    for v in 100..140 {
        world.write(tab, update("draft", "b", json!({ "v": v }))).unwrap();
    }
    world.advance(Duration::from_secs(20));
    let later = world.open_tab();
    assert_eq!(world.find(later, "draft").len(), world.find(tab, "draft").len());
}

#[test]
fn a_tab_that_has_a_lost_segment_in_memory_reads_everything_again() {
    let (mut world, tab) = reopened(by_hand(), 300);
    world.load_all(tab);
    assert_eq!(world.find(tab, "draft").len(), 300);
    assert_eq!(damage_segments(&mut world, |kind| *kind == Kind::Records(object_name("draft"))), 1);
    let other = world.open_tab();
    world.load_all(other);
    world.settle();
    assert_eq!(losses(&world, other).len(), 1);
    // The first tab had them all: whoever opens the database has not.
    assert_eq!(world.find(tab, "draft").len(), 0);
    for n in 0..8 {
        world.write(tab, create("draft", json!({ "id": format!("n{n}") }))).unwrap();
    }
    world.advance(Duration::from_secs(60));
    let later = world.open_tab();
    world.load_all(later);
    assert_eq!(world.find(later, "draft").len(), world.find(tab, "draft").len());
}

#[test]
fn pending_mutations_that_are_lost_are_lost_in_all_tabs() {
    let after = CompactAfter { rows: 10, bytes: 1 << 30 };
    let mut world = World::leading(Config { compact_after: after, ..by_hand() });
    for n in 0..12 {
        world.write(0, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.removed > 0);
    assert_eq!(world.pending(0).len(), 12);
    assert_eq!(damage_segments(&mut world, |kind| *kind == Kind::Pending), 1);
    world.open_tab();
    world.settle();
    for n in 20..40 {
        world.write(0, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(60));
    let later = world.open_tab();
    assert_eq!(world.pending(later).len(), world.pending(0).len());
    assert_eq!(losses(&world, 0)[0]["mutations"].as_array().unwrap().len(), 12);
}

#[test]
fn damage_that_is_found_while_other_damage_is_written_down_is_written_down_as_well() {
    let (mut world, tab) = reopened(by_hand(), 2_000);
    let count = damage_segments(&mut world, |kind| matches!(kind, Kind::Records(_)));
    assert!(count > 2);
    for object in ["draft", "story"] {
        let request = world.request();
        world.tabs[tab].waiting.insert(request);
        world.give(tab, Input::Load { request: RequestId(request), need: Need::Object(object_name(object)) });
    }
    // The reads are served first, and an append is slow.
    world.settle();
    world.advance(Duration::from_secs(100));
    assert!(world.tabs[tab].engine.damage.is_none());
}

#[test]
fn what_is_missing_once_is_no_reason_to_take_a_later_compaction_for_damage() {
    let after = CompactAfter { rows: 10, bytes: 1 << 30 };
    let mut world = World::leading(Config { compact_after: after, ..by_hand() });
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    world.removed = 1;
    let slow = world.open_tab();
    let fast = world.open_tab();
    world.settle();
    world.give(fast, Input::Leader(true));
    // `slow` is frozen meanwhile.
    world.tabs[slow].is_alive = false;
    world.settle();
    for n in 10..30 {
        world.write(fast, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.stored.root.is_some());
    world.tabs[slow].is_alive = true;
    world.give(slow, Input::Nudge);
    world.settle();
    assert_eq!(ids(&world, slow, "story"), ids(&world, fast, "story"));
}

/// Goal: what is missing for good is what was missing when the root was looked at. Of a log that is read in portions, more is gone at the
/// next one when a compaction comes between.
#[test]
fn rows_that_are_compacted_between_two_portions_are_not_taken_for_missing() {
    let after = CompactAfter { rows: 10, bytes: 1 << 30 };
    let mut world = World::leading(Config { compact_after: after, ..by_hand() });
    for n in 0..4 {
        world.write(0, story(n)).unwrap();
    }
    let missing = world.disk.len() - 1;
    world.disk[missing - 1].clear();
    let (slow, open) = world.start_tab();
    world.serve_store(slow);
    let Some(StoreCall::Begin { read, .. }) = world.tabs[slow].store.take() else {
        panic!("the root is not looked at")
    };
    let rows = world.rows_after(0).into_iter().take(2).collect();
    world.give(slow, Input::Begun { read, root: None, rows, is_last: false });
    // It is slow with the next portion.
    world.tabs[slow].is_alive = false;
    for n in 10..30 {
        world.write(0, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.stored.root.is_some());
    world.tabs[slow].is_alive = true;
    world.settle();
    assert_eq!(world.reply(slow, open), Ok(Reply::Done));
    assert_eq!(details(&losses(&world, slow)[0]), [format!("rows {missing} to {missing}: it is missing")]);
    world.load_all(slow);
    assert_eq!(ids(&world, slow, "story"), ids(&world, 0, "story"));
}

/// Goal: a row that is missing far behind a damaged root is passed over. What the first portion has after that root is all that is known to be
/// there; each look at it must not forget what an earlier one made sure.
#[test]
fn a_row_that_is_missing_behind_a_damaged_root_is_passed_over() {
    let mut world = World::leading(Config { compact_after: CompactAfter { rows: 3, bytes: 1 }, ..by_hand() });
    for n in 0..4 {
        world.write(0, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    world.crash(0);
    let folded = world.disk.len();
    *world.stored.root.as_mut().unwrap().last_mut().unwrap() ^= 1;
    world.config.compact_after = CompactAfter { rows: 1000, bytes: 1 << 30 };
    let (first, _) = world.start_tab();
    world.settle();
    for n in 10..18 {
        world.write(first, story(n)).unwrap();
    }
    world.crash(first);
    let missing = world.disk.len() - 1;
    assert!(missing > folded + 4);
    world.disk[missing - 1].clear();
    let (tab, open) = world.start_tab();
    let mut reads = 0;
    while let Some(call) = world.tabs[tab].store.take() {
        reads += 1;
        assert!(reads < 100, "it reads for ever");
        let after = if let StoreCall::Read { after, .. } = call { after } else { 0 };
        let rows: Vec<_> = world.rows_after(after).into_iter().take(2).collect();
        let (root, is_last) = (world.stored.root.clone(), rows.len() < 2);
        match call {
            StoreCall::Begin { read, .. } => world.give(tab, Input::Begun { read, root, rows, is_last }),
            StoreCall::Read { read, .. } => world.give(tab, Input::Rows { read, rows, is_last }),
            other => {
                world.tabs[tab].store = Some(other);
                world.serve_store(tab);
            }
        }
    }
    assert_eq!(world.reply(tab, open), Ok(Reply::Done));
    assert!(ids(&world, tab, "story").len() >= 7);
}

/// Goal: what fell with a create is not sent after all when nobody knows of the create any more: a later create of the record may be on
/// its way.
#[test]
fn what_fell_with_a_create_stays_rejected_without_the_row_of_the_create() {
    let mut world = World::leading(by_hand());
    let row_of_create = world.disk.len();
    world.write(0, story(0)).unwrap();
    world.start_sync(0);
    world.write(0, delete("story", "s0")).unwrap();
    world.write(0, story(0)).unwrap();
    let answer = json!({ "results": [rejected("no")], "serverChanges": [], "checkpoint": "c1" });
    world.answer(0, answer);
    world.start_sync(0);
    assert_eq!(world.sent(0).sequences(), [3]);
    world.crash(0);
    damage_row(&mut world, row_of_create);
    let tab = world.open_tab();
    let rejected = world.rejected(tab);
    assert_eq!((rejected.len(), &rejected[0]["mutation"]["operation"]), (1, &json!("delete")));
    assert_eq!(rejected[0]["reason"], "the create of the record was rejected");
    assert_eq!(world.pending(tab).len(), 1);
    world.check(tab);
}

#[test]
fn segments_that_moved_are_not_taken_for_lost() {
    let (mut world, tab) = reopened(by_hand(), 200);
    world
        .stored
        .segments
        .retain(|(_, bytes)| Entries::of(bytes).unwrap().0 != Kind::Records(object_name("story")));
    world.load(tab, Need::Object(object_name("story"))).unwrap();
    assert_eq!(losses(&world, tab).len(), 1);
    let other = world.open_tab();
    world.load_all(other);
    world.give(tab, Input::Leader(false));
    world.give(other, Input::Leader(true));
    world.settle();
    for n in 0..60 {
        world
            .write(other, create("draft", json!({ "id": format!("zz{n}"), "text": "x".repeat(4000) })))
            .unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert_eq!(world.find(other, "draft").len(), 260);
    world.load(tab, Need::Object(object_name("draft"))).unwrap();
    assert_eq!(world.find(tab, "draft").len(), 260);
}

#[test]
fn a_compaction_goes_on_after_some_pending_mutations_are_lost() {
    let after = CompactAfter { rows: 10, bytes: 1 << 30 };
    let mut world = World::leading(Config { compact_after: after, ..by_hand() });
    for n in 0..12 {
        world
            .write(0, create("story", json!({ "id": format!("s{n}"), "text": "x".repeat(40_000) })))
            .unwrap();
    }
    world.advance(Duration::from_secs(20));
    world.crash(0);
    // All but one.
    let mut pending =
        world.stored.segments.iter_mut().filter(|(_, bytes)| Entries::of(bytes).unwrap().0 == Kind::Pending);
    pending.next().unwrap();
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.settle();
    let before = Root::decode(world.stored.root.as_ref().unwrap()).unwrap().number;
    for round in 0..5 {
        for n in 0..100 {
            world.write(tab, story(100 + round * 100 + n)).unwrap();
        }
        world.advance(Duration::from_secs(4000));
    }
    let after = Root::decode(world.stored.root.as_ref().unwrap()).unwrap().number;
    // Opened again, it is the same.
    world.crash(tab);
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.settle();
    world.write(tab, story(9_000)).unwrap();
    world.advance(Duration::from_secs(4000));
    let again = Root::decode(world.stored.root.as_ref().unwrap()).unwrap().number;
    assert!(after > before && again >= after);
}

#[test]
fn no_root_leaves_out_what_no_row_names() {
    let (mut world, tab) = reopened(by_hand(), 2_000);
    let lost = world.tabs[tab].engine.absent.holding(&Need::Record(key("story", 7))).next().unwrap();
    for n in 0..40 {
        world.write(tab, update("draft", &id(n), json!({ "value": -1 }))).unwrap();
    }
    let found = world.stored.segments.iter_mut().find(|(segment, _)| *segment == lost).unwrap();
    *found.1.last_mut().unwrap() ^= 1;
    // The compaction becomes due, and reads the root ...
    world.give(tab, Input::Wake);
    world.now += Duration::from_secs(2);
    world.give(tab, Input::Wake);
    assert!(matches!(world.tabs[tab].compaction, Some(Output::ReadRoot { .. })));
    // ... and the damage is found before the root comes.
    let request = world.request();
    world.tabs[tab].waiting.insert(request);
    world.give(tab, Input::Load { request: RequestId(request), need: Need::Object(object_name("story")) });
    while !world.tabs[tab].reading.is_empty() {
        world.serve_store(tab);
    }
    assert!(matches!(world.tabs[tab].store, Some(StoreCall::Append { .. })), "{:?}", world.tabs[tab].store);
    while world.tabs[tab].compaction.is_some() {
        world.serve_step(tab);
    }
    world.crash(tab);
    let later = world.open_tab();
    world.load_all(later);
    let found = world.find(later, "story").len();
    assert!(found == 2_000 || !losses(&world, later).is_empty());
}

#[test]
fn a_loss_is_written_down_before_anything_else() {
    let mut world = World::leading(by_hand());
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    damage_row(&mut world, 3);
    let rows = world.disk.len();
    let (tab, _) = world.start_tab();
    world.serve_store(tab);
    world.fail_append(tab, Error::QuotaExceeded);
    world.settle();
    world.write(tab, story(7)).unwrap();
    let first = Row::decode(&world.disk[rows]).unwrap();
    assert!(matches!(first.events[0], Event::Mended { .. }), "{first:?}");
}

#[test]
fn a_damaged_version_is_damage() {
    let mut world = World::leading(local());
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    world.crash(0);
    world.disk[2][2] ^= 0x40;
    let last = world.disk[2].len() - 1;
    world.disk[2][last] ^= 1;
    let tab = world.open_tab();
    assert_eq!(ids(&world, tab, "story").len(), 2);
}

#[test]
fn a_root_whose_number_is_damaged_is_replaced() {
    let mut world = compacted(by_hand(), 20, 3);
    world.stored.root.as_mut().unwrap()[7..].fill(0xff);
    let tab = world.open_tab();
    world.give(tab, Input::Leader(true));
    world.settle();
    for n in 60..90 {
        world.write(tab, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(Root::decode(world.stored.root.as_ref().unwrap()).is_ok());
    for n in 160..190 {
        world.write(tab, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    let later = world.open_tab();
    assert_eq!(world.find(later, "story"), world.find(tab, "story"));
}

#[test]
fn what_is_in_memory_is_shown_when_the_root_is_damaged() {
    let (mut world, tab) = reopened(by_hand(), 300);
    world.write(tab, create("draft", json!({ "id": "new1" }))).unwrap();
    world
        .stored
        .segments
        .retain(|(_, bytes)| Entries::of(bytes).unwrap().0 != Kind::Records(object_name("story")));
    *world.stored.root.as_mut().unwrap().last_mut().unwrap() ^= 1;
    world.load(tab, Need::Object(object_name("story"))).unwrap();
    assert!(world.get(tab, "draft", "new1").is_some());
    assert_eq!(ids(&world, tab, "draft"), ["new1"]);
}

/// Goal: whatever is damaged whenever, all tabs end with what a tab sees that opens the database then, and that can be written to and compacted.
#[test]
fn random_damage_leaves_all_tabs_with_one_state() {
    for seed in 0..300_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        let after = CompactAfter { rows: 6, bytes: 1 << 30 };
        let is_eager = draw(2) == 0;
        let mut world = World::leading(Config { compact_after: after, is_eager, ..by_hand() });
        let mut leader = 0;
        for step in 0..60 {
            let alive: Vec<usize> = (0..world.tabs.len()).filter(|tab| world.tabs[*tab].is_alive).collect();
            let tab = alive[draw(alive.len())];
            let object = ["story", "draft"][draw(2)];
            match draw(12) {
                0..5 => {
                    let text = "x".repeat(draw(2) * 30_000);
                    let record = json!({ "id": format!("r{}", draw(20)), "n": step, "text": text });
                    let command = Command::Upsert { object: object_name(object), record: fields(&record) };
                    world.write(tab, command).unwrap();
                }
                5 => {
                    let _ = world.write(tab, delete(object, &format!("r{}", draw(20))));
                }
                6 if alive.len() < 4 => {
                    world.open_tab();
                }
                7 if alive.len() > 1 => {
                    world.crash(tab);
                    if tab == leader {
                        leader = (0..world.tabs.len()).find(|tab| world.tabs[*tab].is_alive).unwrap();
                        world.give(leader, Input::Leader(true));
                        world.settle();
                    }
                }
                8 => {
                    world.load(tab, Need::Object(object_name(object))).unwrap();
                }
                9 => {
                    // Of the last row that was compacted only the key is left.
                    let first = world.removed + usize::from(world.stored.root.is_some());
                    let count = world.disk.len().saturating_sub(first);
                    let row = first + draw(count.max(1));
                    if count > 0 && Row::decode(&world.disk[row]).is_ok() {
                        damage_row(&mut world, row);
                    }
                }
                10 if !world.stored.segments.is_empty() => {
                    let segment = draw(world.stored.segments.len());
                    let (_, bytes) = &mut world.stored.segments[segment];
                    if Entries::of(bytes).is_ok() {
                        *bytes.last_mut().unwrap() ^= 1;
                    }
                }
                _ => world.advance(Duration::from_secs(20)),
            }
            world.settle();
        }
        let later = world.open_tab();
        // What nobody has read is found damaged now.
        for _ in 0..2 {
            for tab in 0..world.tabs.len() {
                if world.tabs[tab].is_alive {
                    world.load_all(tab);
                    world.settle();
                }
            }
        }
        let last = world.open_tab();
        world.load_all(last);
        world.settle();
        for tab in (0..world.tabs.len()).filter(|tab| world.tabs[*tab].is_alive) {
            world.check(tab);
            for object in ["story", "draft"] {
                let seen = |tab: usize| -> BTreeMap<String, Value> {
                    let records = world.find(tab, object).into_iter();
                    records.map(|it| (it["id"].as_str().unwrap().to_owned(), it["n"].clone())).collect()
                };
                assert_eq!(seen(tab), seen(last), "seed {seed}, tab {tab}, {object}");
            }
            assert_eq!(world.pending(tab), world.pending(last), "seed {seed}, tab {tab}");
        }
        let before = world.removed;
        for n in 0..40 {
            world.write(later, create("draft", json!({ "id": format!("later{n}") }))).unwrap();
        }
        world.advance(Duration::from_secs(4_000));
        assert!(world.removed > before, "seed {seed}: no compaction");
    }
}

#[test]
fn what_was_pushed_is_not_told_as_lost_later() {
    let (mut world, tab) = reopened(by_hand(), 300);
    world.write(tab, create("task", json!({ "id": "mine" }))).unwrap();
    // As a compaction does whose draft is unsound twice.
    world.tabs[tab].engine.begin_over();
    world.give(tab, Input::Nudge);
    world.settle();
    world.start_sync(tab);
    world.apply_all(tab, 5_000, json!([]), "c5000");
    assert!(world.pending(tab).is_empty());
    assert!(damage_segments(&mut world, |kind| *kind == Kind::Records(object_name("story"))) > 0);
    world.load(tab, Need::Object(object_name("story"))).unwrap();
    let losses = losses(&world, tab);
    assert_eq!(losses[0]["mutations"], json!([]));
}

#[test]
fn a_loss_is_told_by_a_tab_that_was_left_behind_by_a_compaction_meanwhile() {
    let mut world =
        World::leading(Config { compact_after: CompactAfter { rows: 10, bytes: 1 << 30 }, ..by_hand() });
    for n in 0..3 {
        world.write(0, story(n)).unwrap();
    }
    let last = world.disk.len() - 1;
    damage_row(&mut world, last);
    // Another one finds it, and tab 0, which alone knows what was in it, begins over ...
    let (tab, _) = world.start_tab();
    world.serve_store(tab);
    while world.tabs[tab].store.is_some() {
        world.serve_store(tab);
    }
    let all: Vec<_> = std::mem::take(&mut world.tabs[0].inbox).into();
    for announcement in all {
        world.give(0, Input::Announced(announcement));
    }
    world.serve_store(0);
    assert!(matches!(world.tabs[0].store, Some(StoreCall::Begin { may_create: false, .. })));
    // ... while the other one leads and compacts.
    world.tabs[0].is_alive = false;
    world.give(tab, Input::Leader(true));
    for n in 20..40 {
        world.write(tab, story(n)).unwrap();
    }
    world.advance(Duration::from_secs(20));
    assert!(world.stored.root.is_some());
    world.tabs[0].is_alive = true;
    world.settle();
    assert_eq!(ids(&world, 0, "story"), ids(&world, tab, "story"));
    let losses = losses(&world, 0);
    assert_eq!(
        (losses.len(), losses.first().map(|loss| loss["mutations"][0]["recordId"].clone())),
        (1, Some(json!("s2")))
    );
}

/// A leader whose new root is on its way to the disk, with a row in it that is damaged there, and that it has in memory.
fn compacting_a_damaged_row() -> World {
    let after = CompactAfter { rows: 6, bytes: 1 << 30 };
    let mut world = World::leading(Config { compact_after: after, ..local() });
    for n in 0..8 {
        let record = json!({ "id": format!("s{n}"), "n": n, "text": "x".repeat(200_000) });
        world.write(0, create("draft", record)).unwrap();
    }
    world.now += Duration::from_secs(2);
    world.give(0, Input::Wake);
    while !matches!(world.tabs[0].compaction, Some(Output::Compact { .. })) {
        world.serve_step(0);
    }
    damage_row(&mut world, 3);
    world
}

/// The root lands while another tab is about to write down that the row is lost.
fn raced() -> (World, usize) {
    let mut world = compacting_a_damaged_row();
    let (x, open) = world.start_tab();
    world.serve_store(x);
    assert!(matches!(world.tabs[x].store, Some(StoreCall::Append { .. })), "that row 4 is lost");
    world.serve_step(0);
    world.settle();
    assert_eq!(world.reply(x, open), Ok(Reply::Done));
    (world, x)
}

/// Another tab opens and writes down that the row is lost, before the root lands.
fn written_down() -> (World, usize) {
    let mut world = compacting_a_damaged_row();
    let (x, open) = world.start_tab();
    while world.tabs[x].store.is_some() {
        world.serve_store(x);
    }
    assert_eq!(world.reply(x, open), Ok(Reply::Done));
    (world, x)
}

/// The drafts of a tab in their order, with what they hold.
fn drafts(world: &World, tab: usize) -> Vec<String> {
    let drafts = world.find(tab, "draft");
    drafts.iter().map(|it| format!("{}={}", it["id"].as_str().unwrap(), it["n"])).collect()
}

#[test]
fn the_one_who_writes_a_loss_down_sees_what_the_others_see() {
    let (mut world, x) = raced();
    let later = world.open_tab();
    assert_eq!(ids(&world, 0, "draft"), ids(&world, later, "draft"));
    assert_eq!(ids(&world, x, "draft"), ids(&world, later, "draft"));
}

/// Goal: a root that knows nothing of a loss, and of which nobody heard, is found by whoever looks again, and what is written goes on.
#[test]
fn a_root_that_landed_behind_a_loss_is_found_though_nobody_said_so() {
    let (mut world, x) = written_down();
    world.serve_step(0);
    world.tabs[x].inbox.clear();
    world.crash(0);
    world.give(x, Input::Nudge);
    world.settle();
    world.write(x, create("draft", json!({ "id": "after" }))).unwrap();
    let later = world.open_tab();
    assert_eq!(drafts(&world, x), drafts(&world, later));
}

#[test]
fn the_one_who_wrote_a_loss_down_compacts() {
    let (mut world, x) = raced();
    world.crash(0);
    world.give(x, Input::Leader(true));
    world.settle();
    for n in 0..8 {
        world.write(x, update("draft", "s4", json!({ "n": 100 + n }))).unwrap();
    }
    world.write(x, create("draft", json!({ "id": "new" }))).unwrap();
    world.advance(Duration::from_secs(100));
    let later = world.open_tab();
    assert_eq!(drafts(&world, x), drafts(&world, later));
}

#[test]
fn a_compaction_is_under_way_when_a_loss_is_written_down() {
    let (mut world, _) = written_down();
    // The leader hears of it, and reads everything again, while its root is on its way to the disk.
    while let Some(announcement) = world.tabs[0].inbox.pop_front() {
        world.give(0, Input::Announced(announcement));
    }
    while world.tabs[0].store.is_some() || !world.tabs[0].reading.is_empty() {
        world.serve_store(0);
    }
    world.serve_step(0);
    world.settle();
    let later = world.open_tab();
    world.crash(later);
    for _ in 0..8 {
        world.write(0, update("draft", "s4", json!({ "n": 100 }))).unwrap();
    }
    world.advance(Duration::from_secs(100));
    let last = world.open_tab();
    assert_eq!(drafts(&world, 0), drafts(&world, last));
}
