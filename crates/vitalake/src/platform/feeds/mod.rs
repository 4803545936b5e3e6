//! Feeds of one life: when each is run, what came of it, and where it stands.
//!
//! One process of a project runs a feed, by its lease in the control store; another takes over when it is gone, and
//! those that are there divide the feeds between them (`share`). One task looks at all of them once a second; a run is a
//! task of its own, and one feed has one at a time. What a run brings is delivered as an upload is. Invariant: nothing is
//! written or removed where a feed's files lie.

mod deliver;
mod desk;
mod keeper;
mod lateness;
mod look;
mod plan;
mod rows;
mod share;
mod standing;
mod times;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vitalake_lake::control::ControlStore;
use vitalake_ops::feeds::{FeedReport, FeedRunReport};
use vitalake_serve::platform::ApiError;

use super::{Life, Platform, Role, Setup};
pub(super) use desk::Desk;
use keeper::{Keeper, LEASE_TIME};
use share::Share;

/// What the processes that run feeds are called together.
const GROUP: &str = "those-who-run-feeds";
/// How often it is looked which feeds are to be run.
const TICK: Duration = Duration::from_secs(1);
/// Feeds that are run at once; more wait.
const AT_ONCE_MAX: usize = 4;

/// The feeds of a process that may run them.
#[derive(Debug)]
pub(crate) struct Feeds {
    desks: Vec<Arc<Desk>>,
    control: ControlStore,
    at_once: Arc<Semaphore>,
}

impl Feeds {
    /// The project's feeds, in a role that takes deliveries.
    pub(crate) async fn open(setup: &Setup, role: Role, control: &ControlStore) -> Self {
        let mut desks = Vec::new();
        for file in setup.checked.project.feeds.iter().filter(|_| role.takes_deliveries()) {
            desks.push(Arc::new(Desk::open(setup, &file.feed, control).await));
        }
        Self { desks, control: control.clone(), at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// That of a dataset, where this process may run it.
    pub(super) fn of(&self, dataset: &str) -> Option<&Arc<Desk>> {
        self.desks.iter().find(|desk| desk.feed().dataset.as_str() == dataset)
    }

    /// Those that this process runs now.
    pub(super) fn run_here(&self) -> impl Iterator<Item = &Arc<Desk>> {
        self.desks.iter().filter(|desk| desk.is_run_here())
    }

    /// Runs each feed at its times, until dropped.
    pub(crate) async fn run_forever(life: Arc<Life>) {
        if life.feeds.desks.is_empty() {
            return;
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut share = Share::default();
        loop {
            tick.tick().await;
            life.feeds.divide(&life, &mut share).await;
            life.feeds.start_due(&life);
        }
    }

    /// Takes over feeds that nobody runs, up to this process's share, and hands over what is beyond it.
    async fn divide(&self, life: &Life, share: &mut Share) {
        let now = life.setup.clock.monotonic();
        if share.is_to_be_asked(now)
            && let Ok(here) = self.control.attend(GROUP, LEASE_TIME).await
        {
            share.learn(self.desks.len(), here, now);
            for desk in self.desks.iter().filter(|desk| !desk.is_run_here()) {
                desk.note_of_another().await;
            }
        }
        let mut own = self.run_here().count();
        for desk in self.desks.iter().filter(|desk| !desk.is_run_here()) {
            if own < share.feeds_max() && desk.holds(life).await {
                own += 1;
            }
        }
        let beyond = own.saturating_sub(share.feeds_max());
        let own: Vec<_> = self.run_here().collect();
        for desk in own.iter().rev().take(beyond) {
            desk.hand_over().await;
        }
    }

    /// Lets other processes run the feeds.
    pub(super) async fn release(&self) {
        for desk in &self.desks {
            desk.keeper.release().await;
        }
        if !self.desks.is_empty() {
            let _not_counted_when_its_time_is_over = self.control.leave(GROUP).await;
        }
    }

    /// Starts the feeds whose time has come.
    fn start_due(&self, life: &Arc<Life>) {
        for desk in self.run_here() {
            desk.note_lateness(life);
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
    pub(super) fn reports(&self, life: &Life) -> Vec<FeedReport> {
        self.desks.iter().map(|desk| desk.report(life)).collect()
    }

    /// Looks for deliveries of one now; waits for files that are there to stand still.
    pub(super) async fn run(&self, life: &Arc<Life>, name: &str) -> Result<FeedRunReport, ApiError> {
        let desk = self.desks.iter().find(|desk| desk.feed().name.as_str() == name);
        let desk = desk.ok_or_else(|| self.unknown(life, name))?;
        let began = life.setup.clock.monotonic();
        while !desk.holds(life).await {
            if life.setup.clock.monotonic() - began > Keeper::patience() {
                return Err(ApiError::Conflict(desk.keeper.waits_for()));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
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
        let life = self.living()?;
        if life.setup.without_intake {
            // A command that looks has nobody who runs them: it reads what was kept.
            for desk in &life.feeds.desks {
                desk.holds(&life).await;
            }
        }
        Ok(life.feeds.reports(&life))
    }

    async fn run(&self, feed: &str) -> Result<FeedRunReport, ApiError> {
        let life = self.present()?.0;
        let _hold = life.ending.watch().hold();
        let ended = || ApiError::Unavailable("the platform stopped or began anew: run the feed again".to_owned());
        super::tasks::until_the_end(&life, life.feeds.run(&life, feed)).await.unwrap_or_else(|| Err(ended()))
    }
}
