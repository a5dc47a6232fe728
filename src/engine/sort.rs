//! The one sort there is. The standard library's are compiled anew for each type and order, at about 6 KB of wasm each.

/// Sorts numbers; those of which none is less than the other stay in the order in which they were. A merge sort (Knuth, "The Art of
/// Computer Programming", volume 3, section 5.2.4), bottom up.
pub(crate) fn sort(numbers: &mut Vec<u32>, is_less: &dyn Fn(u32, u32) -> bool) {
    let mut merged = Vec::with_capacity(numbers.len());
    let mut width = 1;
    while width < numbers.len() {
        merged.clear();
        for pair in numbers.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
            while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                let next = if is_less(*b, *a) { right.next() } else { left.next() };
                merged.extend(next);
            }
            merged.extend(left);
            merged.extend(right);
        }
        std::mem::swap(numbers, &mut merged);
        width *= 2;
    }
}

/// The numbers in order, each once.
pub(crate) fn sorted(numbers: Vec<u64>) -> Vec<u64> {
    let mut numbers = numbers;
    if !numbers.is_sorted() {
        let mut places: Vec<u32> = (0..).take(numbers.len()).collect();
        sort(&mut places, &|a, b| numbers.get(a as usize) < numbers.get(b as usize));
        numbers = places.into_iter().filter_map(|place| numbers.get(place as usize).copied()).collect();
    }
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(numbers in prop::collection::vec(0_u32..50, 0..200)) {
            let places: Vec<u32> = (0..).take(numbers.len()).collect();
            let (mut ours, mut theirs) = (places.clone(), places);
            let value = |place: u32| numbers.get(place as usize);
            sort(&mut ours, &|a, b| value(a) < value(b));
            theirs.sort_by_key(|place| value(*place));
            prop_assert_eq!(ours, theirs);
        }
    }
}
