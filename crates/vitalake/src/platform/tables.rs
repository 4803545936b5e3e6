//! Opening the tables of a life: each by itself, so that one that does not open holds up no other.
//!
//! A table whose contract no longer fits it, or whose log cannot be read, stands still alone with what derives from it, and
//! is asked again while the others work. Invariant: a life has all tables that opened; when one opens later, the next life
//! has that too.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use vitalake_lake::{Lake, LakeOptions, TableSpec, Unopened};
use vitalake_runtime::health::LogThrottle;

use super::{Life, Role, Setup, erase};

/// How long a store that does not answer is left before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long tables that may come back hold up those that are open.
const HELD_UP_MAX: Duration = Duration::from_secs(30);
/// The longest time between two looks at a table that is not open.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(300);

/// Opens the tables that this role has. Every table is made by the first process that may, so that readers find all.
pub(super) async fn open(
    setup: &Setup,
    role: Role,
    store: &Arc<dyn ObjectStore>,
    specs: Vec<TableSpec>,
    remote: bool,
) -> anyhow::Result<Arc<Lake>> {
    let (mut specs, others): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| role.opens(spec.contract.layer));
    specs.iter_mut().for_each(|spec| spec.followed = role.follows(spec.contract.layer));
    let wait = !setup.without_intake && (remote || specs.iter().any(|spec| spec.followed));
    if !others.is_empty() {
        drop(open_lake(setup, store, others, wait).await?);
    }
    let lake = open_lake(setup, store, specs, wait).await?;
    for unopened in lake.unopened() {
        let (table, reason) = (unopened.id(), unopened.reason());
        tracing::error!(%table, reason, "the table is not open: it stands still with what derives from it, the rest goes on");
    }
    Ok(lake)
}

/// Opens tables; waits for a store over the network, and for tables that another process is yet to make.
async fn open_lake(
    setup: &Setup,
    store: &Arc<dyn ObjectStore>,
    specs: Vec<TableSpec>,
    wait: bool,
) -> anyhow::Result<Arc<Lake>> {
    let options = LakeOptions {
        tail_bytes_max: usize::try_from(setup.config.storage.tail_bytes_max).unwrap_or(usize::MAX),
        file_bytes_in_memory: setup.tuning.file_bytes_in_memory,
        commits_per_checkpoint: setup.tuning.commits_per_checkpoint,
        events: setup.events.clone(),
        refused: erase::persons(setup)?,
    };
    let (mut said, began) = (LogThrottle::new(setup.clock.clone()), setup.clock.monotonic());
    loop {
        let (clock, cpu) = (setup.clock.clone(), setup.cpu.clone());
        let lake = Lake::open_each(Arc::clone(store), specs.clone(), options.clone(), clock, cpu).await;
        let none_is_open = lake.tables().next().is_none();
        let Some(waits) = lake.unopened().find(|unopened| unopened.may_come_back()) else {
            // A store that refuses every table for good is no reason for one to stand still and the rest to go on.
            let refused = lake.unopened().next().filter(|_| none_is_open).map(sentence);
            return refused.map_or(Ok(Arc::new(lake)), |reason| Err(anyhow::anyhow!(reason)));
        };
        let reason = sentence(waits);
        let is_over = setup.clock.monotonic().saturating_sub(began) >= HELD_UP_MAX;
        match (wait, none_is_open) {
            (false, true) => anyhow::bail!(reason),
            (false, false) => return Ok(Arc::new(lake)),
            (true, false) if is_over => return Ok(Arc::new(lake)),
            (true, _) => {}
        }
        if said.is_news(reason.clone()) {
            tracing::warn!(reason, "the lake is waited for");
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Looks again at tables that are not open, ever more rarely, until one would open: then a new life begins.
pub(super) async fn look_again(life: Arc<Life>) {
    let mut wait = life.setup.tuning.maintenance_interval;
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOK_AGAIN_MAX);
        for unopened in life.lake.unopened() {
            if life.lake.would_open(unopened).await {
                tracing::warn!(table = %unopened.id(), "the table opens again: beginning anew with it");
                life.reopened.send_replace(true);
                return;
            }
        }
    }
}

/// What is said of a table that is not open.
pub(super) fn sentence(unopened: &Unopened) -> String {
    format!("{} is not open: {}", unopened.id(), unopened.reason())
}
