//! `vitalake functions`: listens where the host of Azure Functions says, until it is told to stop.
//!
//! Invariant: it listens on this machine alone; who may call a function, the host decides before.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;
use vitalake_runtime::shutdown::Shutdown;
use vitalake_runtime::telemetry;

use crate::failure::Failure;
use crate::functions::{Limits, Platform, routes};

/// Where the host says on which port it calls.
const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

/// Answers the host's calls.
///
/// # Errors
/// When the host names no port, no platform is named, or the port is taken.
pub async fn run() -> anyhow::Result<ExitCode> {
    telemetry::start().map_err(anyhow::Error::msg)?;
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(port) = set(PORT).and_then(|port| port.parse::<u16>().ok()) else {
        let help = "it is started by the host of Azure Functions, which sets that variable (docs/functions.md)";
        return Err(Failure::usage(format!("{PORT} names no port"), help).into());
    };
    let Some(server) = set("VITALAKE_SERVER") else {
        let help = "set it to the platform's address, as https://HOST";
        return Err(Failure::usage("VITALAKE_SERVER names no platform", help).into());
    };
    let platform = Platform::new(&server, set("VITALAKE_TOKEN").as_deref(), Limits::default())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.with_context(|| format!("port {port} of 127.0.0.1 cannot be listened on"))?;
    tracing::info!("answering the host of Azure Functions on {}", listener.local_addr()?);
    let shutdown = Shutdown::new();
    let mut watch = shutdown.watch();
    let signals = async move { shutdown.signal_on_termination().await };
    tokio::spawn(signals);
    axum::serve(listener, routes(platform)).with_graceful_shutdown(async move { watch.wait().await }).await?;
    Ok(ExitCode::SUCCESS)
}
