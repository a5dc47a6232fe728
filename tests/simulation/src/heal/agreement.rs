//! What must hold when all is healed: the server, the stores and what apps see agree, and what is lost was told.

use std::collections::{BTreeMap, BTreeSet};

use objectql_offline::engine::Query;
use objectql_sync_protocol::{Fields, Json, MutationId, ObjectName, RecordId, RecordKey};

use crate::client::Client;
use crate::invariants;
use crate::ledger::{Entry, Fate};
use crate::migration::without_shape;
use crate::setup::{AUDIT, DRAFT, OBJECTS};
use crate::world::World;

impl World {
    /// What no tab was told of, and every tab has to know of (D2, D3).
    pub(super) fn check_losses(&mut self) {
        let problem = (0..self.clients.len()).find_map(|at| {
            let client = &self.clients[at];
            client
                .alive()
                .find_map(|tab| check_loss(client, tab).err())
                .map(|problem| format!("{problem} of client {at}"))
        });
        if let Some(problem) = problem.filter(|_| self.violation.is_none()) {
            self.violate(problem);
        }
    }

    /// All views are equal to the server's records, and every promise was kept.
    pub(super) fn check_agreement(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let there = self.server.records();
        let checked = self.check_store(&there);
        checked.unwrap_or_else(|problem| self.violate(problem));
        for at in 0..self.clients.len() {
            for tab in self.clients[at].alive().collect::<Vec<_>>() {
                invariants::check_tab(self, at, tab);
                let checked = self.check_view(at, tab, &there);
                checked.unwrap_or_else(|problem| self.violate(problem));
                if !self.clients[at].tabs[tab].engine.state().is_drained() {
                    self.violate(format!("L8: client {at} keeps something of what is settled"));
                }
            }
            let checked = self.check_promises(at).and_then(|()| self.check_delivery(at));
            checked.unwrap_or_else(|problem| self.violate(problem));
        }
    }

    /// The store holds what was committed to it (S17).
    pub(super) fn check_store(&self, there: &BTreeMap<RecordKey, Fields>) -> Result<(), String> {
        let Some(history) = self.server.history() else { return Ok(()) };
        let is_told = |key: &RecordKey| key.object.as_str() != OBJECTS[AUDIT];
        for key in history.writes.keys().filter(|key| is_told(key)) {
            let (committed, held) = (history.live(key), there.get(key));
            if committed.map(Fields::as_str) != held.map(Fields::as_str) {
                return Err(format!("S17: the store has {held:?} of {key:?} instead of {committed:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn check_view(
        &self,
        at: usize,
        tab: usize,
        there: &BTreeMap<RecordKey, Fields>,
    ) -> Result<(), String> {
        let engine = &self.clients[at].tabs[tab].engine;
        for (place, object) in OBJECTS.iter().enumerate() {
            if place == AUDIT || place == DRAFT {
                continue;
            }
            let query = Query::parse("{}").map_err(|error| error.to_string())?;
            let found = engine.find(object, &query).map_err(|error| error.to_string())?;
            let mut here = BTreeMap::new();
            for record in Json::from_normalised(&found).elements() {
                let fields = Fields::from_json(record).map_err(|error| error.to_string())?;
                let id = fields.get("id").and_then(RecordId::from_json).ok_or("Q1: a record without id")?;
                let object = ObjectName::new(*object).map_err(|error| error.to_string())?;
                here.insert(RecordKey { object, id }, fields);
            }
            let of_object: Vec<&RecordKey> =
                there.keys().filter(|key| key.object.as_str() == *object).collect();
            if here.len() != of_object.len() {
                return Err(format!(
                    "Q1: client {at} has {} of {object}, the server {}",
                    here.len(),
                    of_object.len()
                ));
            }
            for key in of_object {
                let (mine, theirs) = (here.get(key), there.get(key));
                let (bare_mine, bare_theirs) = (without_shape(mine), without_shape(theirs));
                let is_equal =
                    bare_mine.zip(bare_theirs).is_some_and(|(mine, theirs)| mine.deep_equals(&theirs));
                if !is_equal {
                    return Err(format!("Q1: client {at} has {mine:?} of {key:?}, the server {theirs:?}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_promises(&self, at: usize) -> Result<(), String> {
        for life in &self.clients[at].lives {
            if let Some(token) = life.promised.iter().find(|token| !life.ledger.tokens.contains_key(token)) {
                return Err(format!("S1: the promised write {token} of client {at} is lost"));
            }
            if let Some(token) = life.refused.iter().find(|token| life.ledger.is_made(**token)) {
                return Err(format!("S1: the refused write {token} of client {at} was made"));
            }
        }
        Ok(())
    }

    /// What the log calls applied was applied by the server, once; and the other way round.
    pub(super) fn check_delivery(&self, at: usize) -> Result<(), String> {
        let Some(history) = self.server.history() else { return Ok(()) };
        for (life, is_last) in
            self.clients[at].lives.iter().rev().zip(std::iter::once(true).chain(std::iter::repeat(false)))
        {
            for entry in life.ledger.all() {
                let id = entry.recorded.id;
                let is_applied = history.verdicts_ever(id).any(|given| given.is_applied);
                let is_right = match entry.fate {
                    Fate::Applied => is_applied,
                    Fate::Conflict | Fate::Decided | Fate::Rejected | Fate::Probed => true,
                    Fate::Pending => entry.may_be_lost || !is_last,
                };
                if !is_right {
                    return Err(format!(
                        "S1: {id} of client {at} is {:?}, applied: {is_applied}",
                        entry.fate
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A tab was told of all damage that was written down since it opened, and of each mutation that it knew and that is lost.
fn check_loss(client: &Client, tab: usize) -> Result<(), String> {
    let place = &client.tabs[tab];
    let ledger = &client.life_of(tab).ledger;
    let since = ledger.mended.iter().filter(|(row, _)| *row > place.opened_at);
    let untold = since.flat_map(|(_, details)| details).find(|detail| !place.told_details.contains(*detail));
    if let Some(detail) = untold {
        return Err(format!("D2: the tab {tab} was not told of {detail}"));
    }
    let state = place.engine.state();
    let left = state.unsettled().map(|(_, recorded, _)| recorded.id);
    let left: BTreeSet<MutationId> = left.chain(state.refused().map(|(_, recorded)| recorded.id)).collect();
    let is_lost = |id: &&MutationId| {
        let mut lives = client.lives[..=place.life].iter().rev();
        let entry = lives.find_map(|life| life.ledger.all().find(|entry| entry.recorded.id == **id));
        !left.contains(*id) && entry.is_some_and(Entry::is_pending)
    };
    match place.endangered.iter().filter(is_lost).find(|id| !place.told_lost.contains(*id)) {
        Some(id) => Err(format!("D3: {id} is lost, and nobody said so to the tab {tab}")),
        None => Ok(()),
    }
}
