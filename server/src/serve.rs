//! The loop that accepts connections, with deadlines and an end.
//!
//! `axum::serve` has neither a deadline for a request's head nor a bound on connections, so that a few hundred sockets
//! that say nothing would hold the server up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// How long the head of a request may take to arrive, the wait on a connection kept open included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How many connections are open at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// How long requests that have begun get when the server is told to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready, then accepts no more, lets the requests that have begun end, and returns. A connection that
/// became a WebSocket is no request any more: nothing here waits for it.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(router);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Every connection holds a receiver: when there is none left, all have ended.
    let (stopping, _) = watch::channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
            () = &mut stop => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::error!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(socket), service.clone())
            .with_upgrades();
        let mut stopped = stopping.subscribe();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // A peer that goes away or talks nonsense is nobody's fault here.
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            }
            drop((place, stopped));
        });
    }
    drop(listener);
    stopping.send_replace(());
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, stopping.closed()).await.is_err() {
        tracing::error!("some requests did not end in time");
    }
}

/// Is ready when the process is asked to end: ctrl-c or SIGTERM.
///
/// # Errors
/// The signals cannot be listened to.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}
