//! The database is gone while it is open: the site's data were cleared, or the browser evicted them.
//!
//! What was in memory was in it, and goes with it; a new database takes its place, under another client id, and the server is asked
//! for all of its records. Nothing of the old one may be written into the new one: its sequences begin again. The app is told what
//! had not reached the server.

use objectql_sync_protocol::array_text;
use objectql_sync_protocol::defect::{Defect, has};

use super::absent::{Absent, Loader};
use super::mend::{Damage, Untold};
use super::report::data_loss;
use super::state::State;
use super::{Engine, Now, Output};
use crate::error::Error;

impl Engine {
    /// Forgets everything, and begins with what there is.
    pub(crate) fn start_over(&mut self, now: Now) {
        // With what was to be found again, where it was being read anew.
        self.keep_untold(&[]);
        let untaken = self.untold.take().into_iter().flat_map(Untold::into_untaken);
        let lost = data_loss("cleared", &array_text(untaken), &[]);
        let openings = self.log.take_openings();
        let under_way = self.log.take_jobs_under_way();
        self.fail_jobs(now, under_way, &Error::Cleared);
        self.fail_all(now, &Error::Cleared);
        for (_, request) in std::mem::take(&mut self.watchers) {
            self.reply(request, Err(Error::Cleared));
        }
        for request in std::mem::take(&mut self.loader).requests() {
            self.reply(request, Err(Error::Cleared));
        }
        self.transactions.clear();
        self.exports.clear();
        self.damage = Damage::default();
        self.loader = Loader::default();
        self.compaction.start_over();
        self.log.start_over();
        openings.into_iter().for_each(|job| self.log.push(job));
        self.begin_with(now, State::default(), Absent::default());
        self.untold = None;
        self.start_syncing_over();
        self.is_open = false;
        // Whoever opens the database now need not know; whoever once had, and did not get the next one yet, has to.
        if self.told_status.is_some() && !has(Defect::ClearedUntold) {
            self.outputs.push_back(Output::Notice(lost));
        }
    }
}
