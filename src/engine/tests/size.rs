//! Large logs and long queues: the work grows with what is done, not with its square. Counted in time, with bounds that only a
//! square misses: these run unoptimised and beside others.

use std::time::Instant;

use super::*;

const SMALL: usize = 250;

/// Linear work grows to four times, quadratic to sixteen. One try that shows it is enough: the others may have been held up by
/// whatever else ran then.
fn assert_linear(what: &str, run: impl Fn(usize)) {
    let time = |size: usize| {
        let begin = Instant::now();
        run(size);
        begin.elapsed().as_secs_f64()
    };
    let growths: Vec<f64> =
        (0..10).map(|_| time(SMALL * 4) / time(SMALL)).take_while(|growth| *growth > 9.0).collect();
    assert!(growths.len() < 10, "{what}: four times the work takes {growths:.1?} times as long");
}

fn edits_of_one_record(count: usize) -> World {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "a", "title": "x".repeat(200) }))).unwrap();
    for n in 0..count {
        world.start_write(0, update("story", "a", json!({ "n": n })));
    }
    world.settle();
    world
}

fn many_records(count: usize) -> World {
    let mut world = World::leading(by_hand());
    for n in 0..count {
        world.start_write(0, create("story", json!({ "id": format!("s{n}"), "n": n })));
    }
    world.settle();
    world
}

fn drain(world: &mut World) {
    world.start_sync(0);
    let mut version = 0;
    while world.is_sending(0) {
        version += 100;
        world.apply_all(0, version, json!([]), &format!("c{version}"));
    }
    assert_eq!(world.pending(0).len(), 0);
}

#[test]
fn recording_edits_of_one_record_is_linear() {
    assert_linear("recording", |count| drop(edits_of_one_record(count)));
}

#[test]
fn recording_many_records_is_linear() {
    assert_linear("recording", |count| drop(many_records(count)));
}

#[test]
fn pushing_many_records_is_linear() {
    assert_linear("pushing", |count| drain(&mut many_records(count)));
}

#[test]
fn opening_a_log_of_many_pending_mutations_is_linear() {
    assert_linear("opening", |count| {
        let mut world = many_records(count);
        for _ in 0..5 {
            world.open_tab();
        }
    });
}

/// Goal: an answer on a batch costs one computation of what is seen of a record, not one for each mutation of the batch.
#[test]
fn an_answer_computes_what_is_seen_of_a_record_once() {
    let mut world = edits_of_one_record(3000);
    world.start_sync(0);
    let answer = |world: &mut World| {
        let begin = Instant::now();
        let changes: Vec<_> = (1..51).map(|n| change("update", "a", json!({ "n": n }), n)).collect();
        world.apply_all(0, 1, json!(changes), "c50");
        begin.elapsed()
    };
    // What computing it again and again would take is measured, not guessed.
    let compute = |world: &World, times: usize| {
        let mut state = world.tabs[0].engine.state().clone();
        let begin = Instant::now();
        for _ in 0..times {
            state.replay(&object_name("story"), &RecordId::string("a").unwrap());
        }
        begin.elapsed()
    };
    // A batch has fifty verdicts and fifty changes.
    let is_once = (0..10).any(|_| answer(&mut world) < compute(&world, 25));
    assert!(is_once, "what is seen is computed for each verdict or change");
}

#[test]
fn rejecting_a_create_with_many_dependants_is_linear() {
    assert_linear("rejecting", |count| {
        let mut world = edits_of_one_record(count);
        world.start_sync(0);
        let results: Vec<_> = world.sent(0).mutations().iter().map(|_| rejected("no")).collect();
        world.answer(0, json!({ "results": results, "serverChanges": [], "checkpoint": "c1" }));
        assert_eq!(world.rejected(0).len(), count + 1);
    });
}

#[test]
fn reporting_what_is_pending_is_linear() {
    let settings = SyncSettings { is_automatic: false, poll_interval: None };
    let sync = json!({ "enabled": true, "batch_size": 10000 });
    let definition = || serde_json::from_value(json!({ "name": "story", "sync": sync })).unwrap();
    assert_linear("reporting", |count| {
        let mut world = World::leading(Config::new(vec![definition()], Some(settings)).unwrap());
        for n in 0..count {
            world.start_write(0, create("story", json!({ "id": format!("s{n}") })));
        }
        world.settle();
        world.start_sync(0);
        for _ in 0..10 {
            world.pending(0);
        }
    });
}
