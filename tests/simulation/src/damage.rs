//! What becomes of a client's store beside what its tabs do: damage, cleared data, and a copy of an earlier moment in its place.

use objectql_offline::engine::Event;
use objectql_sync_protocol::{ClientId, MutationId};

use crate::action::{Harm, Stored};
use crate::coverage::Sight;
use crate::life::Life;
use crate::world::World;

impl World {
    /// Something that is stored cannot be read any more.
    pub(crate) fn damage(&mut self, at: usize, what: Stored, place: usize, harm: Harm, bit: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        if !client.life_mut().damage(what, place, harm, bit) {
            return;
        }
        self.coverage.saw(match what {
            Stored::Row => Sight::RowDamaged,
            Stored::Segment => Sight::SegmentDamaged,
            Stored::Root => Sight::RootDamaged,
        });
        if client.alive().any(|tab| client.tabs[tab].is_open) {
            self.coverage.saw(Sight::DamagedOpen);
        }
        self.note_endangered(at);
    }

    /// The site's data are gone: the next tab that comes to the store makes another database.
    pub(crate) fn clear(&mut self, at: usize) {
        let Some(client) = self.clients.get(at).filter(|client| !client.life().disk.is_empty()) else {
            return;
        };
        self.coverage.saw(match client.alive().any(|tab| client.tabs[tab].is_open) {
            true => Sight::ClearedOpen,
            false => Sight::ClearedClosed,
        });
        self.note_endangered(at);
        self.clients[at].lives.push(Life::default());
        self.note_endangered(at);
    }

    /// The profile is copied aside.
    pub(crate) fn save(&mut self, at: usize) {
        if let Some(client) = self.clients.get_mut(at).filter(|client| !client.life().disk.is_empty()) {
            client.saved = Some(client.life().clone());
        }
    }

    /// The profile is put back as it was: the browser is closed meanwhile. From here on two histories have one id.
    pub(crate) fn put_back(&mut self, at: usize) {
        let Some(saved) = self.clients.get(at).and_then(|client| client.saved.clone()) else { return };
        self.crash_browser(at);
        self.share(&saved);
        self.clients[at].lives.push(saved);
        self.coverage.saw(Sight::PutBack);
    }

    /// Somebody else may write under the ids of a database.
    pub(crate) fn share(&mut self, life: &Life) {
        let events = life.disk.iter().flat_map(|row| &row.row.events);
        let ids: Vec<&ClientId> = events.filter_map(id_of).collect();
        ids.into_iter().for_each(|id| self.server.share(id));
    }

    /// Takes note of what each tab knows that may be lost: if it is, the tab has to say so.
    fn note_endangered(&mut self, at: usize) {
        let client = &mut self.clients[at];
        for tab in &mut client.tabs {
            let is_gone = tab.life + 1 < client.lives.len();
            let ledger = &client.lives[tab.life].ledger;
            if !tab.is_alive || !tab.is_open {
                continue;
            }
            let known = tab.engine.state().unsettled().filter(|(sequence, recorded, _)| {
                let entry = ledger.find(sequence.get(), recorded.id);
                is_gone || entry.is_some_and(|entry| entry.may_be_lost)
            });
            let known: Vec<MutationId> = known.map(|(_, recorded, _)| recorded.id).collect();
            let refused = tab.engine.state().refused().filter(|(sequence, recorded)| {
                let entry = ledger.find(sequence.get(), recorded.id);
                is_gone || entry.is_some_and(|entry| entry.may_be_lost)
            });
            let refused: Vec<MutationId> = refused.map(|(_, recorded)| recorded.id).collect();
            tab.endangered.extend(known.into_iter().chain(refused));
        }
    }
}

/// The id under which the database writes from that event on.
fn id_of(event: &Event) -> Option<&ClientId> {
    match event {
        Event::Opened { client_id } | Event::Renamed { client_id } => Some(client_id),
        Event::Mended { client_id, .. } => client_id.as_ref(),
        _ => None,
    }
}
