//! Points in time as the wire writes them: ISO 8601 in UTC with milliseconds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ProtocolError;

const DAY_MS: i64 = 86_400_000;
/// The first millisecond of the year 0000 and the last of the year 9999: what four digits can write.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A point in time, in milliseconds since 1970-01-01 UTC, between the years 0000 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point in time so many milliseconds after 1970, brought into the range of years that can be written.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(*RANGE_MS.start(), *RANGE_MS.end()))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads `2026-11-22T17:29:00.123Z`, with any number of fraction digits (cut to milliseconds) or none, and with `Z` or
    /// an offset such as `+02:00`.
    ///
    /// # Errors
    /// `INVALID_VALUE`
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        parse_millis(text).filter(|millis| RANGE_MS.contains(millis)).map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            ProtocolError::InvalidValue(format!("{shown:?} is not an ISO 8601 timestamp"))
        })
    }
}

fn parse_millis(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
            let minutes = within(hours, 0..=23)? * 60 + within(minutes, 0..=59)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let days = days_from_civil(year, within(month, 1..=12)?, within(day, 1..=31)?);
    // 31 April is no date: the day must come out of the calendar as it went in.
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = within(hour, 0..=23)? * 3600 + within(minute, 0..=59)? * 60 + within(second, 0..=59)?;
    Some(days * DAY_MS + (seconds - offset_minutes * 60) * 1000 + millis)
}

fn within(number: i64, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    range.contains(&number).then_some(number)
}

/// `N` numbers of so many digits each, with the separator between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar: Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`], from the same source.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl Timestamp {
    /// Appends it as it is written. Every record has two: `write!` takes several times as long.
    pub fn push_to(self, out: &mut String) {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_MS));
        let rest = self.0.rem_euclid(DAY_MS);
        let mut push = |number: i64, digits: u32, end: char| {
            for place in (0..digits).rev() {
                let digit = number / 10_i64.pow(place) % 10;
                out.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
            }
            out.push(end);
        };
        push(year, 4, '-');
        push(month, 2, '-');
        push(day, 2, 'T');
        push(rest / 3_600_000, 2, ':');
        push(rest / 60_000 % 60, 2, ':');
        push(rest / 1000 % 60, 2, '.');
        push(rest % 1000, 3, 'Z');
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(24);
        self.push_to(&mut text);
        formatter.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            return Self::parse(&text).map_err(de::Error::custom);
        }
        i64::deserialize(deserializer).map(Self::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_usual_forms() {
        let expected = Timestamp(1_763_832_540_120);
        for text in [
            "2025-11-22T17:29:00.120Z",
            "2025-11-22T17:29:00.12Z",
            "2025-11-22T17:29:00.1209999Z",
            "2025-11-22T19:29:00.120+02:00",
            "2025-11-22 12:29:00.120-05:00",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(expected.to_string(), "2025-11-22T17:29:00.120Z");
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "2025-11-22",
            "2025-11-22T17:29",
            "2025-11-22T17:29:00",
            "2025-11-31T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-11-22T24:00:00Z",
            "2025-11-22T17:29:00.Z",
            "2025-11-22T17:29:00+2:00",
            "+025-11-22T17:29:00Z",
            "2025-11-22T17:29:00é",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap_err().code(), "INVALID_VALUE", "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_survives(millis in RANGE_MS) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
        }

        #[test]
        fn text_orders_as_time_does(a in RANGE_MS, b in RANGE_MS) {
            prop_assert_eq!(Timestamp(a).to_string().cmp(&Timestamp(b).to_string()), a.cmp(&b));
        }

        #[test]
        fn any_text_is_safe(text in "\\PC{0,40}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
