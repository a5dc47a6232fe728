//! The app's migrations: releases with later versions of its objects, and functions in the place of the app's. Each value that goes
//! through one says so in a field of its own, which nobody else writes.

use objectql_offline::engine::{Input, Migration, Need, Portion, RequestId};
use objectql_sync_protocol::{Fields, Json, ObjectName};

use crate::client::Call;
use crate::coverage::Sight;
use crate::world::World;

/// The field that tells through which version's function a value went last.
const SHAPE: &str = "shape";

/// A value as it is to everybody who does not care for its version.
pub(crate) fn without_shape(fields: Option<&Fields>) -> Option<Fields> {
    fields.map(|fields| fields.filtered(|name, _| name.trim_matches('"') != SHAPE))
}

/// Whether two values are the same but for their versions.
pub(crate) fn is_same(one: Option<&Fields>, other: Option<&Fields>) -> bool {
    match (without_shape(one), without_shape(other)) {
        (Some(one), Some(other)) => one.deep_equals(&other),
        (None, None) => true,
        _ => false,
    }
}

impl World {
    /// The app's next release has other versions of its objects, or an earlier one comes back.
    pub(crate) fn release(&mut self, at: usize, number: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        self.coverage.saw(if number < client.release { Sight::ReleasedBack } else { Sight::Released });
        client.release = number;
        client.latest_release = client.latest_release.max(number);
    }

    /// Whether the app works with a tab: it has opened it, and nothing is to be migrated any more.
    pub(crate) fn is_usable(&self, at: usize, tab: usize) -> bool {
        self.clients.get(at).is_some_and(|client| client.is_awake(tab) && client.tabs[tab].is_ready)
    }

    /// Whether a tab has a portion to migrate, and is not at it.
    pub(crate) fn can_migrate(&self, at: usize, tab: usize) -> bool {
        let client = &self.clients[at];
        let place = &client.tabs[tab];
        let is_at_it = |call: &Call| matches!(call, Call::Migrate | Call::Load);
        client.is_awake(tab) && place.is_open && !place.is_ready && !place.calls.values().any(is_at_it)
    }

    /// Takes note of whether the app has the database.
    pub(crate) fn note_ready(&mut self, at: usize, tab: usize) {
        let place = &mut self.clients[at].tabs[tab];
        place.is_ready |= place.is_open && place.engine.objects_to_migrate() == "[]";
    }

    /// The app goes through the next portion, and hands back so many values of it at most.
    pub(crate) fn migrate(&mut self, at: usize, tab: usize, most: usize) {
        if self.clients.get(at).is_none_or(|client| tab >= client.tabs.len()) || !self.can_migrate(at, tab) {
            return;
        }
        let request = self.clients[at].request();
        let place = &mut self.clients[at].tabs[tab];
        let lagging = place.engine.objects_to_migrate();
        let Some((object, version)) = first_of(&lagging) else { return };
        let input = match place.engine.portion_to_migrate(object.as_str(), "") {
            Ok(text) => {
                let (portion, mut values) = through(&text, version);
                values.truncate(most);
                place.calls.insert(request, Call::Migrate);
                Input::Migrate {
                    request: RequestId(request),
                    migration: Migration { object, portion, values },
                }
            }
            Err(_) => {
                let _ = place.engine.prepare_next(object.as_str());
                place.calls.insert(request, Call::Load);
                Input::Load { request: RequestId(request), need: Need::Object(object) }
            }
        };
        self.give(at, tab, input);
    }
}

/// The first object that is to be migrated, and to which version.
fn first_of(lagging: &str) -> Option<(ObjectName, u32)> {
    let first = Json::from_normalised(lagging).elements().next()?;
    let mut members = first.elements();
    let name = members.next()?.as_str().trim_matches('"');
    Some((ObjectName::new(name).ok()?, members.nth(1)?.as_str().parse().ok()?))
}

/// What the app's functions make of a portion.
fn through(portion: &str, version: u32) -> (Portion, Vec<Fields>) {
    let mut members = Json::from_normalised(portion).elements();
    let mut next = || members.next().expect("a portion has three members");
    let at = Portion::parse(next().as_str().trim_matches('"')).expect("a portion");
    let values = (next(), next()).1.elements().map(|value| {
        let mut members = value.elements();
        let is_mutation = members.next().is_some_and(|flag| flag.as_str() == "true");
        let value = members.next().expect("a value");
        let fields = Fields::from_json(value).expect("a value is an object");
        let data = fields.get("data").filter(|_| is_mutation);
        let fields = match data.map(|data| Fields::from_json(data).expect("data are an object")) {
            Some(data) => data,
            None if is_mutation => Fields::empty(),
            None => fields,
        };
        let bare = without_shape(Some(&fields)).unwrap_or(fields);
        bare.with(SHAPE, &version.to_string())
    });
    (at, values.collect())
}
