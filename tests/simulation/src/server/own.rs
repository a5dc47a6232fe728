//! This project's server: its production decisions over one of its stores, without the sockets.

use std::collections::BTreeMap;
use std::rc::Rc;

use objectql_offline::engine::{Answer, Features, RetryAfter};
use objectql_sync_protocol::{
    ClientId, Fields, Mutation, ReceivedMutation, ReceivedPush, RecordKey, Timestamp,
};
use objectql_sync_server::exchange::{Answer as ServerAnswer, Rules};
use objectql_sync_server::store::{PageLimit, Store, Transaction};
use objectql_sync_server::{Error, Objects};
use serde_json::json;

use crate::coverage::{Coverage, Sight};
use crate::oracle;
use crate::server::history::{Draft, History};
use crate::server::witness::Witness;
use crate::server::{Server, Trouble, parse_checkpoint};
use crate::setup::Setup;

/// The most bytes of a request, small enough that nobody meets it.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Later than any time that was ever seen.
const FAR_FUTURE_MS: i64 = 200_000_000_000_000;

/// What the production server says of itself.
const FEATURES: &str = "idempotent,chains,echoes,paged,snapshot,strategies";

/// A store and its backups.
pub(crate) trait Shelf {
    fn store(&self) -> &dyn Store;
    fn backup(&mut self, number: usize);
    /// Puts the backup back and begins a new epoch; false if there is none.
    fn restore(&mut self, number: usize) -> bool;
}

/// The server.
pub(crate) struct Own<S> {
    shelf: S,
    rules: Rules,
    /// The rules for somebody on the server.
    own_rules: Rules,
    history: History,
    backups: BTreeMap<usize, History>,
    /// The epochs in the order in which they began.
    epochs: Vec<String>,
    violation: Option<String>,
}

impl<S: Shelf> Own<S> {
    pub(crate) fn new(shelf: S, setup: &Setup) -> Self {
        let rules = Rules {
            objects: Objects::from_iter(setup.definitions()),
            max_mutations: setup.max_mutations,
            retention_days: 30,
            page: PageLimit { changes: setup.page, bytes: 1 << 20 },
        };
        let own_rules = Rules { objects: Objects::from_iter(setup.server_definitions()), ..rules.clone() };
        shelf.store().publish(&rules.objects.published()).expect("the objects can be published");
        let mut server = Self {
            shelf,
            rules,
            own_rules,
            history: History::default(),
            backups: BTreeMap::new(),
            epochs: Vec::new(),
            violation: None,
        };
        server.note_epoch();
        server
    }

    fn note_epoch(&mut self) {
        let mut epoch = String::new();
        let read = self.shelf.store().read(&mut |view| {
            epoch = view.state()?.epoch;
            Ok(())
        });
        read.expect("the store can be read");
        self.epochs.push(epoch.clone());
        self.history.epoch = epoch;
    }

    /// What `routes::sync` does with a body that has arrived.
    fn exchange(
        &mut self,
        body: &[u8],
        now: Timestamp,
        fuse: usize,
        coverage: &mut Coverage,
    ) -> Result<ServerAnswer, Error> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Error::BodyTooLarge { max_bytes: MAX_BODY_BYTES });
        }
        let push = ReceivedPush::parse(body)?;
        let (count, max) = (push.mutations.len(), self.rules.max_mutations);
        if count > max {
            return Err(Error::TooManyMutations { count, max });
        }
        if push.mutations.is_empty() {
            return self.pull(push.last_checkpoint.as_deref(), fuse);
        }
        let rules = self.rules.clone();
        self.push(&rules, &push, now, fuse, coverage)
    }

    fn pull(&self, last_checkpoint: Option<&str>, fuse: usize) -> Result<ServerAnswer, Error> {
        if fuse > 0 {
            return Err(Error::Busy);
        }
        let mut answer = Err(Error::Internal);
        self.shelf.store().read(&mut |view| {
            answer = Ok(self.rules.pull(view, last_checkpoint)?);
            Ok(())
        })?;
        answer
    }

    fn push(
        &mut self,
        rules: &Rules,
        push: &ReceivedPush,
        now: Timestamp,
        fuse: usize,
        coverage: &mut Coverage,
    ) -> Result<ServerAnswer, Error> {
        let valid = |mutation: &ReceivedMutation| match mutation {
            ReceivedMutation::Valid(mutation) => Some((**mutation).clone()),
            ReceivedMutation::Invalid { .. } => None,
        };
        let mutations: Vec<Mutation> = push.mutations.iter().filter_map(valid).collect();
        let mut answer = Err(Error::Internal);
        let mut draft = Ok(Draft::default());
        self.shelf.store().write(&mut |store: &mut dyn Transaction| {
            let mut witness = Witness::new(store, fuse, &mutations);
            answer = Ok(rules.push(&mut witness, push, now)?);
            draft = witness.finish();
            Ok(())
        })?;
        let answer = answer?;
        let checked = draft
            .and_then(|draft| oracle::check(&self.history, &draft, rules, now, coverage).map(|()| draft))
            .and_then(|draft| self.history.commit(draft))
            .and_then(|()| self.check_verdicts(push, &answer, coverage));
        self.violation = self.violation.take().or(checked.err());
        Ok(answer)
    }

    /// A mutation's verdict is the first one, in the same bytes, or an explicit refusal once it is forgotten.
    fn check_verdicts(
        &self,
        push: &ReceivedPush,
        answer: &ServerAnswer,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        for (mutation, verdict) in push.mutations.iter().zip(&answer.results) {
            let ReceivedMutation::Valid(mutation) = mutation else { continue };
            let Some(first) = self.history.verdicts.get(&mutation.id) else { continue };
            let is_too_old = verdict.get().contains("MUTATION_TOO_OLD");
            if is_too_old {
                coverage.saw(Sight::MutationTooOld);
            }
            if verdict.get() != &*first.text && !is_too_old {
                return Err(format!("S3: {} was {}, now {}", mutation.id, first.text, verdict.get()));
            }
        }
        Ok(())
    }

    /// A position that was told: nothing may become visible at or below it.
    fn note_told(&mut self, answer: &ServerAnswer) {
        if let Some((_, position, _)) = parse_checkpoint(answer.checkpoint.as_str()) {
            self.history.told = self.history.told.max(position);
        }
    }

    fn to_answer(&self, outcome: &Result<ServerAnswer, Error>, now: Timestamp) -> Answer {
        let answer = Answer {
            features: Features::parse(FEATURES),
            max_mutations: Some(self.rules.max_mutations),
            server_time_ms: Some(now.millis()),
            ..Answer::default()
        };
        match outcome {
            Ok(ok) => Answer {
                status: 200,
                content_type: "application/json".to_owned(),
                body: serde_json::to_vec(ok).expect("an answer is JSON"),
                ..answer
            },
            Err(error) => {
                let status = error.status().as_u16();
                let wait = std::time::Duration::from_secs(2);
                Answer {
                    status,
                    content_type: "application/problem+json".to_owned(),
                    retry_after: (status == 503).then_some(RetryAfter::In(wait)),
                    body: json!({ "code": error.code(), "detail": error.to_string() })
                        .to_string()
                        .into_bytes(),
                    ..answer
                }
            }
        }
    }
}

impl<S: Shelf> Server for Own<S> {
    fn answer(
        &mut self,
        body: &[u8],
        now: Timestamp,
        trouble: Trouble,
        coverage: &mut Coverage,
    ) -> Option<Answer> {
        let outcome = self.exchange(body, now, trouble.fuse, coverage);
        match &outcome {
            Ok(answer) => {
                self.note_told(answer);
                if trouble.crashes {
                    coverage.saw(Sight::ServerCrashedAfter);
                    return None;
                }
            }
            Err(Error::Store(_) | Error::Busy) if trouble.crashes => {
                coverage.saw(Sight::ServerCrashedMidway);
                return None;
            }
            Err(Error::Store(_)) => coverage.saw(Sight::ServerFailedMidway),
            Err(_) => {}
        }
        Some(self.to_answer(&outcome, now))
    }

    fn share(&mut self, client: &ClientId) {
        self.history.shared.insert(client.clone());
    }

    fn write_directly(&mut self, mutation: &Mutation, now: Timestamp) {
        let push = ReceivedPush {
            client_id: mutation.client_id.clone(),
            mutations: vec![ReceivedMutation::Valid(Box::new(mutation.clone()))],
            last_checkpoint: None,
        };
        let rules = self.own_rules.clone();
        let written = self.push(&rules, &push, now, 0, &mut Coverage::default());
        if let Err(error) = written {
            self.violation.get_or_insert(format!("the server cannot write by itself: {error}"));
        }
    }

    fn prune(&mut self, before: Timestamp) -> bool {
        let pruned = self.shelf.store().prune(before).expect("the store can forget");
        let read = self.shelf.store().read(&mut |view| {
            self.history.pruned_through = view.state()?.pruned_through;
            Ok(())
        });
        read.expect("the store can be read");
        pruned.changes > 0
    }

    fn forget_everything(&mut self) -> Result<(), String> {
        let before = Timestamp::from_millis(FAR_FUTURE_MS);
        self.prune(before);
        let mut kept = Ok(());
        let looked = self.shelf.store().write(&mut |store| {
            let all = PageLimit { changes: usize::MAX - 1, bytes: usize::MAX };
            let changes = store.changes_after(0, all)?.changes.len();
            let records = store.records_after(0, 0, all)?.changes;
            let tombstones = records.iter().filter(|record| record.data.is_none()).count();
            let mut verdicts = 0;
            for id in self.history.verdicts.keys() {
                verdicts += usize::from(store.verdict(*id)?.is_some());
            }
            if changes + tombstones + verdicts > 0 {
                kept = Err(format!(
                    "L8: {changes} changes, {tombstones} tombstones, {verdicts} verdicts are kept"
                ));
            }
            Ok(())
        });
        looked.expect("the store can be read");
        kept
    }

    fn backup(&mut self, number: usize) {
        self.shelf.backup(number);
        self.backups.insert(number, History { ended: BTreeMap::new(), ..self.history.clone() });
    }

    fn restore(&mut self, number: usize) -> bool {
        if !self.shelf.restore(number) {
            return false;
        }
        let Some(saved) = self.backups.get(&number).cloned() else { return false };
        let mut ended = std::mem::replace(&mut self.history, saved);
        self.history.ended = std::mem::take(&mut ended.ended);
        self.history.shared.extend(ended.shared.iter().cloned());
        self.history.told = 0;
        self.history.ended.insert(ended.epoch.clone(), Rc::new(ended));
        self.note_epoch();
        true
    }

    fn records(&self) -> BTreeMap<RecordKey, Fields> {
        let mut records = BTreeMap::new();
        let all = PageLimit { changes: usize::MAX - 1, bytes: usize::MAX };
        let read = self.shelf.store().read(&mut |view| {
            let page = view.records_after(0, view.state()?.last_position, all)?;
            for change in page.changes {
                if let Some(data) = change.data {
                    records.insert(RecordKey { object: change.object_name, id: change.record_id }, data);
                }
            }
            Ok(())
        });
        read.expect("the store can be read");
        records
    }

    fn is_at_end(&self, checkpoint: &str) -> bool {
        let History { epoch, last_position, .. } = &self.history;
        parse_checkpoint(checkpoint).is_some_and(|(known, position, is_inside)| {
            !is_inside && known == epoch && position >= *last_position
        })
    }

    fn history(&self) -> Option<&History> {
        Some(&self.history)
    }

    fn without_chance(&self, text: &str) -> String {
        let named = self.epochs.iter().enumerate();
        named.fold(text.to_owned(), |text, (place, epoch)| text.replace(epoch.as_str(), &format!("e{place}")))
    }

    fn take_violation(&mut self) -> Option<String> {
        self.violation.take()
    }
}
