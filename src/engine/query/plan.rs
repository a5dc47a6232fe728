//! How a query is answered: which rows are looked at, and whether they come in order.

use std::cmp::Ordering;

use objectql_sync_protocol::{Fields, RecordId, Scalar};

use super::filter::{Bound, Condition, Test};
use super::index::{Index, Place};
use super::order::{Direction, OrderBy, compare_values, kind};
use super::rows::{RowNumber, Rows};
use super::{Path, Query};
use crate::engine::sort::{sort, sort_by_key};

/// More values of an `$in` than this are looked for by going through the rows.
const MOST_ALTERNATIVES: usize = 256;

/// Where the rows of a query come from.
#[derive(Debug)]
pub(super) enum Source {
    /// All rows.
    Scan,
    /// Those with one of these ids.
    Ids(Vec<RecordId>),
    /// Some places of an index.
    Index {
        /// Which index.
        index: usize,
        /// Without overlap; in the order of the index.
        ranges: Vec<(Place, Place)>,
    },
}

/// How a query is answered.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Source,
    /// Whether the rows come in the order that the query wants: then it can stop at its limit. By how many keys of that order
    /// the index sorts them.
    pub(super) sorted_by: Option<usize>,
    /// Whether all that comes is wanted, so that the filter need not be asked.
    pub(super) is_exact: bool,
}

/// The values of one field that a filter allows: they stand together in the order of an index.
#[derive(Debug, Clone)]
pub(super) enum Span<'a> {
    Point(Scalar<'a>),
    /// Strings that begin so.
    Prefix(&'a str),
    /// This value and all that come later in the order.
    From(Scalar<'a>),
    /// This value and all that come earlier.
    UpTo(Scalar<'a>),
    /// Values of one kind, from a bound or up to one or both.
    Range {
        low: Option<(Scalar<'a>, bool)>,
        high: Option<(Scalar<'a>, bool)>,
    },
}

impl Span<'_> {
    /// Whether a value stands before the span, in it or after it.
    fn place(&self, value: &Scalar<'_>) -> Ordering {
        let order = |bound: &Scalar<'_>| compare_values(value, bound, Direction::Ascending);
        match self {
            Self::Point(point) => order(point),
            Self::From(first) => order(first).min(Ordering::Equal),
            Self::UpTo(last) => order(last).max(Ordering::Equal),
            Self::Prefix(prefix) => match value {
                Scalar::String(text) if text.starts_with(prefix) => Ordering::Equal,
                Scalar::String(text) => text.as_ref().cmp(prefix),
                other => kind(other).cmp(&kind(&Scalar::String("".into()))),
            },
            Self::Range { low, high } => {
                let Some((bound, _)) = low.as_ref().or(high.as_ref()) else { return Ordering::Equal };
                let by_kind = kind(value).cmp(&kind(bound));
                if by_kind.is_ne() {
                    return by_kind;
                }
                let is_past = |bound: &Option<(Scalar<'_>, bool)>, outside: Ordering| {
                    bound.as_ref().is_some_and(|(bound, is_in)| {
                        let order = order(bound);
                        order == outside || (order == Ordering::Equal && !is_in)
                    })
                };
                match (is_past(low, Ordering::Less), is_past(high, Ordering::Greater)) {
                    (true, _) => Ordering::Less,
                    (_, true) => Ordering::Greater,
                    _ => Ordering::Equal,
                }
            }
        }
    }

    const fn is_point(&self) -> bool {
        matches!(self, Self::Point(_))
    }
}

/// The conditions that must all hold, taken out of their brackets.
pub(super) fn clauses(condition: &Condition) -> Vec<&Condition> {
    match condition {
        Condition::And(parts) => parts.iter().flat_map(clauses).collect(),
        other => vec![other],
    }
}

/// The spans of a field that these clauses allow, any one of which will do, and how many clauses that takes care of.
fn spans_of<'a>(path: &Path, clauses: &[&'a Condition]) -> Option<(Vec<Span<'a>>, usize)> {
    let tests = || {
        clauses.iter().filter_map(|clause| match clause {
            Condition::Field(other, test) if other.whole == path.whole => Some(test),
            _ => None,
        })
    };
    let scalar = |value: &'a super::filter::Value| {
        Some(value.as_json().scalar()).filter(|scalar| !matches!(scalar, Scalar::Nested(_)))
    };
    // The narrowest first.
    for test in tests() {
        match test {
            Test::Equal(value) => return Some((vec![Span::Point(scalar(value)?)], 1)),
            Test::Null => return Some((vec![Span::Point(Scalar::Null)], 1)),
            _ => {}
        }
    }
    for test in tests() {
        match test {
            Test::In(values) if values.len() <= MOST_ALTERNATIVES => {
                let points =
                    values.iter().map(|value| scalar(value).map(Span::Point)).collect::<Option<_>>()?;
                return Some((points, 1));
            }
            Test::StartsWith(prefix) => return Some((vec![Span::Prefix(prefix)], 1)),
            _ => {}
        }
    }
    // What comes after a cursor has at least its first value, or a null where nulls are the last to come.
    let after = clauses.iter().find_map(|clause| match clause {
        Condition::After(values) => values.first().filter(|(key, _)| key.path.whole == path.whole),
        _ => None,
    });
    if let Some((key, value)) = after {
        let value = value.as_json().scalar();
        return Some(match (key.direction, &value) {
            (Direction::Ascending, _) => (vec![Span::From(value)], 0),
            (Direction::Descending, Scalar::Null) => (vec![Span::Point(value)], 0),
            (Direction::Descending, _) => (vec![Span::UpTo(value), Span::Point(Scalar::Null)], 0),
        });
    }
    let (mut low, mut high, mut count) = (None, None, 0);
    for test in tests() {
        let Test::Ordered(bound, value) = test else { continue };
        let Some(value) = scalar(value) else { continue };
        let (end, is_in) = match bound {
            Bound::Above => (&mut low, false),
            Bound::AtLeast => (&mut low, true),
            Bound::Below => (&mut high, false),
            Bound::AtMost => (&mut high, true),
        };
        // A second bound on the same side is left to the filter.
        if end.is_none() {
            *end = Some((value, is_in));
            count += 1;
        }
    }
    if let (Some((one, _)), Some((other, _))) = (&low, &high)
        && kind(one) != kind(other)
    {
        (high, count) = (None, count - 1);
    }
    // Nothing is above null or below it.
    let is_null = |end: &Option<(Scalar<'_>, bool)>| matches!(end, Some((Scalar::Null, _)));
    (count > 0 && !is_null(&low) && !is_null(&high)).then(|| (vec![Span::Range { low, high }], count))
}

/// What an index can do for a query.
struct Candidate {
    index: usize,
    ranges: Vec<(Place, Place)>,
    rows: usize,
    sorted_by: Option<usize>,
    is_exact: bool,
}

impl Plan {
    /// Among how many rows it looks.
    pub(super) fn candidates(&self, rows: &Rows, indexes: &[Index]) -> usize {
        match &self.source {
            Source::Scan => rows.len(),
            Source::Ids(ids) => ids.len(),
            Source::Index { index, ranges } => indexes
                .get(*index)
                .map_or(0, |index| ranges.iter().map(|(from, to)| index.count(*from, *to)).sum()),
        }
    }
}

impl Query {
    /// Chooses the way to look at the fewest rows.
    pub(super) fn plan(&self, rows: &Rows, indexes: &[Index]) -> Plan {
        if let Some(ids) = self.condition().and_then(Condition::only_ids) {
            let is_sorted = ids.len() < 2 || self.order_by.is_empty();
            return Plan { source: Source::Ids(ids), sorted_by: is_sorted.then_some(0), is_exact: false };
        }
        let clauses = self.condition().map(clauses).unwrap_or_default();
        let wanted = self.limit.map(|limit| limit.saturating_add(self.offset));
        let candidates =
            indexes.iter().enumerate().filter_map(|(at, index)| self.candidate(rows, at, index, &clauses));
        let candidates: Vec<Candidate> = candidates.collect();
        let fewest = candidates.iter().map(|candidate| candidate.rows).min().unwrap_or(rows.len());
        let cost = |candidate: &Candidate| match wanted {
            // In order, about so many are looked at until enough of them match.
            Some(wanted) if candidate.sorted_by.is_some() => {
                let matching = if candidate.is_exact { candidate.rows } else { fewest };
                (wanted.saturating_mul(candidate.rows) / matching.max(1)).min(candidate.rows)
            }
            // What is not in order is sorted.
            _ if self.order_by.is_empty() || candidate.sorted_by.is_some() => candidate.rows,
            _ => candidate.rows.saturating_mul(2),
        };
        let scan = if self.order_by.is_empty() { rows.len() } else { rows.len().saturating_mul(2) };
        let best = candidates.iter().map(cost).enumerate().min_by_key(|(_, cost)| *cost);
        let best = best.filter(|(_, cost)| *cost < scan).map(|(at, _)| at);
        match best.and_then(|at| candidates.into_iter().nth(at)) {
            Some(Candidate { index, ranges, sorted_by, is_exact, .. }) => {
                Plan { source: Source::Index { index, ranges }, sorted_by, is_exact }
            }
            None => Plan {
                source: Source::Scan,
                sorted_by: self.order_by.is_empty().then_some(0),
                is_exact: clauses.is_empty(),
            },
        }
    }

    fn candidate(&self, rows: &Rows, at: usize, index: &Index, clauses: &[&Condition]) -> Option<Candidate> {
        // As many fields of the index as one value each is given for, then one that several or a range are.
        let mut prefix: Vec<Span<'_>> = Vec::new();
        let mut last: Option<Vec<Span<'_>>> = None;
        let mut served = 0;
        for path in &index.paths {
            let Some((spans, count)) = spans_of(path, clauses) else { break };
            served += count;
            match spans.as_slice() {
                [only] if only.is_point() => prefix.push(only.clone()),
                _ => {
                    last = Some(spans);
                    break;
                }
            }
        }
        let sorted_by = self.keys_sorted_by(index, prefix.len());
        if served == 0 && sorted_by.is_none() {
            return None;
        }
        let seek = |span: Option<&Span<'_>>, is_before: &dyn Fn(Ordering) -> bool| {
            index.seek(rows, &|_, record: &Fields| {
                let mut spans = prefix.iter().chain(span);
                let orders =
                    index.paths.iter().map_while(|path| Some(spans.next()?.place(&path.value(record))));
                let mut orders = orders.skip_while(|order| order.is_eq());
                is_before(orders.next().unwrap_or(Ordering::Equal))
            })
        };
        let range = |span: Option<&Span<'_>>| {
            (seek(span, &|order| order == Ordering::Less), seek(span, &|order| order != Ordering::Greater))
        };
        let mut ranges = Vec::new();
        if prefix.is_empty() && last.is_none() {
            ranges.push(index.all());
        }
        let spans = last.iter().flatten().map(Some);
        let spans = spans.chain((last.is_none() && !prefix.is_empty()).then_some(None));
        for range in spans.map(range) {
            let place = ranges.partition_point(|other| *other < range);
            if ranges.get(place) != Some(&range) {
                ranges.insert(place, range);
            }
        }
        Some(Candidate {
            index: at,
            rows: ranges.iter().map(|(from, to)| index.count(*from, *to)).sum(),
            ranges,
            sorted_by,
            is_exact: served == clauses.len(),
        })
    }

    /// By how many of the query's keys the index sorts, where its first `fixed` fields have one value each.
    fn keys_sorted_by(&self, index: &Index, fixed: usize) -> Option<usize> {
        let paths = index.paths.get(fixed..).unwrap_or_default();
        let Some(first) = self.order_by.first() else {
            // Rows with equal values stand as they came.
            return paths.is_empty().then_some(0);
        };
        let keys = self.order_by.iter().zip(paths);
        let same =
            keys.take_while(|(key, path)| key.path.whole == path.whole && key.direction == first.direction);
        match (same.count(), first.direction) {
            (0, _) => None,
            (count, Direction::Ascending) => Some(count),
            // From its end, an index has the nulls of a second field before its values.
            (_, Direction::Descending) => Some(1),
        }
    }

    /// The rows that a plan picks out, in its order.
    pub(super) fn candidates<'a>(
        &'a self,
        plan: &Plan,
        rows: &'a Rows,
        indexes: &'a [Index],
    ) -> Box<dyn Iterator<Item = RowNumber> + 'a> {
        match &plan.source {
            // All rows are no candidates: they are gone through as they are.
            Source::Scan => Box::new(std::iter::empty()),
            Source::Ids(ids) => {
                let mut numbers: Vec<RowNumber> = ids.iter().filter_map(|id| rows.find(id)).collect();
                sort(&mut numbers, &|a, b| a < b);
                numbers.dedup();
                Box::new(numbers.into_iter())
            }
            Source::Index { index, ranges } => {
                let Some(index) = indexes.get(*index) else { return Box::new(std::iter::empty()) };
                if let Some(keys) = plan.sorted_by {
                    let ranges = self.in_order(rows, index, ranges.clone()).into_iter();
                    return Box::new(ranges.flat_map(move |range| self.walk(rows, index, keys, range)));
                }
                // In the order in which they came: the sort goes on from there.
                let mut numbers: Vec<RowNumber> =
                    ranges.iter().flat_map(|(from, to)| index.between(*from, *to)).collect();
                // Those of one value are.
                if !numbers.is_sorted() {
                    sort_by_key(&mut numbers, &|number| number.into());
                }
                numbers.dedup();
                Box::new(numbers.into_iter())
            }
        }
    }

    /// Ranges, which stand in the order of an index, in the order of the query: from the last to the first, but for nulls.
    fn in_order(&self, rows: &Rows, index: &Index, mut ranges: Vec<(Place, Place)>) -> Vec<(Place, Place)> {
        let Some(key) = self.order_by.first().filter(|key| key.direction == Direction::Descending) else {
            return ranges;
        };
        let first = ranges.last().and_then(|(from, to)| index.between(*from, *to).next());
        let is_null =
            |number| rows.fields(number).is_some_and(|it| matches!(key.path.value(it), Scalar::Null));
        let values = ranges.len() - usize::from(first.is_some_and(is_null));
        if let Some(values) = ranges.get_mut(..values) {
            values.reverse();
        }
        ranges
    }

    /// The rows of a range in the order of the query, of which the index sorts by so many keys. Those that are equal in these are
    /// sorted by the others when it is their turn.
    fn walk<'a>(
        &'a self,
        rows: &'a Rows,
        index: &'a Index,
        keys: usize,
        (from, to): (Place, Place),
    ) -> Box<dyn Iterator<Item = RowNumber> + 'a> {
        let keys = self.order_by.get(..keys).unwrap_or_default();
        if keys.is_empty() {
            return Box::new(index.between(from, to));
        }
        if keys.iter().all(|key| key.direction == Direction::Ascending) {
            return self.in_groups(rows, keys, Box::new(index.between(from, to)));
        }
        let nulls = nulls_of(rows, index, keys, from, to);
        let values = self.in_groups(rows, keys, Box::new(index.between(from, nulls).rev()));
        Box::new(values.chain(self.in_groups(rows, keys, Box::new(index.between(nulls, to)))))
    }

    /// Sorts those rows that are equal in these keys, group by group.
    fn in_groups<'a>(
        &'a self,
        rows: &'a Rows,
        keys: &'a [OrderBy],
        numbers: Box<dyn Iterator<Item = RowNumber> + 'a>,
    ) -> Box<dyn Iterator<Item = RowNumber> + 'a> {
        let mut numbers = numbers;
        // The row that begins the next group, and its values: each is read once.
        let values = move |number: RowNumber| -> Vec<Scalar<'a>> {
            let record = rows.fields(number);
            keys.iter().map(|key| record.map_or(Scalar::Null, |it| key.path.value(it))).collect()
        };
        let mut next = numbers.next().map(|number| (number, values(number)));
        let mut group: Vec<RowNumber> = Vec::new();
        Box::new(std::iter::from_fn(move || {
            if group.is_empty() {
                let (first, shared) = next.take()?;
                group.push(first);
                for number in numbers.by_ref() {
                    let own = values(number);
                    if own != shared {
                        next = Some((number, own));
                        break;
                    }
                    group.push(number);
                }
                if group.len() == 1 {
                    return group.pop();
                }
                // The last one is the next to go.
                sort(&mut group, &|a, b| rows.compare(b, a, &self.order_by).then(b.cmp(&a)).is_lt());
            }
            group.pop()
        }))
    }
}

/// Where the nulls begin in a range that is sorted by the last of these keys.
fn nulls_of(rows: &Rows, index: &Index, keys: &[OrderBy], from: Place, to: Place) -> Place {
    let first = index.between(from, to).next().and_then(|number| rows.fields(number));
    let sorting =
        keys.last().and_then(|key| index.paths.iter().position(|path| path.whole == key.path.whole));
    let (Some(first), Some(sorting)) = (first, sorting) else { return to };
    // All rows of the range have the same values before that one.
    let fixed: Vec<Scalar<'_>> = index.paths.iter().take(sorting).map(|path| path.value(first)).collect();
    let path = index.paths.get(sorting);
    let is_value = |record: &Fields| path.is_some_and(|path| !matches!(path.value(record), Scalar::Null));
    let nulls = index.seek(rows, &|_, record| match index.compare_to(record, &fixed) {
        Ordering::Equal => is_value(record),
        order => order == Ordering::Less,
    });
    nulls.clamp(from, to)
}
