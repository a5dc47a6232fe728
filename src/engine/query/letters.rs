//! What is a letter or a digit, and its small form.

/// The small form of a letter or a digit; none for anything else. Of one that is two letters in its small form, the first.
pub(super) fn fold(letter: char) -> Option<char> {
    match letter {
        '0'..='9' | 'a'..='z' => Some(letter),
        'A'..='Z' => Some(letter.to_ascii_lowercase()),
        _ if letter.is_ascii() => None,
        // Scripts without capitals that make up most of what is not Latin, Greek or Cyrillic: no need to ask. Nor of emoji.
        '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}'
        | '\u{3105}'..='\u{312f}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' => Some(letter),
        '\u{1f000}'..='\u{1faff}' => None,
        // The form that it has at the end of a word.
        'ς' => Some('σ'),
        _ => far(letter),
    }
}

/// Whether a letter is a word by itself: Han, Hiragana and Katakana.
pub(super) fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{2e80}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(not(target_arch = "wasm32"))]
fn far(letter: char) -> Option<char> {
    letter.is_alphanumeric().then(|| letter.to_lowercase().next().unwrap_or(letter))
}

/// A browser has the tables of Unicode; in the wasm they would be 20 KB that hardly compress. Each letter is asked for once.
#[cfg(target_arch = "wasm32")]
fn far(letter: char) -> Option<char> {
    use std::cell::RefCell;

    /// The letters before Han, which are asked for once: what is known of each, or 0.
    const KNOWN: usize = 0x2e80;
    const NONE: u32 = u32::MAX;
    thread_local! {
        static LETTERS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    }
    let place = letter as usize;
    let known = LETTERS.with_borrow(|letters| letters.get(place).copied()).unwrap_or(0);
    if known != 0 {
        return char::from_u32(known);
    }
    let folded = ask(letter);
    if place < KNOWN {
        LETTERS.with_borrow_mut(|letters| {
            letters.resize(KNOWN, 0);
            if let Some(entry) = letters.get_mut(place) {
                *entry = folded.map_or(NONE, u32::from);
            }
        });
    }
    folded
}

#[cfg(target_arch = "wasm32")]
fn ask(letter: char) -> Option<char> {
    use js_sys::{JsString, RegExp};
    let text = JsString::from(letter.encode_utf8(&mut [0; 4]) as &str);
    let small =
        RegExp::new("[\\p{Alphabetic}\\p{N}]", "u").test(&String::from(&text)).then(|| text.to_lower_case());
    small.and_then(|small| String::from(small).chars().next())
}
