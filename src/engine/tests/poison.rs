//! Requests that are refused as a whole for one of their mutations.

use super::*;

/// Sixty stories, of which the server refuses any request that holds this one, with that status.
fn push_sixty(poisoned: u64, code: u16, config: Config) -> (World, usize) {
    let mut world = World::leading(config);
    for n in 0..60 {
        world.start_write(0, create("story", json!({ "id": format!("s{n}") })));
    }
    world.settle();
    world.start_sync(0);
    let mut requests = 0;
    for _ in 0..200 {
        if !world.is_sending(0) {
            if world.pending(0).is_empty() {
                break;
            }
            world.advance(Duration::from_secs(61));
            continue;
        }
        requests += 1;
        let sequences = world.sent(0).sequences();
        if sequences.contains(&poisoned) {
            world.answer_with(0, status(code));
        } else {
            let results: Vec<_> = sequences.iter().map(|sequence| applied(*sequence)).collect();
            let body = json!({ "results": results, "serverChanges": [], "checkpoint": "c" });
            world.answer(0, body);
        }
        world.check(0);
    }
    (world, requests)
}

/// Goal: wherever it is, one poisoned row costs at most 20 requests more, is kept with its reason, and the others arrive.
#[test]
fn one_poisoned_row_costs_few_requests() {
    for code in [400, 422, 500] {
        for poisoned in [1, 7, 30, 50, 51, 60] {
            let (world, requests) = push_sixty(poisoned, code, automatic());
            let rejected = world.rejected(0);
            assert_eq!(rejected.len(), 1, "{code} {poisoned}");
            assert_eq!(rejected[0]["mutation"]["sequence"], poisoned);
            assert!(rejected[0]["reason"].as_str().unwrap().contains(&code.to_string()), "{}", rejected[0]);
            assert_eq!(world.pending(0).len(), 0);
            assert!(requests <= 2 + 20, "{requests} requests for row {poisoned} and status {code}");
        }
    }
}

/// Goal: a server that refuses every push, pulls or not, keeps nobody's work from being delivered later.
#[test]
fn an_endpoint_that_refuses_all_pushes_quarantines_nothing() {
    for answers_pulls in [false, true] {
        let mut world = World::leading(automatic());
        for n in 0..60 {
            world.start_write(0, create("story", json!({ "id": format!("s{n}") })));
        }
        world.settle();
        for _ in 0..300 {
            if !world.is_sending(0) {
                world.advance(Duration::from_secs(61));
            }
            let body = json!({ "results": [], "serverChanges": [], "checkpoint": "c0" });
            match world.sent(0).mutations().len() {
                0 if answers_pulls => world.answer(0, body),
                _ => world.answer_with(0, status(500)),
            }
        }
        assert_eq!((world.rejected(0).len(), world.pending(0).len()), (0, 60), "pulls {answers_pulls}");
        // It heals.
        for _ in 0..300 {
            if world.pending(0).is_empty() {
                break;
            }
            if !world.is_sending(0) {
                world.advance(Duration::from_secs(61));
            }
            world.apply_all(0, 1, json!([]), "c1");
        }
        assert_eq!((world.rejected(0).len(), world.pending(0).len()), (0, 0), "pulls {answers_pulls}");
    }
}

/// Goal: a mutation that is all there is to send is quarantined too, when pulls are answered.
#[test]
fn the_only_mutation_is_quarantined_when_the_server_answers_otherwise() {
    let mut world = World::leading(by_hand());
    world.write(0, create("story", json!({ "id": "a" }))).unwrap();
    world.write(0, update("story", "a", json!({ "title": "t" }))).unwrap();
    let call = world.start_sync(0);
    while world.is_sending(0) {
        match world.sent(0).mutations().len() {
            0 => world.answer(0, json!({ "results": [], "serverChanges": [], "checkpoint": "c0" })),
            _ => world.answer_with(0, status(422)),
        }
    }
    let rejected = world.rejected(0);
    assert_eq!(rejected.len(), 2, "with what depends on it");
    assert_eq!(rejected[0]["dependants"], json!([rejected[1]["id"]]));
    assert_eq!(rejected[1]["causedBy"], rejected[0]["id"]);
    assert_eq!(world.report(0, call).rejected, 2);

    world.write(0, Command::Retry { mutation: mutation_id(&rejected[0]), patch: None }).unwrap();
    assert_eq!((world.rejected(0).len(), world.pending(0).len()), (0, 2), "both are made again");
    assert_eq!(world.get(0, "story", "a").unwrap()["title"], "t");
    world.check(0);
}
