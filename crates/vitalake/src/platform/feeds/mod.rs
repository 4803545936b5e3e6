//! Feeds of one life: when each is run, what came of it, and where it stands.
//!
//! One task looks at all of them once a second; a run is a task of its own, and one feed has one at a time. What a run
//! brings is delivered as an upload is. Invariant: nothing is written or removed where a feed's files lie.

mod deliver;
mod desk;
mod lateness;
mod standing;
mod times;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vitalake_ops::feeds::{FeedReport, FeedRunReport};
use vitalake_serve::platform::ApiError;

use super::{Life, Platform, Role, Setup};
pub(super) use desk::Desk;

/// How often it is looked which feeds are to be run.
const TICK: Duration = Duration::from_secs(1);
/// Feeds that are run at once; more wait.
const AT_ONCE_MAX: usize = 4;

/// The feeds that this process runs.
#[derive(Debug)]
pub(crate) struct Feeds {
    desks: Vec<Arc<Desk>>,
    at_once: Arc<Semaphore>,
}

impl Feeds {
    /// The project's feeds, in a role that takes deliveries.
    pub(crate) fn open(setup: &Setup, role: Role) -> Self {
        let feeds = setup.checked.project.feeds.iter().filter(|_| role.takes_deliveries());
        let desks = feeds.map(|file| Arc::new(Desk::open(setup, &file.feed))).collect();
        Self { desks, at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Those of a dataset.
    pub(super) fn of(&self, dataset: &str) -> Option<&Arc<Desk>> {
        self.desks.iter().find(|desk| desk.feed().dataset.as_str() == dataset)
    }

    /// All of them.
    pub(super) fn desks(&self) -> &[Arc<Desk>] {
        &self.desks
    }

    /// Runs each feed at its times, until dropped.
    pub(crate) async fn run_forever(life: Arc<Life>) {
        for desk in &life.feeds.desks {
            desk.plan(&life);
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            life.feeds.start_due(&life);
        }
    }

    /// Starts the feeds whose time has come.
    fn start_due(&self, life: &Arc<Life>) {
        for desk in &self.desks {
            desk.note_lateness(&life.setup.events);
            if !desk.is_due() {
                continue;
            }
            let Some(turn) = desk.take_turn() else { continue };
            let (desk, life, places) = (Arc::clone(desk), Arc::clone(life), Arc::clone(&self.at_once));
            tokio::spawn(async move {
                let Ok(_place) = places.acquire_owned().await else { return };
                if !life.is_ending() {
                    desk.look(&life, turn).await;
                }
            });
        }
    }

    /// Where each stands.
    pub(super) fn reports(&self) -> Vec<FeedReport> {
        self.desks.iter().map(|desk| desk.report()).collect()
    }

    /// Looks for deliveries of one now; waits for files that are there to stand still.
    pub(super) async fn run(&self, life: &Arc<Life>, name: &str) -> Result<FeedRunReport, ApiError> {
        let desk = self.desks.iter().find(|desk| desk.feed().name.as_str() == name);
        let desk = desk.ok_or_else(|| self.unknown(life, name))?;
        desk.run_now(life).await
    }

    fn unknown(&self, life: &Life, name: &str) -> ApiError {
        let known = &life.setup.checked.project.feeds;
        if known.iter().any(|file| file.feed.name.as_str() == name) {
            let role = life.role.as_str();
            return ApiError::Invalid(format!(
                "a process with the role {role} runs no feeds; ask one with the role ingest"
            ));
        }
        ApiError::NotFound(format!("there is no feed {name}; `vitalake feed list` lists them"))
    }
}

#[async_trait]
impl vitalake_serve::platform::Feeds for Platform {
    async fn feeds(&self) -> Result<Vec<FeedReport>, ApiError> {
        Ok(self.living()?.feeds.reports())
    }

    async fn run(&self, feed: &str) -> Result<FeedRunReport, ApiError> {
        let life = self.present()?.0;
        let _hold = life.ending.watch().hold();
        let ended = || ApiError::Unavailable("the platform stopped or began anew: run the feed again".to_owned());
        super::tasks::until_the_end(&life, life.feeds.run(&life, feed)).await.unwrap_or_else(|| Err(ended()))
    }
}
