//! When to send: the debounce of each object, and the wait after a failure.

use std::time::Duration;

use objectql_sync_protocol::ObjectName;
use objectql_sync_protocol::defect::{Defect, has};

use crate::engine::config::Config;
use crate::engine::random::Random;

/// A push waits for a pause in the writes, but never longer than this many times the debounce.
pub(crate) const MAX_WAIT_DEBOUNCES: u32 = 10;
const BACKOFF_BASE: Duration = Duration::from_millis(500);
const BACKOFF_CAP: Duration = Duration::from_secs(60);
/// A server may ask for a longer pause than our own longest, up to this.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(600);

/// Since when the objects' writes wait.
#[derive(Debug, Default)]
pub(crate) struct Debounce(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    object: ObjectName,
    first: Duration,
    last: Duration,
}

impl Debounce {
    /// Takes note of a write.
    pub(crate) fn wrote(&mut self, object: &ObjectName, now: Duration) {
        match self.0.iter_mut().find(|waiting| waiting.object == *object) {
            Some(waiting) => waiting.last = now,
            None => self.0.push(Waiting { object: object.clone(), first: now, last: now }),
        }
    }

    /// Everything that waited goes now.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// When the first object has waited long enough. All objects go then: a child may not overtake its parent.
    pub(crate) fn due(&self, config: &Config) -> Option<Duration> {
        self.0
            .iter()
            .filter_map(|waiting| {
                let debounce = Duration::from_millis(config.sync_of(&waiting.object)?.debounce_ms.into());
                let begins = if has(Defect::MaxWaitForgotten) { waiting.last } else { waiting.first };
                Some((waiting.last + debounce).min(begins + debounce * MAX_WAIT_DEBOUNCES))
            })
            .min()
    }
}

/// How long to wait after so many failures in a row: exponential backoff with full jitter (Marc Brooker, "Exponential Backoff
/// And Jitter", AWS Architecture Blog, 2015), and never less than the server asked for.
pub(crate) fn backoff(failures: u32, retry_after: Option<Duration>, random: &mut Random) -> Duration {
    let ceiling = BACKOFF_BASE.saturating_mul(1 << failures.min(16)).min(BACKOFF_CAP);
    let jittered =
        Duration::from_millis(random.up_to(u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX)));
    // Not at once: a server that answers quickly with errors would be asked in a hot loop.
    let wait = jittered.max(BACKOFF_BASE / 2);
    wait.max(retry_after.unwrap_or_default().min(RETRY_AFTER_CAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_their_bounds() {
        let mut random = Random::new([1; 32]);
        let mut longest = Duration::ZERO;
        for failures in 0..200 {
            let wait = backoff(failures, None, &mut random);
            assert!((BACKOFF_BASE / 2..=BACKOFF_CAP).contains(&wait), "{failures}: {wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest > BACKOFF_CAP / 2);
    }

    #[test]
    fn the_servers_wish_is_kept_unless_absurd() {
        let mut random = Random::new([1; 32]);
        assert!(backoff(1, Some(Duration::from_secs(120)), &mut random) >= Duration::from_secs(120));
        assert_eq!(backoff(1, Some(Duration::from_secs(1_000_000)), &mut random), RETRY_AFTER_CAP);
    }
}
