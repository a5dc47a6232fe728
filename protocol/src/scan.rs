//! Finding the byte that ends a run of plain text, eight bytes at a time: most of what is read of a record is passed over.
//!
//! Whether a word has a byte that is zero, or less than a number: Sean Eron Anderson, "Bit Twiddling Hacks" (1997-2005). What is
//! marked in a word may be wrong above the first byte that is right, so the first one counts only.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// The first place from `at` on with a quote or a backslash; the end if there is none.
pub(crate) fn text_end(bytes: &[u8], at: usize) -> usize {
    find(bytes, at, |word| has(word, b'"') | has(word, b'\\'), |byte| matches!(byte, b'"' | b'\\'))
}

/// The first place from `at` on with a quote, a backslash or a control character; the end if there is none.
pub(crate) fn plain_end(bytes: &[u8], at: usize) -> usize {
    let mark = |word: u64| has(word, b'"') | has(word, b'\\') | below(word, 0x20);
    find(bytes, at, mark, |byte| matches!(byte, b'"' | b'\\' | 0..0x20))
}

/// The first place from `at` on where a text stands that is ASCII without capitals, whatever the case of the letters there. For short
/// texts: what it costs is in the worst case the product of both lengths.
#[must_use]
pub fn find_folded(text: &str, wanted: &str, mut at: usize) -> Option<usize> {
    let (bytes, wanted) = (text.as_bytes(), wanted.as_bytes());
    let Some(first) = wanted.first() else { return Some(at) };
    loop {
        let is_first = |byte: u8| byte.to_ascii_lowercase() == *first;
        at = find(bytes, at, |word| has(word | (ONES * 0x20), *first | 0x20), is_first);
        if bytes.get(at..)?.get(..wanted.len())?.eq_ignore_ascii_case(wanted) {
            return Some(at);
        }
        at += 1;
    }
}

fn find(bytes: &[u8], mut at: usize, mark: impl Fn(u64) -> u64, is_end: impl Fn(u8) -> bool) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marks = mark(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if is_end(*byte) {
            break;
        }
        at += 1;
    }
    at
}

fn has(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_text_whatever_its_case(text in "[aAbB1 \u{11}éÉ!]{0,40}", wanted in "[ab1 !]{1,3}", at in 0_usize..20) {
            let folded = text.to_ascii_lowercase();
            let expected = (at..text.len()).find(|at| folded.as_bytes()[*at..].starts_with(wanted.as_bytes()));
            prop_assert_eq!(find_folded(&text, &wanted, at), expected);
        }

        #[test]
        fn finds_what_a_byte_by_byte_search_finds(bytes in prop::collection::vec(
            prop_oneof![Just(b'a'), Just(b'"'), Just(b'\\'), any::<u8>(), 0x1e_u8..0x24], 0..60), at in 0_usize..60) {
            let first = |is_end: &dyn Fn(u8) -> bool| {
                bytes.iter().enumerate().skip(at).find(|(_, byte)| is_end(**byte)).map_or(bytes.len().max(at), |(place, _)| place)
            };
            prop_assert_eq!(text_end(&bytes, at), first(&|byte| byte == b'"' || byte == b'\\'));
            prop_assert_eq!(plain_end(&bytes, at), first(&|byte| byte == b'"' || byte == b'\\' || byte < 0x20));
        }
    }
}
