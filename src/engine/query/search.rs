//! Full text search: records with the words of a text in their fields.
//!
//! A word is a run of letters and digits; of Chinese and Japanese, which have no spaces between words, each character. Case does
//! not matter, accents do. A word of the search matches the words that begin with it. The score of a record is the sum over the
//! words of the search: 32 for the word itself and 16 for one that begins with it, and up to 15 more the earlier the field is named.

use std::cmp::Reverse;

use objectql_sync_protocol::{Fields, Json, ObjectDefinition, Scalar, find_folded};

use super::filter::SHORT;
use super::letters::{fold, stands_alone};
use super::rows::RowNumber;
use super::{Path, Query};

/// The most words that a search may have.
pub(super) const MAX_WORDS: usize = 16;
const WHOLE: u32 = 32;
const PREFIX: u32 = 16;
/// The types of fields that are looked at where the search names none.
const TEXT_TYPES: [&str; 11] = [
    "text",
    "textarea",
    "markdown",
    "html",
    "code",
    "email",
    "phone",
    "url",
    "select",
    "auto_number",
    "tags",
];

/// What to search for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Search {
    /// In small letters.
    pub(super) words: Vec<String>,
    /// Where; none: everywhere.
    pub(super) fields: Vec<Path>,
    /// Whether one of the words is enough.
    pub(super) is_any: bool,
}

impl Search {
    /// The words of a text, in small letters; one more than there may be tells that there are too many.
    pub(super) fn words_of(text: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for word in words(text) {
            let word: String = word.chars().filter_map(fold).collect();
            if !found.contains(&word) {
                found.push(word);
            }
            if found.len() > MAX_WORDS {
                break;
            }
        }
        found
    }

    /// How well a record fits; 0: not at all.
    pub(super) fn score(&self, record: &Fields) -> u32 {
        let mut best = [0; MAX_WORDS];
        if self.fields.is_empty() {
            record
                .iter()
                .filter(|(name, _)| !is_drivers(name))
                .for_each(|(_, value)| self.look(value, 0, &mut best));
        }
        for (place, path) in self.fields.iter().enumerate() {
            if let Some(value) = path.find(record) {
                self.look(value, place, &mut best);
            }
        }
        let best = best.get(..self.words.len()).unwrap_or_default();
        if self.is_any || best.iter().all(|score| *score > 0) { best.iter().sum() } else { 0 }
    }

    fn look(&self, value: Json<'_>, place: usize, best: &mut [u32; MAX_WORDS]) {
        match value.scalar() {
            Scalar::String(text) => {
                let early = u32::try_from(15_usize.saturating_sub(place)).unwrap_or(0);
                for (wanted, best) in self.words.iter().zip(best.iter_mut()) {
                    let score = fit(&text, wanted);
                    if score > 0 {
                        *best = (*best).max(score + early);
                    }
                }
            }
            Scalar::Nested(json) => json.elements().for_each(|element| self.look(element, place, best)),
            Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => {}
        }
    }
}

fn is_drivers(quoted_name: &str) -> bool {
    matches!(quoted_name, "\"id\"" | "\"created_at\"" | "\"updated_at\"")
}

/// How well the best word of a text fits one that is wanted, which is in small letters.
fn fit(text: &str, wanted: &str) -> u32 {
    let mut best = 0;
    if !wanted.is_ascii() || !text.is_ascii() || wanted.len() > SHORT {
        for word in words(text) {
            let mut letters = word.chars().filter_map(fold);
            if wanted.chars().all(|letter| letters.next() == Some(letter)) {
                best = best.max(if letters.next().is_none() { WHOLE } else { PREFIX });
            }
        }
        return best;
    }
    // Most texts are ASCII: only where the letters stand is it looked whether a word begins there, and ends.
    let is_letter = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric);
    let mut at = 0;
    while best < WHOLE
        && let Some(start) = find_folded(text, wanted, at)
    {
        at = start + wanted.len();
        if start == 0 || !is_letter(start - 1) {
            best = best.max(if is_letter(at) { PREFIX } else { WHOLE });
        }
    }
    best
}

/// Where the next word from `at` on begins and ends.
fn next_word(text: &str, mut at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let letter_at = |at: usize| text.get(at..).and_then(|rest| rest.chars().next());
    let start = loop {
        let byte = *bytes.get(at)?;
        if byte.is_ascii() {
            if byte.is_ascii_alphanumeric() {
                break at;
            }
            at += 1;
            continue;
        }
        let letter = letter_at(at)?;
        if stands_alone(letter) && fold(letter).is_some() {
            return Some((at, at + letter.len_utf8()));
        }
        if fold(letter).is_some() {
            break at;
        }
        at += letter.len_utf8();
    };
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let letter = if byte.is_ascii() { None } else { letter_at(at) };
        match letter.filter(|letter| !stands_alone(*letter) && fold(*letter).is_some()) {
            Some(letter) => at += letter.len_utf8(),
            None => break,
        }
    }
    Some((start, at))
}

/// The words of a text, as they stand there.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (start, end) = next_word(text, at)?;
        at = end;
        text.get(start..end)
    })
}

impl Query {
    /// Has a search that names no fields look at those of the object that hold text, if any are defined.
    pub(crate) fn search_in(&mut self, definition: &ObjectDefinition) {
        if let Some(search) = self.search.as_mut().filter(|search| search.fields.is_empty()) {
            let fields =
                definition.fields.iter().filter(|(_, field)| TEXT_TYPES.contains(&field.field_type.as_str()));
            search.fields = fields.map(|(name, _)| Path::new(name)).collect();
        }
    }

    /// The records that the search finds, the best ones first; those that fit equally well in the order in which they came.
    pub(super) fn rank<'a>(
        &self,
        search: &Search,
        records: impl Iterator<Item = (RowNumber, &'a Fields)>,
    ) -> Vec<RowNumber> {
        let mut found: Vec<(Reverse<u32>, RowNumber)> = Vec::new();
        for (number, record) in records {
            let score = search.score(record);
            if score > 0 {
                found.push((Reverse(score), number));
            }
        }
        let mut places: Vec<u32> = (0..).take(found.len()).collect();
        crate::engine::sort::sort(&mut places, &|a, b| found.get(a as usize) < found.get(b as usize));
        let numbers = places.into_iter().filter_map(|place| Some(found.get(place as usize)?.1));
        numbers.skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(search: &str, record: &str) -> u32 {
        let search = Search { words: Search::words_of(search), ..Search::default() };
        search.score(&Fields::parse(record).unwrap())
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_and_han_characters() {
        let text = "Ship it, v2.0! Ünïcode 东京タワー";
        assert_eq!(
            words(text).collect::<Vec<_>>(),
            ["Ship", "it", "v2", "0", "Ünïcode", "东", "京", "タ", "ワ", "ー"]
        );
        assert_eq!(Search::words_of("a A b-a"), ["a", "b"]);
    }

    #[test]
    fn whole_words_are_better_than_beginnings_and_every_word_must_be_there() {
        let record = r#"{"id":"x1","title":"Shipping it","tags":["Größe","done"],"n":42}"#;
        for (search, expected) in [
            ("ship", 31),
            ("SHIPPING", 47),
            ("it ship", 78),
            ("größe", 47),
            ("GRÖ", 31),
            ("hip", 0),
            ("ship nothing", 0),
            ("x1", 0),
            ("42", 0),
            ("shippings", 0),
        ] {
            assert_eq!(score(search, record), expected, "{search}");
        }
    }
}
