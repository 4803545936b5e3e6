//! A server on a port of its own over tables in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use vitalake_ops::metrics::Metrics;
use vitalake_ops::status::{DatasetStatus, DeliveryReport, DeliveryState, FlushReport, Readiness, StatusReport};
use vitalake_runtime::cpu::Cpu;
use vitalake_serve::engine::{Engine, Limits};
use vitalake_serve::http::{App, HttpLimits, serve};
use vitalake_serve::pinned::{Pinned, Tables};
use vitalake_serve::platform::{ApiError, ByteStream, DeliveryFormat, Platform};

use crate::tiny::{numbers, tiny};

pub struct Server {
    pub address: SocketAddr,
    pub ready: Arc<AtomicBool>,
    pub engine: Arc<Engine>,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
    _cpu: Cpu,
}

struct Process {
    tables: Arc<Tables>,
    ready: Arc<AtomicBool>,
}

#[async_trait]
impl Platform for Process {
    fn pin(&self) -> Arc<dyn Pinned> {
        Arc::clone(&self.tables) as _
    }

    fn readiness(&self) -> Readiness {
        let ready = self.ready.load(Ordering::Acquire);
        let waiting_for = if ready { vec![] } else { vec!["recovery of raw.readings".to_owned()] };
        Readiness { ready, waiting_for, ..Readiness::default() }
    }

    async fn status(&self) -> StatusReport {
        let dataset = DatasetStatus { dataset: "tiny".to_owned(), rows: 5, ..DatasetStatus::default() };
        StatusReport { ready: true, datasets: vec![dataset], ..StatusReport::default() }
    }

    async fn flush(&self) -> Result<FlushReport, ApiError> {
        Ok(FlushReport::default())
    }

    async fn deliver(
        &self,
        dataset: &str,
        name: &str,
        format: DeliveryFormat,
        body: ByteStream,
    ) -> Result<DeliveryReport, ApiError> {
        if dataset != "tiny" {
            return Err(ApiError::NotFound(format!("there is no dataset '{dataset}'")));
        }
        let bytes = body
            .try_fold(0, async |sum, chunk| Ok(sum + chunk.len() as u64))
            .await
            .map_err(|error| ApiError::Invalid(error.to_string()))?;
        Ok(DeliveryReport {
            dataset: dataset.to_owned(),
            delivery: 1,
            sha256: format!("{name} {format:?}"),
            state: DeliveryState::Loaded,
            accepted: bytes,
            quarantined: 0,
            version: 1,
        })
    }
}

impl Server {
    pub fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let cpu = Cpu::new().unwrap();
        let engine = Arc::new(Engine::new(limits, cpu.handle().clone()).unwrap());
        let ready = Arc::new(AtomicBool::new(true));
        let tables = Tables::default().with("serving", "tiny", tiny()).with("raw", "readings", tiny()).with(
            "raw",
            "numbers",
            numbers(2_000_000),
        );
        let process = Process { tables: Arc::new(tables), ready: Arc::clone(&ready) };
        let app = App {
            engine: Arc::clone(&engine),
            platform: Arc::new(process),
            metrics: Arc::new(Metrics::new()),
            limits: HttpLimits { query_body_bytes_max: 16 << 20, ..HttpLimits::default() },
        };
        let (stop, stopped) = oneshot::channel();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            serve(listener, app, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self { address, ready, engine, stop: Some(stop), runtime: Some(runtime), _cpu: cpu }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
