//! A project opened in this process, for a command that finds no server.
//!
//! It takes the data folder's LOCK, recovers, and answers HTTP on a loopback port of its own without opening Kafka's, so
//! that a command speaks to it as to any server. Invariant: it ends with the command, everything committed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use vitalake_contract::diagnostic::has_errors;
use vitalake_ops::audit::{Audit, Surface};
use vitalake_runtime::config::access::Access;
use vitalake_runtime::config::{Config, Overrides, notify, process_environment};
use vitalake_runtime::events::Events;
use vitalake_runtime::lock::FolderLock;
use vitalake_serve::http;
use vitalake_serve::names::Names;

use crate::command::validate::CheckedProject;
use crate::command::{token, validate};
use crate::failure::Failure;
use crate::output::Style;
use crate::platform::{Life, Platform, Role, Setup, Watching, http_app};

/// How long the last entries of the audit journal may take.
const LAST_ENTRIES_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// An opened project; dropping it closes it.
pub struct Local {
    url: String,
    secret: String,
    runtime: Option<Runtime>,
    life: Arc<Life>,
    audit: Audit,
    stop: Option<oneshot::Sender<()>>,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Local {
    /// Where it answers: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What lets a client in there.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

/// What a command opens a project for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To look at the tables.
    Look,
    /// To deliver a file.
    Deliver,
}

/// What of the platform a command is. With an embedded log nothing else can work on the data folder, and everything that
/// is in the log is taken up; with an external broker the lake is others', who land records and run the models.
fn role(purpose: Purpose, config: &Config) -> Role {
    match purpose {
        _ if config.kafka.bootstrap.is_none() => Role::All,
        Purpose::Look => Role::Spare,
        Purpose::Deliver => Role::Ingest,
    }
}

/// A project and its configuration as a command has them that holds the data folder.
///
/// # Errors
/// When the project is not valid.
pub fn checked(dir: &Path, data: &Path) -> anyhow::Result<(CheckedProject, Config)> {
    let overrides = Overrides { data: Some(data.to_path_buf()), ..Overrides::default() };
    let checked = validate::check(dir, &overrides);
    if has_errors(&checked.diagnostics) {
        let findings = validate::in_words(&checked.diagnostics, Style::stderr());
        let message = format!("no server answers, and the project at {} is not valid\n{findings}", dir.display());
        return Err(Failure::unreachable(
            message,
            "start a server with `vitalake up`, name one with --server URL, or a project with --project DIR",
        )
        .into());
    }
    let mut config = checked.configuration(&overrides)?;
    // Whoever holds the folder sees it all, and nobody else comes in meanwhile.
    config.access = Access::default();
    config.notify = notify::resolvable(&config.notify, &process_environment());
    Ok((checked, config))
}

/// Opens a project on its data folder.
///
/// # Errors
/// When the project is not valid or another process holds the data folder.
pub fn open(dir: &Path, data: &Path, purpose: Purpose) -> anyhow::Result<Local> {
    let (checked, config) = checked(dir, data)?;
    let secret = token::fresh();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    let (life, audit, url, stop) = runtime.block_on(async {
        let lock = Arc::new(FolderLock::take(&config.data)?);
        let (events, reader) = Events::channel();
        let role = role(purpose, &config);
        // Records of an external broker stay there: a command looks at the tables, or changes them.
        let setup = Setup { without_intake: true, ..Setup::new(checked, config, lock, events)? };
        let setup = Setup { audit: setup.audit.by(Surface::CommandLine), ..setup };
        let platform = Platform::new(&setup, role);
        let life = Life::open(&setup, role, 1).await?;
        platform.begin(&life);
        life.start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no loopback port is free")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut app, _) =
            http_app(&setup, &platform, &setup.cpu, reader, (listener.local_addr()?, Watching::default()))?;
        app.names = Arc::new(Names::of_secret(&secret, setup.clock.clone()));
        tokio::spawn(http::serve(listener, app, async move {
            let _ = stopped.await;
        }));
        while !platform.is_ready() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        anyhow::Ok((life, setup.audit.clone(), url, stop))
    })?;
    Ok(Local { url, secret, runtime: Some(runtime), life, audit, stop: Some(stop) })
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async {
                self.life.close().await;
                self.audit.close(LAST_ENTRIES_MAX).await;
            });
            runtime.shutdown_background();
        }
    }
}
