//! Realtime through a real listener: clients with sockets are told that something was committed, and others are kept out.

use std::net::SocketAddr;

use axum::http::{HeaderValue, StatusCode};
use futures_util::{SinkExt, StreamExt};
use objectql_sync_server::serve::serve;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::{Client, Options, Server};

/// A server behind a listener.
struct Listening {
    server: Server,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Listening {
    async fn start(options: Options) -> Self {
        let server = Server::with(options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (app, router) = (server.app.clone(), server.router.clone());
        let serving = tokio::spawn(async move {
            let hang_up = async {
                let _ = stopped.await;
                app.hang_up();
            };
            serve(listener, router, hang_up).await;
            app.hung_up().await;
        });
        Self { server, address, stop: Some(stop), serving }
    }

    async fn on() -> Self {
        Self::start(Options { max_sockets: Some(3), ..Options::default() }).await
    }

    async fn connect(&self) -> Result<Socket, Error> {
        self.connect_from(None).await
    }

    async fn connect_from(&self, origin: Option<&str>) -> Result<Socket, Error> {
        let mut request = format!("ws://{}/api/sync/realtime", self.address).into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
        }
        Ok(Socket(connect_async(request).await?.0))
    }

    /// A socket that has been greeted.
    async fn greet(&self, client: &str) -> Socket {
        let mut socket = self.connect().await.unwrap();
        let hello =
            json!({ "type": "hello", "clientId": client, "headers": { "authorization": "Bearer x" } });
        socket.0.send(Message::text(hello.to_string())).await.unwrap();
        assert_eq!(socket.next().await, r#"{"type":"ready"}"#);
        socket
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.serving.await.unwrap();
    }
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// The next text.
    async fn next(&mut self) -> String {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// How the server closed it.
    async fn closed(mut self) -> Option<CloseCode> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

const POKE: &str = r#"{"type":"poke"}"#;

fn status_of(refused: Result<Socket, Error>) -> StatusCode {
    match refused {
        Err(Error::Http(response)) => response.status(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[tokio::test]
async fn a_push_rings_for_the_others() {
    let listening = Listening::on().await;
    let (mut a, mut b) = (listening.greet("a").await, listening.greet("b").await);
    let client = Client::new(&listening.server, "a");
    listening.server.apply(client.create("story", 1, json!({ "title": "T" }))).await;
    assert_eq!(b.next().await, POKE);
    // A pull, and a push that changes nothing, are no news; the next that comes is of the change after them.
    listening.server.exchange("b", &[], None).await.answer(0);
    let invalid = client.create("story", 2, json!({ "title": null }));
    assert_eq!(listening.server.push(&[invalid]).await[0]["status"], "rejected");
    let other = Client::new(&listening.server, "c");
    listening.server.apply(other.create("story", 3, json!({ "title": "T" }))).await;
    assert_eq!(a.next().await, POKE);
    assert_eq!(b.next().await, POKE);
}

#[tokio::test]
async fn the_feature_is_told() {
    let on = Server::with(Options { max_sockets: Some(1), ..Options::default() });
    let reply = on.exchange("a", &[], None).await;
    assert_eq!(
        reply.header("objectql-sync-features"),
        "idempotent,chains,echoes,paged,snapshot,strategies,realtime"
    );
}

#[tokio::test]
async fn there_is_no_socket_where_realtime_is_off() {
    let listening = Listening::start(Options::default()).await;
    assert_eq!(status_of(listening.connect().await), 404);
    listening.server.get("/api/sync/realtime").await.assert_problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let listening = Listening::on().await;
    listening.server.get("/api/sync/realtime").await.assert_problem(426, "UPGRADE_REQUIRED");
}

#[tokio::test]
async fn pages_of_other_sites_open_no_socket() {
    let allow_origin = vec![HeaderValue::from_static("https://app.example")];
    let listening =
        Listening::start(Options { max_sockets: Some(3), allow_origin, ..Options::default() }).await;
    for origin in ["https://evil.example", "http://127.0.0.1:1", "null"] {
        assert_eq!(status_of(listening.connect_from(Some(origin)).await), 403, "{origin}");
    }
    for origin in ["https://app.example".to_owned(), format!("http://{}", listening.address)] {
        listening.connect_from(Some(&origin)).await.unwrap();
    }
}

#[tokio::test]
async fn frames_that_are_too_large_or_binary_close_the_socket() {
    let listening = Listening::on().await;
    let mut socket = listening.greet("a").await;
    socket.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(socket.closed().await, Some(CloseCode::Unsupported));

    let mut socket = listening.greet("a").await;
    socket.0.send(Message::text("x".repeat(16 << 10))).await.unwrap();
    // The server stops reading, so that the end of the frame may meet a connection that is gone, and the reason with it.
    let _ = socket.0.send(Message::text("x".repeat(100 << 20))).await;
    let code = socket.closed().await;
    assert!(matches!(code, None | Some(CloseCode::Size)), "{code:?}");
    listening.greet("b").await;
}

#[tokio::test]
async fn sockets_are_bounded_and_places_are_given_back() {
    let listening = Listening::on().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(listening.greet("a").await);
    }
    assert_eq!(status_of(listening.connect().await), 503);
    // Requests go on beside them.
    listening.server.exchange("a", &[], None).await.answer(0);
    let mut last = open.pop().unwrap();
    last.0.close(None).await.unwrap();
    assert_eq!(last.closed().await, None);
    while listening.connect().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_never_reads_holds_nobody_up() {
    let listening = Listening::on().await;
    let _stuck = listening.greet("stuck").await;
    let mut other = listening.greet("other").await;
    let client = Client::new(&listening.server, "a");
    for id in 0..50 {
        listening.server.apply(client.create("story", id, json!({ "title": "T" }))).await;
        assert_eq!(other.next().await, POKE);
    }
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_does_not_wait() {
    let listening = Listening::on().await;
    let (a, b) = (listening.greet("a").await, listening.connect().await.unwrap());
    let address = listening.address;
    let closed = tokio::spawn(async { (a.closed().await, b.closed().await) });
    listening.stop().await;
    let away = Some(CloseCode::Away);
    assert_eq!(closed.await.unwrap(), (away, away));
    assert!(TcpStream::connect(address).await.is_err());
}
