//! Taking back what the app did last, and making it again.

use objectql_sync_protocol::{Fields, Json, Operation, RecordKey, quoted};

use super::{Staged, check_size, stamped, time_of};
use crate::engine::history::Step;
use crate::engine::row::{Event, Recorded};
use crate::error::Error;

impl Staged<'_> {
    /// Takes back the last write, or makes again what was taken back last; gives whether there was one.
    ///
    /// Only what is still as that write left it: a field that somebody changed since keeps its value, a record that is gone stays
    /// so. It is new mutations, which go to the server like others.
    pub(super) fn revert(&mut self, is_redo: bool) -> Result<bool, Error> {
        let state = self.state;
        let is_staged = |event: &Event| matches!(event, Event::Recorded(_) | Event::Reverted { .. });
        if self.events.iter().any(is_staged) {
            // The history that is folded does not have what this row does.
            return Err(Error::Internal("an undo must begin its row".to_owned()));
        }
        let (lost, unit) = state.history.last(is_redo);
        // What is lost cannot be taken back: all tabs pass over it.
        self.events.extend((0..lost).map(|_| Event::Reverted { is_redo, mutations: Vec::new() }));
        let Some(unit) = unit else { return Ok(false) };
        for Step { key, before, after } in unit.steps.iter().rev() {
            // What this tab cannot write any more, by its definitions, stays: it would be in the way of all that was done before it.
            if self.writable(&key.object).is_err() {
                continue;
            }
            if let Some(recorded) = self.revert_one(key, before.as_ref(), after.as_ref())? {
                self.stage(recorded)?;
            }
        }
        let mutations = match self.events.pop() {
            Some(Event::Recorded(mutations)) => mutations,
            Some(other) => {
                self.events.push(other);
                Vec::new()
            }
            None => Vec::new(),
        };
        self.events.push(Event::Reverted { is_redo, mutations });
        Ok(true)
    }

    fn revert_one(
        &mut self,
        key: &RecordKey,
        before: Option<&Fields>,
        after: Option<&Fields>,
    ) -> Result<Option<Recorded>, Error> {
        let now = self.view(key).cloned();
        let (operation, data) = match (before, after, now) {
            (None, Some(after), Some(now)) if is_same(after, &now) => (Operation::Delete, None),
            (Some(before), None, None) => {
                let stamp = self.clock.issue(self.now);
                let created = time_of(before, "created_at").unwrap_or(stamp);
                let fields = stamped(&mut self.text, before, &key.id, created, stamp)?;
                self.take_unique(key, &fields)?;
                (Operation::Create, Some(fields))
            }
            (Some(before), Some(after), Some(now)) => {
                let patch = back(before, after, &now);
                if patch.is_empty() {
                    return Ok(None);
                }
                let stamp = self.clock.issue(self.now);
                let patch = patch.with("updated_at", &quoted(&stamp.to_string()));
                let after = now.merged(&patch);
                check_size(&after)?;
                self.take_unique(key, &after)?;
                (Operation::Update, Some(patch))
            }
            _ => return Ok(None),
        };
        self.adopt_one(key)?;
        Ok(Some(self.recorded(key.clone(), operation, data)))
    }
}

/// Whether nobody has changed a record since it was made: not a field, and none was added.
fn is_same(made: &Fields, now: &Fields) -> bool {
    let is_in = |fields: &Fields, name: &str, value: Json<'_>| {
        let other = fields.get_quoted(name);
        name == "\"updated_at\"" || other.map_or(value.is_null(), |other| other.deep_equals(value))
    };
    made.iter().all(|(name, value)| is_in(now, name, value))
        && now.iter().all(|(name, value)| is_in(made, name, value))
}

/// The fields that a write changed and that are still as it left them, as they were before; one that was not there becomes null.
fn back(before: &Fields, after: &Fields, now: &Fields) -> Fields {
    const NULL: Json<'_> = Json::from_normalised("null");
    let is_back = |name: &str| {
        let value = |fields: &Fields| fields.get_quoted(name).unwrap_or(NULL).as_str().to_owned();
        let [was, is, now] = [before, after, now].map(value);
        let [was, is, now] = [&was, &is, &now].map(|text| Json::from_normalised(text));
        name != "\"updated_at\"" && !is.deep_equals(was) && now.deep_equals(is)
    };
    let kept = before.filtered(|name, _| is_back(name));
    let is_new = |name: &str| before.get_quoted(name).is_none() && is_back(name);
    let cleared = after.iter().filter(|(name, _)| is_new(name)).map(|(name, _)| format!("{name}:null"));
    let cleared = format!("{{{}}}", cleared.collect::<Vec<_>>().join(","));
    Fields::from_normalised(cleared).map_or(kept.clone(), |cleared| kept.merged(&cleared))
}
