//! What is older than the retention is forgotten, and nobody is deceived by that.

use objectql_sync_server::retention::prune;
use objectql_sync_server::store::sqlite::SqliteStore;
use objectql_sync_server::store::{PageLimit, Pruned, Store};
use serde_json::{Value, json};

use crate::harness::{Client, DAY_MS, Options, Replica, Server};

fn title(text: &str) -> Value {
    json!({ "title": text })
}

#[tokio::test]
async fn a_checkpoint_from_before_the_horizon_is_410() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let mut replica = Replica::default();
    server.apply(a.create("story", 1, title("old"))).await;
    replica.pull(&server).await;
    let old = replica.checkpoint.clone();
    server.apply(a.create("story", 2, title("old"))).await;
    replica.pull(&server).await;
    server.advance(31 * DAY_MS);
    server.apply(a.create("story", 3, title("new"))).await;
    assert_eq!(prune(&server.app).await.unwrap(), Pruned { changes: 2, verdicts: 2 });
    assert_eq!(prune(&server.app).await.unwrap(), Pruned::default());

    let late = a.create("story", 4, title("late"));
    let reply = server.exchange("a", std::slice::from_ref(&late), old.as_deref()).await;
    reply.assert_problem(410, "CHECKPOINT_UNKNOWN");
    // Who has all that was pruned misses nothing; who begins anew gets all records, also those whose changes are gone.
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), 3);
    let mut fresh = Replica::default();
    fresh.pull(&server).await;
    assert_eq!(fresh.records, replica.records);
}

#[tokio::test]
async fn a_snapshot_that_takes_longer_than_the_retention_begins_again() {
    let server =
        Server::with(Options { page: PageLimit { changes: 1, bytes: 1 << 20 }, ..Options::default() });
    let a = Client::new(&server, "a");
    for n in 1..=3 {
        server.apply(a.create("story", n, title("T"))).await;
    }
    let mut replica = Replica::default();
    assert!(replica.pull_page(&server).await);
    server.apply(a.delete("story", 1, 1)).await;
    server.advance(31 * DAY_MS);
    prune(&server.app).await.unwrap();
    let reply = server.exchange("replica", &[], replica.checkpoint.as_deref()).await;
    reply.assert_problem(410, "CHECKPOINT_UNKNOWN");
}

#[tokio::test]
async fn a_forgotten_mutation_is_refused_rather_than_applied_again() {
    let server = Server::new();
    let (a, b) = (Client::new(&server, "a"), Client::new(&server, "b"));
    let create = a.create("story", 1, title("T"));
    let version = server.apply(create.clone()).await;
    server.apply(b.delete("story", 1, version)).await;
    server.advance(29 * DAY_MS);
    prune(&server.app).await.unwrap();
    assert_eq!(
        server.push(std::slice::from_ref(&create)).await[0]["serverVersion"],
        version,
        "still remembered"
    );
    server.advance(2 * DAY_MS);
    prune(&server.app).await.unwrap();
    let verdict = server.push(std::slice::from_ref(&create)).await.remove(0);
    assert!(verdict["reason"].as_str().unwrap().starts_with("MUTATION_TOO_OLD: "), "{verdict}");
    let mut replica = Replica::default();
    replica.pull(&server).await;
    assert!(replica.records.is_empty(), "the deleted record did not come back");
}

#[tokio::test]
async fn a_clock_that_jumps_opens_no_gap() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let create = a.create("story", 1, title("T"));
    server.apply(create.clone()).await;
    server.advance(40 * DAY_MS);
    prune(&server.app).await.unwrap();
    server.advance(-40 * DAY_MS);
    // Recorded yesterday and forgotten by mistake: whether it was applied cannot be told any more.
    let verdict = server.push(std::slice::from_ref(&create)).await.remove(0);
    assert_eq!(verdict["status"], "rejected");
    server.advance(1);
    let version = server.apply(a.create("story", 2, title("T"))).await;
    assert_eq!(version, 2, "positions go on after all changes were pruned");
}

#[tokio::test]
async fn a_restored_backup_sends_all_clients_to_a_fresh_snapshot() {
    let server = Server::new();
    let a = Client::new(&server, "a");
    let version = server.apply(a.create("story", 1, title("T"))).await;
    let mut replica = Replica::default();
    replica.pull(&server).await;
    SqliteStore::open(server.folder.path().join("sync.db")).unwrap().begin_epoch().unwrap();
    let reply = server.exchange("replica", &[], replica.checkpoint.as_deref()).await;
    reply.assert_problem(410, "CHECKPOINT_UNKNOWN");
    assert!(server.apply(a.update("story", 1, version, title("U"))).await > version + 1000);
}

/// Goal: what was given out after a backup of an empty database was made is not given out again.
#[tokio::test]
async fn a_restored_backup_of_an_empty_database_begins_far_behind_the_first_versions() {
    let server = Server::new();
    SqliteStore::open(server.folder.path().join("sync.db")).unwrap().begin_epoch().unwrap();
    let a = Client::new(&server, "a");
    assert!(server.apply(a.create("story", 1, title("T"))).await > 1000);
}

#[test]
fn a_newer_database_is_left_alone() {
    let server = Server::new();
    server.database().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = SqliteStore::open(server.folder.path().join("sync.db")).unwrap_err().to_string();
    assert!(error.contains("schema version 99"), "{error}");
    std::fs::write(
        server.folder.path().join("text.db"),
        "this is no database, but long enough to be looked at",
    )
    .unwrap();
    assert!(SqliteStore::open(server.folder.path().join("text.db")).is_err());
}
