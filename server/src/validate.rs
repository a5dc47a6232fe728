//! Whether the fields of a mutation have values that the object's definition allows.
//!
//! Fields that the definition does not name are taken as they are, so that a client with a newer definition loses nothing.

use objectql_sync_protocol::object::SelectOption;
use objectql_sync_protocol::{FieldDefinition, Fields, Json, Mutation, ObjectDefinition, Operation, Scalar};

use crate::decide::Refusal;

/// Checks the fields of a mutation.
///
/// # Errors
/// `INVALID_FIELD` with the name of the field: a required one is missing from a create or set to null, or a select has a
/// value that is none of its options (a list is allowed where each of its elements is one).
pub fn check_fields(object: &ObjectDefinition, mutation: &Mutation) -> Result<(), Refusal> {
    let Some(data) = &mutation.data else { return Ok(()) };
    object.fields.iter().try_for_each(|(name, field)| check_field(name, field, data, mutation.operation))
}

fn check_field(
    name: &str,
    field: &FieldDefinition,
    data: &Fields,
    operation: Operation,
) -> Result<(), Refusal> {
    let value = match data.get(name) {
        None if operation != Operation::Create => return Ok(()),
        value => value.filter(|value| !value.is_null()),
    };
    match value {
        None if field.required => Err(Refusal::Field(format!("the field {name:?} is required"))),
        Some(value) if field.field_type == "select" && !is_option(value, &field.options) => {
            Err(Refusal::Field(format!("the field {name:?} does not have one of its options")))
        }
        _ => Ok(()),
    }
}

fn is_option(value: Json<'_>, options: &[SelectOption]) -> bool {
    let is_one = |value: Json<'_>| match value.scalar() {
        Scalar::String(text) => options.iter().any(|option| option.value == text),
        _ => false,
    };
    is_one(value) || (value.as_str().starts_with('[') && value.elements().all(is_one))
}

#[cfg(test)]
mod tests {
    use objectql_sync_protocol::{ClientId, MutationId, ObjectName, RecordId, Sequence, Timestamp};

    use super::*;

    fn check(operation: Operation, data: &str) -> Result<(), String> {
        let definition = r#"{"name":"story","fields":{
            "title":{"type":"text","required":true},
            "status":{"type":"select","options":["open",{"value":"done","label":"Done"}]}}}"#;
        let mutation = Mutation {
            id: MutationId::new(0, [0; 10]),
            object_name: ObjectName::new("story").unwrap(),
            record_id: RecordId::number(1).unwrap(),
            operation,
            data: Some(Fields::parse(data).unwrap()),
            timestamp: Timestamp::from_millis(0),
            client_id: ClientId::new("a").unwrap(),
            sequence: Sequence::new(1).unwrap(),
            base_version: None,
        };
        check_fields(&serde_json::from_str(definition).unwrap(), &mutation)
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_required_field_is_there_and_not_null() {
        for (operation, data) in [
            (Operation::Create, "{}"),
            (Operation::Create, r#"{"title":null}"#),
            (Operation::Update, r#"{"title":null}"#),
        ] {
            assert!(check(operation, data).unwrap_err().contains("\"title\" is required"), "{data}");
        }
        assert_eq!(check(Operation::Create, r#"{"title":""}"#), Ok(()));
        assert_eq!(check(Operation::Update, "{}"), Ok(()));
    }

    #[test]
    fn a_select_has_one_of_its_options() {
        for value in ["\"closed\"", "1", "{}", "\"\"", "[\"open\",\"closed\"]", "[1]", "true"] {
            let refused = check(Operation::Update, &format!("{{\"status\":{value}}}")).unwrap_err();
            assert!(refused.contains("\"status\""), "{value}");
        }
        for value in ["\"open\"", "\"done\"", "null", "[]", "[\"open\",\"done\"]"] {
            assert_eq!(check(Operation::Update, &format!("{{\"status\":{value}}}")), Ok(()), "{value}");
        }
    }

    #[test]
    fn unknown_fields_are_taken_as_they_are() {
        assert_eq!(check(Operation::Update, r#"{"__proto__":{"a":1},"x":[1]}"#), Ok(()));
    }
}
