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
        for (key, value) in object.iter() {
            match key {
                "\"where\"" => query.filter = filter(value)?.map(Filter),
                "\"orderBy\"" => {
                    query.order_by = elements(value, "orderBy")?.map(order_by).collect::<Result<_, _>>()?
                }
                "\"limit\"" => query.limit = Some(whole_number(value, "limit")?),
                "\"offset\"" => query.offset = whole_number(value, "offset")?,
                "\"fields\"" => query.fields = Some(fields(value)?),
                _ => {
                    return Err(wrong(format!(
                        "a query has no {key}: use where, orderBy, limit, offset, fields"
                    )));
                }
            }
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
        let test = |test| Condition::Field(path.clone(), test);
        let not = |test| Condition::Not(Box::new(Condition::Field(path.clone(), test)));
        filters.push(match operator.as_str() {
            "$eq" => test(Test::Equal(to_value(operand))),
            "$ne" => not(Test::Equal(to_value(operand))),
            "$gt" => test(Test::Ordered(Bound::Above, to_value(operand))),
            "$gte" => test(Test::Ordered(Bound::AtLeast, to_value(operand))),
            "$lt" => test(Test::Ordered(Bound::Below, to_value(operand))),
            "$lte" => test(Test::Ordered(Bound::AtMost, to_value(operand))),
            "$in" => test(Test::In(elements(operand, "$in")?.map(to_value).collect())),
            "$nin" => not(Test::In(elements(operand, "$nin")?.map(to_value).collect())),
            "$contains" => test(Test::Contains(string(operand, "$contains")?)),
            "$startsWith" => test(Test::StartsWith(string(operand, "$startsWith")?)),
            "$endsWith" => test(Test::EndsWith(string(operand, "$endsWith")?)),
            "$null" => match operand.scalar() {
                Scalar::Bool(true) => test(Test::Null),
                Scalar::Bool(false) => not(Test::Null),
                _ => return Err(wrong("$null takes true or false".to_owned())),
            },
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

fn fields(value: Json<'_>) -> Result<Vec<String>, Error> {
    let mut names = vec![quoted("id")];
    for element in elements(value, "fields")? {
        names.push(quoted(&string(element, "fields")?));
    }
    Ok(names)
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
