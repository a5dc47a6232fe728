//! The plain server as a process, with the options of `objectql-sync-server` that mean anything to it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::Response;
use axum::routing::post;
use clap::Parser;
use plain_server::{Answer, PlainServer};

/// The most bytes in one request.
const MAX_BODY_BYTES: usize = 8 << 20;

type AnyError = Box<dyn std::error::Error>;

/// A sync endpoint that implements the wire format and nothing else, for the tests.
#[derive(Parser)]
struct Options {
    /// The address to listen on; port 0 takes a free one. The address is printed as "listening on http://..."
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,

    /// The most mutations in one request
    #[arg(long, value_name = "COUNT", default_value = "100")]
    max_mutations: usize,

    /// A file that keeps the records and the log through restarts, but not the versions; without it nothing is kept
    #[arg(long, value_name = "PATH")]
    db: Option<PathBuf>,

    /// Taken and ignored: the server takes any object
    #[arg(long, value_name = "DIR")]
    objects: Option<PathBuf>,
}

/// The server and the requests that changed it, a line each: time and body. A line without a body is a restart, and one that a
/// kill cut short is no request.
struct Kept {
    server: PlainServer,
    journal: Option<File>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    let options = Options::parse();
    let kept = Arc::new(Mutex::new(Kept::open(&options)?));
    let app = Router::new()
        .route("/api/sync", post(answer))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(kept);
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn answer(State(kept): State<Arc<Mutex<Kept>>>, body: String) -> Response<Body> {
    let answer =
        kept.lock().map_or_else(|_| Err("the server broke off".into()), |mut kept| kept.answer(&body));
    let Answer { status, headers, body } = answer.unwrap_or_else(|error: AnyError| Answer {
        status: 500,
        headers: vec![("content-type", "text/plain")],
        body: error.to_string(),
    });
    let builder = headers
        .into_iter()
        .fold(Response::builder().status(status), |builder, (name, value)| builder.header(name, value));
    builder.body(Body::from(body)).unwrap_or_default()
}

impl Kept {
    fn open(options: &Options) -> Result<Self, AnyError> {
        let mut server = PlainServer::new(options.max_mutations);
        let Some(path) = &options.db else { return Ok(Self { server, journal: None }) };
        let mut journal = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        for line in BufReader::new(&journal).lines() {
            match line?.split_once(' ') {
                Some((time, body)) => drop(server.handle(time.parse()?, body)),
                None => server.forget_versions(),
            }
        }
        writeln!(journal)?;
        server.forget_versions();
        Ok(Self { server, journal: Some(journal) })
    }

    /// Answers a request, after what it changed is in the journal: what an answer says has to survive the end of the process.
    fn answer(&mut self, body: &str) -> Result<Answer, AnyError> {
        let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let before = self.server.change_count();
        let answer = self.server.handle(now_ms, body);
        if let Some(journal) = &mut self.journal
            && self.server.change_count() > before
        {
            // JSON text needs no line breaks: what remains of a body with them means the same.
            journal.write_all(format!("{now_ms} {}\n", body.replace(['\n', '\r'], " ")).as_bytes())?;
        }
        Ok(answer)
    }
}
