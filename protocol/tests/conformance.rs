//! The golden files of `tests/conformance`: each value is read or refused as written, and each exchange can be read.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed, as it should")]

use std::path::{Path, PathBuf};

use objectql_sync_protocol::{
    Checkpoint, Fields, Mutation, ProtocolError, PushRequest, PushResponse, ReceivedMutation, ReceivedPush,
    RecordId, SyncConfig, Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Golden {
    r#type: String,
    #[serde(default)]
    accepted: Vec<Accepted>,
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Accepted {
    json: String,
    written: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    json: String,
    code: String,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance").join(name)
}

/// Reads a value of the wire format as its end does, and writes it again.
fn read_and_write(wire_type: &str, json: &str) -> Result<String, ProtocolError> {
    Ok(match wire_type {
        "RecordId" => RecordId::parse_json(json)?.to_json(),
        "Timestamp" => {
            let text: String =
                serde_json::from_str(json).map_err(|error| ProtocolError::InvalidValue(error.to_string()))?;
            serde_json::to_string(&Timestamp::parse(&text)?).unwrap()
        }
        "data" => Fields::parse(json)?.as_str().to_owned(),
        "MutationLogEntry" => serde_json::to_string(&Mutation::parse(json)?).unwrap(),
        "SyncPushRequest" => write_request(&ReceivedPush::parse(json.as_bytes())?),
        "SyncPushResponse" => {
            let results = serde_json::from_str(json).map_or(0, |answer: Value| count(&answer, "results"));
            serde_json::to_string(&PushResponse::parse(json.as_bytes(), results)?).unwrap()
        }
        "SyncConfig" => {
            let config: SyncConfig = serde_json::from_str(json)
                .map_err(|error| ProtocolError::InvalidDefinition(error.to_string()))?;
            config.check()?;
            serde_json::to_string(&config).unwrap()
        }
        _ => panic!("the golden values have a type {wire_type} that this test does not know"),
    })
}

fn count(message: &Value, name: &str) -> usize {
    message.get(name).and_then(Value::as_array).map_or(0, Vec::len)
}

fn write_request(received: &ReceivedPush) -> String {
    let mutations: Vec<_> = received.mutations.iter().map(|mutation| valid(mutation).clone()).collect();
    let last_checkpoint = received.last_checkpoint.clone().map(|text| Checkpoint::new(text).unwrap());
    let client_id = &received.client_id;
    let request = PushRequest { client_id, mutations: &mutations, last_checkpoint: last_checkpoint.as_ref() };
    request.to_json()
}

fn valid(mutation: &ReceivedMutation) -> &Mutation {
    match mutation {
        ReceivedMutation::Valid(mutation) => mutation,
        ReceivedMutation::Invalid { error, .. } => panic!("{error}"),
    }
}

#[test]
fn every_golden_value_is_read_or_refused_as_written() {
    let values: Vec<Golden> =
        serde_json::from_str(&std::fs::read_to_string(golden("values.json")).unwrap()).unwrap();
    for Golden { r#type, accepted, refused } in values {
        for Accepted { json, written } in accepted {
            let expected = written.unwrap_or_else(|| json.clone());
            assert_eq!(read_and_write(&r#type, &json), Ok(expected), "{type} {json}");
        }
        for Refused { json, code } in refused {
            let refused = read_and_write(&r#type, &json).map_err(|error| error.code());
            assert_eq!(refused, Err(code.as_str()), "{type} {json}");
        }
    }
}

#[test]
fn every_golden_exchange_can_be_read_by_both_ends() {
    #[derive(Deserialize)]
    struct Conversation {
        exchanges: Vec<Exchange>,
    }
    #[derive(Deserialize)]
    struct Exchange {
        request: Box<RawValue>,
        status: u16,
        answer: Box<RawValue>,
    }
    for entry in std::fs::read_dir(golden("exchanges")).unwrap() {
        let path = entry.unwrap().path();
        let conversation: Conversation =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for exchange in conversation.exchanges.iter().filter(|exchange| exchange.status == 200) {
            let request = ReceivedPush::parse(exchange.request.get().as_bytes()).unwrap();
            request.mutations.iter().for_each(|mutation| drop(valid(mutation).clone()));
            let answer = PushResponse::parse(exchange.answer.get().as_bytes(), request.mutations.len());
            let written: Value = serde_json::to_value(answer.unwrap()).unwrap();
            let golden: Value = serde_json::from_str(exchange.answer.get()).unwrap();
            assert_eq!(written, golden, "{}", path.display());
        }
    }
}
