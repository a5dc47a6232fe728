//! From text to a double.

/// The largest integer up to which every integer is a double: 2^53.
const MAX_EXACT_INTEGER: u64 = 1 << 53;
/// The largest power of ten that is a double.
const MAX_EXACT_POWER: i32 = 22;

/// The double nearest to a number in JSON's grammar; infinite where it is out of range, not a number for anything else.
///
/// Short numbers, which most are, are read here: a whole number up to 2^53, multiplied or divided by an exact power of ten, is
/// rounded once and so correctly (William D. Clinger, "How to read floating point numbers accurately", 1990). For the others the
/// standard library needs 10 KB of tables that do not compress; in a browser, `Number` has them already.
pub(crate) fn parse_number(text: &str) -> f64 {
    short(text).unwrap_or_else(|| long(text))
}

fn short(text: &str) -> Option<f64> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mut whole, mut power, mut is_fraction) = (0_u64, 0_i32, false);
    let mut bytes = digits.bytes();
    for byte in bytes.by_ref() {
        match byte {
            b'0'..=b'9' => {
                whole = whole.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                power -= i32::from(is_fraction);
            }
            b'.' => is_fraction = true,
            b'e' | b'E' => {
                let exponent = digits.get(digits.len() - bytes.len()..)?;
                power += exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?;
                break;
            }
            _ => return None,
        }
    }
    if digits.is_empty() || whole > MAX_EXACT_INTEGER || power.abs() > MAX_EXACT_POWER {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "up to 2^53: exact")]
    let whole = whole as f64;
    let ten_to = (0..power.abs()).fold(1.0, |product, _| product * 10.0);
    let number = if power < 0 { whole / ten_to } else { whole * ten_to };
    Some(if is_negative { -number } else { number })
}

#[cfg(target_arch = "wasm32")]
fn long(text: &str) -> f64 {
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_name = Number)]
        fn number(text: &str) -> f64;
    }
    number(text)
}

#[cfg(not(target_arch = "wasm32"))]
fn long(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_same(text: &str) {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(parse_number(text).to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn what_is_short_is_read_here() {
        for text in [
            "0",
            "-0",
            "7",
            "-1.5",
            "0.1",
            "123456789012345",
            "9007199254740992",
            "1e22",
            "1E+3",
            "25e-2",
            "1.25e3",
        ] {
            assert!(short(text).is_some(), "{text}");
            is_same(text);
        }
        for text in [
            "9007199254740993",
            "1e23",
            "1e-23",
            "0.12345678901234567890",
            "1e999",
            "5e-324",
            "1e99999999999",
        ] {
            assert!(short(text).is_none(), "{text}");
            is_same(text);
        }
        assert!(parse_number("x").is_nan());
        assert!(parse_number("").is_nan());
    }

    proptest! {
        /// Goal: the same double as the standard library's, to the last bit.
        #[test]
        fn reads_what_the_standard_library_reads(whole in any::<u32>(), fraction in any::<u32>(), digits in 1_usize..12, power in -30_i32..30) {
            is_same(&format!("{whole}.{fraction:0digits$}e{power}"));
            is_same(&format!("-{whole}e{power}"));
            is_same(&format!("{whole}.{fraction}"));
        }

        #[test]
        fn reads_any_double_that_is_written(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            is_same(&serde_json::to_string(&number).unwrap());
        }
    }
}
