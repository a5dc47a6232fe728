//! Forgetting what is older than the retention, every hour.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::routes::App;
use crate::store::Pruned;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Forgets now and then every hour, until the future is dropped. A failure is logged; the next round tries again.
pub async fn keep_pruning(app: App) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match prune(&app).await {
            Ok(Pruned { changes: 0, verdicts: 0 }) => {}
            Ok(Pruned { changes, verdicts }) => {
                tracing::info!(changes, verdicts, "forgot what is older than the retention")
            }
            Err(error) => tracing::error!(%error, "pruning failed"),
        }
    }
}

/// Forgets all that is older than the retention, a bit at a time, so that requests get their turn in between.
///
/// # Errors
/// The store's.
pub async fn prune(app: &App) -> Result<Pruned, crate::Error> {
    let mut total = Pruned::default();
    loop {
        let some = app.prune_some().await?;
        if some == Pruned::default() {
            return Ok(total);
        }
        total.changes += some.changes;
        total.verdicts += some.verdicts;
    }
}
