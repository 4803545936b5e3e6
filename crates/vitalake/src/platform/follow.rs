//! What a process that follows does for tables that no model of its own makes.
//!
//! Invariant: a failure is said when it begins or changes, not with every try.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use parking_lot::Mutex;
use vitalake_ingest::landing::TopicLanding;
use vitalake_lake::Table;
use vitalake_process::FollowInputs;
use vitalake_runtime::error::in_full;

/// A table without a tail here, and what was last said of it.
struct Followed {
    table: Arc<Table>,
    said: Mutex<Option<String>>,
}

/// Follows the tables of landings with their tails, and others as they are committed.
pub(crate) fn inputs<'a>(landings: &[Arc<TopicLanding>], tables: impl Iterator<Item = &'a Arc<Table>>) -> FollowInputs {
    let landings = landings.to_vec();
    let landed: Vec<_> = landings.iter().map(|landing| landing.table().id()).collect();
    let others: Vec<Arc<Followed>> = tables
        .filter(|table| !landed.contains(&table.id()))
        .map(|table| Arc::new(Followed { table: Arc::clone(table), said: Mutex::default() }))
        .collect();
    Arc::new(move || {
        let (landings, others) = (landings.clone(), others.clone());
        async move {
            let landed = join_all(landings.iter().map(|landing| landing.follow())).await;
            let followed = join_all(others.iter().map(|other| other.follow())).await;
            landed.into_iter().chain(followed).any(|moved| moved)
        }
        .boxed()
    })
}

/// Follows until dropped.
pub(crate) async fn forever(inputs: FollowInputs, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        inputs().await;
    }
}

impl Followed {
    async fn follow(&self) -> bool {
        let followed = self.table.follow(&|_, batch| Some(batch.clone())).await;
        let said = followed.as_ref().err().map(|error| in_full(error));
        let mut last = self.said.lock();
        if let Some(said) = said.as_ref().filter(|said| last.as_ref() != Some(said)) {
            tracing::warn!(table = %self.table.id(), error = said, "its newest versions could not be read; asked again until they are");
        }
        *last = said;
        followed.unwrap_or(false)
    }
}
