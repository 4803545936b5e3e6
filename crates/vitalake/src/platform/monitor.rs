//! The sender of the ops datasets at its place in the process: one thread, over all lives.
//!
//! Which process sends is known by a lease of the control store (`vitalake_ops::monitor`). Invariant: nothing else waits for
//! it, and neither does the end of a life or of the process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use vitalake_ops::metrics::Metrics;
use vitalake_ops::monitor::{MonitorSaid, Sender, SenderSetup};
use vitalake_runtime::azure::{Audience, Identity, Tokens};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::process_environment;
use vitalake_runtime::shutdown::{Stage, Watch};

use super::tasks::until_the_end;
use super::{Life, Platform, Role, Setup};
use crate::failure::Failure;

/// How often it is looked whether there is a life that sends.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long the end of the process waits for a call that is under way.
const LAST_CALL_MAX: Duration = Duration::from_secs(1);

/// The thread that sends.
#[derive(Debug)]
pub(super) struct Sending(oneshot::Receiver<()>);

impl Sending {
    /// Begins to send until the process ends, where a workspace is named.
    ///
    /// # Errors
    /// When the environment names half of an identity, or the thread cannot be started.
    pub(super) fn start(
        setup: &Setup,
        platform: &Arc<Platform>,
        metrics: &Arc<Metrics>,
        mut stop: Watch,
    ) -> anyhow::Result<Option<Self>> {
        let settings = &setup.config.azure.monitor;
        if settings.endpoint.is_none() {
            return Ok(None);
        }
        let said = MonitorSaid::new(Arc::clone(metrics));
        let _known = setup.monitor.set(said.clone());
        let tokens = tokens("azure.monitor", &settings.audience, &setup.clock)?;
        let (runtime, setup, platform) = (Handle::current(), setup.clone(), Arc::clone(platform));
        let (done, ended) = oneshot::channel();
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stop.wait_for(Stage::Close) => {}
                    () = send_forever(&setup, &platform, &tokens, &said) => {}
                }
            });
            let _ = done.send(());
        };
        let thread = std::thread::Builder::new().name("monitor".to_owned());
        thread.spawn(work).context("the thread that sends to Azure Monitor could not be started")?;
        Ok(Some(Self(ended)))
    }

    /// Waits, not for long, until it has ended.
    pub(super) async fn ended(self) {
        let _ = tokio::time::timeout(LAST_CALL_MAX, self.0).await;
    }
}

/// Tokens for an audience, as who this process is by its environment.
///
/// # Errors
/// When the environment names half of an identity.
pub(crate) fn tokens(key: &str, audience: &str, clock: &Clock) -> Result<Tokens, Failure> {
    let identity = Identity::from_environment(&process_environment()).map_err(|error| {
        Failure::input(format!("{key}: {error}"), "docs/azure-monitor.md lists the variables of each identity")
    })?;
    Ok(Tokens::new(identity, Audience::new(audience), clock.clone()))
}

async fn send_forever(setup: &Setup, platform: &Platform, tokens: &Tokens, said: &MonitorSaid) {
    loop {
        let Some(life) = platform.life().filter(|life| may_send(life)) else {
            tokio::time::sleep(LOOK_INTERVAL).await;
            continue;
        };
        let sender = Sender::new(SenderSetup {
            settings: setup.config.azure.monitor.clone(),
            project: setup.config.name.clone(),
            tokens: tokens.clone(),
            recorder: setup.recorder.clone(),
            control: life.control().clone(),
            health: setup.outside.monitor.clone(),
            clock: setup.clock.clone(),
            said: said.clone(),
        });
        let Some(mut sender) = sender else { return };
        until_the_end(&life, sender.run()).await;
        sender.release().await;
    }
}

/// Without a control store in common there would be as many that send as there are processes: then it is the one with the models.
fn may_send(life: &Life) -> bool {
    let is_shared = life.control().place().kind() == "postgres";
    !life.is_ending() && (is_shared || matches!(life.role, Role::All | Role::Process))
}
