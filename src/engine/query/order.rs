//! The order in which a query returns records.

use std::cmp::Ordering;

use objectql_sync_protocol::{Fields, Scalar};

use super::Path;
use super::rows::{RowNumber, Rows};

/// One key of the order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OrderBy {
    pub(super) path: Path,
    pub(super) direction: Direction,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Small to large.
    Ascending,
    /// Large to small.
    Descending,
}

/// Up to so many records wanted, the best ones are kept in order while the others pass by.
const FEW: usize = 1000;

/// The first `wanted` records in order; a stable sort of what comes in the order in which it came.
pub(super) fn sort<'a>(
    records: impl Iterator<Item = (RowNumber, &'a Fields)>,
    keys: &[OrderBy],
    wanted: usize,
) -> Vec<RowNumber> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    let all = records.map(|(number, record)| Row {
        values: keys.iter().map(|key| key.path.value(record)).collect(),
        number,
    });
    if wanted > FEW {
        rows.extend(all);
        let mut places: Vec<u32> = (0..).take(rows.len()).collect();
        let get = |place: u32| rows.get(place as usize);
        crate::engine::sort::sort(&mut places, &|a, b| {
            get(a).zip(get(b)).is_some_and(|(a, b)| compare_rows(a, b, keys).is_lt())
        });
        return places.into_iter().take(wanted).filter_map(|place| Some(get(place)?.number)).collect();
    }
    for row in all {
        let place = rows.partition_point(|kept| compare_rows(kept, &row, keys).is_lt());
        if place < wanted {
            rows.truncate(wanted - 1);
            rows.insert(place, row);
        }
    }
    rows.into_iter().map(|row| row.number).collect()
}

impl Rows {
    /// The order of two rows by these keys.
    pub(super) fn compare(&self, a: RowNumber, b: RowNumber, keys: &[OrderBy]) -> Ordering {
        let value = |number: RowNumber, key: &OrderBy| {
            self.fields(number).map_or(Scalar::Null, |it| key.path.value(it))
        };
        let mut orders = keys.iter().map(|key| compare_values(&value(a, key), &value(b, key), key.direction));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

struct Row<'a> {
    values: Vec<Scalar<'a>>,
    /// Makes any sort a stable one.
    number: RowNumber,
}

fn compare_rows(a: &Row<'_>, b: &Row<'_>, keys: &[OrderBy]) -> Ordering {
    a.values
        .iter()
        .zip(&b.values)
        .zip(keys)
        .map(|((a, b), key)| compare_values(a, b, key.direction))
        .find(|ordering| ordering.is_ne())
        .unwrap_or_else(|| a.number.cmp(&b.number))
}

pub(super) fn compare_values(a: &Scalar<'_>, b: &Scalar<'_>, direction: Direction) -> Ordering {
    let ordering = match (a, b) {
        (Scalar::Null, Scalar::Null) => return Ordering::Equal,
        (Scalar::Null, _) => return Ordering::Greater,
        (_, Scalar::Null) => return Ordering::Less,
        (Scalar::Number(a), Scalar::Number(b)) => a.total_cmp(b),
        (Scalar::String(a), Scalar::String(b)) => a.cmp(b),
        (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
        (Scalar::Nested(a), Scalar::Nested(b)) => a.as_str().cmp(b.as_str()),
        _ => kind(a).cmp(&kind(b)),
    };
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}

pub(super) fn kind(value: &Scalar<'_>) -> u8 {
    match value {
        Scalar::Bool(_) => 0,
        Scalar::Number(_) => 1,
        Scalar::String(_) => 2,
        Scalar::Nested(_) => 3,
        Scalar::Null => 4,
    }
}
