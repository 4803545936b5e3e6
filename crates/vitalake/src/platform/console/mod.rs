//! What the console is told: the project's files, how everything is now, and what tables say of one dataset.
//!
//! Nothing here is cut to who asks: `vitalake_serve::console` does that. Invariant: what is told of now comes from memory,
//! and a table is read for it only when it has changed.

mod catalogue;
mod flow;
mod news;
mod now;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use vitalake_lake::{Space, TableView};
use vitalake_ops::alerts::report::AlertReport;
use vitalake_ops::deliveries::LedgerEntry;
use vitalake_ops::tables::OpsTable;
use vitalake_runtime::events::Event;
use vitalake_serve::console::Overview;
use vitalake_serve::console::facts::{About, Catalogue, DatasetNews, Today};
use vitalake_serve::platform::ApiError;

use super::outside::instant;
use super::{AlertDesk, Platform, Setup};
use flow::Flow;
use news::{Read, Results};

/// How long the tables of one dataset may take to be read.
const READ_MAX: Duration = Duration::from_secs(10);

/// What the console asks at its place in the process.
pub struct ConsoleDesk {
    setup: Setup,
    platform: Arc<Platform>,
    alerts: AlertDesk,
    started_at: String,
    /// Worked out when somebody looks first: every model is planned for it.
    catalogue: OnceLock<Arc<Catalogue>>,
    /// Alerts as they were last seen.
    last_alerts: Mutex<Vec<AlertReport>>,
    /// What came in lately.
    flow: Flow,
    /// What rules found.
    results: Results,
    read: Read,
    /// The last deliveries, with the version of their table that they were read of.
    deliveries: Mutex<(Option<u64>, Vec<LedgerEntry>)>,
}

impl ConsoleDesk {
    /// A desk over a platform.
    #[must_use]
    pub fn new(setup: &Setup, platform: &Arc<Platform>, alerts: AlertDesk) -> Arc<Self> {
        let now_ms = setup.clock.now_ms();
        Arc::new(Self {
            setup: setup.clone(),
            platform: Arc::clone(platform),
            alerts,
            started_at: instant(now_ms).unwrap_or_default(),
            catalogue: OnceLock::new(),
            last_alerts: Mutex::default(),
            flow: Flow::new(now_ms),
            results: Results::default(),
            read: Read::default(),
            deliveries: Mutex::default(),
        })
    }

    /// What the project has.
    fn known(&self) -> &Arc<Catalogue> {
        self.catalogue.get_or_init(|| Arc::new(catalogue::of(&self.setup)))
    }

    /// Keeps what an event says of rows that came in, and of rules.
    pub fn note(&self, event: &Event) {
        let now_ms = self.setup.clock.now_ms();
        self.flow.note(event, now_ms);
        self.results.note(event, now_ms);
    }
}

#[async_trait]
impl Overview for ConsoleDesk {
    fn about(&self) -> About {
        About {
            project: self.setup.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at.clone(),
            public_url: self.setup.config.http.public_url.clone(),
        }
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(self.known())
    }

    async fn today(&self) -> Today {
        self.now().await
    }

    async fn dataset(&self, dataset: &str) -> Result<DatasetNews, ApiError> {
        let late = || ApiError::Unavailable(format!("the tables of {dataset} do not answer now; try again"));
        tokio::time::timeout(READ_MAX, self.news(dataset)).await.map_err(|_| late())
    }

    fn versions(&self) -> Vec<(String, u64)> {
        let Some(life) = self.platform.life() else { return Vec::new() };
        let catalogue = life.lake().pin();
        let shown = catalogue.tables().filter(|view| view.id.space != Space::Ops);
        shown.map(|view| (view.id.to_string(), version(view))).collect()
    }
}

/// A number that is another when what can be read of a table is.
fn version(view: &TableView) -> u64 {
    let mut hasher = DefaultHasher::new();
    (view.head.version().0, view.published().version().0, view.tail.row_count()).hash(&mut hasher);
    view.tail.early.len().hash(&mut hasher);
    hasher.finish()
}

/// The version of an ops table; none before it is there.
fn ops_version(life: &super::Life, table: OpsTable) -> Option<u64> {
    let catalogue = life.lake().pin();
    let view =
        catalogue.tables().find(|view| view.id.space == Space::Ops && view.id.dataset.as_str() == table.as_str());
    view.map(|view| version(view))
}
