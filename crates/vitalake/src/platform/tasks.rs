//! What a life sets going: models, landing, commits, maintenance, and the watch over what is still being recovered.
//!
//! Invariant: a task that panics is seen and said, and ends this life; the next begins from the tables, which are whole
//! at any moment.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use vitalake_ops::record::RecordOptions;
use vitalake_ops::status::Behind;
use vitalake_process::quality::ScheduledRules;
use vitalake_process::{Following, Models};

use super::druid::Druid;
use super::feeds::Feeds;
use super::{Life, Role, deliveries, follow, quarantine, samples, tables};

/// How often the log of a table that another process writes is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether models that follow an erasure are held up.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long all that is left may be held up before an erasure goes on without it.
const HELD_UP_MAX: Duration = Duration::from_secs(5);

impl Life {
    /// Sets landing, models and maintenance going, and watches each table until everything durable of it is visible.
    ///
    /// # Errors
    /// When the models cannot be started.
    pub async fn start(self: &Arc<Self>) -> anyhow::Result<()> {
        // Models take their places in the changes before anything lands.
        let models = Arc::new(self.start_models().await?);
        *self.models.lock() = Some(Arc::clone(&models));
        self.restart_with(Arc::clone(&models));
        if let Some(watching) = self.intake.start().await? {
            self.tasks.lock().push(watching);
        }
        for landing in &self.intake.landings {
            self.watched("landing", tokio::spawn(Arc::clone(landing).run()));
            if !landing.table().is_followed() {
                self.watched("writing early", tokio::spawn(Arc::clone(landing).write_early_forever()));
                self.watched("commits of landing", tokio::spawn(Arc::clone(landing).commit_forever(self.epochs)));
            }
        }
        if matches!(self.role, Role::Process | Role::Spare) {
            let inputs = follow::inputs(&self.intake.landings, self.lake.tables().filter(|t| t.is_followed()));
            self.watched("following", tokio::spawn(follow::forever(inputs, FOLLOW_INTERVAL)));
        }
        if self.lake.unopened().next().is_some() && !self.setup.without_intake {
            self.watched("tables that are not open", tokio::spawn(tables::look_again(Arc::clone(self))));
        }
        let maintenance = Arc::clone(&self.lake).maintain_forever(self.setup.tuning.maintenance_interval);
        self.watched("maintenance", self.setup.cpu.spawn_background(maintenance));
        if matches!(self.role, Role::All | Role::Process) {
            self.watched("gates", self.setup.cpu.spawn_background(Arc::clone(&self.gates).run()));
        }
        if !self.setup.without_intake {
            self.watched("feeds", tokio::spawn(Feeds::run_forever(Arc::clone(self))));
            self.watched("Druid", self.setup.cpu.spawn_background(Druid::run_forever(Arc::clone(self))));
        }
        if self.role.takes_deliveries() {
            self.say_whose_feeds();
            self.watched("control store", tokio::spawn(self.control.clone().watch_forever()));
        }
        self.watched("recording", tokio::spawn(self.setup.recorder.clone().run(self.record_options())));
        self.watched("discards", tokio::spawn(quarantine::enter_again(Arc::clone(self))));
        self.watched("the ledger", tokio::spawn(deliveries::keep_again(Arc::clone(self), self.opened_ms)));
        if !self.setup.without_intake {
            self.watched("samples", tokio::spawn(samples::take_forever(Arc::clone(self))));
        }
        if matches!(self.role, Role::All | Role::Process) {
            let rules = ScheduledRules::new(&self.lake, &self.setup.clock, &self.setup.events);
            self.watched("rules", self.setup.cpu.spawn_background(rules.run()));
        }
        let life = Arc::clone(self);
        self.watched("recovery", tokio::spawn(async move { life.recovery.run(&life.intake.landings, &models).await }));
        Ok(())
    }

    /// Has the models and the gates follow what was erased, and begins nothing else. Gives the tables that are behind.
    ///
    /// # Errors
    /// When the models cannot be started.
    pub(super) async fn follow_erasure(self: &Arc<Self>) -> anyhow::Result<Vec<Behind>> {
        let models = Arc::new(self.start_models().await?);
        *self.models.lock() = Some(Arc::clone(&models));
        let gates = self.setup.cpu.spawn_background(Arc::clone(&self.gates).run());
        self.watched("gates", gates);
        let followed = self.recovery.run(&[], &models);
        let held_up = async {
            let mut stood = Duration::ZERO;
            while stood < HELD_UP_MAX {
                tokio::time::sleep(LOOK_INTERVAL).await;
                let is_over = self.recovery.is_over_but_for_stalled(&models.statuses());
                stood = if is_over { stood + LOOK_INTERVAL } else { Duration::ZERO };
            }
        };
        tokio::select! {
            () = followed => {}
            () = held_up => {}
        }
        self.commit_everything().await
    }

    /// A file of this machine's data folder tells no other process who runs the feeds.
    fn say_whose_feeds(&self) {
        let has_feeds = !self.setup.checked.project.feeds.is_empty();
        if self.role == Role::Ingest && has_feeds && self.setup.config.control.url.is_none() {
            tracing::warn!(
                "this process runs the project's feeds, and so does every other with the role ingest: name one control store for all by control.url"
            );
        }
    }

    /// Whether no other process writes the same tables.
    pub(super) fn is_alone(&self) -> bool {
        self.role == Role::All && self.requests.is_none()
    }

    fn record_options(&self) -> RecordOptions {
        RecordOptions {
            retention: Duration::from_millis(self.setup.config.ops.retention_ms),
            audit_retention: Duration::from_millis(self.setup.config.audit.retention_ms),
            shared: !self.is_alone(),
            maintains: matches!(self.role, Role::All | Role::Process),
        }
    }

    async fn start_models(&self) -> anyhow::Result<Models> {
        let (models, contracts) = (&self.models_setup.models, &self.models_setup.contracts);
        let options = &self.models_setup.options;
        Ok(match self.role {
            Role::All | Role::Process => Models::start(&self.lake, models, contracts, options).await?,
            Role::Ingest | Role::Spare => Models::start(&self.lake, &[], contracts, options).await?,
            Role::Serve => {
                let made: Vec<_> = models.iter().map(|model| &model.dataset).collect();
                let others = self.lake.tables().filter(|table| !made.contains(&&table.contract().dataset));
                let inputs = follow::inputs(&self.intake.landings, others);
                let following = Following { inputs, interval: FOLLOW_INTERVAL };
                Models::follow(&self.lake, models, contracts, options, following)?
            }
        })
    }

    /// Ends this life when a model has panicked where that alone helps.
    fn restart_with(&self, models: Arc<Models>) {
        let panicked = self.panicked.clone();
        self.tasks.lock().push(tokio::spawn(async move {
            models.must_restart().await;
            panicked.send_replace(Some("models"));
        }));
    }

    /// Keeps a task until the end, and ends this life when it panics.
    fn watched(self: &Arc<Self>, name: &'static str, task: JoinHandle<()>) {
        let panicked = self.panicked.clone();
        let watching = tokio::spawn(watch(task, move |error| {
            tracing::error!(task = name, error = %error, "a task panicked: everything begins anew from the tables");
            panicked.send_replace(Some(name));
        }));
        self.tasks.lock().push(watching);
    }
}

/// Waits for a task, and ends it when nobody waits any longer.
async fn watch(task: JoinHandle<()>, panicked: impl FnOnce(tokio::task::JoinError)) {
    struct Aborted(tokio::task::AbortHandle);
    impl Drop for Aborted {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let _aborted = Aborted(task.abort_handle());
    if let Err(error) = task.await
        && error.is_panic()
    {
        panicked(error);
    }
}

/// Work that stops when the life ends; `None` then.
pub(super) async fn until_the_end<T>(life: &Life, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = life.ended() => None,
        done = work => Some(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_task_is_seen_and_its_end_by_itself_is_not_one() {
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let count = |_| {
            seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        };
        #[expect(clippy::panic, reason = "what is tested")]
        let panics = tokio::spawn(async { panic!("on purpose") });
        watch(panics, count).await;
        watch(tokio::spawn(async {}), count).await;
        let aborted = tokio::spawn(std::future::pending());
        aborted.abort();
        watch(aborted, count).await;
        assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
