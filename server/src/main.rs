//! The command: reads the options, opens the database, serves until it is told to stop.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::Parser;
use objectql_sync_server::config::LogFormat;
use objectql_sync_server::retention::keep_pruning;
use objectql_sync_server::routes::Http;
use objectql_sync_server::serve::{serve, stop_signal};
use objectql_sync_server::store::sqlite::SqliteStore;
use objectql_sync_server::store::{PageLimit, Store};
use objectql_sync_server::{App, Config, Objects, Rules, app};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// A page ends when its data has so many bytes.
const PAGE_BYTES: usize = 1 << 20;

type AnyError = Box<dyn std::error::Error>;

fn main() -> std::process::ExitCode {
    let config = Config::parse();
    start_log(config.log_format);
    // Once `run` has returned, dropping the runtime waits for pushes that still write, and the database is closed last.
    let outcome = tokio::runtime::Runtime::new()
        .map_err(AnyError::from)
        .and_then(|runtime| runtime.block_on(run(config)));
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

async fn run(config: Config) -> Result<(), AnyError> {
    let stop = stop_signal()?;
    let objects = Objects::load(&config.objects)?;
    if objects.published().is_empty() {
        tracing::info!(folder = %config.objects.display(), "no object has sync enabled");
    }
    let store = SqliteStore::open(&config.db)?;
    if config.restored {
        store.begin_epoch()?;
    }
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    tracing::info!(objects = objects.len(), db = %config.db.display(), "started");
    let rules = Rules {
        objects,
        max_mutations: config.max_mutations as usize,
        retention_days: config.retention_days,
        page: PageLimit { changes: config.page_size as usize, bytes: PAGE_BYTES },
    };
    let http = Http {
        path: config.path,
        max_body_bytes: config.max_body_bytes as usize,
        allow_origin: config.allow_origin,
        static_dir: config.static_dir,
        max_sockets: config.realtime.then_some(config.max_sockets),
    };
    let endpoint = App::new(rules, http, Arc::new(store))?;
    let pruning = tokio::spawn(keep_pruning(endpoint.clone()));
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    let hang_up = async {
        stop.await;
        endpoint.hang_up();
    };
    serve(listener, app(endpoint.clone()), hang_up).await;
    endpoint.hung_up().await;
    pruning.abort();
    tracing::info!("stopped");
    Ok(())
}
