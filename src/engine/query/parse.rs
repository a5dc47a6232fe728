//! From the JSON of a query to a [`Query`]. What is not understood is refused, never passed over.

use objectql_sync_protocol::{Json, Scalar, quoted};

use super::filter::{Bound, Condition, Filter, Test, Value};
use super::order::{Direction, OrderBy};
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
        let mut cursor = None;
        for (key, value) in object.iter() {
            match key {
                "\"where\"" => query.filter = filter(value)?.map(Filter),
                "\"orderBy\"" => {
                    query.order_by = elements(value, "orderBy")?.map(order_by).collect::<Result<_, _>>()?
                }
                "\"limit\"" | "\"top\"" => query.limit = Some(whole_number(value, "limit")?),
                "\"offset\"" => query.offset = whole_number(value, "offset")?,
                "\"cursor\"" => cursor = Some(value),
                _ => {
                    return Err(wrong(format!(
                        "a query has no {key}: use where, orderBy, limit, offset, top, cursor"
                    )));
                }
            }
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
