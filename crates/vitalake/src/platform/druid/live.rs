//! Topics that Druid streams in by itself: a supervisor for each raw dataset that `engines.druid.live` names.
//!
//! Supervisors are made, given another specification where a contract has changed, ended where a dataset is named no longer,
//! and looked at; records go from the brokers to Druid and not through here. Invariant: a supervisor or a datasource that
//! somebody else has made is left as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vitalake_contract::{Layer, Source};
use vitalake_lake::{Lake, Table};
use vitalake_ops::druid::{DruidReport, FAILED, REFUSED, STREAMING, WAITING};
use vitalake_runtime::config::{Config, DruidLive};
use vitalake_runtime::health::Health;
use vitalake_serve::druid_engine::{Cluster, DruidError, Streamed, is_of, is_same};

use super::super::Life;
use super::super::outside::instant;
use super::failure::PublishError;
use super::{Druid, LEASE_AGAIN};

/// What follows a dataset's name.
const SUFFIX: &str = "_live";
/// Where it is remembered which supervisors are ours; no datasource is called so.
const REMEMBERED: &str = ":live";
/// How often supervisors are looked at that stream, and those that do not.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const LOOK_SOON: Duration = Duration::from_secs(5);
/// How long one may not stream until that is told.
const SILENT_MAX_MS: i64 = 5 * 60_000;
/// What Druid says of one that streams.
const RUNS: &str = "RUNNING";

/// All that are streamed.
#[derive(Debug)]
pub(super) struct Streams {
    live: Vec<Live>,
    bootstrap: String,
    properties: BTreeMap<String, serde_json::Value>,
    days: u64,
}

/// One raw dataset; without a table where there is none of the name that has a topic.
#[derive(Debug)]
struct Live {
    name: String,
    datasource: String,
    table: Option<Arc<Table>>,
    standing: Mutex<Standing>,
}

#[derive(Clone, Debug)]
struct Standing {
    state: &'static str,
    since_ms: i64,
    lag: Option<u64>,
    message: String,
}

/// Datasources with the tables whose topics they are of.
type Remembered = BTreeMap<String, String>;

impl Streams {
    pub(super) fn new(config: &Config, lake: &Lake, now_ms: i64) -> Self {
        let settings = &config.druid;
        let has_topic = |table: &&Arc<Table>| {
            let contract = table.contract();
            contract.layer == Layer::Raw && matches!(contract.source, Some(Source::Stream { .. }))
        };
        let tables: BTreeMap<String, &Arc<Table>> =
            lake.tables().filter(has_topic).map(|table| (table.contract().dataset.to_string(), table)).collect();
        let names: Vec<String> = match &settings.live {
            DruidLive::Nothing => Vec::new(),
            DruidLive::All => tables.keys().cloned().collect(),
            DruidLive::Named(names) => {
                names.iter().map(|name| name.strip_prefix("raw.").unwrap_or(name).to_owned()).collect()
            }
        };
        let live = |name: String| Live {
            datasource: format!("{}{name}{SUFFIX}", settings.prefix),
            table: tables.get(&name).map(|table| Arc::clone(table)),
            standing: Mutex::new(Standing { state: WAITING, since_ms: now_ms, lag: None, message: String::new() }),
            name,
        };
        let own = config.kafka.bootstrap.clone().unwrap_or_else(|| config.kafka.listen.to_string());
        Self {
            live: names.into_iter().map(live).collect(),
            bootstrap: settings.live_bootstrap.clone().unwrap_or(own),
            properties: settings.live_properties.clone(),
            days: settings.live_days,
        }
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = DruidReport> {
        self.live.iter().map(Live::report)
    }

    /// What does not stream: what needs a person at once, else what has not streamed for a while.
    pub(super) fn troubles(&self, now_ms: i64) -> impl Iterator<Item = (String, bool, String)> {
        self.live.iter().filter_map(move |live| {
            let standing = live.standing.lock();
            let needs_a_person = standing.state == REFUSED;
            let is_long = now_ms.saturating_sub(standing.since_ms) >= SILENT_MAX_MS;
            let is_told = needs_a_person || standing.state != STREAMING && is_long;
            is_told.then(|| {
                (live.name.clone(), needs_a_person, format!("Druid does not stream its topic: {}", standing.message))
            })
        })
    }
}

impl Live {
    fn report(&self) -> DruidReport {
        let standing = self.standing.lock().clone();
        DruidReport {
            dataset: format!("raw.{}", self.name),
            datasource: self.datasource.clone(),
            state: standing.state.to_owned(),
            version: self.table.as_ref().map_or(0, |table| table.head().version().0),
            since: instant(standing.since_ms).unwrap_or_default(),
            lag_records: standing.lag,
            message: standing.message,
            ..DruidReport::default()
        }
    }

    /// Since when it does not stream is the same whatever is said of it meanwhile.
    fn note(&self, state: &'static str, lag: Option<u64>, message: String, now_ms: i64) {
        let mut standing = self.standing.lock();
        if (standing.state == STREAMING) != (state == STREAMING) {
            standing.since_ms = now_ms;
        }
        if state != STREAMING && state != WAITING && standing.message != message {
            tracing::warn!(dataset = %format!("raw.{}", self.name), "not streamed into Druid: {message}");
        }
        (standing.state, standing.lag, standing.message) = (state, lag, message);
    }

    fn is_streaming(&self) -> bool {
        self.standing.lock().state == STREAMING
    }
}

impl Druid {
    /// Keeps supervisors as they are wanted, until dropped.
    pub(super) async fn keep_streams(&self, life: &Life) {
        let mut ended = false;
        loop {
            if !self.keeper.holds().await {
                tokio::time::sleep(LEASE_AGAIN).await;
                continue;
            }
            if !ended {
                match self.end_others().await {
                    Ok(()) => ended = true,
                    Err(error) => tracing::warn!("supervisors that are wanted no longer are not ended yet: {error}"),
                }
            }
            if ended && self.live.live.is_empty() {
                return;
            }
            for live in &self.live.live {
                let now_ms = life.setup.clock.now_ms();
                if let Err(error) = self.keep_stream(live, &life.setup.outside.druid, now_ms).await {
                    let state = if error.needs_a_person() { REFUSED } else { FAILED };
                    live.note(state, None, error.to_string(), now_ms);
                }
            }
            let all_stream = ended && self.live.live.iter().all(Live::is_streaming);
            tokio::time::sleep(if all_stream { LOOK_AGAIN } else { LOOK_SOON }).await;
        }
    }

    /// Ends the supervisors that were made here and are wanted no longer.
    async fn end_others(&self) -> Result<(), PublishError> {
        let mut remembered: Remembered = self.keeper.read(REMEMBERED).await.ok_or(PublishError::NotOurs)?;
        let wanted = |datasource: &String| {
            self.live.live.iter().any(|live| live.table.is_some() && live.datasource == *datasource)
        };
        let gone: Vec<(String, String)> = remembered
            .iter()
            .filter(|(datasource, _)| !wanted(datasource))
            .map(|(d, t)| (d.clone(), t.clone()))
            .collect();
        for (datasource, table) in gone {
            let there = self.cluster.supervisor(&datasource).await?;
            if there.is_some_and(|there| is_of(&there.made_of, &table)) {
                self.cluster.terminate(&datasource).await?;
                tracing::info!(datasource, "its topic is streamed into Druid no longer");
            }
            remembered.remove(&datasource);
            if !self.keeper.keep(REMEMBERED, &remembered).await {
                return Err(PublishError::NotOurs);
            }
        }
        Ok(())
    }

    async fn keep_stream(&self, live: &Live, health: &Health, now_ms: i64) -> Result<(), PublishError> {
        let Some(table) = &live.table else {
            return Err(PublishError::Foreign(format!(
                "there is no raw dataset {} with a topic: see engines.druid.live",
                live.name
            )));
        };
        let kept = self.made(live, table).await;
        if let Err(PublishError::Druid(away @ DruidError::Away { .. })) = &kept {
            health.failed(away.to_string());
        }
        if kept? == Made::Now {
            live.note(WAITING, None, "its supervisor is made".to_owned(), now_ms);
            return Ok(());
        }
        self.look(&self.cluster, live, now_ms).await
    }

    /// Makes the supervisor, or gives it the specification that the contract makes now.
    async fn made(&self, live: &Live, table: &Table) -> Result<Made, PublishError> {
        let (streams, id) = (&self.live, table.head().metadata().id.clone());
        let streamed = Streamed {
            contract: table.contract(),
            table: &id,
            datasource: &live.datasource,
            bootstrap: &streams.bootstrap,
            properties: &streams.properties,
            days: streams.days,
        };
        let mut specification = streamed.specification().map_err(PublishError::Foreign)?;
        let there = self.cluster.supervisor(&live.datasource).await?;
        match &there {
            Some(there) if !is_of(&there.made_of, &id) => return Err(foreign(live, "supervisor")),
            Some(there) if is_same(&there.made_of, &specification) => return Ok(Made::Before),
            // Whoever has told it to rest has not changed his mind because a contract has changed.
            Some(there) if there.suspended => {
                if let Some(specification) = specification.as_object_mut() {
                    specification.insert("suspended".to_owned(), true.into());
                }
            }
            Some(_) => {}
            None => {
                let mut remembered: Remembered = self.keeper.read(REMEMBERED).await.ok_or(PublishError::NotOurs)?;
                let is_ours = remembered.get(&live.datasource) == Some(&id);
                if !is_ours && self.cluster.is_used(&live.datasource).await? {
                    return Err(foreign(live, "datasource"));
                }
                remembered.insert(live.datasource.clone(), id.clone());
                if !self.keeper.keep(REMEMBERED, &remembered).await {
                    return Err(PublishError::NotOurs);
                }
            }
        }
        self.cluster.keep_days(&live.datasource, streams.days).await?;
        self.cluster.supervise(specification).await?;
        let what = if there.is_some() { "changed" } else { "made" };
        tracing::info!(dataset = %table.id(), datasource = live.datasource, "the supervisor that streams its topic into Druid is {what}");
        Ok(Made::Now)
    }

    async fn look(&self, cluster: &Cluster, live: &Live, now_ms: i64) -> Result<(), PublishError> {
        let there = cluster.supervisor(&live.datasource).await?;
        if there.is_some_and(|there| there.suspended) {
            return Err(PublishError::Foreign(
                "somebody has suspended its supervisor: resume it in Druid's console".to_owned(),
            ));
        }
        let found = cluster.stream(&live.datasource).await?.unwrap_or_default();
        let streams = found.state == RUNS && found.healthy;
        let message = match (streams, found.state.as_str()) {
            (true, _) => String::new(),
            (_, "CONNECTING_TO_STREAM" | "LOST_CONTACT_WITH_STREAM" | "UNABLE_TO_CONNECT_TO_STREAM") => format!(
                "Druid does not reach the topic at {}: see engines.druid.live_bootstrap, from one of Druid's machines",
                self.live.bootstrap
            ),
            (_, "") => "its supervisor has not said yet how it does".to_owned(),
            (_, state) => format!("its supervisor is in the state {state}: Druid's console has more"),
        };
        live.note(if streams { STREAMING } else { WAITING }, found.lag, message, now_ms);
        Ok(())
    }
}

/// When a supervisor has got the specification that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Before,
    Now,
}

fn foreign(live: &Live, what: &str) -> PublishError {
    PublishError::Foreign(format!(
        "Druid has a {what} {} that vitalake did not make, and it is left as it is: give ours other names by engines.druid.prefix, or drop it there",
        live.datasource
    ))
}
