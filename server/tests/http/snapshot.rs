//! Snapshots and pages: what a client has after the last page is what the server has, whatever happened in between.

use objectql_sync_server::store::PageLimit;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Client, Options, Replica, Server};

fn paged(changes: usize, bytes: usize) -> Options {
    Options { page: PageLimit { changes, bytes }, ..Options::default() }
}

fn title(text: &str) -> Value {
    json!({ "title": text })
}

#[tokio::test]
async fn a_snapshot_comes_in_pages_of_so_many_changes() {
    let server = Server::with(paged(3, 1 << 20));
    let a = Client::new(&server, "a");
    for n in 0..7 {
        server.apply(a.create("story", n, title("T"))).await;
    }
    server.apply(a.delete("story", 2, 3)).await;
    let mut replica = Replica::default();
    let mut pages = 1;
    while replica.pull_page(&server).await {
        assert_eq!(replica.records.len(), pages * 3);
        pages += 1;
    }
    assert_eq!((pages, replica.records.len()), (2, 6));
}

#[tokio::test]
async fn a_page_ends_with_so_many_bytes() {
    let server = Server::with(paged(1000, 3000));
    let a = Client::new(&server, "a");
    for n in 0..6 {
        server.apply(a.create("story", n, title(&"x".repeat(1000)))).await;
    }
    let mut replica = Replica::default();
    assert!(replica.pull_page(&server).await);
    assert_eq!(replica.records.len(), 3);
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), 6);
    // One change that is larger than a page still comes.
    server.apply(a.create("story", 9, title(&"x".repeat(9000)))).await;
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), 7);
}

#[tokio::test]
async fn an_exact_page_is_the_last_one() {
    let server = Server::with(paged(2, 1 << 20));
    let a = Client::new(&server, "a");
    for n in 0..2 {
        server.apply(a.create("story", n, title("T"))).await;
    }
    assert!(!Replica::default().pull_page(&server).await);
}

#[tokio::test]
async fn what_changes_while_a_snapshot_is_paged_is_neither_missed_nor_resurrected() {
    let server = Server::with(paged(2, 1 << 20));
    let a = Client::new(&server, "a");
    for n in 1..=6 {
        server.apply(a.create("story", n, title("before"))).await;
    }
    let mut replica = Replica::default();
    assert!(replica.pull_page(&server).await);
    server.apply(a.update("story", 1, 1, title("sent, then changed"))).await;
    server.apply(a.delete("story", 2, 2)).await;
    server.apply(a.update("story", 5, 5, title("changed, not sent yet"))).await;
    server.apply(a.delete("story", 6, 6)).await;
    server.apply(a.create("story", 7, title("new"))).await;
    server.apply(a.delete("story", 4, 4)).await;
    server.apply(a.create("story", 4, title("made anew"))).await;
    replica.pull(&server).await;
    let mut fresh = Replica::default();
    fresh.pull(&server).await;
    assert_eq!(replica.records, fresh.records);
    assert_eq!(replica.records.len(), 5);
}

#[tokio::test]
async fn a_push_within_a_snapshot_is_in_it() {
    let server = Server::with(paged(2, 1 << 20));
    let a = Client::new(&server, "a");
    for n in 1..=4 {
        server.apply(a.create("story", n, title("before"))).await;
    }
    let mut replica = Replica::default();
    replica.pull_page(&server).await;
    let answer = server
        .exchange("a", &[a.create("story", 9, title("mine"))], replica.checkpoint.as_deref())
        .await
        .answer(1);
    replica.take(&answer);
    replica.pull(&server).await;
    assert_eq!(replica.records.len(), 5);
}

/// One step of a world with a server, writers and readers.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Update(u8, u8),
    Delete(u8, u8),
    Pull(usize),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..2, 0_u8..8).prop_map(|(object, id)| Step::Create(object, id)),
        3 => (0_u8..2, 0_u8..8).prop_map(|(object, id)| Step::Update(object, id)),
        2 => (0_u8..2, 0_u8..8).prop_map(|(object, id)| Step::Delete(object, id)),
        5 => (0_usize..3).prop_map(Step::Pull),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Three readers take a page now and then while a writer goes on; in the end all hold what a new reader gets.
    #[test]
    fn all_readers_agree_in_the_end(steps in prop::collection::vec(any_step(), 1..60), page in 1_usize..4) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut server = Server::with(paged(page, 1 << 20));
            let home = Server::new();
            let writer = Client::new(&home, "w");
            let mut readers = [Replica::default(), Replica::default(), Replica::default()];
            for step in steps {
                let object = |object: u8| if object == 0 { "story" } else { "reading" };
                let mutation = match step {
                    Step::Create(at, id) => writer.create(object(at), id, title("made")),
                    Step::Update(at, id) => writer.mutation(object(at), id, "update", Some(json!({ "n": id }))),
                    Step::Delete(at, id) => writer.mutation(object(at), id, "delete", None),
                    Step::Pull(reader) => {
                        readers[reader].pull_page(&server).await;
                        continue;
                    }
                    Step::Restart => {
                        server = server.reopened(paged(page, 1 << 20));
                        continue;
                    }
                };
                server.push(&[mutation]).await;
            }
            let mut fresh = Replica::default();
            fresh.pull(&server).await;
            for reader in &mut readers {
                reader.pull(&server).await;
                assert_eq!(reader.records, fresh.records);
                assert_eq!(reader.checkpoint, fresh.checkpoint);
            }
        });
    }
}
