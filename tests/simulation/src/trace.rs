//! A digest of everything that happened: two runs of a seed must have the same.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The digest so far, and the story if somebody wants to read it.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    digest: DefaultHasher,
    /// Whether every line is printed.
    pub(crate) is_told: bool,
}

impl Trace {
    pub(crate) fn note(&mut self, what: &impl Hash) {
        what.hash(&mut self.digest);
    }

    /// Prints a line, if somebody wants to read it.
    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        if self.is_told {
            println!("{}", line());
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }
}
