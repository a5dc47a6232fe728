//! What is said on the realtime socket: a doorbell. No frame carries data or moves a checkpoint; a ring leads to a pull.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::{ClientId, Json, ProtocolError, normalise};

/// What is appended to the endpoint's path to get the socket's.
pub const PATH: &str = "/realtime";
/// The most bytes of a frame, from either end: 16 KiB.
pub const MAX_FRAME_BYTES: usize = 16 << 10;
/// How long a client has to say hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a server says nothing.
pub const BEAT_INTERVAL: Duration = Duration::from_secs(15);
/// An end that heard nothing for so long takes the connection for dead.
pub const SILENCE: Duration = Duration::from_secs(45);

/// How deep a frame may be nested: an object, its headers, their values, and a level to spare.
const MAX_FRAME_DEPTH: usize = 4;

/// A frame of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame {
    /// The hello was taken: from now on every change is told.
    Ready,
    /// Something was committed since the last frame of this kind, or since `Ready`.
    Poke,
    /// Nothing, but the connection is alive.
    Beat,
}

impl ServerFrame {
    /// The frame as it goes over the wire.
    #[must_use]
    pub const fn as_json(self) -> &'static str {
        match self {
            Self::Ready => r#"{"type":"ready"}"#,
            Self::Poke => r#"{"type":"poke"}"#,
            Self::Beat => r#"{"type":"beat"}"#,
        }
    }

    /// Reads a frame; none for what this version does not know, which is to be passed over.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = read(text).ok()?;
        match Json::from_normalised(&text).member(TYPE)?.as_str() {
            "\"ready\"" => Some(Self::Ready),
            "\"poke\"" => Some(Self::Poke),
            "\"beat\"" => Some(Self::Beat),
            _ => None,
        }
    }
}

/// The first frame of a client: who it is, and the headers its requests have, because a browser cannot set them on a socket.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Who says it.
    pub client_id: ClientId,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl Hello {
    /// Reads a frame; none for one of another type, which is to be passed over.
    ///
    /// # Errors
    /// `INVALID_JSON` and the like for what is no JSON, `INVALID_MESSAGE` for a hello of a wrong shape.
    pub fn parse(text: &str) -> Result<Option<Self>, ProtocolError> {
        let text = read(text)?;
        let json = Json::from_normalised(&text);
        if json.member(TYPE).is_none_or(|kind| kind.as_str() != "\"hello\"") {
            return Ok(None);
        }
        let client_id = json.required("\"clientId\"")?.client_id("clientId")?;
        let members = json.member("\"headers\"").into_iter().flat_map(Json::members);
        let headers = members
            .map(|(name, value)| {
                let name = Json::from_normalised(name).text("headers")?.into_owned();
                Ok((name, value.text("headers")?.into_owned()))
            })
            .collect::<Result<_, ProtocolError>>()?;
        Ok(Some(Self { client_id, headers }))
    }
}

/// Without the headers' values: they hold tokens, and no log may.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Hello").field("client_id", &self.client_id).field("headers", &names).finish()
    }
}

const TYPE: &str = "\"type\"";

fn read(text: &str) -> Result<Cow<'_, str>, ProtocolError> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(ProtocolError::InvalidMessage(format!("a frame has more than {MAX_FRAME_BYTES} bytes")));
    }
    normalise(text, MAX_FRAME_DEPTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive() {
        for frame in [ServerFrame::Ready, ServerFrame::Poke, ServerFrame::Beat] {
            assert_eq!(ServerFrame::parse(frame.as_json()), Some(frame));
        }
        let client_id = ClientId::new("a\"b").unwrap();
        let text = r#"{"type":"hello","clientId":"a\"b","headers":{"authorization":"Bearer \"x\""}}"#;
        let headers = vec![("authorization".to_owned(), "Bearer \"x\"".to_owned())];
        assert_eq!(Hello::parse(text), Ok(Some(Hello { client_id, headers })));
    }

    #[test]
    fn what_is_unknown_is_passed_over() {
        for text in ["", "null", "[]", "{}", r#"{"type":5}"#, r#"{"type":"news","n":1}"#, "\u{0}"] {
            assert_eq!(ServerFrame::parse(text), None, "{text}");
        }
        let poke = r#" { "since" : { "a": [1] }, "type" : "poke" } "#;
        assert_eq!(ServerFrame::parse(poke), Some(ServerFrame::Poke));
        for text in ["null", "[]", "{}", r#"{"type":5}"#, r#"{"type":"bye"}"#] {
            assert_eq!(Hello::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_hello_of_a_wrong_shape_is_refused() {
        let long = format!(r#"{{"type":"hello","clientId":"a","x":"{}"}}"#, "x".repeat(MAX_FRAME_BYTES));
        for text in [
            "hello",
            r#"{"type":"hello"}"#,
            r#"{"type":"hello","clientId":""}"#,
            r#"{"type":"hello","clientId":5}"#,
            r#"{"type":"hello","clientId":"a","headers":{"n":5}}"#,
            &long,
        ] {
            assert!(Hello::parse(text).is_err(), "{text:.100}");
        }
        let bare = r#"{"type":"hello","clientId":"a"}"#;
        assert_eq!(Hello::parse(bare).unwrap().unwrap().headers, []);
    }

    #[test]
    fn a_token_is_not_written_to_logs() {
        let hello = Hello::parse(r#"{"type":"hello","clientId":"a","headers":{"authorization":"SECRET"}}"#);
        let text = format!("{hello:?}");
        assert!(text.contains("authorization") && !text.contains("SECRET"), "{text}");
    }
}
