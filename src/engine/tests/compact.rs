//! Compaction: rows become segments, and nobody sees a difference.

use objectql_sync_protocol::Operation;

use super::*;
use crate::engine::stored::{Entries, Kind, Root};

/// A database that compacts after so many rows, in one tab that leads.
fn compacting(rows: u64) -> World {
    World::leading(with(rows, by_hand()))
}

fn with(rows: u64, config: Config) -> Config {
    Config { compact_after: CompactAfter { rows, bytes: 1 << 30 }, ..config }
}

fn story(id: usize, value: usize) -> Command {
    create("story", json!({ "id": format!("r{id}"), "value": value, "text": "x".repeat(300) }))
}

fn set(id: usize, value: usize) -> Command {
    update("story", &format!("r{id}"), json!({ "value": value }))
}

/// Likewise of an object that is not synced, whose mutations are settled at once.
fn draft(id: usize) -> Command {
    create("draft", json!({ "id": format!("r{id}"), "value": 0, "text": "x".repeat(300) }))
}

fn set_draft(id: usize, value: usize) -> Command {
    update("draft", &format!("r{id}"), json!({ "value": value }))
}

/// Lets the time come at which a compaction is due, and has it done. How many bytes of records it wrote.
fn compact(world: &mut World) -> usize {
    let before = world.stored.last;
    world.advance(Duration::from_secs(20));
    let written = world.stored.segments.iter().filter(|(key, _)| *key > before);
    let is_of_records = |bytes: &[u8]| matches!(Entries::of(bytes).unwrap().0, Kind::Records(_));
    written.filter(|(_, bytes)| is_of_records(bytes)).map(|(_, bytes)| bytes.len()).sum()
}

/// A tab that opens now must have the state of another.
fn assert_opens_as(world: &mut World, tab: usize) {
    let opened = world.open_tab();
    world.check(opened);
    assert_eq!(world.tabs[opened].engine.state(), world.tabs[tab].engine.state());
    for object in ["story", "task", "note", "price", "draft"] {
        assert_eq!(world.find(opened, object), world.find(tab, object));
    }
    world.crash(opened);
}

fn root(world: &World) -> Root {
    Root::decode(world.stored.root.as_ref().unwrap()).unwrap()
}

#[test]
fn rows_become_segments_and_the_same_state_comes_of_them() {
    let mut world = compacting(10);
    for n in 0..10 {
        world.write(0, story(n, 0)).unwrap();
    }
    world.write(0, delete("story", "r3")).unwrap();
    world.write(0, set(4, 1)).unwrap();
    world.write(0, create("draft", json!({ "id": "d", "title": "local" }))).unwrap();
    assert_eq!(world.removed, 0, "writes come in bursts: it waits");
    compact(&mut world);
    assert_eq!(world.removed, world.disk.len() - 1, "only the last row is left");
    assert_opens_as(&mut world, 0);
    // Once more, on top of the first.
    for n in 0..10 {
        world.write(0, set(n.max(4), 100 + n)).unwrap();
    }
    world.write(0, story(3, 7)).unwrap();
    compact(&mut world);
    assert_eq!(world.removed, world.disk.len() - 1);
    assert_opens_as(&mut world, 0);
    assert_eq!(world.find(0, "story")[3]["id"], "r3", "its delete is pending still: it is back in its place");
}

#[test]
fn only_the_tab_that_leads_compacts_and_a_local_database_does_too() {
    let mut world = World::new(with(5, by_hand()));
    for n in 0..10 {
        world.write(0, story(n, 0)).unwrap();
    }
    compact(&mut world);
    assert_eq!(world.stored.root, None);
    let mut world = World::leading(with(5, local()));
    for n in 0..10 {
        world.write(0, story(n, 0)).unwrap();
    }
    compact(&mut world);
    assert!(world.stored.root.is_some());
    assert_opens_as(&mut world, 0);
}

/// Goal: everything that is not settled survives: pending, parked, rejected, what can be undone, a snapshot half collected.
#[test]
fn what_is_not_settled_is_kept() {
    let mut world = compacting(12);
    for n in 0..4 {
        world.write(0, story(n, 0)).unwrap();
    }
    world.start_sync(0);
    let mutations = world.sent(0).mutations();
    let results = json!([
        applied(11),
        conflict(&mutations[1], json!({ "id": "r1", "value": 9 }), Some(12)),
        rejected("no"),
        applied(13),
    ]);
    let changes = json!([change("update", "unknown", json!({ "value": 1 }), 10)]);
    world.answer(
        0,
        json!({ "results": results, "serverChanges": changes, "checkpoint": "c13", "hasMore": true }),
    );
    world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "c14" }));
    for n in 5..12 {
        world.write(0, story(n, 0)).unwrap();
    }
    world.write(0, set(0, 5)).unwrap();
    // The server forgets the checkpoint, and its first page comes.
    world.start_sync(0);
    world.answer_with(0, status(410));
    let page = json!([
        change("create", "r0", json!({ "id": "r0", "value": 3 }), 11),
        change("create", "s1", json!({ "id": "s1" }), 9)
    ]);
    world.answer(0, json!({ "results": [], "serverChanges": page, "checkpoint": "p1", "hasMore": true }));
    assert!(world.is_sending(0), "the next page is on its way");
    compact(&mut world);
    let kinds: Vec<Kind> = root(&world).body.sections.into_iter().map(|section| section.kind).collect();
    assert!(kinds.contains(&Kind::Collected(1, object_name("story"))), "{kinds:?}");
    let tab = world.open_tab();
    assert_eq!(world.conflicts(tab).len(), 1);
    assert_eq!(world.rejected(tab).len(), 1);
    assert_eq!(world.pending(tab).len(), 9);
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[0].engine.state());
    let [here, there] = [0, tab].map(|tab| world.tabs[tab].engine.status());
    assert_eq!((here.undoable, here.redoable), (there.undoable, there.redoable));
    // The snapshot is completed by a tab that knows it from segments, and swapped in everywhere.
    world.crash(0);
    world.give(tab, Input::Leader(true));
    world.start_sync(tab);
    let page = json!([change("create", "s2", json!({ "id": "s2" }), 15)]);
    world.answer(tab, json!({ "results": [], "serverChanges": page, "checkpoint": "c15" }));
    assert!(world.get(tab, "story", "s1").is_some() && world.get(tab, "story", "s2").is_some());
    assert_opens_as(&mut world, tab);
    // What the tab wrote before it, in another tab, can be taken back.
    world.write(tab, Command::Undo).unwrap();
    assert_eq!(world.get(tab, "story", "r0").unwrap()["value"], 0, "as it was before the last write");
}

/// Goal: a store does not grow with the number of edits. Method: 10,000 edits of one record, compacted as it comes.
#[test]
fn a_record_edited_ten_thousand_times_takes_the_room_of_one() {
    let mut world = World::leading(with(256, local()));
    world.write(0, draft(0)).unwrap();
    let mut most = 0;
    for n in 0..10_000 {
        world.write(0, set_draft(0, n)).unwrap();
        if n % 100 == 0 {
            world.advance(Duration::from_secs(2));
            most = most.max(world.stored_bytes());
        }
    }
    // Up to 356 rows of some 150 bytes, the root, and what can be undone: 100 writes with the record before and after.
    assert!(most < 256 * 1024, "{most}");
    assert_opens_as(&mut world, 0);
}

/// Goal: a compaction costs what changed, not what there is.
#[test]
fn a_compaction_writes_in_proportion_to_what_changed() {
    let mut world = World::leading(with(20, local()));
    let all =
        (0..5000).map(|n| fields(&json!({ "id": format!("r{n}"), "value": 0, "text": "x".repeat(300) })));
    world.write(0, Command::Create { object: object_name("draft"), records: all.collect() }).unwrap();
    for n in 0..20 {
        world.write(0, set_draft(n, 1)).unwrap();
    }
    let first = compact(&mut world);
    assert!(first > 5000 * 350, "{first}");
    let mut total = 0;
    for round in 1..200 {
        for n in 0..20 {
            world.write(0, set_draft((round * 37 + n * 241) % 5000, round)).unwrap();
        }
        total += compact(&mut world);
        let live = first;
        assert!(world.stored_bytes() < 2 * live + (512 << 10), "{} bytes for {live}", world.stored_bytes());
    }
    // What is joined and rewritten comes to some times what changed.
    let changed = 199 * 20 * 400;
    assert!(total < 5 * changed, "{total} bytes written for {changed}");
    assert_opens_as(&mut world, 0);
}

/// Goal: what is deleted makes room.
#[test]
fn deleted_records_make_room() {
    let mut world = World::leading(with(10, local()));
    let all = (0..4000).map(|n| fields(&json!({ "id": format!("r{n}"), "text": "x".repeat(300) })));
    world.write(0, Command::Create { object: object_name("draft"), records: all.collect() }).unwrap();
    let ids = (0..4000)
        .filter(|n| n % 8 != 0)
        .map(|n| RecordId::string(format!("r{n}")).unwrap())
        .collect::<Vec<_>>();
    for some in ids.chunks(350) {
        world.write(0, Command::BulkDelete { object: object_name("draft"), ids: some.to_vec() }).unwrap();
    }
    compact(&mut world);
    // What can be undone is 8 MiB of records at the most; it is not what is looked at here.
    let records: usize = root(&world)
        .body
        .sections
        .iter()
        .filter(|section| matches!(section.kind, Kind::Records(_)))
        .flat_map(|section| &section.blocks)
        .map(|block| block.bytes as usize)
        .sum();
    assert!(records < 500 * 360 * 2, "{records}");
    assert_opens_as(&mut world, 0);
}

#[test]
fn a_tab_that_was_left_behind_begins_anew() {
    let mut world = compacting(10);
    for n in 0..3 {
        world.write(0, story(n, 0)).unwrap();
    }
    let slow = world.open_tab();
    let watched =
        world.tabs[slow].engine.state().pending.iter().map(|pending| pending.recorded.id).next().unwrap();
    let watch = world.request();
    world.tabs[slow].waiting.insert(watch);
    world.give(slow, Input::Watch { request: RequestId(watch), mutation: watched });
    // It is frozen while the others go on.
    let inbox = |world: &mut World| world.tabs[slow].inbox.clear();
    world.tabs[slow].is_alive = false;
    world.write(0, delete("story", "r1")).unwrap();
    world.write(0, story(1, 5)).unwrap();
    for n in 3..12 {
        world.write(0, story(n, 0)).unwrap();
    }
    let sync = world.start_sync(0);
    world.apply_all(0, 20, json!([]), "c40");
    assert!(world.reply(0, sync).is_ok());
    compact(&mut world);
    assert!(world.removed > 5);
    inbox(&mut world);
    world.tabs[slow].is_alive = true;
    world.tabs[slow].notices.clear();
    // It learns of it with its first write: the key is not the one that it expected.
    assert!(world.write(slow, set(0, 77)).is_ok());
    world.check(slow);
    assert_eq!(world.tabs[slow].engine.state(), world.tabs[0].engine.state());
    assert_eq!(world.find(slow, "story"), world.find(0, "story"), "in the same order, too");
    assert_eq!(world.reply(slow, watch), Ok(Reply::Settled(crate::engine::Outcome::Applied)));
    let changed: Vec<_> =
        world.tabs[slow].notices.iter().filter(|notice| matches!(notice, Notice::Change(_))).collect();
    assert_eq!(changed.len(), 2, "what it missed, and what it wrote: {changed:?}");
}

/// Goal: a row whose commit nobody confirmed is not made twice, though it is in no row any more when the tab looks.
#[test]
fn an_unknown_append_that_was_compacted_is_known_again() {
    for is_made in [true, false] {
        let mut world = compacting(10);
        let other = world.open_tab();
        let call = world.start_write(other, story(100, 0));
        // It hears of nothing, and its next read is not served, until the others have compacted.
        world.lose_append(other, is_made);
        world.tabs[other].is_alive = false;
        for n in 0..12 {
            world.write(0, story(n, 0)).unwrap();
        }
        compact(&mut world);
        assert!(world.removed > 5);
        world.tabs[other].is_alive = true;
        world.settle();
        let reply = world.reply(other, call);
        assert!(matches!(reply, Ok(Reply::Made(_))), "{reply:?}");
        let creates = world.recorded.iter().filter(|recorded| recorded.operation == Operation::Create);
        assert_eq!(creates.filter(|recorded| recorded.record_id.to_json() == "\"r100\"").count(), 1);
        world.check(other);
        assert_eq!(world.tabs[other].engine.state(), world.tabs[0].engine.state());
    }
}

/// Goal: two tabs that both believe they lead do no harm. Method: one is stopped before each of its steps, while another compacts.
#[test]
fn a_root_replaces_only_the_one_it_was_made_from() {
    for stop in 0..3 {
        let mut world = compacting(10);
        for n in 0..12 {
            world.write(0, story(n, 0)).unwrap();
        }
        world.now += Duration::from_secs(5);
        world.give(0, Input::Wake);
        for _ in 0..stop {
            world.serve_step(0);
        }
        assert!(world.tabs[0].compaction.is_some());
        world.tabs[0].is_alive = false;
        let other = world.open_tab();
        world.give(other, Input::Leader(true));
        world.settle();
        for n in 0..12 {
            world.write(other, set(n, 5)).unwrap();
        }
        compact(&mut world);
        let good = root(&world);
        world.tabs[0].is_alive = true;
        world.settle();
        if stop > 0 {
            assert_eq!(root(&world).number, good.number, "the late one is refused");
        }
        world.check(0);
        assert_opens_as(&mut world, other);
        for n in 0..12 {
            world.write(0, set(n, 9)).unwrap();
        }
        compact(&mut world);
        assert_opens_as(&mut world, 0);
    }
}

#[test]
fn a_step_that_fails_is_tried_again_later_and_nothing_is_lost() {
    for (step, is_done) in [(0, false), (1, false), (1, true), (2, false), (2, true)] {
        let mut world = compacting(10);
        for n in 0..12 {
            world.write(0, story(n, 0)).unwrap();
        }
        world.now += Duration::from_secs(5);
        world.give(0, Input::Wake);
        for _ in 0..step {
            world.serve_step(0);
        }
        world.fail_step(0, is_done);
        assert_opens_as(&mut world, 0);
        world.write(0, set(3, 3)).unwrap();
        compact(&mut world);
        assert_eq!(world.removed, world.disk.len() - 1, "step {step}");
        let named: Vec<u64> = root(&world).segments().collect();
        assert!(
            world.stored.segments.iter().all(|(key, _)| named.contains(key)),
            "what was written in vain is gone"
        );
        assert_opens_as(&mut world, 0);
    }
}

/// Goal: no step takes long. Method: what one asks for is bounded.
#[test]
fn much_is_written_and_read_in_slices() {
    let mut world = World::leading(with(2, local()));
    // What a call wrote is one entry of what can be undone: these are not large.
    for part in 0..40 {
        let all = (0..250).map(|n| fields(&json!({ "id": format!("r{part}-{n}"), "text": "x".repeat(900) })));
        world.write(0, Command::Create { object: object_name("story"), records: all.collect() }).unwrap();
    }
    world.now += Duration::from_secs(5);
    world.give(0, Input::Wake);
    let mut slices = Vec::new();
    while let Some(step) = &world.tabs[0].compaction {
        if let Output::WriteSegments { segments, .. } = step {
            slices.push(segments.iter().map(Vec::len).sum::<usize>());
            assert!(segments.iter().all(|segment| segment.len() < 300 << 10));
        }
        world.serve_step(0);
    }
    assert!(slices.len() > 8 && slices.iter().all(|slice| *slice < 1_400_000), "{slices:?}");
    let (tab, open) = world.start_tab();
    let mut portions = 0;
    while let Some(call) = world.tabs[tab].reading.front().or(world.tabs[tab].store.as_ref()) {
        if let StoreCall::ReadSegments { segments, .. } = call {
            portions += 1;
            let bytes: usize = world.stored.get(segments).iter().flatten().map(Vec::len).sum();
            assert!(bytes < 2_500_000, "{bytes}");
        }
        world.serve_store(tab);
    }
    assert!(portions >= 4, "{portions}");
    assert_eq!(world.reply(tab, open), Ok(Reply::Done));
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[0].engine.state());
}

/// Goal: a compaction between two steps of an opening does not confuse it.
#[test]
fn segments_that_go_while_a_tab_opens_make_it_look_again() {
    let mut world = compacting(10);
    for n in 0..12 {
        world.write(0, story(n, 0)).unwrap();
    }
    compact(&mut world);
    let (tab, open) = world.start_tab();
    world.serve_store(tab);
    assert!(matches!(world.tabs[tab].reading.front(), Some(StoreCall::ReadSegments { .. })));
    world.tabs[tab].is_alive = false;
    for n in 0..12 {
        world.write(0, set(n, 1)).unwrap();
    }
    compact(&mut world);
    world.tabs[tab].is_alive = true;
    world.settle();
    assert_eq!(world.reply(tab, open), Ok(Reply::Done));
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[0].engine.state());
}

#[test]
fn a_newer_format_is_told_apart_and_nothing_is_overwritten() {
    let mut world = compacting(10);
    for n in 0..12 {
        world.write(0, story(n, 0)).unwrap();
    }
    compact(&mut world);
    make_newer(world.stored.root.as_mut().unwrap());
    let newer = world.stored.root.clone();
    let (tab, open) = world.start_tab();
    world.settle();
    assert_eq!(world.reply(tab, open).unwrap_err().code(), "STORAGE_OUTDATED");
    world.crash(tab);
    for n in 0..12 {
        world.write(0, set(n, 1)).unwrap();
    }
    compact(&mut world);
    assert_eq!(world.stored.root, newer);
}

/// Seed 1053 of the simulator: a leader that began anew kept the time at which its compaction had been due, woke at once for ever,
/// and for nothing else.
#[test]
fn a_compaction_that_is_not_wanted_any_more_wakes_nobody() {
    let mut world = compacting(10);
    for n in 0..12 {
        world.write(0, story(n, 0)).unwrap();
    }
    // Its compaction is due in a second; it is frozen, and another tab leads and compacts.
    world.tabs[0].is_alive = false;
    let other = world.open_tab();
    world.give(other, Input::Leader(true));
    for n in 0..12 {
        world.write(other, set(n, 5)).unwrap();
    }
    compact(&mut world);
    world.tabs[0].is_alive = true;
    world.tabs[0].inbox.clear();
    world.give(0, Input::Nudge);
    world.settle();
    assert_eq!(world.tabs[0].engine.folded(), world.disk.len() as u64);
    let wake = world.tabs[0].engine.next_wake();
    assert!(wake.is_none_or(|wake| wake > world.now), "{wake:?}");
}

/// Seed 4771 of the simulator: a record that went and came again as it was, while a tab was left behind, was not seen there any more.
#[test]
fn a_record_that_came_again_as_it_was_is_seen_by_a_tab_that_was_left_behind() {
    let mut world = compacting(10);
    let slow = world.open_tab();
    world.start_sync(0);
    let record = || json!({ "id": "s", "title": "x" });
    let changes = json!([change("create", "r", json!({ "id": "r" }), 1), change("create", "s", record(), 2)]);
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c2" }));
    world.tabs[slow].is_alive = false;
    world.start_sync(0);
    let changes = json!([change("delete", "s", Value::Null, 3), change("create", "s", record(), 4)]);
    world.answer(0, json!({ "results": [], "serverChanges": changes, "checkpoint": "c4" }));
    for n in 0..12 {
        world.write(0, draft(n)).unwrap();
    }
    compact(&mut world);
    world.tabs[slow].is_alive = true;
    world.give(slow, Input::Nudge);
    world.settle();
    assert_eq!(world.find(slow, "story"), world.find(0, "story"));
    assert_eq!(world.find(slow, "story").len(), 2);
}

/// Goal: pages that never live long enough for a compaction to end leave no more than one of them behind.
#[test]
fn what_unfinished_compactions_left_is_removed_by_the_next() {
    let mut world = compacting(10);
    for n in 0..12 {
        world.write(0, story(n, 0)).unwrap();
    }
    world.crash(0);
    let mut most = 0;
    for _ in 0..10 {
        let tab = world.open_tab();
        world.give(tab, Input::Leader(true));
        world.settle();
        world.now += Duration::from_secs(2);
        world.give(tab, Input::Wake);
        while !matches!(world.tabs[tab].compaction, Some(Output::Compact { .. })) {
            world.serve_step(tab);
        }
        most = most.max(world.stored.segments.len());
        world.crash(tab);
    }
    assert!(most <= 4, "{most} segments of one compaction");
}

/// Goal: a step that is under way when all begins anew is waited for: one is asked for at a time, which the world sees to. Then the next
/// compaction goes through.
#[test]
fn a_step_under_way_is_waited_for_though_all_began_anew() {
    let mut world = compacting(3);
    for n in 0..6 {
        world.write(0, story(n, 0)).unwrap();
    }
    let pass = |world: &mut World| {
        world.now += Duration::from_secs(2);
        world.give(0, Input::Wake);
    };
    pass(&mut world);
    assert!(matches!(world.tabs[0].compaction, Some(Output::ReadRoot { .. })));
    world.tabs[0].engine.begin_over();
    world.give(0, Input::Nudge);
    while world.tabs[0].store.is_some() {
        world.serve_store(0);
    }
    pass(&mut world);
    pass(&mut world);
    world.serve_step(0);
    assert_eq!(world.tabs[0].compaction, None, "it leads to nothing");
    world.advance(Duration::from_secs(20));
    assert!(world.removed > 0);
    assert_opens_as(&mut world, 0);
}
