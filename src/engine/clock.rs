//! Hybrid timestamps: the wall clock, corrected towards the server's and never running backwards.

use objectql_sync_protocol::Timestamp;
use serde::{Deserialize, Serialize};

/// An offset that is smaller is not corrected: the measurement is no better than the round trip it was made on.
const OFFSET_IGNORED_MS: u64 = 2000;

/// Issues the timestamps of mutations.
///
/// A timestamp is never before the last one issued, nor before the newest one seen from the server (Kulkarni et al.,
/// "Logical Physical Clocks", 2014, without the logical part: mutations of one client are ordered by their sequence). So an
/// edit of something one has seen is never older than it, whatever the device's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    latest: Timestamp,
    offset_ms: i64,
}

impl Clock {
    /// The timestamp for something that happens now; `now` is the device's clock.
    pub(crate) fn issue(&mut self, now: Timestamp) -> Timestamp {
        let corrected = Timestamp::from_millis(now.millis().saturating_add(self.offset_ms));
        self.latest = self.latest.max(corrected);
        self.latest
    }

    /// Takes note of a timestamp issued by another tab, or earlier.
    pub(crate) fn saw(&mut self, timestamp: Timestamp) {
        self.latest = self.latest.max(timestamp);
    }

    /// How far the server's clock is taken to be ahead of the device's, in milliseconds.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Takes note of how far the server's clock is ahead of the device's.
    pub(crate) fn measured_offset(&mut self, offset_ms: i64) {
        self.offset_ms = Self::rounded(offset_ms);
    }

    /// Whether such a measurement would say something new.
    pub(crate) fn is_moved_by(&self, offset_ms: i64) -> bool {
        Self::rounded(offset_ms).abs_diff(self.offset_ms) >= OFFSET_IGNORED_MS
    }

    const fn rounded(offset_ms: i64) -> i64 {
        if offset_ms.unsigned_abs() < OFFSET_IGNORED_MS { 0 } else { offset_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_runs_backwards() {
        let mut clock = Clock::default();
        let at = |millis| Timestamp::from_millis(millis);
        assert_eq!(clock.issue(at(1000)), at(1000));
        assert_eq!(clock.issue(at(400)), at(1000));
        clock.saw(at(5000));
        assert_eq!(clock.issue(at(2000)), at(5000));
    }

    #[test]
    fn a_slow_device_is_corrected_towards_the_server() {
        let mut clock = Clock::default();
        clock.measured_offset(1500);
        assert_eq!(clock.issue(Timestamp::from_millis(0)).millis(), 0);
        clock.measured_offset(3_600_000);
        assert_eq!(clock.issue(Timestamp::from_millis(10)).millis(), 3_600_010);
    }
}
