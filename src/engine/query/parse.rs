//! From the JSON of a query to a [`Query`]. What is not understood is refused, never passed over.

use objectql_sync_protocol::{Json, Scalar, quoted};

use super::aggregate::{Aggregate, Column, Function, Group, Period};
use super::filter::{Bound, Condition, Filter, Test, Value};
use super::order::{Direction, OrderBy};
use super::search::{MAX_WORDS, Search};
use super::{Path, Query};
use crate::error::Error;
use objectql_sync_protocol::Fields;

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `INVALID_QUERY` for an unknown key or operator, or an operand of the wrong kind; the codes of a value for text that is no
    /// JSON object.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let object = Fields::parse(text)?;
        let mut query = Self::default();
        let (mut cursor, mut search_fields) = (None, None);
        for (key, value) in object.iter() {
            match key {
                "\"where\"" => query.filter = filter(value)?.map(Filter),
                "\"orderBy\"" => {
                    query.order_by = elements(value, "orderBy")?.map(order_by).collect::<Result<_, _>>()?
                }
                "\"limit\"" | "\"top\"" => query.limit = Some(whole_number(value, "limit")?),
                "\"offset\"" => query.offset = whole_number(value, "offset")?,
                "\"cursor\"" => cursor = Some(value),
                "\"search\"" => query.search = search(value)?,
                "\"searchFields\"" => search_fields = Some(names(value, "searchFields")?),
                _ => {
                    return Err(wrong(format!(
                        "a query has no {key}: use where, search, searchFields, orderBy, limit, offset, top, cursor"
                    )));
                }
            }
        }
        if let (Some(search), Some(fields)) = (&mut query.search, search_fields) {
            search.fields = fields;
        }
        if let Some(cursor) = cursor.filter(|cursor| !cursor.is_null()) {
            let after = after(cursor, &query.order_by)?;
            query.filter = Some(Filter(match query.filter.take() {
                Some(Filter(filter)) => Condition::And(vec![filter, after]),
                None => after,
            }));
        }
        Ok(query)
    }
}

impl Aggregate {
    /// Reads a query for groups and aggregates.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let object = Fields::parse(text)?;
        let mut aggregate = Self::default();
        for (key, value) in object.iter() {
            match key {
                "\"where\"" => aggregate.source.filter = filter(value)?.map(Filter),
                "\"groupBy\"" => {
                    aggregate.groups = elements(value, "groupBy")?.map(group).collect::<Result<_, _>>()?
                }
                "\"aggregations\"" => {
                    aggregate.columns =
                        elements(value, "aggregations")?.map(column).collect::<Result<_, _>>()?;
                }
                "\"having\"" => aggregate.having = filter(value)?,
                "\"orderBy\"" => {
                    aggregate.order_by =
                        elements(value, "orderBy")?.map(order_by).collect::<Result<_, _>>()?;
                }
                "\"limit\"" => aggregate.limit = Some(whole_number(value, "limit")?),
                "\"offset\"" => aggregate.offset = whole_number(value, "offset")?,
                _ => {
                    return Err(wrong(format!(
                        "aggregate() has no {key}: use where, groupBy, aggregations, having, orderBy, limit, offset"
                    )));
                }
            }
        }
        let names = aggregate.groups.iter().map(|group| &group.name);
        let names: Vec<&String> = names.chain(aggregate.columns.iter().map(|column| &column.name)).collect();
        let is_twice = |(at, name): (usize, &&String)| names.iter().take(at).any(|other| other == name);
        match names.iter().enumerate().find(|place| is_twice(*place)) {
            Some((_, name)) => {
                Err(wrong(format!("two columns of the result are called {name}: give an alias")))
            }
            None if names.is_empty() => Err(wrong("aggregate() needs groupBy or aggregations".to_owned())),
            None => Ok(aggregate),
        }
    }
}

/// A name, or an object with `field`, `dateGranularity` and `alias`.
fn group(value: Json<'_>) -> Result<Group, Error> {
    if let Some(name) = value.as_text() {
        return Ok(Group { path: Path::new(&name), name: quoted(&name), period: None });
    }
    let (mut field, mut alias, mut period) = (None, None, None);
    for (key, value) in members(value, "groupBy")? {
        match (key.as_str(), string(value, "groupBy")?) {
            ("field", name) => field = Some(name),
            ("alias", name) => alias = Some(name),
            ("dateGranularity", name) => {
                period = Some(match name.as_str() {
                    "day" => Period::Day,
                    "week" => Period::Week,
                    "month" => Period::Month,
                    "quarter" => Period::Quarter,
                    "year" => Period::Year,
                    _ => {
                        return Err(wrong(format!(
                            "groupBy knows no {name}: day, week, month, quarter, year"
                        )));
                    }
                });
            }
            (key, _) => {
                return Err(wrong(format!("groupBy has no {key}: use field, dateGranularity, alias")));
            }
        }
    }
    let field = field.ok_or_else(|| wrong("groupBy needs a field".to_owned()))?;
    Ok(Group { path: Path::new(&field), name: quoted(alias.as_deref().unwrap_or(&field)), period })
}

/// `{ function, field, alias, filter, separator }`
fn column(value: Json<'_>) -> Result<Column, Error> {
    let (mut function, mut path, mut alias, mut condition, mut separator) = (None, None, None, None, None);
    for (key, value) in members(value, "aggregations")? {
        match key.as_str() {
            "function" => function = Some(string(value, "function")?),
            "field" => path = Some(string(value, "field")?).filter(|name| name != "*"),
            "alias" => alias = Some(string(value, "alias")?),
            "filter" => condition = filter(value)?,
            "separator" => separator = Some(string(value, "separator")?),
            _ => {
                return Err(wrong(format!(
                    "aggregations have no {key}: use function, field, alias, filter, separator"
                )));
            }
        }
    }
    let function = function.ok_or_else(|| wrong("aggregations need a function".to_owned()))?;
    let alias = alias.ok_or_else(|| wrong(format!("{function} needs an alias")))?;
    let function = match function.as_str() {
        "count" => Function::Count,
        "count_distinct" => Function::CountDistinct,
        "sum" => Function::Sum,
        "avg" => Function::Average,
        "min" => Function::Min,
        "max" => Function::Max,
        "array_agg" => Function::Array,
        "string_agg" => Function::Text(separator.take().unwrap_or_else(|| ",".to_owned())),
        _ => return Err(wrong(format!("there is no aggregate function {function}"))),
    };
    if path.is_none() && function != Function::Count {
        return Err(wrong(format!("the aggregate {alias} needs a field")));
    }
    if separator.is_some() {
        return Err(wrong(format!("only string_agg takes a separator, not {alias}")));
    }
    Ok(Column { function, path: path.map(|name| Path::new(&name)), name: quoted(&alias), filter: condition })
}

impl Filter {
    /// Reads a `where`; none: all records.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let object = Fields::parse(text)?;
        Ok(filter(Json::from_normalised(object.as_str()))?.map(Self))
    }
}

fn wrong(text: String) -> Error {
    Error::InvalidQuery(text)
}

fn filter(value: Json<'_>) -> Result<Option<Condition>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    let mut filters = conditions(value)?;
    Ok(if filters.len() == 1 {
        filters.pop()
    } else if filters.is_empty() {
        None
    } else {
        Some(Condition::And(filters))
    })
}

/// The conditions of one object, all of which must hold.
fn conditions(value: Json<'_>) -> Result<Vec<Condition>, Error> {
    let mut filters = Vec::new();
    for (key, operand) in members(value, "a filter")? {
        match key.as_str() {
            "$and" => filters.push(Condition::And(combined(operand, "$and")?)),
            "$or" => filters.push(Condition::Or(combined(operand, "$or")?)),
            "$not" => filters.push(Condition::Not(Box::new(Condition::And(conditions(operand)?)))),
            name if name.starts_with('$') => {
                return Err(wrong(format!("there is no operator {name} between filters")));
            }
            name => field(name, operand, &mut filters)?,
        }
    }
    Ok(filters)
}

fn combined(value: Json<'_>, name: &str) -> Result<Vec<Condition>, Error> {
    elements(value, name)?.map(|element| conditions(element).map(Condition::And)).collect()
}

fn field(name: &str, operand: Json<'_>, filters: &mut Vec<Condition>) -> Result<(), Error> {
    let path = Path::new(name);
    if !is_operators(operand) {
        filters.push(Condition::Field(path, Test::Equal(to_value(operand))));
        return Ok(());
    }
    for (operator, operand) in members(operand, name)? {
        let is = |test| Condition::Field(path.clone(), test);
        let not = |test| Condition::Not(Box::new(is(test)));
        filters.push(match operator.as_str() {
            "$eq" => is(equal(operand)?),
            "$ne" => not(equal(operand)?),
            "$gt" => is(ordered(Bound::Above, operand)?),
            "$gte" => is(ordered(Bound::AtLeast, operand)?),
            "$lt" => is(ordered(Bound::Below, operand)?),
            "$lte" => is(ordered(Bound::AtMost, operand)?),
            "$between" => {
                let bounds: Vec<Json<'_>> = elements(operand, "$between")?.collect();
                let [low, high] = bounds.as_slice() else {
                    return Err(wrong("$between takes the lowest and the highest value".to_owned()));
                };
                let bounds = [ordered(Bound::AtLeast, *low)?, ordered(Bound::AtMost, *high)?];
                Condition::And(bounds.map(is).into())
            }
            "$in" => is(Test::In(elements(operand, "$in")?.map(to_value).collect())),
            "$nin" => not(Test::In(elements(operand, "$nin")?.map(to_value).collect())),
            "$contains" => is(Test::Contains(string(operand, "$contains")?)),
            "$notContains" => not(Test::Contains(string(operand, "$notContains")?)),
            "$startsWith" => is(Test::StartsWith(string(operand, "$startsWith")?)),
            "$endsWith" => is(Test::EndsWith(string(operand, "$endsWith")?)),
            "$icontains" => match string(operand, "$icontains")?.to_ascii_lowercase() {
                text if text.is_empty() => {
                    return Err(wrong("$icontains takes a text that is not empty".to_owned()));
                }
                text => is(Test::ContainsFolded(text)),
            },
            "$regex" | "$options" => {
                return Err(wrong(format!(
                    "there is no {operator} (field {name}): use $icontains, $startsWith"
                )));
            }
            "$null" => {
                if flag(operand, "$null")? {
                    is(Test::Null)
                } else {
                    not(Test::Null)
                }
            }
            "$exists" => {
                if flag(operand, "$exists")? {
                    is(Test::Exists)
                } else {
                    not(Test::Exists)
                }
            }
            "$not" => {
                let mut inner = Vec::new();
                field(name, operand, &mut inner)?;
                Condition::Not(Box::new(Condition::And(inner)))
            }
            other => return Err(wrong(format!("there is no operator {other} (field {name})"))),
        });
    }
    Ok(())
}

/// A text, or an object with `query`, `fields` and `operator`; none for an empty text. One without a word finds nothing.
fn search(value: Json<'_>) -> Result<Option<Search>, Error> {
    let mut search = Search::default();
    let mut text = value.as_text().map(std::borrow::Cow::into_owned);
    if text.is_none() && !value.is_null() {
        for (key, value) in members(value, "search")? {
            match key.as_str() {
                "query" => text = Some(string(value, "search")?),
                "fields" => search.fields = names(value, "search")?,
                "operator" => {
                    search.is_any = match string(value, "search")?.as_str() {
                        "or" => true,
                        "and" => false,
                        other => return Err(wrong(format!("search joins words by and or or, not {other}"))),
                    }
                }
                _ => return Err(wrong(format!("search has no {key}: use query, fields, operator"))),
            }
        }
    }
    let text = text.unwrap_or_default();
    search.words = Search::words_of(&text);
    if search.words.len() > MAX_WORDS {
        return Err(wrong(format!("search takes {MAX_WORDS} words at most")));
    }
    Ok((!text.trim().is_empty()).then_some(search))
}

fn names(value: Json<'_>, name: &str) -> Result<Vec<Path>, Error> {
    elements(value, name)?.map(|value| string(value, name).map(|name| Path::new(&name))).collect()
}

/// The path in `{ "$field": "other" }`.
fn reference(operand: Json<'_>) -> Result<Option<Path>, Error> {
    match operand.member("\"$field\"") {
        Some(name) => string(name, "$field").map(|name| Some(Path::new(&name))),
        None => Ok(None),
    }
}

fn equal(operand: Json<'_>) -> Result<Test, Error> {
    Ok(reference(operand)?.map_or_else(|| Test::Equal(to_value(operand)), Test::EqualField))
}

fn ordered(bound: Bound, operand: Json<'_>) -> Result<Test, Error> {
    let other = reference(operand)?;
    Ok(other.map_or_else(|| Test::Ordered(bound, to_value(operand)), |path| Test::OrderedField(bound, path)))
}

fn flag(operand: Json<'_>, name: &str) -> Result<bool, Error> {
    match operand.scalar() {
        Scalar::Bool(flag) => Ok(flag),
        _ => Err(wrong(format!("{name} takes true or false"))),
    }
}

/// The condition that a record comes after the one with those values.
fn after(cursor: Json<'_>, order_by: &[OrderBy]) -> Result<Condition, Error> {
    if order_by.last().is_none_or(|key| key.path.whole != "\"id\"") {
        return Err(wrong("a cursor needs an order without ties: end orderBy with id".to_owned()));
    }
    let values = members(cursor, "cursor")?;
    let value_of = |key: &OrderBy| {
        let (_, value) = values
            .iter()
            .find(|(name, _)| quoted(name) == key.path.whole)
            .ok_or_else(|| wrong(format!("the cursor has no {}, which orderBy has", key.path.whole)))?;
        match value.scalar() {
            Scalar::Nested(_) => Err(wrong(format!("the cursor's {} is no plain value", key.path.whole))),
            _ => Ok((key.clone(), to_value(*value))),
        }
    };
    order_by.iter().map(value_of).collect::<Result<_, _>>().map(Condition::After)
}

/// Whether an operand is an object of operators rather than a value to equal.
fn is_operators(value: Json<'_>) -> bool {
    value.members().next().is_some_and(|(key, _)| key.starts_with("\"$"))
}

fn order_by(value: Json<'_>) -> Result<OrderBy, Error> {
    let mut path = None;
    let mut direction = Direction::Ascending;
    for (key, value) in members(value, "orderBy")? {
        match (key.as_str(), string(value, "orderBy")?.as_str()) {
            ("field", name) => path = Some(Path::new(name)),
            ("order", "asc") => direction = Direction::Ascending,
            ("order", "desc") => direction = Direction::Descending,
            (key, other) => return Err(wrong(format!("orderBy does not understand {key}: {other:?}"))),
        }
    }
    let path = path.ok_or_else(|| wrong("orderBy needs a field".to_owned()))?;
    Ok(OrderBy { path, direction })
}

fn to_value(value: Json<'_>) -> Value {
    Value::new(value.as_str().to_owned())
}

fn members<'a>(value: Json<'a>, name: &str) -> Result<Vec<(String, Json<'a>)>, Error> {
    if !value.as_str().starts_with('{') {
        return Err(wrong(format!("{name} must be an object")));
    }
    value.members().map(|(key, value)| Ok((string(Json::from_normalised(key), name)?, value))).collect()
}

fn elements<'a>(value: Json<'a>, name: &str) -> Result<impl Iterator<Item = Json<'a>> + use<'a>, Error> {
    if value.as_str().starts_with('[') {
        Ok(value.elements())
    } else {
        Err(wrong(format!("{name} takes an array")))
    }
}

fn string(value: Json<'_>, name: &str) -> Result<String, Error> {
    match value.scalar() {
        Scalar::String(text) => Ok(text.into_owned()),
        _ => Err(wrong(format!("{name} takes a string"))),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number in range"
)]
fn whole_number(value: Json<'_>, name: &str) -> Result<usize, Error> {
    match value.scalar() {
        Scalar::Number(number) if number.fract() == 0.0 && (0.0..=4_294_967_295.0).contains(&number) => {
            Ok(number as usize)
        }
        _ => Err(wrong(format!("{name} takes a whole number from 0 to 4294967295"))),
    }
}
