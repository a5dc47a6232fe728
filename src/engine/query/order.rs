//! The order in which a query returns records.

use std::cmp::Ordering;

use objectql_sync_protocol::{Fields, Json, Scalar};

use super::Path;

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

/// The first `wanted` records in order; a stable sort.
pub(super) fn sort<'a>(
    records: impl Iterator<Item = &'a Fields>,
    keys: &[OrderBy],
    wanted: usize,
) -> Vec<&'a Fields> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    let all = records.enumerate().map(|(place, record)| Row {
        values: keys.iter().map(|key| key.path.find(record).map_or(Scalar::Null, Json::scalar)).collect(),
        place,
        record,
    });
    if wanted > FEW {
        rows.extend(all);
        rows.sort_unstable_by(|a, b| compare_rows(a, b, keys));
        rows.truncate(wanted);
    } else {
        for row in all {
            let place = rows.partition_point(|kept| compare_rows(kept, &row, keys).is_lt());
            if place < wanted {
                rows.truncate(wanted - 1);
                rows.insert(place, row);
            }
        }
    }
    rows.into_iter().map(|row| row.record).collect()
}

struct Row<'a> {
    values: Vec<Scalar<'a>>,
    /// Where the record came: makes any sort a stable one.
    place: usize,
    record: &'a Fields,
}

fn compare_rows(a: &Row<'_>, b: &Row<'_>, keys: &[OrderBy]) -> Ordering {
    a.values
        .iter()
        .zip(&b.values)
        .zip(keys)
        .map(|((a, b), key)| compare_values(a, b, key.direction))
        .find(|ordering| ordering.is_ne())
        .unwrap_or_else(|| a.place.cmp(&b.place))
}

fn compare_values(a: &Scalar<'_>, b: &Scalar<'_>, direction: Direction) -> Ordering {
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

fn kind(value: &Scalar<'_>) -> u8 {
    match value {
        Scalar::Bool(_) => 0,
        Scalar::Number(_) => 1,
        Scalar::String(_) => 2,
        Scalar::Nested(_) => 3,
        Scalar::Null => 4,
    }
}
