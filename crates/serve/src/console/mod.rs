//! What the console shows: facts that the process knows, cut to what a person may see, worked out once for many browsers.
//!
//! The binary tells the facts ([`Overview`]); `told` cuts them by a [`Seen`]; `memory` keeps what was
//! worked out, by policy; `changes` says when there is something new. Invariant: no fact leaves here uncut.

pub mod changes;
mod charts;
mod described;
pub mod facts;
mod memory;
mod told;

use std::sync::Arc;

use async_trait::async_trait;
use vitalake_runtime::clock::Clock;

use crate::platform::ApiError;
use crate::policy::Seen;
use changes::Changes;
pub use charts::Chosen;
use facts::{About, Catalogue, DatasetNews, Today};
use memory::Memory;
pub use memory::Told;
pub(crate) use told::sees;

/// Characters of a name that is not there.
const NAME_SHOWN_MAX: usize = 100;

/// What the process tells the console.
#[async_trait]
pub trait Overview: Send + Sync + 'static {
    /// What runs here.
    fn about(&self) -> About;

    /// The project's datasets and dashboards, as its files have them: the same for as long as the process is there.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// How everything is now, of all datasets. It is asked once a second at most, whoever looks.
    async fn today(&self) -> Today;

    /// What the tables say of one dataset.
    async fn dataset(&self, dataset: &str) -> Result<DatasetNews, ApiError>;

    /// The versions of the tables that are there now: `layer.dataset`, with a number that changes when what can be read does.
    fn versions(&self) -> Vec<(String, u64)>;
}

/// The console's server side. Clones are the same.
#[derive(Clone)]
pub struct Console {
    overview: Arc<dyn Overview>,
    memory: Arc<Memory>,
    changes: Changes,
}

impl Console {
    /// A console over what a process tells.
    #[must_use]
    pub fn new(overview: Arc<dyn Overview>, clock: Clock) -> Self {
        let changes = Changes::new(Arc::clone(&overview));
        Self { overview, memory: Arc::new(Memory::new(clock)), changes }
    }

    /// What runs here.
    #[must_use]
    pub fn about(&self) -> About {
        self.overview.about()
    }

    /// Who is told of changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// How everything is now, as JSON.
    pub async fn today(&self, seen: &Seen) -> Told {
        let today = self.memory.today(&*self.overview).await;
        self.memory.told("today", seen, today.turn, || told::today(&today.facts, seen))
    }

    /// The datasets that somebody sees, as JSON.
    #[must_use]
    pub fn catalogue(&self, seen: &Seen) -> Told {
        self.memory.told("catalogue", seen, 0, || described::catalogue(&self.overview.catalogue(), seen))
    }

    /// What is made of what, as JSON.
    pub async fn lineage(&self, seen: &Seen) -> Told {
        let today = self.memory.today(&*self.overview).await;
        let make = || described::lineage(&self.overview.catalogue(), &today.facts, seen);
        self.memory.told("lineage", seen, today.turn, make)
    }

    /// What a dataset's columns are made of, as JSON.
    ///
    /// # Errors
    /// Where the dataset is not there for who asks.
    pub fn origins(&self, dataset: &str, seen: &Seen) -> Result<Told, ApiError> {
        described::origins(&self.overview.catalogue(), dataset, seen).map(Told::of).ok_or_else(|| unknown(dataset))
    }

    /// A dataset's contract in words, with what its tables say, as JSON.
    ///
    /// # Errors
    /// Where the dataset is not there for who asks.
    pub async fn dataset(&self, dataset: &str, seen: &Seen) -> Result<Told, ApiError> {
        let catalogue = self.overview.catalogue();
        let name = described::name_of(&catalogue, dataset, seen).ok_or_else(|| unknown(dataset))?;
        let today = self.memory.today(&*self.overview).await;
        let news = self.memory.news(&*self.overview, &name, today.turn).await?;
        let told = described::dataset((&catalogue, &today.facts, &news), dataset, seen);
        told.map(Told::of).ok_or_else(|| unknown(dataset))
    }

    /// The dashboards that somebody sees something of, as JSON.
    #[must_use]
    pub fn dashboards(&self, seen: &Seen) -> Told {
        self.memory.told("dashboards", seen, 0, || charts::list(&self.overview.catalogue(), seen))
    }

    /// A dashboard for what a reader has chosen, as JSON.
    ///
    /// # Errors
    /// Where there is no such dashboard.
    pub fn dashboard(&self, name: &str, chosen: &Chosen, seen: &Seen) -> Result<Told, ApiError> {
        let now = self.memory.now();
        let told = charts::one(&self.overview.catalogue(), name, (chosen, now), seen);
        told.map(Told::of).ok_or_else(|| ApiError::NotFound(format!("there is no dashboard {}", shown(name))))
    }
}

fn unknown(dataset: &str) -> ApiError {
    ApiError::NotFound(format!("there is no dataset {}, or you may not see it", shown(dataset)))
}

/// A name of an address as a message has it.
fn shown(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(NAME_SHOWN_MAX).collect()
}
