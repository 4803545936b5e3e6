//! OpenLineage: which dataset was made of which, by which run, told to a catalogue by HTTP.
//!
//! Commits and failed runs become events, which wait in a bounded queue with a thread of its own. Invariant: nothing waits for
//! the receiver; what it does not take is dropped and counted.

pub mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use ureq::Agent;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::audit::Lineage as Settings;
use vitalake_runtime::config::notify::Hidden;
use vitalake_runtime::events::{Event, Outcome};
use vitalake_runtime::http::client;

use crate::metrics::Metrics;
use crate::telemetry::backlog::{Backlog, Counts, Sent};
use event::{DatasetTold, Ended, RunTold, events};

/// How long an event waits for others.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long one request may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Tells runs.
#[derive(Debug)]
pub struct OpenLineage {
    project: String,
    datasets: BTreeMap<String, DatasetTold>,
    clock: Clock,
    /// Datasets whose last run failed: a failure is told once.
    failing: BTreeSet<String>,
    backlog: Backlog<Value>,
}

impl OpenLineage {
    /// Begins to tell; none where no address is given. `datasets` are the project's, as `layer.name`.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(
        settings: &Settings,
        (project, datasets): (&str, BTreeMap<String, DatasetTold>),
        clock: Clock,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Option<Self>> {
        let Some(url) = settings.url.clone() else { return Ok(None) };
        let receiver = Receiver { agent: agent(), url, headers: settings.headers.clone(), is_away: false };
        let counts = Counts::of(metrics, "lineage");
        let backlog = Backlog::start("lineage", counts, INTERVAL, sending(receiver))?;
        Ok(Some(Self { project: project.to_owned(), datasets, clock, failing: BTreeSet::new(), backlog }))
    }

    /// Takes an event in. Never waits.
    pub fn take(&mut self, event: &Event) {
        let (name, took, outcome) = match event {
            Event::Commit { table, outcome: Outcome::Done, version, rows, took, .. } => {
                (table, *took, Ended::Complete { rows: *rows, version: *version })
            }
            Event::Run { dataset, outcome: Outcome::Failed, error, took, .. } => {
                (dataset, *took, Ended::Fail(error.unwrap_or("unknown")))
            }
            _ => return,
        };
        let Some(dataset) = self.known(name) else { return };
        let is_failure = matches!(outcome, Ended::Fail(_));
        if is_failure && !self.failing.insert(dataset.clone()) {
            return;
        }
        if !is_failure {
            self.failing.remove(&dataset);
        }
        let ended_ms = self.clock.now_ms();
        let began_ms = ended_ms.saturating_sub(i64::try_from(took.as_millis()).unwrap_or_default());
        let (began, ended) = (instant(began_ms), instant(ended_ms));
        let run = RunTold { id: uuid::Uuid::now_v7().to_string(), dataset, began, ended, outcome };
        for event in events(&self.project, &self.datasets, &run) {
            self.backlog.offer(event);
        }
    }

    /// The dataset of a name, as `layer.name`; none of what the platform keeps beside its datasets.
    fn known(&self, name: &str) -> Option<String> {
        let is = |known: &&String| *known == name || known.rsplit('.').next() == Some(name);
        self.datasets.keys().find(is).cloned()
    }

    /// Sends what waits, and waits no longer than this.
    pub fn stop(self, longest: Duration) {
        self.backlog.flush(longest);
    }
}

struct Receiver {
    agent: Agent,
    url: String,
    headers: BTreeMap<String, Hidden>,
    is_away: bool,
}

/// Sends events one by one; whether all were taken. One that was taken twice is one: it has its run's id.
fn sending(mut receiver: Receiver) -> impl FnMut(&[Value], u32) -> Sent + Send + 'static {
    move |batch, _| {
        let failed = batch.iter().find_map(|event| receiver.send(event).err());
        match &failed {
            Some(reason) if !receiver.is_away => {
                tracing::warn!(reason, "lineage is not taken: it waits, and what finds no room is dropped");
            }
            None if receiver.is_away => tracing::info!("the receiver of lineage answers again"),
            _ => {}
        }
        receiver.is_away = failed.is_some();
        Sent::whole(batch, failed.is_none())
    }
}

impl Receiver {
    fn send(&self, event: &Value) -> Result<(), String> {
        let request = self
            .headers
            .iter()
            .fold(self.agent.post(&self.url), |request, (name, value)| request.header(name.as_str(), value.expose()));
        match request.send_json(event) {
            // What it will never take is not sent again.
            Ok(response) if response.status().is_success() || response.status().as_u16() == 422 => Ok(()),
            Ok(response) => Err(format!("the receiver answers {}", response.status().as_u16())),
            Err(_) => Err("the receiver does not answer".to_owned()),
        }
    }
}

fn agent() -> Agent {
    client().timeout_global(Some(TIME_MAX)).build().new_agent()
}

fn instant(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
