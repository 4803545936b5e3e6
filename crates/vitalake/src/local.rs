//! A project opened in this process, for a command that finds no server.
//!
//! It takes the data folder's LOCK, recovers, and answers HTTP on a loopback port of its own without opening Kafka's, so
//! that a command speaks to it as to any server. Invariant: it ends with the command, everything committed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use vitalake_contract::diagnostic::has_errors;
use vitalake_runtime::config::{Config, Overrides};
use vitalake_runtime::lock::FolderLock;
use vitalake_serve::http;

use crate::command::{up, validate};
use crate::failure::Failure;
use crate::output::Style;
use crate::platform::{Limits, Platform, Role};

/// An opened project; dropping it closes it.
#[derive(Debug)]
pub struct Local {
    url: String,
    runtime: Option<Runtime>,
    platform: Arc<Platform>,
    stop: Option<oneshot::Sender<()>>,
}

impl Local {
    /// Where it answers: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
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

/// Opens a project on its data folder.
///
/// # Errors
/// When the project is not valid or another process holds the data folder.
pub fn open(dir: &Path, data: &Path, purpose: Purpose) -> anyhow::Result<Local> {
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
    let config = checked.configuration(&overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    let (platform, url, stop) = runtime.block_on(async {
        // Records of an external broker stay there: a command looks at the tables, or changes them.
        let limits = Limits { without_intake: true, role: role(purpose, &config), ..Limits::default() };
        let lock = Arc::new(FolderLock::take(&config.data)?);
        let platform = Platform::open(&checked, &config, &limits, lock).await?;
        platform.start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no loopback port is free")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let app = up::server(&platform, platform.lake.cpu())?;
        tokio::spawn(http::serve(listener, app, async move {
            let _ = stopped.await;
        }));
        while !platform.is_ready() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        anyhow::Ok((platform, url, stop))
    })?;
    Ok(Local { url, runtime: Some(runtime), platform, stop: Some(stop) })
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.platform.close());
            runtime.shutdown_background();
        }
    }
}
