//! One request and its answer: `SyncPushRequest` and `SyncPushResponse` on the wire.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Checkpoint, ClientId, Conflict, Json, Mutation, MutationId, ObjectText, ProtocolError, ServerChange,
    ServerVersion, array_text, message, quoted,
};

/// What a client sends (`SyncPushRequest`). With no mutations it is a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRequest<'a> {
    /// Who sends.
    pub client_id: &'a ClientId,
    /// What to apply, in order.
    pub mutations: &'a [Mutation],
    /// Where the client's knowledge of the server ends; none for a new client.
    pub last_checkpoint: Option<&'a Checkpoint>,
}

impl PushRequest<'_> {
    /// The request as it goes over the wire.
    #[must_use]
    pub fn to_json(&self) -> String {
        ObjectText::default()
            .text("clientId", self.client_id.as_str())
            .json("mutations", &array_text(self.mutations.iter().map(Mutation::to_json)))
            .plain("lastCheckpoint", self.last_checkpoint.map(|checkpoint| quoted(checkpoint.as_str())))
            .finish()
    }
}

/// A request as a server reads it: the mutations apart from each other, so that one bad one does not sink the rest.
#[derive(Debug)]
pub struct ReceivedPush {
    /// Who sends.
    pub client_id: ClientId,
    /// What to apply, in order, each valid or not.
    pub mutations: Vec<ReceivedMutation>,
    /// Where the client's knowledge ends. Kept as text: an ill-formed one is answered with 410, like any unknown one.
    pub last_checkpoint: Option<String>,
}

/// One mutation of a request: what it says, or why it cannot be read.
#[derive(Debug)]
pub enum ReceivedMutation {
    /// A well-formed mutation.
    Valid(Box<Mutation>),
    /// Anything else; its verdict is `rejected`.
    Invalid {
        /// The mutation's id, where that much could be read.
        id: Option<MutationId>,
        /// What is wrong with it.
        error: ProtocolError,
    },
}

impl ReceivedPush {
    /// Reads a request.
    ///
    /// # Errors
    /// `INVALID_MESSAGE` when the request as a whole has not the shape of the wire format. What is wrong with one mutation
    /// is told in its place of `mutations`.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            client_id: ClientId,
            #[serde(borrow)]
            mutations: Vec<&'a RawValue>,
            #[serde(default)]
            last_checkpoint: Option<String>,
        }
        let wire: Wire<'_> =
            serde_json::from_slice(body).map_err(|error| ProtocolError::InvalidMessage(error.to_string()))?;
        let mutations =
            wire.mutations.into_iter().map(|raw| read_mutation(raw.get(), &wire.client_id)).collect();
        Ok(Self { client_id: wire.client_id, mutations, last_checkpoint: wire.last_checkpoint })
    }
}

fn read_mutation(text: &str, sender: &ClientId) -> ReceivedMutation {
    #[derive(Deserialize)]
    struct OnlyId {
        id: MutationId,
    }
    let checked = Mutation::parse(text).and_then(|mutation| {
        if &mutation.client_id == sender {
            Ok(mutation)
        } else {
            Err(ProtocolError::InvalidMutation("the mutation's clientId is not the request's".to_owned()))
        }
    });
    match checked {
        Ok(mutation) => ReceivedMutation::Valid(Box::new(mutation)),
        Err(error) => {
            // Serde's reader, because it passes over what it is not asked for, whatever is wrong with it.
            let id = serde_json::from_str::<OnlyId>(text).ok().map(|only| only.id);
            ReceivedMutation::Invalid { id, error }
        }
    }
}

/// What a server answers (`SyncPushResponse`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushResponse {
    /// One verdict for each mutation, in the same order.
    pub results: Vec<MutationResult>,
    /// The changes after the client's checkpoint, its own included, in the server's order.
    pub server_changes: Vec<ServerChange>,
    /// Where the client's knowledge ends once it has these changes.
    pub checkpoint: Checkpoint,
    /// Whether more changes are there already (an extension): the client asks again with `checkpoint`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
}

impl PushResponse {
    /// Reads an answer to a request of `mutation_count` mutations. Nothing of an answer is used unless all of it is right.
    ///
    /// # Errors
    /// `INVALID_MESSAGE`: no JSON, a wrong shape, an unknown status, too many or too few results.
    pub fn parse(body: &[u8], mutation_count: usize) -> Result<Self, ProtocolError> {
        let read = || {
            let text = message::read(body)?;
            let json = Json::from_normalised(&text);
            let results = json.required("\"results\"")?.array("results")?;
            let changes = json.required("\"serverChanges\"")?.array("serverChanges")?;
            Ok(Self {
                results: results.map(MutationResult::from_json).collect::<Result<_, _>>()?,
                server_changes: changes.map(ServerChange::from_json).collect::<Result<_, _>>()?,
                checkpoint: json.required("\"checkpoint\"")?.checkpoint("checkpoint")?,
                has_more: json
                    .member("\"hasMore\"")
                    .map_or(Ok(false), |has_more| has_more.boolean("hasMore"))?,
            })
        };
        let response: Self =
            read().map_err(|error: ProtocolError| ProtocolError::InvalidMessage(error.to_string()))?;
        if response.results.len() != mutation_count {
            return Err(ProtocolError::InvalidMessage(format!(
                "the answer has {} results for {mutation_count} mutations",
                response.results.len()
            )));
        }
        Ok(response)
    }
}

/// The verdict on one mutation (`SyncMutationResult`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum MutationResult {
    /// Settled; the record now has this version.
    #[serde(rename_all = "camelCase")]
    Applied {
        /// The record's version after the mutation, or its current one where the mutation was superseded.
        server_version: ServerVersion,
    },
    /// Not applied: somebody has to decide.
    Conflict {
        /// Both sides.
        conflict: Box<Conflict>,
    },
    /// Never to be applied.
    Rejected {
        /// Why, for people.
        reason: String,
    },
}

impl MutationResult {
    fn from_json(json: Json<'_>) -> Result<Self, ProtocolError> {
        match json.required("\"status\"")?.as_str() {
            "\"applied\"" => Ok(Self::Applied {
                server_version: json
                    .required("\"serverVersion\"")?
                    .integer("serverVersion", ServerVersion::new)?,
            }),
            "\"conflict\"" => Ok(Self::Conflict {
                conflict: Box::new(Conflict::from_json(json.required("\"conflict\"")?)?),
            }),
            "\"rejected\"" => {
                Ok(Self::Rejected { reason: json.required("\"reason\"")?.text("reason")?.into_owned() })
            }
            other => Err(ProtocolError::InvalidMessage(format!("there is no status {other}"))),
        }
    }
}
