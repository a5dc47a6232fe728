use objectql_sync_protocol::{ClientId, MutationId, ObjectName, RecordId, Sequence, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::*;

const NOW: i64 = 1_000_000;

fn fields(text: &str) -> Fields {
    Fields::parse(text).unwrap()
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn version(number: u64) -> ServerVersion {
    ServerVersion::new(number).unwrap()
}

fn mutation(client: &str, at: i64, base: Option<u64>, operation: Operation, data: Option<&str>) -> Mutation {
    Mutation {
        id: MutationId::new(0, [0; 10]),
        object_name: ObjectName::new("story").unwrap(),
        record_id: RecordId::number(1).unwrap(),
        operation,
        data: data.map(fields),
        timestamp: time(at),
        client_id: ClientId::new(client).unwrap(),
        sequence: Sequence::new(1).unwrap(),
        base_version: base.map(version),
    }
}

fn create(client: &str, at: i64, data: &str) -> Mutation {
    mutation(client, at, None, Operation::Create, Some(data))
}

fn update(client: &str, at: i64, base: u64, data: &str) -> Mutation {
    mutation(client, at, Some(base), Operation::Update, Some(data))
}

fn delete(client: &str, at: i64, base: u64) -> Mutation {
    mutation(client, at, Some(base), Operation::Delete, None)
}

/// One record on a server, with a count of all writes to it as the version.
#[derive(Clone)]
struct Server {
    sync: SyncConfig,
    record: Option<Record>,
    writes: u64,
}

impl Server {
    fn new(strategy: Strategy) -> Self {
        Self {
            sync: SyncConfig { enabled: true, strategy, ..SyncConfig::default() },
            record: None,
            writes: 0,
        }
    }

    fn asking_for(mut self, field: &str) -> Self {
        self.sync.conflict_fields.push(field.to_owned());
        self
    }

    fn take(&mut self, mutation: &Mutation) -> Decision {
        let decision = decide(self.record.as_ref(), mutation, &self.sync, time(NOW));
        if let Decision::Write(effect) = &decision {
            self.writes += 1;
            let write = Write { version: version(self.writes), stamp: stamp(mutation, time(NOW)) };
            self.record = Some(Record::after(self.record.as_ref(), effect, write));
        }
        decision
    }

    /// The server after all of these, which must all be written.
    fn after(mut self, mutations: &[Mutation]) -> Self {
        for mutation in mutations {
            assert!(matches!(self.take(mutation), Decision::Write(_)), "{mutation:?}");
        }
        self
    }

    fn data(&self) -> Option<&str> {
        self.record.as_ref().and_then(Record::data).map(Fields::as_str)
    }
}

fn written(text: &str) -> Decision {
    Decision::Write(Effect::Update(fields(text)))
}

fn conflict(names: &[&str], suggestion: Option<&str>) -> Decision {
    Decision::Conflict {
        fields: names.iter().map(|&name| name.to_owned()).collect(),
        suggestion: suggestion.map(fields),
    }
}

const STRATEGIES: [Strategy; 3] = [Strategy::LastWriteWins, Strategy::Crdt, Strategy::Manual];

/// A record made by `a` at 10 as version 1, and changed by `b` at 50 as version 2.
fn contested(strategy: Strategy) -> Server {
    Server::new(strategy)
        .after(&[create("a", 10, r#"{"t":"old","n":1}"#), update("b", 50, 1, r#"{"t":"theirs"}"#)])
}

#[test]
fn what_is_not_concurrent_is_applied_whatever_its_clock_says() {
    for strategy in STRATEGIES {
        let mut server = contested(strategy);
        assert_eq!(
            server.take(&update("a", 1, 2, r#"{"t":"new"}"#)),
            written(r#"{"t":"new"}"#),
            "{strategy:?}"
        );
        assert_eq!(server.data(), Some(r#"{"id":1,"t":"new","n":1}"#));
    }
}

#[test]
fn a_clients_own_writes_are_known_to_it() {
    for strategy in STRATEGIES {
        let mut server = Server::new(strategy).after(&[create("a", 10, r#"{"t":0}"#)]);
        for value in 1..10 {
            // The chain goes out before any answer: each has the base that the first had. The clock even runs backwards.
            let data = format!("{{\"t\":{value}}}");
            let next = mutation("a", 10 - value, None, Operation::Update, Some(&data));
            assert_eq!(server.take(&next), written(&data), "{strategy:?}");
        }
        server.take(&update("b", 500, server.writes, r#"{"t":"b"}"#));
        let overtaken = server.take(&update("a", 400, 1, r#"{"t":"a"}"#));
        assert!(!matches!(overtaken, Decision::Write(_)), "{strategy:?}");
    }
}

#[test]
fn other_fields_and_equal_values_do_not_overlap() {
    for strategy in STRATEGIES {
        let mut server = contested(strategy);
        assert_eq!(server.take(&update("a", 1, 1, r#"{"n":2}"#)), written(r#"{"n":2}"#), "{strategy:?}");
        assert_eq!(
            server.take(&update("a", 1, 1, r#"{"x":null}"#)),
            written(r#"{"x":null}"#),
            "{strategy:?}"
        );
        let same = server.take(&update("a", 90, 1, r#"{"t":"theirs"}"#));
        assert_eq!(same, written(r#"{"t":"theirs"}"#), "{strategy:?}");
    }
}

#[test]
fn under_last_write_wins_the_later_mutation_wins_as_a_whole() {
    let patch = r#"{"t":"mine","n":7}"#;
    assert_eq!(contested(Strategy::LastWriteWins).take(&update("a", 51, 1, patch)), written(patch));
    assert_eq!(contested(Strategy::LastWriteWins).take(&update("a", 49, 1, patch)), Decision::Settled);
    // Ties go by client id: a comes before b, c after it.
    assert_eq!(contested(Strategy::LastWriteWins).take(&update("a", 50, 1, patch)), Decision::Settled);
    assert_eq!(contested(Strategy::LastWriteWins).take(&update("c", 50, 1, patch)), written(patch));
}

#[test]
fn under_last_write_wins_conflict_fields_ask() {
    let patch = r#"{"t":"mine","n":7}"#;
    for at in [49, 51] {
        let mut server = contested(Strategy::LastWriteWins).asking_for("t");
        let decision = server.take(&update("a", at, 1, patch));
        let title = if at > 50 { "mine" } else { "theirs" };
        assert_eq!(decision, conflict(&["t"], Some(&format!(r#"{{"id":1,"t":"{title}","n":7}}"#))));
        assert_eq!(server.take(&update("a", at, 1, r#"{"n":7}"#)), written(r#"{"n":7}"#));
        assert_eq!(server.take(&update("a", at, 1, r#"{"t":"theirs"}"#)), written(r#"{"t":"theirs"}"#));
    }
    let mut server = contested(Strategy::LastWriteWins).asking_for("n");
    assert_eq!(server.take(&update("a", 51, 1, patch)), written(patch));
}

#[test]
fn under_crdt_the_later_write_of_each_field_wins() {
    let mut server = Server::new(Strategy::Crdt).after(&[
        create("a", 10, r#"{"t":"old","n":1}"#),
        update("b", 50, 1, r#"{"t":"b"}"#),
        update("b", 20, 2, r#"{"n":2}"#),
    ]);
    assert_eq!(server.take(&update("a", 40, 1, r#"{"t":"a","n":3}"#)), written(r#"{"n":3}"#));
    assert_eq!(server.take(&update("a", 45, 1, r#"{"t":"a"}"#)), Decision::Settled);
    assert_eq!(server.take(&update("a", 60, 1, r#"{"t":"a"}"#)), written(r#"{"t":"a"}"#));
}

#[test]
fn under_manual_any_overlap_asks() {
    for at in [1, 99] {
        let decision = contested(Strategy::Manual).take(&update("a", at, 1, r#"{"t":"mine","n":7}"#));
        assert!(matches!(decision, Decision::Conflict { fields, suggestion: Some(_) } if fields == ["t"]));
    }
}

#[test]
fn the_drivers_own_fields_never_conflict_and_never_go_back() {
    let made = r#"{"t":1,"created_at":"1970-01-01T00:00:10.000Z","updated_at":"1970-01-01T00:00:10.000Z"}"#;
    for strategy in STRATEGIES {
        let mut server = Server::new(strategy).after(&[
            create("a", 10_000, made),
            update("b", 50_000, 1, r#"{"t":2,"updated_at":"1970-01-01T00:00:50.000Z"}"#),
        ]);
        let earlier = r#"{"n":1,"id":1,"created_at":"1970-01-01T00:00:01.000Z","updated_at":"1970-01-01T00:00:30.000Z"}"#;
        assert_eq!(server.take(&update("a", 30_000, 1, earlier)), written(r#"{"n":1}"#), "{strategy:?}");
        let only_touched = r#"{"updated_at":"1970-01-01T00:00:40.000Z"}"#;
        assert_eq!(server.take(&update("a", 30_000, 1, only_touched)), Decision::Settled, "{strategy:?}");
        let future = r#"{"n":2,"updated_at":"2099-01-01T00:00:00.000Z"}"#;
        let clamped = r#"{"n":2,"updated_at":"1970-01-01T00:16:40.000Z"}"#;
        assert_eq!(server.take(&update("a", 60_000, 1, future)), written(clamped), "{strategy:?}");
    }
}

#[test]
fn a_clock_that_runs_ahead_gains_nothing() {
    let mut server = Server::new(Strategy::LastWriteWins)
        .after(&[create("a", 10, r#"{"t":0}"#), update("b", i64::MAX, 1, r#"{"t":"2099"}"#)]);
    assert_eq!(server.record.as_ref().unwrap().last().stamp.timestamp, time(NOW));
    assert_eq!(server.take(&update("c", NOW, 1, r#"{"t":"now"}"#)), written(r#"{"t":"now"}"#));
}

#[test]
fn a_delete_wins_over_an_update_in_either_order() {
    for strategy in [Strategy::LastWriteWins, Strategy::Crdt] {
        let mut server = contested(strategy).asking_for("t");
        assert_eq!(server.take(&delete("a", 1, 1)), Decision::Write(Effect::Delete), "{strategy:?}");
        assert_eq!(
            server.take(&update("b", 99, 2, r#"{"t":1}"#)),
            Decision::Refuse(Refusal::Deleted),
            "{strategy:?}"
        );
        assert_eq!(server.data(), None);
    }
}

#[test]
fn under_manual_a_delete_against_an_update_asks() {
    let mut server = contested(Strategy::Manual);
    let theirs = r#"{"id":1,"t":"theirs","n":1}"#;
    assert_eq!(server.take(&delete("a", 99, 1)), conflict(&["t"], Some(theirs)));
    assert_eq!(server.take(&delete("a", 99, 2)), Decision::Write(Effect::Delete));
    assert_eq!(server.take(&update("b", 99, 2, r#"{"t":1,"updated_at":"x"}"#)), conflict(&["t"], None));
    // Whoever knew of the delete gets no second chance.
    assert_eq!(server.take(&update("b", 99, 3, r#"{"t":1}"#)), Decision::Refuse(Refusal::Deleted));
    assert_eq!(server.take(&update("a", 99, 2, r#"{"t":1}"#)), Decision::Refuse(Refusal::Deleted));
}

#[test]
fn what_is_not_there_cannot_be_updated_and_need_not_be_deleted() {
    for strategy in STRATEGIES {
        let mut server = Server::new(strategy);
        assert_eq!(server.take(&update("a", 1, 1, r#"{"t":1}"#)), Decision::Refuse(Refusal::NotFound));
        assert_eq!(server.take(&delete("a", 1, 1)), Decision::Settled);
        let mut server = server.after(&[create("a", 1, r#"{"t":1}"#), delete("a", 2, 1)]);
        assert_eq!(server.take(&delete("b", 1, 1)), Decision::Settled);
    }
}

#[test]
fn a_create_of_what_is_there_is_an_update_that_knew_nothing() {
    let theirs = create("b", 50, r#"{"id":1,"t":"theirs","n":1}"#);
    let mine = |at| create("a", at, r#"{"id":1,"t":"mine","n":1,"x":2}"#);
    let server = |strategy| Server::new(strategy).after(std::slice::from_ref(&theirs));
    assert_eq!(server(Strategy::LastWriteWins).take(&mine(49)), Decision::Settled);
    assert_eq!(server(Strategy::LastWriteWins).take(&mine(51)), written(r#"{"t":"mine","n":1,"x":2}"#));
    assert_eq!(server(Strategy::Crdt).take(&mine(49)), written(r#"{"x":2}"#));
    let suggestion = r#"{"id":1,"t":"theirs","n":1,"x":2}"#;
    assert_eq!(server(Strategy::Manual).take(&mine(49)), conflict(&["t"], Some(suggestion)));
    assert!(server(Strategy::LastWriteWins).asking_for("t").take(&mine(51)).is_conflict());
}

#[test]
fn a_create_of_what_was_deleted_begins_a_new_life() {
    for strategy in STRATEGIES {
        for again in
            [create("a", 1, r#"{"t":3}"#), create("b", 1, r#"{"t":3}"#), create("c", 99, r#"{"t":3}"#)]
        {
            let mut server =
                Server::new(strategy).after(&[create("a", 10, r#"{"t":1,"n":1}"#), delete("b", 50, 1)]);
            let made = Decision::Write(Effect::Create(fields(r#"{"id":1,"t":3}"#)));
            assert_eq!(server.take(&again), made, "{strategy:?}");
            assert_eq!(server.record.unwrap().version(), version(3));
        }
    }
}

#[test]
fn who_saw_only_an_earlier_life_does_not_reach_the_present_one() {
    for strategy in [Strategy::LastWriteWins, Strategy::Crdt] {
        let mut server = Server::new(strategy).after(&[
            create("a", 10, r#"{"t":1}"#),
            delete("b", 50, 1),
            create("b", 60, r#"{"t":2}"#),
        ]);
        assert_eq!(
            server.take(&update("c", 99, 1, r#"{"n":9}"#)),
            Decision::Refuse(Refusal::Deleted),
            "{strategy:?}"
        );
        assert_eq!(server.take(&delete("c", 99, 1)), Decision::Settled, "{strategy:?}");
        assert_eq!(server.data(), Some(r#"{"id":1,"t":2}"#));
        // Its own new life is in its chain.
        assert_eq!(server.take(&update("b", 99, 1, r#"{"n":9}"#)), written(r#"{"n":9}"#), "{strategy:?}");
    }
    let mut server = Server::new(Strategy::Manual).after(&[
        create("a", 10, r#"{"t":1}"#),
        delete("b", 50, 1),
        create("b", 60, r#"{"t":2}"#),
    ]);
    assert!(server.take(&update("c", 99, 1, r#"{"t":9}"#)).is_conflict());
    assert!(server.take(&delete("c", 99, 1)).is_conflict());
}

#[test]
fn a_base_from_before_a_restore_counts_as_none() {
    let mut server = Server::new(Strategy::Manual).after(&[create("b", 10, r#"{"t":1}"#)]);
    assert!(server.take(&update("a", 99, 77, r#"{"t":9}"#)).is_conflict());
}

#[test]
fn a_record_does_not_outgrow_what_clients_take() {
    let half = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_FIELDS_BYTES / 2));
    let other = format!("{{\"y\":\"{}\"}}", "y".repeat(MAX_FIELDS_BYTES / 2));
    let mut server = Server::new(Strategy::Crdt).after(&[create("a", 10, &half)]);
    assert_eq!(server.take(&update("a", 11, 1, &other)), Decision::Refuse(Refusal::TooLarge));
    assert_eq!(server.take(&update("a", 12, 1, r#"{"z":1}"#)), written(r#"{"z":1}"#));
}

impl Decision {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

/// What one client does to a record that all know as version 1: updates of two fields, and perhaps a delete at the end.
fn any_client(name: &'static str) -> impl proptest::strategy::Strategy<Value = Vec<Mutation>> {
    let patch = prop::sample::select(vec![
        r#"{"x":1}"#,
        r#"{"x":2}"#,
        r#"{"y":1}"#,
        r#"{"y":2}"#,
        r#"{"x":3,"y":3}"#,
    ]);
    (prop::collection::vec((1_i64..5, patch), 0..5), prop::bool::weighted(0.1)).prop_map(
        move |(steps, deletes)| {
            let mut at = 100;
            let mut mutations: Vec<_> = steps
                .into_iter()
                .map(|(pause, patch)| {
                    at += pause;
                    update(name, at, 1, patch)
                })
                .collect();
            if deletes {
                mutations.push(delete(name, at + 1, 1));
            }
            mutations
        },
    )
}

/// Deals the clients' mutations in an order that `choices` picks, each client's in its own order.
fn dealt(clients: &[Vec<Mutation>], choices: &[usize]) -> Vec<Mutation> {
    let mut rest: Vec<_> = clients.iter().map(|mutations| mutations.iter()).collect();
    let mut order = Vec::new();
    let mut choices = choices.iter().cycle();
    rest.retain(|client| client.len() > 0);
    while !rest.is_empty() {
        let at = choices.next().copied().unwrap_or_default() % rest.len();
        order.extend(rest[at].next().cloned());
        // Whoever has nothing left is not asked again, so that this ends.
        rest.retain(|client| client.len() > 0);
    }
    order
}

fn state_after(strategy: Strategy, mutations: &[Mutation]) -> Option<Fields> {
    let mut server = Server::new(strategy).after(&[create("z", 1, r#"{"x":0,"y":0}"#)]);
    for mutation in mutations {
        assert!(!server.take(mutation).is_conflict());
    }
    server.record.unwrap().data().cloned()
}

proptest! {
    #[test]
    fn under_crdt_the_order_of_arrival_does_not_matter(
        a in any_client("a"),
        b in any_client("b"),
        c in any_client("c"),
        one in prop::collection::vec(0_usize..3, 1..16),
        other in prop::collection::vec(0_usize..3, 1..16),
    ) {
        let clients = [a, b, c];
        let first = state_after(Strategy::Crdt, &dealt(&clients, &one));
        let second = state_after(Strategy::Crdt, &dealt(&clients, &other));
        prop_assert_eq!(first, second);
    }

    #[test]
    fn for_a_single_field_last_write_wins_whatever_the_order(
        times in prop::collection::btree_set(2_i64..1000, 1..6),
        choices in prop::collection::vec(0_usize..6, 1..12),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let clients: Vec<_> = times.iter().zip(names).map(|(at, name)| {
            vec![update(name, *at, 1, &format!("{{\"x\":{at}}}"))]
        }).collect();
        let state = state_after(Strategy::LastWriteWins, &dealt(&clients, &choices)).unwrap();
        prop_assert_eq!(state.get("x").unwrap().as_str(), times.last().unwrap().to_string());
    }

    #[test]
    fn a_write_never_takes_a_record_back(
        a in any_client("a"),
        b in any_client("b"),
        choices in prop::collection::vec(0_usize..2, 1..12),
        strategy in prop::sample::select(STRATEGIES.to_vec()),
    ) {
        let mut server = Server::new(strategy).after(&[create("z", 1, r#"{"x":0,"y":0}"#)]);
        for mutation in dealt(&[a, b], &choices) {
            let before = server.record.clone().unwrap();
            server.take(&mutation);
            let after = server.record.clone().unwrap();
            prop_assert!(after.version() >= before.version());
            prop_assert!(after.last().stamp.timestamp >= before.last().stamp.timestamp);
        }
    }

    #[test]
    fn any_mutation_of_any_record_is_decided(
        history in prop::collection::vec(any_mutation(), 0..8),
        strategy in prop::sample::select(STRATEGIES.to_vec()),
    ) {
        let mut server = Server::new(strategy).asking_for("x");
        for mutation in history {
            let before = server.record.clone();
            let decision = server.take(&mutation);
            let is_written = matches!(decision, Decision::Write(_));
            prop_assert_eq!(server.record != before, is_written);
            if let Some(data) = server.record.as_ref().and_then(Record::data) {
                prop_assert_eq!(data.get("id").map(|id| id.as_str().to_owned()), Some("1".to_owned()));
            }
        }
    }
}

fn any_mutation() -> impl proptest::strategy::Strategy<Value = Mutation> {
    let client = prop::sample::select(vec!["a", "b", "c"]);
    let data = prop::sample::select(vec![
        "{}",
        r#"{"x":1}"#,
        r#"{"y":null,"id":1}"#,
        r#"{"updated_at":"1970-01-01T00:00:00Z"}"#,
        r#"{"updated_at":5}"#,
        r#"{"x":{"a":[1]},"created_at":null}"#,
    ]);
    let operation = prop::sample::select(vec![Operation::Create, Operation::Update, Operation::Delete]);
    (client, -5_i64..2 * NOW, prop::option::of(0_u64..9), operation, data).prop_map(
        |(client, at, base, operation, data)| {
            mutation(client, at, base, operation, (operation != Operation::Delete).then_some(data))
        },
    )
}
