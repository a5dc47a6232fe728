//! Randomness, from a seed that comes in from outside.

use objectql_sync_protocol::{MutationId, Timestamp};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// The engine's only source of randomness: the same seed gives the same ids, which is what the simulator needs. The ids
/// must be unique, not secret: the 256 bits of the seed come from the browser's cryptographic source, so two engines do not walk
/// the same sequence.
#[derive(Debug, Clone)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Xoshiro256PlusPlus::from_seed(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 to `end`, both included.
    pub(crate) fn up_to(&mut self, end: u64) -> u64 {
        self.number() % end.saturating_add(1).max(1)
    }

    /// A UUID of version 7.
    pub(crate) fn uuid(&mut self, now: Timestamp) -> MutationId {
        let mut random = [0; 10];
        self.0.fill_bytes(&mut random);
        MutationId::new(u64::try_from(now.millis()).unwrap_or(0), random)
    }
}
