//! A Bloom filter of ids (Bloom, "Space/Time Trade-offs in Hash Coding with Allowable Errors", 1970): 12 bits for each and 5 of them
//! set, which takes one id in 200 for another.

use objectql_sync_protocol::RecordId;

const BITS_PER_ID: usize = 12;
const HASHES: u32 = 5;

/// A filter of some ids.
pub(super) fn of(ids: &[RecordId]) -> Vec<u8> {
    let mut filter = vec![0; (ids.len() * BITS_PER_ID).div_ceil(8).max(1)];
    for id in ids {
        for bit in bits(hash(id), filter.len()) {
            if let Some(byte) = filter.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    filter
}

/// Whether an id with that hash may be among them.
pub(super) fn has(filter: &[u8], hash: IdHash) -> bool {
    bits(hash, filter.len()).all(|bit| filter.get(bit / 8).is_some_and(|byte| byte & 1 << (bit % 8) != 0))
}

/// Two hashes of an id, which make all (Kirsch and Mitzenmacher, "Less Hashing, Same Performance", 2006).
pub(crate) type IdHash = (u32, u32);

/// The hash of an id: made once for all filters.
pub(crate) fn hash(id: &RecordId) -> IdHash {
    let hash = |seed: u32| match id {
        RecordId::Number(number) => xxhash_rust::xxh32::xxh32(&number.to_le_bytes(), seed),
        RecordId::String(text) => xxhash_rust::xxh32::xxh32(text.as_bytes(), seed + 2),
    };
    (hash(0), hash(1) | 1)
}

fn bits((first, step): IdHash, bytes: usize) -> impl Iterator<Item = usize> {
    (0..HASHES).map(move |at| first.wrapping_add(at.wrapping_mul(step)) as usize % (bytes * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_in_are_found_and_few_others() {
        let id = |number: i64| match number % 2 {
            0 => RecordId::number(number).unwrap(),
            _ => RecordId::string(format!("id {number}")).unwrap(),
        };
        let ids: Vec<RecordId> = (0..600).map(id).collect();
        let filter = of(&ids);
        assert_eq!(filter.len(), 900);
        assert!(ids.iter().all(|id| has(&filter, hash(id))));
        let others = (600..20_600).filter(|number| has(&filter, hash(&id(*number)))).count();
        assert!(others < 200, "{others} of 20000");
        assert!(!has(&of(&[]), hash(&id(1))));
    }
}
