//! How the store does: what failed, when it is tried again, and whether it answers at all.

use std::time::Duration;

use super::Now;
use crate::error::Error;

/// How long it is until a store that failed is tried again although nobody wants anything, at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(60);
/// After so many failures in a row it is left alone for a while: what stays broken would be asked thousands of times an hour by an app that
/// writes on.
const FAILURES_TO_REST: u32 = 6;
/// How long at most: an app need not wait for the next try.
const MOST_REST: Duration = Duration::from_secs(10);
/// A store that does not answer for so long is told about: a frozen tab may be holding a transaction, which no browser ends.
const STALL: Duration = Duration::from_secs(20);

/// How the store does.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The last failure, until something succeeds.
    pub(crate) error: Option<Error>,
    /// How often it was tried again since then although nobody wanted anything, and when that is next.
    failures: u32,
    retry_at: Option<Duration>,
    /// How often it failed since it did not, whoever asked, and until when it is left alone.
    in_a_row: u32,
    rest_until: Duration,
    /// Whether the last append failed.
    is_append_failing: bool,
    /// What the store was asked for last, by its number, and when; none once it has answered.
    asked: Option<(u64, Duration)>,
    is_stalled: bool,
}

impl Health {
    /// What is wrong, if anything is.
    pub(crate) fn trouble(&self) -> Option<&Error> {
        self.error.as_ref().or(self.is_stalled.then_some(&Error::StorageStalled))
    }

    /// Something failed. Whether a broken store works again shows only when it is tried; whether there is room, only a write can tell.
    pub(crate) fn fail(&mut self, now: Now, error: Error) {
        if let Error::StorageFailed(_) | Error::StorageUnknown(_) = &error {
            let wait = RETRY.saturating_mul(1 << self.failures.min(8)).min(MOST_RETRY);
            if self.retry_at.is_none() {
                self.retry_at = Some(now.monotonic + wait);
                self.failures += 1;
            }
            self.in_a_row = self.in_a_row.saturating_add(1);
            if self.in_a_row >= FAILURES_TO_REST {
                self.rest_until = now.monotonic + wait.min(MOST_REST);
            }
        }
        self.error = Some(error);
    }

    /// An append failed.
    pub(crate) fn fail_append(&mut self, now: Now, error: Error) {
        self.is_append_failing = true;
        self.fail(now, error);
    }

    /// It does something of what it is asked: it need not be left alone.
    pub(crate) fn answers(&mut self) {
        (self.in_a_row, self.rest_until) = (0, Duration::ZERO);
    }

    /// The store can be read, which says nothing of room in it, and of how a write will fare.
    pub(crate) fn reads(&mut self) {
        if !matches!(self.error, Some(Error::QuotaExceeded)) {
            self.error = None;
        }
        if !self.is_append_failing {
            self.failures = 0;
            self.answers();
        }
        self.retry_at = None;
    }

    /// The store takes writes.
    pub(crate) fn writes(&mut self) {
        self.is_append_failing = false;
        self.error = None;
        self.reads();
    }

    /// When something is to be done without a further input.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let stalls = self.asked.filter(|_| !self.is_stalled).map(|(_, since)| since + STALL);
        [self.retry_at, stalls].into_iter().flatten().min()
    }

    /// Whether it is to be tried again now.
    pub(crate) fn takes_retry(&mut self, now: Now) -> bool {
        let is_due = self.retry_at.take_if(|at| *at <= now.monotonic).is_some();
        if is_due {
            self.rest_until = Duration::ZERO;
        }
        is_due
    }

    /// Why it is left alone now, if it is.
    pub(crate) fn rests(&self, now: Now) -> Option<&Error> {
        self.error.as_ref().filter(|_| now.monotonic < self.rest_until)
    }

    /// The store is being asked for this, or for nothing. Gives whether it has not answered for long.
    pub(crate) fn watch(&mut self, now: Now, asks: Option<u64>) -> bool {
        match (asks, self.asked) {
            (Some(asks), Some((asked, since))) if asks == asked => {
                self.is_stalled = now.monotonic >= since + STALL;
            }
            _ => (self.asked, self.is_stalled) = (asks.map(|asks| (asks, now.monotonic)), false),
        }
        self.is_stalled
    }
}
