//! HTTP: which path leads where, and how blocking work is kept off the threads that serve sockets.

mod files;
mod health;
mod realtime;
mod sync;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{get, post};
use objectql_sync_protocol::{Timestamp, header as sync_header, realtime::PATH};
use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

use crate::error::Error;
use crate::exchange::Rules;
use crate::realtime::Doorbell;
use crate::store::{Pruned, Store};

/// How long a request waits for its turn at the database before the client is told to come back.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// An endpoint: its rules, its store, and its way of serving both. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    rules: Rules,
    http: Http,
    store: Arc<dyn Store>,
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    doorbell: Option<Arc<Doorbell>>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// How the endpoint is reached.
#[derive(Debug, Clone)]
pub struct Http {
    /// Its path.
    pub path: String,
    /// The most bytes in one request.
    pub max_body_bytes: usize,
    /// The origins of other servers' pages that may call it and open sockets.
    pub allow_origin: Vec<HeaderValue>,
    /// The web app to serve beside it.
    pub static_dir: Option<PathBuf>,
    /// How many clients may be told of changes at once at a time; none: realtime is off.
    pub max_sockets: Option<u32>,
}

impl App {
    /// Puts an endpoint together.
    ///
    /// # Errors
    /// The store's, when it is told which objects are published.
    pub fn new(rules: Rules, http: Http, store: Arc<dyn Store>) -> Result<Self, Error> {
        Self::with_clock(rules, http, store, system_time)
    }

    /// Puts an endpoint together whose time is what `clock` says.
    ///
    /// # Errors
    /// The store's, when it is told which objects are published.
    pub fn with_clock(
        rules: Rules,
        http: Http,
        store: Arc<dyn Store>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        store.publish(&rules.objects.published())?;
        let reading = Arc::new(Semaphore::new(store.readers()));
        let writing = Arc::new(Semaphore::new(1));
        let doorbell = http.max_sockets.map(|max_sockets| Arc::new(Doorbell::new(max_sockets)));
        let clock = Box::new(clock);
        Ok(Self(Arc::new(Inner { rules, http, store, reading, writing, doorbell, clock })))
    }

    /// Forgets some of what is older than the retention.
    ///
    /// # Errors
    /// The store's.
    pub async fn prune_some(&self) -> Result<Pruned, Error> {
        let before = self.rules().horizon(self.now());
        self.blocking(&self.0.writing, move |app| Ok(app.0.store.prune(before)?)).await
    }

    /// Tells all clients with a socket that the server goes away.
    pub fn hang_up(&self) {
        if let Some(doorbell) = &self.0.doorbell {
            doorbell.hang_up();
        }
    }

    /// Waits until the clients with a socket were told, but for those that do not listen.
    pub async fn hung_up(&self) {
        if let Some(doorbell) = &self.0.doorbell {
            doorbell.hung_up().await;
        }
    }

    fn rules(&self) -> &Rules {
        &self.0.rules
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Runs blocking work when its turn has come. Once it has begun it runs to its end, whatever becomes of the request: hyper
    /// drops the future of a handler whose peer went away, and half a push must not come of that.
    async fn blocking<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(turns).acquire_owned());
        let turn = turn.await.map_err(|_| Error::Busy)?.map_err(|_| Error::Internal)?;
        let app = self.clone();
        let work = move || {
            let outcome = work(&app);
            drop(turn);
            outcome
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal)?
    }
}

fn system_time() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// The router of an endpoint.
pub fn app(app: App) -> Router {
    let http = app.0.http.clone();
    let only = |allowed| move || async move { Error::MethodNotAllowed { allowed } };
    let mut sync = post(sync::exchange).fallback(only("POST"));
    if !http.allow_origin.is_empty() {
        sync = sync.layer(cors(http.allow_origin));
    }
    let realtime_path = http.path.trim_end_matches('/').to_owned() + PATH;
    let router = Router::new()
        .route(&http.path, sync)
        .route(&realtime_path, get(realtime::open).fallback(only("GET")))
        .route("/health", get(health::health).fallback(only("GET, HEAD")))
        .with_state(app);
    match http.static_dir {
        Some(folder) => router.fallback_service(files::files(folder)),
        None => router.fallback(|| async { Error::NotFound }),
    }
}

fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    let exposed = [sync_header::FEATURES, sync_header::MAX_MUTATIONS, sync_header::SERVER_TIME];
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION])
        .expose_headers(
            exposed.map(HeaderName::from_static).into_iter().chain([header::RETRY_AFTER]).collect::<Vec<_>>(),
        )
        .max_age(Duration::from_secs(3600))
}
