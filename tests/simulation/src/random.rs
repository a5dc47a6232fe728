//! The one source of randomness: a seed gives a world, and the same seed the same world.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// Numbers from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The upper half: the lowest bits of this generator are weak.
        usize::try_from(self.0.next_u64() >> 32).expect("32 bits fit") % end.max(1)
    }

    /// A number from the range, both ends included.
    pub(crate) fn within(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// Yes, so many times in a thousand.
    pub(crate) fn chance(&mut self, permille: usize) -> bool {
        permille > 0 && self.below(1000) < permille
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
