//! The fold: what every log gives, whatever commands and answers made it.

use objectql_sync_protocol::Operation;
use proptest::prelude::*;

use super::super::fold;
use super::super::record::apply;
use super::super::state::{Progress, State};
use super::*;

/// Recomputes naively what the state keeps, and compares.
pub(super) fn check_state(state: &State) {
    let mut of_record: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pending in state.pending.iter() {
        let sequence = &pending.sequence;
        assert_eq!(*sequence, pending.sequence);
        assert_eq!(pending.recorded.sequence, Some(*sequence));
        assert!(*sequence <= state.last_sequence);
        of_record.entry(pending.recorded.key()).or_default().push(pending);
    }
    let mut seen = 0;
    for (object, table) in state.tables.iter() {
        let mut visible = 0;
        for record in table.records() {
            let key = objectql_sync_protocol::RecordKey { object: object.clone(), id: record.id.clone() };
            let pending = of_record.get(&key).map(Vec::as_slice).unwrap_or_default();
            seen += pending.len();
            let sequences: Vec<_> = pending.iter().map(|pending| pending.sequence).collect();
            assert_eq!(record.pending(), sequences);
            let view = pending.iter().fold(record.complete_base().cloned(), |view, pending| {
                apply(view, pending.recorded.operation, pending.recorded.data.as_ref())
            });
            assert_eq!(record.visible(), view.as_ref(), "the view of {key:?} is base and pending");
            assert!(!record.is_gone(), "{key:?} is an empty shell");
            visible += usize::from(view.is_some());
            assert_eq!(table.get(&record.id).map(|found| &found.id), Some(&record.id));
        }
        assert_eq!(table.records().filter(|record| record.visible().is_some()).count(), visible);
    }
    assert_eq!(seen, state.pending.len(), "every pending mutation has its record");
    let parked: Vec<_> = of_progress(state, |progress| matches!(progress, Progress::Parked(_)));
    assert_eq!(parked, sorted(&state.parked));
    let applied: Vec<_> = of_progress(state, |progress| matches!(progress, Progress::Applied { .. }));
    assert_eq!(applied, sorted(&state.applied));
    assert!(state.frozen.iter().all(|sequence| state.pending.get(sequence).is_some_and(|p| p.is_queued())));
    assert!(state.rejected.iter().all(|rejected| state.pending.get(&rejected.sequence).is_none()));
}

fn sorted(sequences: &[objectql_sync_protocol::Sequence]) -> Vec<objectql_sync_protocol::Sequence> {
    let mut sequences = sequences.to_vec();
    sequences.sort_unstable();
    sequences
}

fn of_progress(state: &State, wanted: impl Fn(&Progress) -> bool) -> Vec<objectql_sync_protocol::Sequence> {
    state.pending.iter().filter(|pending| wanted(&pending.progress)).map(|pending| pending.sequence).collect()
}

fn replay(disk: &[Vec<u8>]) -> State {
    let mut state = State::default();
    for (key, bytes) in (1..).zip(disk) {
        fold::fold(&mut state, key, &Row::decode(bytes).unwrap());
    }
    state
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Update(u8, u8, u8),
    Delete(u8),
    Sync,
    Answer { verdicts: Vec<u8>, changes: Vec<(u8, u8, u8)>, has_more: bool },
    Lose,
    Status(u16),
    Decide(u8, u8),
    Time(u32),
    Switch,
}

fn any_step() -> impl Strategy<Value = Step> {
    let changes = || prop::collection::vec((0_u8..4, 0_u8..4, any::<u8>()), 0..4);
    prop_oneof![
        3 => (0_u8..4, any::<u8>()).prop_map(|(id, value)| Step::Create(id, value)),
        4 => (0_u8..4, 0_u8..3, any::<u8>()).prop_map(|(id, field, value)| Step::Update(id, field, value)),
        1 => (0_u8..4).prop_map(Step::Delete),
        3 => Just(Step::Sync),
        6 => (prop::collection::vec(0_u8..8, 12), changes(), prop::bool::weighted(0.3))
            .prop_map(|(verdicts, changes, has_more)| Step::Answer { verdicts, changes, has_more }),
        1 => Just(Step::Lose),
        1 => prop::sample::select(vec![401_u16, 410, 410, 413, 500]).prop_map(Step::Status),
        2 => (any::<u8>(), 0_u8..6).prop_map(|(place, kind)| Step::Decide(place, kind)),
        1 => (0_u32..100_000).prop_map(Step::Time),
        1 => Just(Step::Switch),
    ]
}

/// Runs a history in two tabs. The server is one that answers anything that is well formed.
fn run(steps: Vec<Step>) -> World {
    let config = Config { compact_after: CompactAfter { rows: 4, bytes: 1 << 20 }, ..automatic() };
    let mut world = World::leading(config);
    world.open_tab();
    let mut leader = 0;
    let mut version = 10;
    let id_of = |id: u8| format!("r{id}");
    for step in steps {
        let writer = version as usize % 2;
        match step {
            Step::Create(id, value) => {
                let _ = world.write(writer, create("story", json!({ "id": id_of(id), "f0": value })));
            }
            Step::Update(id, field, value) => {
                let patch = json!({ format!("f{field}"): value % 3 });
                let _ = world.write(writer, update("story", &id_of(id), patch));
            }
            Step::Delete(id) => {
                let _ = world.write(writer, delete("story", &id_of(id)));
            }
            Step::Sync => {
                world.start_sync(writer);
            }
            Step::Answer { verdicts, changes, has_more } => {
                if world.is_sending(leader) {
                    let body = any_answer(&world.sent(leader), &verdicts, &changes, has_more, &mut version);
                    world.answer(leader, body);
                }
            }
            Step::Lose if world.is_sending(leader) => world.lose_request(leader),
            Step::Status(code) if world.is_sending(leader) => world.answer_with(leader, status(code)),
            Step::Lose | Step::Status(_) => {}
            Step::Decide(place, kind) => decide(&mut world, writer, place, kind),
            Step::Time(millis) => world.advance(Duration::from_millis(millis.into())),
            Step::Switch => {
                world.tabs[leader].sends.clear();
                world.give(leader, Input::Leader(false));
                leader = 1 - leader;
                world.give(leader, Input::Leader(true));
                world.settle();
            }
        }
        version += 1;
        for tab in 0..2 {
            world.check(tab);
        }
    }
    world
}

fn any_answer(
    sent: &Sent,
    verdicts: &[u8],
    changes: &[(u8, u8, u8)],
    has_more: bool,
    version: &mut u64,
) -> Value {
    let mut next = || {
        *version += 1;
        *version
    };
    let results: Vec<Value> = sent
        .mutations()
        .iter()
        .zip(verdicts.iter().cycle())
        .map(|(mutation, verdict)| match verdict {
            0..=3 => applied(next()),
            4 => rejected("no"),
            5 => conflict(mutation, json!({ "id": mutation["recordId"], "f0": 1, "f1": 2 }), Some(next())),
            6 => conflict(mutation, Value::Null, None),
            _ => conflict(mutation, mutation["data"].clone(), None),
        })
        .collect();
    let changes: Vec<Value> = changes
        .iter()
        .map(|(id, operation, value)| {
            let id = format!("r{id}");
            match operation {
                0 => change("create", &id, json!({ "id": id, "f0": value % 3, "f1": 0 }), next()),
                1 => change("delete", &id, Value::Null, next()),
                _ => change("update", &id, json!({ format!("f{}", value % 3): value }), next()),
            }
        })
        .collect();
    let checkpoint = format!("c{}", next());
    json!({ "results": results, "serverChanges": changes, "checkpoint": checkpoint, "hasMore": has_more })
}

fn decide(world: &mut World, tab: usize, place: u8, kind: u8) {
    let (conflicts, rejected) = (world.conflicts(tab), world.rejected(tab));
    let place = usize::from(place);
    let command = match kind {
        0..=2 if !conflicts.is_empty() => {
            let conflict = &conflicts[place % conflicts.len()];
            let resolution = match kind {
                0 => Resolution::Mine,
                1 => Resolution::Theirs,
                _ => Resolution::Record(fields(&json!({ "f0": 9, "id": "other" }))),
            };
            resolve(conflict, resolution)
        }
        3 | 4 if !rejected.is_empty() => {
            let mutation = mutation_id(&rejected[place % rejected.len()]);
            Command::Retry { mutation, patch: (kind == 4).then(|| fields(&json!({ "f2": 5 }))) }
        }
        5 if !rejected.is_empty() => {
            Command::Discard { mutation: mutation_id(&rejected[place % rejected.len()]) }
        }
        _ => return,
    };
    let result = world.write(tab, command);
    assert!(result.is_ok(), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Goal: every log that the engine can write, folded by anybody and from anywhere, gives the same valid state.
    #[test]
    fn every_log_folds_to_one_valid_state(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut world = run(steps);
        let state = replay(&world.disk);
        prop_assert_eq!(&state, &replay(&world.disk));
        // A tab that opens from scratch equals those that tailed row by row.
        let opened = world.open_tab();
        world.check(opened);
        for tab in 0..3 {
            prop_assert_eq!(world.tabs[tab].engine.state(), &state);
        }
        let mut prefix = State::default();
        let mut last_sequence = 0;
        for (key, bytes) in (1..).zip(&world.disk) {
            let row = Row::decode(bytes).unwrap();
            prop_assert_eq!(&row.encode().unwrap(), bytes);
            fold::fold(&mut prefix, key, &row);
            check_state(&prefix);
            for recorded in recorded_in(&row) {
                let sequence = recorded.sequence.unwrap().get();
                prop_assert_eq!(sequence, last_sequence + 1);
                last_sequence = sequence;
                prop_assert_eq!(recorded.data.is_none(), recorded.operation == Operation::Delete);
            }
        }
    }
}

#[test]
fn a_record_that_went_and_came_in_one_row_stands_behind_the_others_in_every_tab() {
    let mut world = World::new(local());
    for id in ["a", "b"] {
        world.write(0, create("draft", json!({ "id": id }))).unwrap();
    }
    // While one is being written, the others wait and go together.
    world.start_write(0, create("draft", json!({ "id": "c" })));
    world.start_write(0, delete("draft", "a"));
    world.start_write(0, create("draft", json!({ "id": "a" })));
    let rows = world.disk.len();
    world.settle();
    assert_eq!(world.disk.len(), rows + 2);
    let ids =
        |world: &World, tab| world.find(tab, "draft").iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&world, 0), ["b", "c", "a"]);
    let other = world.open_tab();
    assert_eq!(ids(&world, other), ["b", "c", "a"]);
}
