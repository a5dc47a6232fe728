//! A server as somebody else writes one: no ids remembered, no chains, no strategies, and nothing that could be watched.

use std::collections::BTreeMap;

use objectql_offline::engine::Answer;
use objectql_sync_protocol::{
    ClientId, Fields, Mutation, ObjectName, PushRequest, RecordId, RecordKey, Timestamp,
};
use plain_server::PlainServer;

use crate::coverage::Coverage;
use crate::server::history::History;
use crate::server::{Server, Trouble};
use crate::setup::Setup;

/// A plain server.
pub(crate) struct Plain(PlainServer);

impl Plain {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self(PlainServer::new(setup.max_mutations))
    }

    fn handle(&mut self, body: &str, now: Timestamp) -> Answer {
        let answer = self.0.handle(u64::try_from(now.millis()).unwrap_or(0), body);
        let content_type = answer.headers.iter().find(|(name, _)| *name == "content-type");
        Answer {
            status: answer.status,
            content_type: content_type.map(|(_, value)| (*value).to_owned()).unwrap_or_default(),
            body: answer.body.into_bytes(),
            ..Answer::default()
        }
    }
}

impl Server for Plain {
    fn answer(&mut self, body: &[u8], now: Timestamp, trouble: Trouble, _: &mut Coverage) -> Option<Answer> {
        if trouble.fuse > 0 {
            return None;
        }
        let answer = self.handle(&String::from_utf8_lossy(body), now);
        (!trouble.crashes).then_some(answer)
    }

    fn share(&mut self, _: &ClientId) {}

    fn write_directly(&mut self, mutation: &Mutation, now: Timestamp) {
        // With the base that this server wants, found by asking for everything.
        let request = PushRequest {
            client_id: &mutation.client_id,
            mutations: std::slice::from_ref(mutation),
            last_checkpoint: None,
        };
        self.handle(&request.to_json(), now);
    }

    fn prune(&mut self, _: Timestamp) -> bool {
        false
    }

    fn forget_everything(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn backup(&mut self, _: usize) {}

    /// A restart, rather: its versions were in memory.
    fn restore(&mut self, _: usize) -> bool {
        self.0.forget_versions();
        false
    }

    fn records(&self) -> BTreeMap<RecordKey, Fields> {
        let record = |(object, id, fields): (&str, &str, &serde_json::Map<String, serde_json::Value>)| {
            let object = ObjectName::new(object).ok()?;
            let id = RecordId::parse_json(id).ok()?;
            let text = serde_json::to_string(fields).ok()?;
            Some((RecordKey { object, id }, Fields::parse(&text).ok()?))
        };
        self.0.records().filter_map(record).collect()
    }

    fn is_at_end(&self, checkpoint: &str) -> bool {
        checkpoint.parse() == Ok(self.0.change_count())
    }

    fn history(&self) -> Option<&History> {
        None
    }

    fn without_chance(&self, text: &str) -> String {
        text.to_owned()
    }

    fn take_violation(&mut self) -> Option<String> {
        None
    }
}
