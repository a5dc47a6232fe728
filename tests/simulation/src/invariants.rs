//! What must hold (`S…` and `Q…` are the names in the failure catalogue).
//!
//! | checked | where and when |
//! | --- | --- |
//! | S1 conservation | `check_account`: every mutation of a log is pending, refused, or has a verdict or decision; at opens, crashes and the end |
//! | S2 at most once, S3 stable verdicts, S9, S10, S15, S16 | `server::history`, `server::witness`, `server::own`: every transaction and answer; the log's verdicts in `ledger` |
//! | S4 order | `ledger` for what is recorded, `server::history` for what is judged |
//! | S5 write-ahead, S21 opt-outs | `check_request`: every request against the log on the disk and the definitions of its tab |
//! | S20 bounds | `ledger`: every batch that is frozen; `network`: one request at a time |
//! | S6 view, S7 base, S11, S19, S22 | `check_record`: every record that a row touched, in every tab that folds it |
//! | S6 view | `check_all_records`: what queries find is what is there, in its order; `page`: what a page was told of live queries is what they find; at loads, opens, crashes and the end |
//! | S8 checkpoint | `ledger`: every answer in a log |
//! | S12, S13, S14 decisions | `oracle`: every mutation that the server judged |
//! | S17 | the store is the one thing that survives a crash, and `history` is compared with it at the end |
//! | Q1, Q2, Q4, L1 to L3, L6 to L10 | `heal`: when the faults have stopped |
//! | Q5, L4, L5, L6 | `calm`: worlds without faults |
//! | promises | `check_promise`: at every reply, and at the end |
//! | D1 damage is said | `ledger`: a row `Mended` only where something was damaged, with details; `heal`: at the end nothing that cannot be read is left unsaid, in any tab |
//! | D2 told | `hear_loss`, `check_loss`: every open tab is told of what is written down, and of nothing else |
//! | D3 named | `check_loss`: a mutation that a tab knew when it was damaged or cleared, and that is nowhere now, was named by it. What the server acknowledged comes back by Q1 |
//! | D4 no mutation in another's place | `ledger`: a sequence is used again only where all that had it may be lost, and under another id; `check_request`: one mutation for each id and sequence |
//! | D5 nothing else is concerned | what is relaxed for a damaged client is relaxed for it alone (`Ledger::is_damaged`, `Entry::may_be_lost`): all other mutations and clients are held to S1 |
//! | M1 portions | `ledger`: each begins where the last one ended, and no record goes through one twice |
//! | M2 outdated | `ledger`: a tab of an earlier release appends nothing |
//! | M3 quiet | `check_request`: nothing leaves while a migration that the tab knows of is under way |
//! | M4 shape, M5 all | `ledger`: a mutation keeps all but its shape; `check_account`: none is left in an earlier one |
//! | equal logs, equal states | `check_tab`: against another tab that has read as far |

use std::collections::BTreeSet;

use objectql_offline::engine::{Event, Notice, Query, Recorded, Reply};
use objectql_offline::error::Error;
use objectql_sync_protocol::{
    Fields, MutationId, ObjectName, Operation, ReceivedMutation, ReceivedPush, RecordKey,
};

use crate::client::Tab;
use crate::coverage::Sight;
use crate::ledger::{Entry, Fate, Shape};
use crate::life::DiskRow;
use crate::migration::{self, without_shape};
use crate::server::parse_checkpoint;
use crate::setup::OBJECTS;
use crate::world::World;

/// What a request must be: durable, in order, a batch that was frozen, within its bounds.
pub(crate) fn check_request(world: &World, at: usize, tab: usize, push: &ReceivedPush) -> Result<(), String> {
    let ledger = &world.clients[at].life_of(tab).ledger;
    let folded = world.clients[at].tabs[tab].engine.folded();
    let edition = &world.editions[world.clients[at].tabs[tab].edition];
    let is_at_it = |(object, shape): &(&ObjectName, &Shape)| {
        let is_known = usize::try_from(folded).is_ok_and(|folded| folded >= shape.began_at);
        shape.is_under_way() && is_known && edition.defines(object.as_str())
    };
    if let Some((object, _)) = ledger.shapes.iter().find(is_at_it).filter(|_| !ledger.is_damaged) {
        return Err(format!("M3: something is sent while {object} is being migrated"));
    }
    let mut batch = Vec::new();
    for mutation in &push.mutations {
        let ReceivedMutation::Valid(mutation) = mutation else {
            return Err(format!("a mutation that no server reads: {mutation:?}"));
        };
        let Some(entry) = ledger.find(mutation.sequence.get(), mutation.id) else {
            return Err(format!("S5: {} is sent and not in the log", mutation.id));
        };
        let Recorded { id, operation, timestamp, .. } = &entry.recorded;
        // Whoever has not read the row with the migration of it sends it as it was.
        let before = entry.before.iter().find(|(row, _)| usize::try_from(folded).is_ok_and(|at| at < *row));
        let data = before.map_or(&entry.recorded.data, |(_, data)| data);
        // After a conflict that a rule has settled, what is left of a mutation goes on under its id.
        // The row with a migration may be lost, and the data are then as they were.
        let is_same_data = *data == mutation.data
            || (ledger.is_damaged && migration::is_same(data.as_ref(), mutation.data.as_ref()));
        let is_whole = *operation == mutation.operation && is_same_data;
        let is_same = *id == mutation.id
            && *timestamp == mutation.timestamp
            && (is_whole || entry.conflict_at.is_some())
            && entry.recorded.key() == mutation.key();
        if !is_same {
            return Err(format!("S5: {} is sent otherwise than it was recorded", mutation.id));
        }
        let name = entry.recorded.object.as_str();
        if !edition.pushes(name) {
            return Err(format!("S21: a mutation of {name} is sent, which does not push"));
        }
        let numbered = (mutation.client_id.clone(), mutation.sequence);
        if ledger.sent.get(&numbered).is_some_and(|other| *other != mutation.id) {
            return Err(format!("D4: two mutations are sent as {numbered:?}"));
        }
        batch.push(mutation.sequence);
    }
    if !batch.is_empty() && !ledger.was_frozen(&batch) {
        return Err(format!("S5: a batch is sent that was never frozen: {batch:?}"));
    }
    Ok(())
}

/// A promise was made: the write is in the log. Or it was refused: it never will be.
pub(crate) fn check_promise(
    world: &mut World,
    at: usize,
    tab: usize,
    token: usize,
    result: &Result<Reply, Error>,
) {
    let client = &mut world.clients[at];
    let life = client.tabs[tab].life;
    let life = &mut client.lives[life];
    match result {
        Ok(_) => {
            life.promised.insert(token);
            if !life.ledger.tokens.contains_key(&token) {
                world.violate(format!("S5: the write {token} was promised before it was durable"));
            }
        }
        Err(Error::StorageUnknown(_)) => {}
        Err(_) => {
            life.refused.insert(token);
            if life.ledger.is_made(token) {
                world.violate(format!("S1: the write {token} was refused and made"));
            }
        }
    }
}

/// Counts what an app is told.
pub(crate) fn hear_notice(world: &mut World, at: usize, tab: usize, notice: &Notice) {
    match notice {
        Notice::Conflict(_) => world.coverage.saw(Sight::Parked),
        Notice::Rejected(text) if text.contains("the create of the record was rejected") => {
            world.coverage.saw(Sight::DependantRejected);
        }
        Notice::DataLost(text) => hear_loss(world, at, tab, text),
        Notice::Error(report) if report.message.contains("were migrated") => {
            world.coverage.saw(Sight::Outdated);
        }
        _ => {}
    }
}

/// A loss that a tab is told of is one, and names nothing that is not lost (D2).
fn hear_loss(world: &mut World, at: usize, tab: usize, text: &str) {
    let told: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let texts = |name: &str, of: fn(&serde_json::Value) -> Option<&str>| -> Vec<String> {
        let all = told[name].as_array().into_iter().flatten();
        all.filter_map(of).map(str::to_owned).collect()
    };
    let ids = texts("mutations", |mutation| mutation["id"].as_str());
    let ids: Vec<MutationId> = ids.iter().filter_map(|id| MutationId::parse(id).ok()).collect();
    let details = texts("details", serde_json::Value::as_str);
    let client = &mut world.clients[at];
    let (has_its_life, ledger) = (client.has_its_life(tab), &client.life_of(tab).ledger);
    // One that was decided in rows that the tab did not read, because they were compacted, it takes for lost.
    let may_be_lost = |id: &&MutationId| {
        ledger.all().any(|it| it.recorded.id == **id && (it.may_be_lost || it.may_be_undone || !it.is_open()))
    };
    let problem = match told["reason"].as_str() {
        Some("damaged") => {
            world.coverage.saw(Sight::LossTold);
            if !ids.is_empty() {
                world.coverage.saw(Sight::LossNamed);
            }
            let wrong = ids.iter().find(|id| !may_be_lost(id));
            let is_told_of_nothing = !ledger.is_damaged || details.is_empty();
            wrong
                .map(|id| format!("{id} is not lost"))
                .or(is_told_of_nothing.then(|| "nothing is".to_owned()))
        }
        Some("cleared") => {
            world.coverage.saw(Sight::ClearedTold);
            if !ids.is_empty() {
                world.coverage.saw(Sight::ClearedNamed);
            }
            has_its_life.then(|| "the database is there".to_owned())
        }
        reason => Some(format!("the reason is {reason:?}")),
    };
    client.tabs[tab].told_lost.extend(ids);
    client.tabs[tab].told_details.extend(details);
    if let Some(problem) = problem {
        world.violate(format!("D2: client {at} is told of a loss, and {problem}: {text}"));
    }
}

/// Checks the records that some rows touched, in a tab that has folded them.
pub(crate) fn check_rows(world: &mut World, at: usize, tab: usize, before: u64, after: u64) {
    let client = &world.clients[at];
    let life = client.life_of(tab);
    let place = |key: u64| usize::try_from(key).unwrap_or(usize::MAX).min(life.disk.len());
    // All of it may have been read again.
    let rows = &life.disk[if before > after { 0 } else { place(before) }..place(after)];
    let mut keys: BTreeSet<RecordKey> = BTreeSet::new();
    for event in rows.iter().flat_map(|row| &row.row.events) {
        match event {
            Event::Recorded(recorded) | Event::Reverted { mutations: recorded, .. } => {
                keys.extend(recorded.iter().map(Recorded::key));
            }
            Event::Decided { instead, sequence } => {
                keys.extend(instead.iter().map(Recorded::key));
                keys.extend(life.ledger.entries.get(&sequence.get()).map(|entry| entry.recorded.key()));
            }
            Event::Received(received) if received.is_snapshot && received.is_complete => {
                keys.extend(client.tabs[tab].engine.state().keys());
            }
            Event::Received(received) => {
                keys.extend(
                    received.changes.iter().map(|change| RecordKey {
                        object: change.object.clone(),
                        id: change.record_id.clone(),
                    }),
                );
                let judged = received.verdicts.iter().filter_map(|(sequence, _)| {
                    Some(life.ledger.entries.get(&sequence.get())?.recorded.key())
                });
                keys.extend(judged);
            }
            _ => {}
        }
    }
    let is_group =
        |row: &DiskRow| row.row.events.iter().filter(|event| matches!(event, Event::Recorded(_))).count() > 1;
    let is_group = rows.iter().any(is_group);
    let problem = keys.iter().find_map(|key| check_record(world, at, tab, key).err());
    if is_group {
        world.coverage.saw(Sight::GroupCommit);
    }
    if let Some(problem) = problem {
        world.violate(problem);
    }
}

/// What is seen is the base with what is pending on top; and the base is what the server had at the checkpoint.
fn check_record(world: &World, at: usize, tab: usize, key: &RecordKey) -> Result<(), String> {
    let Tab { engine, edition, .. } = &world.clients[at].tabs[tab];
    let edition = &world.editions[*edition];
    if !edition.defines(key.object.as_str()) {
        return Ok(());
    }
    if !engine.has_in_memory(key) {
        return Ok(());
    }
    let state = engine.state();
    let base = state.base(key);
    let known = base.filter(|(_, _, is_partial)| !is_partial).map(|(_, fields, _)| fields.clone());
    let expected = state.unsettled_of(key).fold(known, replay);
    let seen = engine.get(key.object.as_str(), key.id.clone()).map_err(|error| error.to_string())?;
    if !is_same(seen, expected.as_ref()) {
        return Err(format!("S6: client {at} sees {seen:?} of {key:?} instead of {expected:?}"));
    }
    // The changes of an object that takes part again are behind the checkpoint, until a snapshot has brought them.
    let is_damaged = world.clients[at].life_of(tab).ledger.is_damaged;
    let is_joining = state.is_collecting() && (is_damaged || world.setup.faults.deploy > 0);
    // What was written while the object took no part is the server's in no version.
    let is_local = base.is_some_and(|(version, ..)| version.get() == 0);
    if !state.pulls(&key.object) || is_joining || is_local || engine.has_damage() {
        return Ok(());
    }
    let line = state.checkpoint().and_then(|checkpoint| parse_checkpoint(checkpoint.as_str()));
    let Some((epoch, position, is_inside)) = line else { return Ok(()) };
    let Some(line) = world.server.history().and_then(|history| history.line(epoch)) else { return Ok(()) };
    if is_inside {
        return Ok(());
    }
    let there = line.last_write_at(key, position);
    let data = there.and_then(|written| written.after.as_ref());
    // Migrations are the client's own.
    let data = without_shape(data);
    let version = there.filter(|_| data.is_some()).map(|written| written.position);
    let fields = without_shape(base.map(|(_, fields, _)| fields));
    if !is_same(fields.as_ref(), data.as_ref()) || base.map(|(version, _, _)| version.get()) != version {
        return Err(format!(
            "S7: at {epoch} {position} client {at} has {base:?} of {key:?}, the server {there:?}"
        ));
    }
    Ok(())
}

fn replay(before: Option<Fields>, recorded: &Recorded) -> Option<Fields> {
    match (recorded.operation, &recorded.data) {
        (Operation::Create, data) => data.clone(),
        (Operation::Update, Some(data)) => before.map(|fields| fields.merged(data)),
        (Operation::Update, None) => before,
        (Operation::Delete, _) => None,
    }
}

fn is_same(here: Option<&Fields>, there: Option<&Fields>) -> bool {
    match (here, there) {
        (Some(here), Some(there)) => here.as_str() == there.as_str() || here.deep_equals(there),
        (None, None) => true,
        _ => false,
    }
}

/// Checks everything in a tab.
pub(crate) fn check_tab(world: &mut World, at: usize, tab: usize) {
    if !world.clients[at].is_alive(tab) {
        return;
    }
    let place = &mut world.clients[at].tabs[tab];
    let followed = place.page.follow(&mut place.engine, &world.editions[place.edition]);
    let checked = followed
        .and_then(|()| check_all_records(world, at, tab))
        .and_then(|()| check_account(world, at, tab))
        .and_then(|()| check_twins(world, at, tab));
    if let Err(problem) = checked {
        world.violate(problem);
    }
}

fn check_all_records(world: &World, at: usize, tab: usize) -> Result<(), String> {
    let engine = &world.clients[at].tabs[tab].engine;
    for key in engine.state().keys() {
        check_record(world, at, tab, &key)?;
    }
    let edition = &world.editions[world.clients[at].tabs[tab].edition];
    let is_readable = |object: &str| engine.is_readable(object).is_ok_and(|is_readable| is_readable);
    for object in OBJECTS.into_iter().filter(|object| edition.defines(object) && is_readable(object)) {
        let count = engine.count(object, None).map_err(|error| error.to_string())?;
        let query = Query::parse("{}").map_err(|error| error.to_string())?;
        let found = engine.find(object, &query).map_err(|error| error.to_string())?;
        let listed = objectql_sync_protocol::Json::from_normalised(&found).elements().count();
        if listed != count {
            return Err(format!("S6: {listed} of {object} are found and {count} are counted"));
        }
        let keys = engine.state().keys().filter(|key| key.object.as_str() == object);
        let visible = keys.filter_map(|key| engine.get(object, key.id).ok().flatten().map(Fields::as_str));
        let visible = visible.collect::<Vec<_>>().join(",");
        if found != format!("[{visible}]") {
            return Err(format!("S6: of {object}, {found} is found and {visible} is there"));
        }
    }
    Ok(())
}

/// Every mutation of the log is in exactly one place.
fn check_account(world: &World, at: usize, tab: usize) -> Result<(), String> {
    let client = &world.clients[at];
    let engine = &client.tabs[tab].engine;
    let life = client.life_of(tab);
    if usize::try_from(engine.folded()) != Ok(life.disk.len()) || engine.has_damage() {
        return Ok(());
    }
    let state = engine.state();
    let pending: BTreeSet<u64> = state.unsettled().map(|(sequence, ..)| sequence.get()).collect();
    let refused: BTreeSet<u64> = state.refused().map(|(sequence, _)| sequence.get()).collect();
    for (sequence, entry) in &life.ledger.entries {
        let is_right = match (pending.contains(sequence), refused.contains(sequence), entry.fate) {
            // Applied, and the changes up to there have not all come.
            (true, false, Fate::Pending | Fate::Conflict | Fate::Applied | Fate::Probed) => true,
            // With the create it depends on.
            (false, true, Fate::Pending | Fate::Rejected | Fate::Conflict | Fate::Probed) => true,
            (false, false, Fate::Applied | Fate::Conflict | Fate::Decided | Fate::Probed) => true,
            (false, false, _) => entry.may_be_lost,
            // What the log said of it may be lost.
            _ => entry.may_be_undone,
        };
        if !is_right {
            return Err(format!(
                "S1: mutation {sequence} of client {at} is {:?}, pending: {}, refused: {}",
                entry.fate,
                pending.contains(sequence),
                refused.contains(sequence)
            ));
        }
    }
    let is_left = |(sequence, _): &(&u64, &Entry)| pending.contains(*sequence) || refused.contains(*sequence);
    let mut left = life.ledger.entries.iter().filter(is_left);
    if let Some((sequence, _)) = left.find(|(_, entry)| !life.ledger.is_up_to_date(entry)) {
        return Err(format!("M5: mutation {sequence} of client {at} was not migrated"));
    }
    let known = life.ledger.entries.len();
    if pending.len() + refused.len() > known {
        return Err(format!("S22: {} mutations of {known}", pending.len() + refused.len()));
    }
    let status = engine.status();
    if status.pending != pending.len() || status.rejected != refused.len() {
        return Err(format!("S1: client {at} has {pending:?} and {refused:?}, its status is {status:?}"));
    }
    Ok(())
}

/// Where two states begin to differ, for people.
pub(crate) fn first_difference(one: &str, two: &str) -> String {
    let same = one.chars().zip(two.chars()).take_while(|(one, two)| one == two).count();
    let near = |text: &str| text.chars().skip(same.saturating_sub(80)).take(240).collect::<String>();
    format!("{} | {}", near(one), near(two))
}

/// Two tabs that have read as far have the same state.
fn check_twins(world: &World, at: usize, tab: usize) -> Result<(), String> {
    let client = &world.clients[at];
    let engine = &client.tabs[tab].engine;
    let is_twin = |other: &usize| {
        let place = &client.tabs[*other];
        let has_read_as_far = place.engine.folded() == engine.folded() && place.life == client.tabs[tab].life;
        *other != tab && has_read_as_far && !place.engine.has_damage() && !engine.has_damage()
    };
    match client.alive().find(is_twin) {
        Some(other)
            if engine.has_all_in_memory()
                && client.tabs[other].engine.has_all_in_memory()
                && client.tabs[other].engine.state() != engine.state() =>
        {
            let (one, two) = (engine.state(), client.tabs[other].engine.state());
            let difference = first_difference(&format!("{one:?}"), &format!("{two:?}"));
            Err(format!(
                "equal logs give unequal states in the tabs {tab} and {other} of client {at}: {difference}"
            ))
        }
        _ => Ok(()),
    }
}
