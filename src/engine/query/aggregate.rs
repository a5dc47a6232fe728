//! Groups of records and what is computed of each; distinct values.
//!
//! What counts, everywhere: null and absent fields are no values. Numbers are added and averaged, booleans as 0 and 1, anything else
//! is passed over; the sum of nothing is 0, the average of nothing null, and a number beyond doubles too. Values are the same when
//! their JSON texts are: of objects, with their fields in the same order. The smallest and largest value are those of `orderBy`, with
//! booleans as 0 and 1. Days, weeks (ISO 8601, from Monday), months, quarters and years are those of UTC; what is no date is null.

use std::cmp::Ordering;

use objectql_sync_protocol::{Fields, Json, Scalar, Timestamp, array_text, number_text, quoted};

use super::filter::{Condition, Filter};
use super::order::{self, Direction, OrderBy, compare_values};
use super::{Path, Query};
use crate::engine::places::Texts;

/// What to compute of the records that a query finds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Aggregate {
    /// Which records.
    pub(crate) source: Query,
    pub(super) groups: Vec<Group>,
    pub(super) columns: Vec<Column>,
    /// Which rows of the result.
    pub(super) having: Option<Condition>,
    pub(super) order_by: Vec<OrderBy>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
    /// Whether only the values of its group are wanted, and not null.
    is_distinct: bool,
}

/// What is computed of the records that were added so far.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What they have in common, each in a line: no JSON text of a value has a line break in it.
    values: Texts,
    sums: Vec<Vec<Sum>>,
    /// The values of columns that count different ones, with their group and column.
    distinct: Texts,
    /// What a record has in common with others, while it is added.
    key: String,
}

/// What records of one group have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) path: Path,
    /// The name in the result, quoted.
    pub(super) name: String,
    pub(super) period: Option<Period>,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// What is computed of a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) function: Function,
    /// Of which values; none: of the records.
    pub(super) path: Option<Path>,
    /// The name in the result, quoted.
    pub(super) name: String,
    /// Of which records only.
    pub(super) filter: Option<Condition>,
}

/// How it is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Function {
    Count,
    CountDistinct,
    Sum,
    Average,
    Min,
    Max,
    Array,
    /// Joined by this.
    Text(String),
}

impl Aggregate {
    /// The values of a field that are not null, each once.
    pub(crate) fn distinct(field: &str, filter: Option<Filter>) -> Self {
        let group = Group { path: Path::new(field), name: String::new(), period: None };
        Self { source: filter.into(), groups: vec![group], is_distinct: true, ..Self::default() }
    }

    /// The result of these records.
    pub(super) fn rows(&self, records: &mut dyn Iterator<Item = &Fields>) -> String {
        let mut groups = Groups::default();
        records.for_each(|record| self.add(record, &mut groups));
        self.finish(&groups)
    }

    /// Adds a record that is wanted.
    pub(super) fn add(&self, record: &Fields, groups: &mut Groups) {
        let Groups { values, sums, distinct, key } = groups;
        key.clear();
        for group in &self.groups {
            group.push(record, key);
            key.push('\n');
        }
        let (place, is_new) = values.place(key);
        if is_new {
            sums.push(self.nothing());
        }
        let sums = sums.get_mut(place).into_iter().flatten();
        for (at, (column, sum)) in self.columns.iter().zip(sums).enumerate() {
            let mut is_first = |value: &str| distinct.place(&format!("{place} {at} {value}")).1;
            column.add(record, sum, &mut is_first);
        }
    }

    /// The rows of the result as a JSON array; groups in the order in which their first records came.
    pub(super) fn finish(&self, groups: &Groups) -> String {
        let Groups { values, sums, .. } = groups;
        if self.is_distinct {
            let values = values.iter().map(|value| value.trim_end()).filter(|value| *value != "null");
            return array_text(values.map(str::to_owned));
        }
        let rows = values.iter().zip(sums).filter_map(|(values, sums)| self.row(values, sums));
        let mut rows: Vec<Fields> = rows.collect();
        if self.groups.is_empty() && rows.is_empty() {
            // There is one row, also where there is no record.
            rows.extend(self.row("", &self.nothing()));
        }
        let is_wanted = |row: &Fields| self.having.as_ref().is_none_or(|having| having.matches(row));
        let numbered = (0..).zip(&rows).filter(|(_, row)| is_wanted(row));
        let wanted = self.limit.unwrap_or(usize::MAX).saturating_add(self.offset);
        let sorted = order::sort(numbered, &self.order_by, wanted).into_iter().skip(self.offset);
        array_text(sorted.filter_map(|place| Some(rows.get(place as usize)?.as_str().to_owned())))
    }

    fn nothing(&self) -> Vec<Sum> {
        self.columns.iter().map(|_| Sum::default()).collect()
    }

    fn row(&self, values: &str, sums: &[Sum]) -> Option<Fields> {
        let groups =
            self.groups.iter().zip(values.lines()).map(|(group, value)| format!("{}:{value}", group.name));
        let columns = self.columns.iter().zip(sums);
        let columns = columns.map(|(column, sum)| format!("{}:{}", column.name, column.text(sum)));
        let members: Vec<String> = groups.chain(columns).collect();
        Fields::from_normalised(format!("{{{}}}", members.join(","))).ok()
    }
}

impl Group {
    fn push(&self, record: &Fields, key: &mut String) {
        let value = self.path.find(record);
        match (value, self.period) {
            (Some(value), None) => key.push_str(value.as_str()),
            (Some(value), Some(period)) => {
                key.push_str(&period.of(value).unwrap_or_else(|| "null".to_owned()))
            }
            (None, _) => key.push_str("null"),
        }
    }
}

const DAY_MS: i64 = 86_400_000;

impl Period {
    /// The period that a date is in, as JSON text: `"2026"`, `"2026-Q4"`, `"2026-11"`, `"2026-W48"`, `"2026-11-26"`.
    fn of(self, value: Json<'_>) -> Option<String> {
        let moment = match value.scalar() {
            #[expect(clippy::cast_possible_truncation, reason = "it saturates, and is brought into range")]
            Scalar::Number(millis) => Timestamp::from_millis(millis as i64),
            Scalar::String(text) if text.len() == 10 => {
                Timestamp::parse(&format!("{text}T00:00:00Z")).ok()?
            }
            Scalar::String(text) => Timestamp::parse(&text).ok()?,
            _ => return None,
        };
        let text = moment.to_string();
        let year = text.get(..4)?;
        Some(quoted(&match self {
            Self::Year => year.to_owned(),
            Self::Quarter => format!("{year}-Q{}", (text.get(5..7)?.parse::<u8>().ok()? - 1) / 3 + 1),
            Self::Month => text.get(..7)?.to_owned(),
            Self::Day => text.get(..10)?.to_owned(),
            Self::Week => {
                // A week belongs to the year that its Thursday is in; 1970 began with one.
                let day = moment.millis().div_euclid(DAY_MS);
                let thursday = day - (day + 3).rem_euclid(7) + 3;
                let text = Timestamp::from_millis(thursday * DAY_MS).to_string();
                let year = text.get(..4)?;
                let first = Timestamp::parse(&format!("{year}-01-01T00:00:00Z")).ok()?.millis() / DAY_MS;
                format!("{year}-W{:02}", (thursday - first) / 7 + 1)
            }
        }))
    }
}

/// What was seen of a column's values in a group so far.
#[derive(Debug, Default)]
struct Sum {
    /// Of the values, or of the different ones.
    count: usize,
    numbers: usize,
    total: f64,
    /// JSON texts.
    best: Option<String>,
    all: Vec<String>,
}

impl Column {
    fn add(&self, record: &Fields, sum: &mut Sum, is_first: &mut dyn FnMut(&str) -> bool) {
        if self.filter.as_ref().is_some_and(|filter| !filter.matches(record)) {
            return;
        }
        let Some(path) = &self.path else {
            sum.count += 1;
            return;
        };
        let Some(value) = path.find(record).filter(|value| !value.is_null()) else { return };
        match &self.function {
            Function::Count => sum.count += 1,
            Function::CountDistinct => sum.count += usize::from(is_first(value.as_str())),
            Function::Sum | Function::Average => {
                if let Scalar::Number(number) = numeric(value) {
                    sum.numbers += 1;
                    sum.total += number;
                }
            }
            Function::Min | Function::Max => {
                let wanted = if self.function == Function::Min { Ordering::Less } else { Ordering::Greater };
                let number = numeric(value);
                let is_better = |best: &String| {
                    let best = numeric(Json::from_normalised(best));
                    compare_values(&number, &best, Direction::Ascending) == wanted
                };
                if sum.best.as_ref().is_none_or(is_better) {
                    sum.best = Some(value.as_str().to_owned());
                }
            }
            Function::Array | Function::Text(_) => sum.all.push(value.as_str().to_owned()),
        }
    }

    /// The result as JSON text.
    fn text(&self, sum: &Sum) -> String {
        #[expect(clippy::cast_precision_loss, reason = "there are not 2^53 records")]
        let average = || sum.total / sum.numbers as f64;
        match &self.function {
            Function::Count | Function::CountDistinct => sum.count.to_string(),
            Function::Sum => number_text(sum.total),
            Function::Average => number_text(average()),
            Function::Min | Function::Max => {
                let best = sum.best.as_deref().unwrap_or("null");
                match numeric(Json::from_normalised(best)) {
                    Scalar::Number(number) => number_text(number),
                    _ => best.to_owned(),
                }
            }
            Function::Array => array_text(sum.all.iter().cloned()),
            Function::Text(separator) => {
                let text = |value: &String| {
                    let text = Json::from_normalised(value).as_text();
                    text.map_or_else(|| value.clone(), std::borrow::Cow::into_owned)
                };
                quoted(&sum.all.iter().map(text).collect::<Vec<_>>().join(separator))
            }
        }
    }
}

/// A boolean as a number, anything else as it is.
fn numeric(value: Json<'_>) -> Scalar<'_> {
    match value.scalar() {
        Scalar::Bool(value) => Scalar::Number(f64::from(u8::from(value))),
        other => other,
    }
}
