//! The log: group commit, promises, other tabs, unknown outcomes, failures.

use super::*;

/// A cheap record under an id of its own.
fn numbered(number: usize) -> Command {
    create("story", json!({ "id": format!("s{number}"), "n": number }))
}

fn sequences(world: &World) -> Vec<u64> {
    world.recorded.iter().filter_map(|recorded| recorded.sequence).map(|sequence| sequence.get()).collect()
}

fn assert_gapless(world: &World) {
    let expected: Vec<u64> = (1..=u64::try_from(world.recorded.len()).unwrap()).collect();
    assert_eq!(sequences(world), expected);
}

#[test]
fn a_thousand_concurrent_creates_cost_two_appends() {
    let mut world = World::new(by_hand());
    let before = world.appends;
    let calls: Vec<u64> = (0..1000).map(|n| world.start_write(0, numbered(n))).collect();
    world.settle();
    assert!(world.appends - before <= 2, "{} appends", world.appends - before);
    for call in calls {
        assert!(matches!(world.reply(0, call), Ok(Reply::Made(_))));
    }
    assert_eq!(world.find(0, "story").len(), 1000);
    assert_gapless(&world);
}

#[test]
fn writes_during_a_commit_share_the_next_row() {
    let mut world = World::new(by_hand());
    let first = world.start_write(0, numbered(1));
    let others: Vec<u64> = (2..20).map(|n| world.start_write(0, numbered(n))).collect();
    let rows = world.disk.len();
    world.serve_store(0);
    assert!(world.is_answered(0, first));
    assert!(others.iter().all(|call| !world.is_answered(0, *call)));
    world.serve_store(0);
    assert!(others.iter().all(|call| world.is_answered(0, *call)));
    assert_eq!(world.disk.len(), rows + 2);
}

#[test]
fn nothing_is_promised_or_shown_before_the_row_is_durable() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, numbered(1));
    assert!(!world.is_answered(0, call));
    assert_eq!(world.find(0, "story").len(), 0);
    world.give(0, Input::Wake);
    world.give(0, Input::Nudge);
    assert!(!world.is_answered(0, call));
    world.settle();
    assert!(world.is_answered(0, call));
    assert_eq!(world.find(0, "story").len(), 1);
}

#[test]
fn answers_nobody_waits_for_are_ignored() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, numbered(1));
    let error = || Error::StorageFailed("no".to_owned());
    for number in [0, 1, 77, u64::MAX] {
        world.give(0, Input::Appended { append: number });
        world.give(0, Input::Behind { append: number, given: 9 });
        world.give(0, Input::AppendFailed { append: number, error: error() });
        world.give(0, Input::AppendUnknown { append: number, error: error() });
        world.give(0, Input::Rows { read: number, rows: vec![(9, vec![1])], is_last: true });
        world.give(0, Input::Begun { read: number, root: Some(vec![1]), rows: Vec::new(), is_last: true });
        world.give(0, Input::Segments { read: number, segments: vec![None] });
        world.give(0, Input::Root { compaction: number, root: Some(vec![1]) });
        world.give(0, Input::SegmentsWritten { compaction: number, keys: vec![1] });
        world.give(0, Input::Compacted { compaction: number });
        world.give(0, Input::CompactionFailed { compaction: number });
        world.give(0, Input::ReadFailed { read: number, error: error() });
        world.give(0, Input::SendFailed { send: number, error: error() });
        world.give(0, Input::Answered { send: number, answer: status(500) });
    }
    let Some(StoreCall::Append { append, .. }) = world.tabs[0].store.clone() else { panic!("no append") };
    world.settle();
    assert!(world.reply(0, call).is_ok());
    // The same answer again.
    world.give(0, Input::Appended { append });
    world.give(0, Input::Behind { append, given: 9 });
    world.settle();
    assert_eq!(world.find(0, "story").len(), 1);
    assert_eq!(world.tabs[0].engine.status().error, None);
}

#[test]
fn later_writes_of_a_row_see_the_earlier() {
    let mut world = World::new(by_hand());
    let calls = [
        world.start_write(0, numbered(0)),
        world.start_write(0, create("story", json!({ "id": "a", "n": 1 }))),
        world.start_write(0, update("story", "a", json!({ "n": 2 }))),
        world.start_write(0, delete("story", "a")),
        world.start_write(0, update("story", "a", json!({ "n": 3 }))),
        world.start_write(0, create("story", json!({ "id": "a", "n": 4 }))),
        world.start_write(0, create("story", json!({ "id": "a", "n": 5 }))),
    ];
    world.settle();
    let codes: Vec<_> = calls.map(|call| world.reply(0, call).map_err(|error| error.code()).err()).into();
    assert_eq!(codes, [None, None, None, None, Some("NOT_FOUND"), None, Some("ALREADY_EXISTS")]);
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "n": 4 })));
}

#[test]
fn a_refusal_that_rests_on_a_write_is_told_only_when_the_write_is_durable() {
    let mut world = World::new(by_hand());
    let busy = world.start_write(0, numbered(0));
    let first = world.start_write(0, numbered(1));
    let again = world.start_write(0, numbered(1));
    world.serve_store(0);
    assert!(world.is_answered(0, busy));
    assert!(!world.is_answered(0, again), "refused because of a record that may never be");
    world.fail_append(0, Error::QuotaExceeded);
    assert_eq!(world.reply(0, first), Err(Error::QuotaExceeded));
    assert_eq!(world.reply(0, again), Err(Error::QuotaExceeded));
}

#[test]
fn a_bulk_create_is_all_or_nothing() {
    let mut world = World::new(by_hand());
    world.write(0, numbered(1)).unwrap();
    for ids in [["x", "s1"], ["x", "x"]] {
        let records = ids.map(|id| fields(&json!({ "id": id })));
        let command = Command::Create { object: object_name("story"), records: records.into() };
        assert_eq!(world.write(0, command).unwrap_err().code(), "ALREADY_EXISTS");
    }
    assert_eq!(world.find(0, "story").len(), 1);
    assert_eq!(world.recorded.len(), 1);
}

#[test]
fn a_tab_that_was_behind_decides_anew() {
    let mut world = World::new(by_hand());
    world.open_tab();
    let one = world.start_write(0, create("story", json!({ "id": "a", "n": 1 })));
    let two = world.start_write(1, create("story", json!({ "id": "a", "n": 2 })));
    let three = world.start_write(1, create("story", json!({ "id": "b", "n": 3 })));
    world.settle();
    assert!(world.reply(0, one).is_ok());
    assert_eq!(world.reply(1, two).unwrap_err().code(), "ALREADY_EXISTS");
    assert!(world.reply(1, three).is_ok());
    assert_eq!(world.find(0, "story"), world.find(1, "story"));
    assert_gapless(&world);
}

/// Goal: sequences stay gapless and unique however three tabs' appends meet. Method: every order of serving three stores, with
/// writes in between.
#[test]
fn sequences_are_gapless_across_three_tabs() {
    for order in 0..81_usize {
        let mut world = World::new(by_hand());
        world.open_tab();
        world.open_tab();
        let mut calls = Vec::new();
        for step in 0..4_u32 {
            let tab = order / 3_usize.pow(step) % 3;
            for writer in 0..3 {
                calls.push((writer, world.start_write(writer, create("story", json!({ "n": calls.len() })))));
            }
            if world.tabs[tab].store.is_some() {
                world.serve_store(tab);
            }
        }
        world.settle();
        let count = calls.len();
        for (tab, call) in calls {
            assert!(world.reply(tab, call).is_ok());
        }
        assert_eq!(world.recorded.len(), count);
        assert_gapless(&world);
        assert_eq!(world.tabs[0].engine.state(), world.tabs[1].engine.state());
        assert_eq!(world.tabs[0].engine.state(), world.tabs[2].engine.state());
    }
}

#[test]
fn an_unknown_commit_that_was_made_is_not_made_again() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, create("story", json!({ "n": 1 })));
    world.lose_append(0, true);
    assert!(!world.is_answered(0, call));
    world.settle();
    assert!(world.reply(0, call).is_ok());
    assert_eq!(world.recorded.len(), 1);
    assert_eq!(world.find(0, "story").len(), 1);
    assert_eq!(world.tabs[0].engine.status().error, None);
}

#[test]
fn an_unknown_commit_that_was_not_made_is_made_again() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, create("story", json!({ "n": 1 })));
    world.lose_append(0, false);
    world.settle();
    assert!(world.reply(0, call).is_ok());
    assert_eq!(world.recorded.len(), 1);
    assert_gapless(&world);
}

#[test]
fn writes_that_are_decided_anew_keep_their_order() {
    let mut world = World::new(by_hand());
    world.start_write(0, numbered(0));
    let made = world.start_write(0, create("story", json!({ "id": "a", "n": 1 })));
    let changed = world.start_write(0, update("story", "a", json!({ "n": 2 })));
    world.serve_store(0);
    world.lose_append(0, false);
    world.settle();
    assert!(world.reply(0, made).is_ok());
    assert!(world.reply(0, changed).is_ok());
    assert_eq!(world.get(0, "story", "a"), Some(json!({ "id": "a", "n": 2 })));
}

#[test]
fn unknown_commits_with_good_ones_between_do_not_add_up() {
    let mut world = World::new(by_hand());
    for n in 0..10 {
        let call = world.start_write(0, numbered(n));
        world.lose_append(0, false);
        world.settle();
        assert!(world.reply(0, call).is_ok());
    }
}

#[test]
fn a_burst_of_large_records_takes_several_rows() {
    let mut world = World::new(by_hand());
    let text = "x".repeat(1_000_000);
    let calls: Vec<u64> =
        (0..14).map(|n| world.start_write(0, create("story", json!({ "n": n, "t": text })))).collect();
    world.settle();
    for call in calls {
        assert!(world.reply(0, call).is_ok());
    }
    let largest = world.disk.iter().map(Vec::len).max().unwrap();
    assert!((2_000_000..10_000_000).contains(&largest), "{largest} bytes");
}

/// Goal: the first row of a database is not made twice either, with writes that did not wait for `open`.
#[test]
fn an_unknown_first_commit_loses_and_doubles_nothing() {
    for is_made in [true, false] {
        let mut world = World::empty(by_hand());
        let (tab, open) = world.start_tab();
        let call = world.start_write(tab, create("story", json!({ "n": 1 })));
        world.serve_store(tab);
        world.lose_append(tab, is_made);
        world.settle();
        assert_eq!(world.reply(tab, open), Ok(Reply::Done), "made: {is_made}");
        assert!(world.reply(tab, call).is_ok());
        assert_eq!(world.recorded.len(), 1, "made: {is_made}");
        assert_eq!(world.find(tab, "story").len(), 1);
    }
}

#[test]
fn an_unknown_commit_survives_another_tabs_row_and_a_failing_read() {
    for is_made in [true, false] {
        let mut world = World::new(by_hand());
        world.open_tab();
        let call = world.start_write(0, create("story", json!({ "n": 1 })));
        world.lose_append(0, is_made);
        world.fail_read(0);
        let other = world.start_write(1, create("story", json!({ "n": 2 })));
        world.serve_store(1);
        world.settle();
        assert!(world.reply(0, call).is_ok());
        assert!(world.reply(1, other).is_ok());
        assert_eq!(world.recorded.len(), 2);
        assert_gapless(&world);
    }
}

#[test]
fn commits_that_stay_unknown_are_told_after_a_few_attempts() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, numbered(1));
    for attempt in 1.. {
        assert!(attempt < 10, "tried for ever");
        world.lose_append(0, false);
        world.serve_store(0);
        if world.is_answered(0, call) {
            break;
        }
    }
    // The log was read after the last attempt: it is known now that the write was not made.
    assert_eq!(world.reply(0, call).unwrap_err().code(), "STORAGE_FAILED");
    assert_eq!(world.tabs[0].store, None);
    assert_eq!(world.find(0, "story").len(), 0);
    assert_eq!(world.tabs[0].engine.status().state, super::super::SyncState::StorageFailed);
    world.write(0, numbered(1)).unwrap();
    assert_eq!(world.tabs[0].engine.status().error, None);
    assert_gapless(&world);
}

#[test]
fn an_unknown_commit_without_a_readable_log_is_told_as_unknown() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, numbered(1));
    world.lose_append(0, true);
    for _ in 0..10 {
        if world.tabs[0].store.is_none() {
            break;
        }
        world.fail_read(0);
    }
    assert_eq!(world.reply(0, call).unwrap_err().code(), "STORAGE_UNKNOWN");
    // The next call reads what was made.
    assert_eq!(world.write(0, numbered(1)).unwrap_err().code(), "ALREADY_EXISTS");
    assert_eq!(world.recorded.len(), 1);
}

#[test]
fn a_definite_failure_answers_everybody_and_changes_nothing() {
    let mut world = World::new(by_hand());
    let calls: Vec<u64> = (0..5).map(|n| world.start_write(0, numbered(n))).collect();
    world.fail_append(0, Error::QuotaExceeded);
    world.fail_append(0, Error::QuotaExceeded);
    for call in calls {
        assert_eq!(world.reply(0, call), Err(Error::QuotaExceeded));
    }
    assert_eq!(world.find(0, "story").len(), 0);
    assert_eq!(world.pending(0).len(), 0);
    assert_eq!(world.tabs[0].engine.status().error.unwrap().code, "QUOTA_EXCEEDED");
    world.write(0, numbered(0)).unwrap();
    assert_gapless(&world);
}

#[test]
fn a_tab_whose_write_failed_still_follows_the_others() {
    let mut world = World::new(by_hand());
    world.open_tab();
    world.start_write(0, numbered(0));
    world.fail_append(0, Error::QuotaExceeded);
    world.write(1, numbered(1)).unwrap();
    assert_eq!(world.find(0, "story").len(), 1);
}

#[test]
fn a_failing_read_is_tried_again_and_then_told() {
    let mut world = World::new(by_hand());
    world.open_tab();
    world.write(1, numbered(0)).unwrap();
    world.give(0, Input::Nudge);
    world.fail_read(0);
    world.settle();
    assert_eq!(world.find(0, "story").len(), 1);

    world.give(0, Input::Nudge);
    let call = world.start_write(0, numbered(1));
    for reads in 0.. {
        assert!(reads < 10, "read for ever");
        if world.is_answered(0, call) {
            break;
        }
        world.fail_read(0);
    }
    assert_eq!(world.reply(0, call).unwrap_err().code(), "STORAGE_FAILED");
    assert_eq!(world.tabs[0].store, None, "nobody waits: no further reads");
    world.write(0, numbered(1)).unwrap();
    assert_eq!(world.tabs[0].engine.status().error, None);
}

#[test]
fn single_failing_reads_do_not_add_up() {
    let mut world = World::new(by_hand());
    for _ in 0..10 {
        world.give(0, Input::Nudge);
        world.fail_read(0);
        assert!(world.tabs[0].store.is_some(), "one failure is tried again");
        world.settle();
    }
}

#[test]
fn opening_fails_where_a_newer_release_wrote_a_row() {
    let mut world = World::new(by_hand());
    world.write(0, numbered(1)).unwrap();
    make_newer(&mut world.disk[1]);
    let (tab, open) = world.start_tab();
    world.settle();
    assert_eq!(world.reply(tab, open).unwrap_err().code(), "STORAGE_OUTDATED");
    assert_eq!(world.tabs[tab].store, None);
}

/// Goal: whatever the bytes of a row, opening ends with an answer. Method: each byte of a row flipped, the checksum mended.
#[test]
fn no_row_makes_the_engine_panic() {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "a", "title": "x" }))).unwrap();
    world.start_sync(0);
    let mutation = world.sent(0).mutations()[0].clone();
    let results = json!([conflict(&mutation, json!({ "id": "a", "title": "y" }), Some(4))]);
    let changes = json!([change("create", "b", json!({ "title": "z" }), 5)]);
    world.answer(
        0,
        json!({ "results": results, "serverChanges": changes, "checkpoint": "c5", "hasMore": true }),
    );
    let row = (0..world.disk.len()).rev().find(|row| world.disk[*row].len() > 150).unwrap();
    let good = world.disk[row].clone();
    for place in 7..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[place] = value;
            let checksum = xxhash_rust::xxh32::xxh32(&bytes[7..], 0).to_le_bytes();
            bytes[3..7].copy_from_slice(&checksum);
            world.disk[row] = bytes;
            let (tab, open) = world.start_tab();
            world.settle();
            let _ = world.reply(tab, open);
            let engine = &world.tabs[tab].engine;
            let _ = (engine.pending_mutations(), engine.conflicts(), engine.rejected(), engine.status());
            world.tabs.truncate(1);
        }
    }
}

#[test]
fn rows_may_come_in_any_portions() {
    let mut world = World::new(by_hand());
    for n in 0..7 {
        world.write(0, numbered(n)).unwrap();
    }
    let (tab, open) = world.start_tab();
    while let Some(call) = world.tabs[tab].store.take() {
        let after = if let StoreCall::Read { after, .. } = call { after } else { 0 };
        let mut rows = world.rows_after(after);
        let is_last = rows.len() <= 2;
        rows.truncate(2);
        match call {
            StoreCall::Begin { read, .. } => {
                world.give(tab, Input::Begun { read, root: None, rows, is_last })
            }
            StoreCall::Read { read, .. } => world.give(tab, Input::Rows { read, rows, is_last }),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.reply(tab, open), Ok(Reply::Done));
    assert_eq!(world.tabs[tab].engine.state(), world.tabs[0].engine.state());
}

#[test]
fn rows_that_are_missing_at_the_end_are_passed_over_by_the_next_write() {
    let mut world = World::new(by_hand());
    // Two rows that no read finds.
    world.disk.extend([Vec::new(), Vec::new()]);
    let next = world.disk.len() as u64 + 1;
    world.start_write(0, numbered(1));
    for steps in 0.. {
        assert!(steps < 50, "asked for ever");
        match world.tabs[0].store.take() {
            Some(StoreCall::Append { key, bytes, .. }) if key == next => {
                let first = Row::decode(&bytes).unwrap();
                assert!(matches!(first.events[0], Event::Mended { .. }), "{first:?}");
                break;
            }
            Some(StoreCall::Append { append, .. }) => world.give(0, Input::Behind { append, given: next }),
            Some(StoreCall::Read { read, .. }) => {
                world.give(0, Input::Rows { read, rows: vec![], is_last: true });
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Goal: a store whose keys and rows do not agree is told about, not asked for ever.
#[test]
fn being_behind_without_a_row_to_read_ends_in_an_error() {
    let mut world = World::new(by_hand());
    let call = world.start_write(0, numbered(1));
    for steps in 0.. {
        assert!(steps < 50, "asked for ever");
        match world.tabs[0].store.take() {
            Some(StoreCall::Append { append, .. }) => {
                world.give(0, Input::Behind { append, given: 90 + steps })
            }
            Some(StoreCall::Read { read, .. }) => {
                world.give(0, Input::Rows { read, rows: vec![], is_last: true })
            }
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    assert_eq!(world.reply(0, call).unwrap_err().code(), "LOG_CORRUPT");
}

/// Goal: being behind again and again because others write is no error.
#[test]
fn a_busy_neighbour_only_delays() {
    let mut world = World::new(by_hand());
    world.open_tab();
    let call = world.start_write(0, numbered(0));
    for n in 1..20 {
        world.tabs[1].inbox.clear();
        let other = world.start_write(1, numbered(n));
        while !world.is_answered(1, other) {
            world.serve_store(1);
        }
        world.serve_store(0);
        world.serve_store(0);
        assert!(!world.is_answered(0, call));
    }
    world.settle();
    assert!(world.reply(0, call).is_ok());
    assert_gapless(&world);
}

#[test]
fn an_oversized_command_is_refused_alone() {
    let mut world = World::new(by_hand());
    let busy = world.start_write(0, numbered(0));
    let good = world.start_write(0, numbered(1));
    let records = (0..17)
        .map(|n| Fields::parse(&format!("{{\"id\":{n},\"t\":\"{}\"}}", "x".repeat(1_000_000))).unwrap())
        .collect();
    let huge = world.start_write(0, Command::Create { object: object_name("story"), records });
    let better = world.start_write(0, numbered(2));
    world.settle();
    assert_eq!(world.reply(0, huge).unwrap_err().code(), "VALUE_TOO_LARGE");
    for call in [busy, good, better] {
        assert!(world.reply(0, call).is_ok());
    }
    assert_gapless(&world);
}

#[test]
fn values_outside_the_rules_are_refused_with_nothing_written() {
    let mut world = World::new(by_hand());
    world.write(0, create("story", json!({ "id": "a", "n": 1 }))).unwrap();
    let rows = world.disk.len();
    let long = "x".repeat(700_000);
    for (command, code) in [
        (create("nothing", json!({})), "UNKNOWN_OBJECT"),
        (create("price", json!({})), "READ_ONLY_OBJECT"),
        (create("story", json!({ "id": "" })), "INVALID_ID"),
        (create("story", json!({ "id": null })), "INVALID_ID"),
        (create("story", json!({ "id": 1.5 })), "INVALID_ID"),
        (create("story", json!({ "id": ["a"] })), "INVALID_ID"),
        (create("story", json!({ "id": "x".repeat(257) })), "INVALID_ID"),
        (update("story", "a", json!({ "id": "b" })), "INVALID_ID"),
        (update("story", "b", json!({ "n": 1 })), "NOT_FOUND"),
        (update("price", "b", json!({ "n": 1 })), "READ_ONLY_OBJECT"),
        (delete("price", "b"), "READ_ONLY_OBJECT"),
        (Command::Upsert { object: object_name("story"), record: fields(&json!({ "n": 1 })) }, "INVALID_ID"),
    ] {
        assert_eq!(world.write(0, command.clone()).unwrap_err().code(), code, "{command:?}");
    }
    world.write(0, update("story", "a", json!({ "long": long }))).unwrap();
    let error = world.write(0, update("story", "a", json!({ "longer": long }))).unwrap_err();
    assert_eq!(error.code(), "VALUE_TOO_LARGE");
    assert_eq!(world.disk.len(), rows + 1);
}

#[test]
fn the_driver_sets_the_id_and_the_times() {
    let mut world = World::new(by_hand());
    let given = json!({ "created_at": "mine", "updated_at": 7, "n": 1, "__proto__": { "x": 1 } });
    let Ok(Reply::Made(made)) = world.write(0, create("story", given)) else { panic!("no record") };
    let record: Value = serde_json::from_str(made[0].as_str()).unwrap();
    let id = record["id"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(record["created_at"], record["updated_at"]);
    assert_eq!(record["__proto__"], json!({ "x": 1 }));
    world.now += Duration::from_secs(5);
    let Ok(Reply::Record(after)) = world.write(0, update("story", id, json!({ "created_at": 1, "n": 2 })))
    else {
        panic!("no record")
    };
    let after: Value = serde_json::from_str(after.as_str()).unwrap();
    assert_eq!(after["created_at"], record["created_at"]);
    assert!(after["updated_at"].as_str().unwrap() > record["updated_at"].as_str().unwrap());
    assert_eq!(after, world.find(0, "story")[0]);
    // An update of nothing records nothing.
    let rows = world.disk.len();
    world.write(0, update("story", id, json!({ "updated_at": "x" }))).unwrap();
    assert_eq!(world.disk.len(), rows);
}

#[test]
fn a_number_and_its_text_are_two_ids() {
    let mut world = World::new(by_hand());
    world.write(0, create("story", json!({ "id": 1 }))).unwrap();
    world.write(0, create("story", json!({ "id": "1" }))).unwrap();
    assert_eq!(world.find(0, "story").len(), 2);
    assert_eq!(world.write(0, create("story", json!({ "id": 1.0 }))).unwrap_err().code(), "ALREADY_EXISTS");
}
