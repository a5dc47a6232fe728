//! The golden exchanges of `tests/conformance`: the server answers them as written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use objectql_sync_protocol::{ObjectDefinition, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::harness::{Options, START, Server};

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/exchanges");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The names that a golden file has for checkpoints, and what this server calls them.
#[derive(Default)]
struct Checkpoints(BTreeMap<String, String>);

impl Checkpoints {
    fn name(&mut self, golden: &Value, actual: &mut Value) {
        let (Some(name), Some(text)) = (golden["checkpoint"].as_str(), actual["checkpoint"].as_str()) else {
            return;
        };
        let known = self.0.entry(name.to_owned()).or_insert_with(|| text.to_owned());
        assert_eq!(known, text, "the checkpoint {name}");
        actual["checkpoint"] = name.into();
    }

    /// The request as it stands in the file, so that the order of its members is kept, with the checkpoint it names.
    fn replaced(&self, request: &RawValue) -> String {
        self.0.iter().fold(request.get().to_owned(), |text, (name, checkpoint)| {
            let with = |checkpoint| format!("\"lastCheckpoint\": \"{checkpoint}\"");
            text.replace(&with(name), &with(checkpoint))
        })
    }
}

/// A golden file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    now: Timestamp,
    objects: Vec<ObjectDefinition>,
    page_size: Option<usize>,
    exchanges: Vec<GoldenExchange>,
}

#[derive(Deserialize)]
struct GoldenExchange {
    request: Box<RawValue>,
    status: u16,
    answer: Value,
}

#[tokio::test]
async fn the_server_answers_every_golden_exchange_as_written() {
    for path in golden_files() {
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut options = Options { objects: golden.objects, ..Options::default() };
        options.page.changes = golden.page_size.unwrap_or(options.page.changes);
        let server = Server::with(options);
        server.advance(golden.now.millis() - START);
        let mut checkpoints = Checkpoints::default();
        for (number, exchange) in golden.exchanges.iter().enumerate() {
            let reply = server.post(checkpoints.replaced(&exchange.request)).await;
            let shown = format!("{} exchange {number}: {}", path.display(), reply.text);
            assert_eq!(reply.status.as_u16(), exchange.status, "{shown}");
            let mut answer = reply.json();
            checkpoints.name(&exchange.answer, &mut answer);
            for (name, expected) in exchange.answer.as_object().unwrap() {
                assert_eq!(&answer[name], expected, "{shown}");
            }
            if reply.status == 200 {
                let extra =
                    answer.as_object().unwrap().keys().find(|&key| exchange.answer.get(key).is_none());
                assert_eq!(extra, None, "{shown}");
            }
        }
    }
}
