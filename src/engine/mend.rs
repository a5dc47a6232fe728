//! What is stored and cannot be read, and going on without it.
//!
//! The fold passes over a damaged row; a damaged segment holds nothing. Nothing else is given up. The tab that finds damage says so in
//! a row of its own, before it writes anything else: it names what is lost, has the server's records collected anew, and where
//! sequences may have been used that nobody knows of any more, the database writes under another client id from there on: the
//! server would take a second mutation with the same sequence for a copied profile's. Every tab reads everything again once for each such
//! row, so that all have the state that the store has, whatever some of them had in memory still. The next compaction leaves behind
//! what cannot be read. What was in it and not pushed is lost; the app is told.

use std::fmt::Display;

use objectql_sync_protocol::defect::{Defect, has};
use objectql_sync_protocol::{ClientId, MutationId, Sequence, array_text};

use super::fold::Folded;
use super::log::Job;
use super::report::data_loss;
use super::row::{Event, Row};
use super::state::{Pending, State};
use super::stored::Kind;
use super::{Engine, Now, Output};

/// So many details are written down and told.
const MOST_DETAILS: usize = 100;

/// What was found damaged since all of that was last written down.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// What cannot be read, for people.
    details: Vec<String>,
    segments: Vec<u64>,
    /// Whether sequences may be lost.
    is_of_sequences: bool,
    /// Whether the root is.
    is_of_root: bool,
    /// Whether a job is on its way that writes it down.
    is_wanted: bool,
}

impl Damage {
    pub(crate) const fn is_none(&self) -> bool {
        self.details.is_empty()
    }

    /// Rows, or what is stored in their place, cannot be read. Gives whether that is new.
    pub(crate) fn add_rows(&mut self, detail: String) -> bool {
        self.is_of_sequences = true;
        self.add(detail)
    }

    /// The root cannot be read.
    pub(crate) fn add_root(&mut self, why: &dyn Display) {
        self.add_rows(format!("the root: {why}"));
        self.is_of_root = true;
    }

    fn add(&mut self, detail: String) -> bool {
        let is_new = !self.details.contains(&detail);
        if is_new {
            self.details.push(detail);
        }
        is_new
    }

    /// A segment cannot be read, or is not there.
    pub(crate) fn add_segment(&mut self, segment: u64, kind: &Kind, why: &dyn Display) {
        let what = match kind {
            // What could be taken back is no part of what the app stored.
            Kind::Undo => return,
            Kind::Records(object) | Kind::Collected(_, object) => format!("records of {object}"),
            Kind::Pending => "mutations that were not pushed".to_owned(),
        };
        self.add(format!("segment {segment}, with {what}: {why}"));
        if !self.segments.contains(&segment) {
            self.segments.push(segment);
        }
        self.is_of_sequences |= *kind == Kind::Pending;
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        for detail in other.details {
            self.add(detail);
        }
        self.segments.append(&mut other.segments);
        self.is_of_sequences |= other.is_of_sequences;
        self.is_of_root |= other.is_of_root;
    }
}

impl Engine {
    /// Has damage written down before anything else is, once the log can be written to.
    pub(crate) fn advance_mending(&mut self) {
        if self.log.health.error.is_none() {
            self.mend_first();
        }
    }

    /// Has it written down first of all.
    pub(crate) fn mend_first(&mut self) {
        if !self.damage.is_none() && !self.damage.is_wanted && !has(Defect::DamageUnsaid) {
            self.damage.is_wanted = true;
            self.log.push_first(Job::Mend);
        }
    }

    /// It is written down, or could not be: then that is tried again when storage works, or somebody writes.
    pub(crate) fn mend_again(&mut self) {
        self.damage.is_wanted = false;
    }

    /// What is written down of the damage, unless another tab was faster.
    pub(crate) fn decide_mending(&mut self, now: Now) -> Vec<Event> {
        let Damage { details, segments, is_of_sequences, is_of_root, .. } = &self.damage;
        if details.is_empty() {
            return Vec::new();
        }
        let mut details = details.clone();
        if let Some(more) = details.len().checked_sub(MOST_DETAILS).filter(|more| *more > 0) {
            details.truncate(MOST_DETAILS);
            details.push(format!("and {more} more"));
        }
        let segments = segments.clone();
        let uuid = || ClientId::new(self.random.uuid(now.wall).to_string()).ok();
        let client_id = is_of_sequences.then(uuid).flatten().filter(|_| !has(Defect::DamageKeepsId));
        let objects = self.config.pulled_objects().collect();
        let mut events = vec![Event::Mended { client_id, objects, segments, details }];
        if *is_of_root {
            // Nobody knows which versions the data had. What is left is the last rows, of this release as a rule.
            events.extend(self.config.first_versions());
        }
        events
    }

    /// A row is folded that says what is lost; it may be this tab's own. Gives whether all has to be read again: it is, by every tab, once
    /// for each such row. A root may have been written meanwhile by a tab that had what is lost in memory still, or this tab has some
    /// of it: its state would be another than that of whoever opens the database.
    pub(crate) fn follow_mended(&mut self, now: Now, folded: &Folded, is_own: bool) -> bool {
        if folded.lost.is_empty() {
            return false;
        }
        if self.log.is_first_time() {
            if (self.is_open || is_own) && !has(Defect::LossUntold) {
                self.keep_untold(&folded.lost);
            }
            return true;
        }
        let Damage { details, segments, .. } = &mut self.damage;
        // What was said to be more was not named.
        details.retain(|detail| folded.lost.len() <= MOST_DETAILS && !folded.lost.contains(detail));
        segments.retain(|segment| !folded.lost_segments.contains(segment));
        if details.is_empty() {
            self.damage = Damage::default();
        }
        for segment in &folded.lost_segments {
            self.lose(*segment);
        }
        self.pull_anew(now);
        false
    }

    /// Keeps what the server has not taken, to tell what of it is not found again once what is left was read; and what a row says of the
    /// loss, if one does.
    pub(crate) fn keep_untold(&mut self, details: &[String]) {
        let mut untaken = self.untaken();
        let untold = self.untold.get_or_insert_default();
        untold.read = untold.read.max(self.state.row);
        untold.details.extend_from_slice(details);
        untaken.retain(|(_, id, _)| !untold.untaken.iter().any(|(_, known, _)| known == id));
        untold.untaken.append(&mut untaken);
    }

    /// The state began anew: what is in it is not lost. Where this tab was left behind, a row that it never reads may say that something is.
    pub(crate) fn note_found(&mut self, old: &State) {
        let (Some(untold), state) = (&mut self.untold, &self.state) else { return };
        untold.untaken.retain(|(sequence, id, _)| {
            let is_it = |pending: &Pending| pending.recorded.id == *id;
            !state.pending.get(sequence).is_some_and(is_it) && state.find_rejected(*id).is_none()
        });
        // Such a row gives another client id; so does a copied profile, but that collects no snapshot.
        let has_snapshot = state.snapshots != old.snapshots || self.config.pulled_objects().next().is_none();
        untold.is_unread |= state.client_id.is_some() && state.client_id != old.client_id && has_snapshot;
    }

    /// A row brings back what it records.
    pub(crate) fn note_found_in(&mut self, row: &Row) {
        if let Some(untold) = &mut self.untold {
            let recorded = row.events.iter().flat_map(Event::recorded);
            untold.untaken.retain(|(_, id, _)| !recorded.clone().any(|it| it.id == *id));
        }
    }

    /// Tells the app of a loss: all that is left was read.
    pub(crate) fn tell_loss(&mut self) {
        // Where something cannot be read, or the end is gone, and no row says so yet, one will.
        let is_whole = |read| self.damage.is_none() && read <= self.log.folded;
        let is_known = |untold: &mut Untold| !untold.details.is_empty() || is_whole(untold.read);
        let Some(mut untold) = self.untold.take_if(is_known) else { return };
        let mut details = std::mem::take(&mut untold.details);
        // What the server took meanwhile nobody knows any more; better one too many is named than one too few.
        if details.is_empty() && untold.is_unread && !untold.untaken.is_empty() {
            details.push("rows that this tab had not read".to_owned());
        }
        if !details.is_empty() && !has(Defect::LossUntold) {
            let lost = array_text(untold.into_untaken());
            self.outputs.push_back(Output::Notice(data_loss("damaged", &lost, &details)));
        }
    }

    /// Reads all that is stored again, as soon as nothing is under way.
    pub(crate) fn begin_over(&mut self) {
        self.compaction.start_over();
        self.log.begin_over();
    }
}

/// A loss that the app was not told of yet; or what would be one, as the state is read again.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    /// What rows say of it; none while nobody knows of any.
    details: Vec<String>,
    /// What the server had not taken before and was not found again, as JSON.
    untaken: Vec<(Sequence, MutationId, String)>,
    /// Up to which row the log had been read before.
    read: u64,
    /// Whether a row that this tab never reads may say that something is lost.
    is_unread: bool,
}

impl Untold {
    pub(crate) fn into_untaken(self) -> impl Iterator<Item = String> {
        self.untaken.into_iter().map(|(_, _, json)| json)
    }
}
