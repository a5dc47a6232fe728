//! A set of numbers that mostly follow each other.

use serde::{Deserialize, Serialize};

/// Numbers in rising order, as runs of consecutive ones: how many are passed over after the last run, and how many follow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// The runs of numbers that rise.
    pub(crate) fn of(numbers: impl Iterator<Item = u64>) -> Self {
        let mut runs = Self::default();
        let mut next = 0;
        for number in numbers {
            match runs.0.last_mut() {
                Some((_, length)) if number == next => *length += 1,
                _ => runs.0.push((number - next, 1)),
            }
            next = number + 1;
        }
        runs
    }

    /// Whether the numbers stay within 64 bits, and are no more than so many: for runs that were read.
    pub(crate) fn is_sound(&self, most: u64) -> bool {
        let sum = |pick: fn(&(u64, u64)) -> u64| {
            self.0.iter().try_fold(0_u64, |sum, run| sum.checked_add(pick(run)))
        };
        let (gaps, length) = (sum(|run| run.0), sum(|run| run.1));
        length.is_some_and(|length| {
            length <= most && gaps.is_some_and(|gaps| gaps.checked_add(length).is_some())
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|run| run.1).sum()
    }

    /// The numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.ranges().flat_map(|(start, end)| start..end)
    }

    /// Their starts, and the numbers after their ends.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().scan(0, |next, (gap, length)| {
            let start = *next + gap;
            *next = start + length;
            Some((start, *next))
        })
    }

    /// Takes numbers out, which rise. Whether any was in.
    pub(crate) fn remove(&mut self, gone: &[u64]) -> bool {
        let (Some(first), Some(end)) = (self.ranges().next(), self.ranges().last()) else { return false };
        let from = gone.partition_point(|number| *number < first.0);
        let to = gone.partition_point(|number| *number < end.1);
        let mut gone = gone.get(from..to).unwrap_or_default().iter().copied().peekable();
        if gone.peek().is_none() {
            return false;
        }
        let before = self.len();
        let kept = self.iter().filter(|number| {
            while gone.next_if(|other| other < number).is_some() {}
            gone.peek() != Some(number)
        });
        *self = Self::of(kept);
        self.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Goal: runs are the set they stand for, whatever is taken out, and come back from their bytes.
        #[test]
        fn are_a_set(numbers in prop::collection::btree_set(0_u64..200, 0..150), gone in prop::collection::btree_set(0_u64..250, 0..100)) {
            let mut runs = Runs::of(numbers.iter().copied());
            prop_assert_eq!(runs.iter().collect::<BTreeSet<_>>(), numbers.clone());
            prop_assert_eq!(runs.len() as usize, numbers.len());
            prop_assert!(runs.is_sound(numbers.len() as u64));
            prop_assert!(numbers.is_empty() || !runs.is_sound(numbers.len() as u64 - 1));
            let bytes = postcard::to_extend(&runs, Vec::new()).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Runs>(&bytes).unwrap(), &runs);
            let gone: Vec<u64> = gone.into_iter().collect();
            let left: BTreeSet<u64> = numbers.iter().copied().filter(|number| !gone.contains(number)).collect();
            let is_less = left.len() < numbers.len();
            prop_assert_eq!(runs.remove(&gone), is_less);
            prop_assert_eq!(runs.iter().collect::<BTreeSet<_>>(), left);
        }
    }

    #[test]
    fn runs_beyond_64_bits_are_not_sound() {
        for runs in [
            vec![(u64::MAX, 1)],
            vec![(1, u64::MAX)],
            vec![(0, 1), (u64::MAX, 0)],
            vec![(0, u64::MAX), (0, 1)],
        ] {
            assert!(!Runs(runs.clone()).is_sound(1 << 32), "{runs:?}");
        }
    }
}
