//! The sorts there are, by an order and by a key. The standard library's are compiled anew for each type and order, at about 6 KB of wasm each.

/// Sorts numbers; those of which none is less than the other stay in the order in which they were. A natural merge sort (Knuth, "The
/// Art of Computer Programming", volume 3, section 5.2.4): what is in order already, but for a few parts, takes little.
pub(crate) fn sort(numbers: &mut Vec<u32>, is_less: &dyn Fn(u32, u32) -> bool) {
    // Where the runs end.
    let mut ends: Vec<usize> = Vec::new();
    for (place, pair) in (1..).zip(numbers.windows(2)) {
        if let [before, after] = pair
            && is_less(*after, *before)
        {
            ends.push(place);
        }
    }
    ends.push(numbers.len());
    let mut merged = Vec::with_capacity(numbers.len());
    let mut rest = Vec::with_capacity(ends.len() / 2 + 1);
    while ends.len() > 1 {
        merged.clear();
        rest.clear();
        let mut start = 0;
        for pair in ends.chunks(2) {
            let middle = pair.first().copied().unwrap_or(start);
            let end = pair.last().copied().unwrap_or(middle);
            let left = numbers.get(start..middle).unwrap_or_default();
            let right = numbers.get(middle..end).unwrap_or_default();
            merge(left, right, is_less, &mut merged);
            rest.push(end);
            start = end;
        }
        std::mem::swap(numbers, &mut merged);
        std::mem::swap(&mut ends, &mut rest);
    }
}

fn merge(mut left: &[u32], mut right: &[u32], is_less: &dyn Fn(u32, u32) -> bool, merged: &mut Vec<u32>) {
    while let (Some((a, after_a)), Some((b, after_b))) = (left.split_first(), right.split_first()) {
        if is_less(*b, *a) {
            merged.push(*b);
            right = after_b;
        } else {
            merged.push(*a);
            left = after_a;
        }
    }
    merged.extend_from_slice(left);
    merged.extend_from_slice(right);
}

/// A number with the halves of its key, the lower one first: 12 bytes, of which there are many.
type Keyed = (u32, [u32; 2]);

/// Sorts numbers by a key each; those with equal keys stay in the order in which they were. A radix sort, the last byte first (Knuth,
/// section 5.2.5), which looks only at bytes in which keys differ: for 100,000 texts it takes a tenth of the time of comparisons.
pub(crate) fn sort_by_key(numbers: &mut Vec<u32>, key: &dyn Fn(u32) -> u64) {
    let halves = |key: u64| [key as u32, (key >> 32) as u32];
    let mut keyed: Vec<Keyed> = numbers.iter().map(|number| (*number, halves(key(*number)))).collect();
    let mut sorted = keyed.clone();
    for half in 0..2 {
        let half_of = |item: &Keyed| item.1.get(half).copied().unwrap_or_default();
        let (all, any) =
            keyed.iter().map(half_of).fold((u32::MAX, 0), |(all, any), key| (all & key, any | key));
        for shift in (0..u32::BITS).step_by(8) {
            let byte = |key: u32| (key >> shift) as u8 as usize;
            if byte(all) == byte(any) {
                continue;
            }
            // How many there are of each byte; then where the next one goes.
            let mut places = [0_usize; 256];
            for item in &keyed {
                if let Some(count) = places.get_mut(byte(half_of(item))) {
                    *count += 1;
                }
            }
            let mut next = 0;
            for place in &mut places {
                next += std::mem::replace(place, next);
            }
            for item in &keyed {
                if let Some(place) = places.get_mut(byte(half_of(item)))
                    && let Some(to) = sorted.get_mut(*place)
                {
                    *to = *item;
                    *place += 1;
                }
            }
            std::mem::swap(&mut keyed, &mut sorted);
        }
    }
    numbers.clear();
    numbers.extend(keyed.into_iter().map(|(number, _)| number));
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

        #[test]
        fn sorts_by_keys_as_the_standard_library_does(
            keys in prop::collection::vec(prop_oneof![0_u64..50, any::<u64>(), Just(u64::MAX)], 0..200),
            shift in 0_u32..64,
        ) {
            let places: Vec<u32> = (0..).take(keys.len()).collect();
            let (mut ours, mut theirs) = (places.clone(), places);
            let key = |place: u32| keys[place as usize].rotate_left(shift);
            sort_by_key(&mut ours, &key);
            theirs.sort_by_key(|place| key(*place));
            prop_assert_eq!(ours, theirs);
        }
    }
}
