//! The runtime for work that computes (DataFusion, Parquet, decoding), apart from the network's, so that a long query
//! delays no answer to a producer.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Planning and dropping a query recurses as deep as its expressions are; the memory is used only when it is touched.
const STACK_BYTES: usize = 32 << 20;

/// The workers for computing. Clones are the same workers; they end with the last clone.
#[derive(Clone, Debug)]
pub struct Cpu {
    workers: Arc<Workers>,
}

#[derive(Debug)]
struct Workers {
    handle: Handle,
    /// `None` only while being dropped.
    runtime: Option<Runtime>,
}

impl Cpu {
    /// As many workers as the machine has cores.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self::with_workers(cores)
    }

    /// This many workers, at least one.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn with_workers(workers: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers.max(1))
            .thread_name("vitalake-cpu")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self { workers: Arc::new(Workers { handle, runtime: Some(runtime) }) })
    }

    /// Runs a future on the workers. It goes on when the join handle is dropped.
    pub fn spawn_cpu<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.workers.handle.spawn(future)
    }

    /// Runs a computation on the workers and waits for what it gives. It goes on when the future is dropped.
    ///
    /// # Errors
    /// When the workers end first, or the computation panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        self.workers.handle.spawn(async move { work() }).await
    }

    /// The workers' runtime, for libraries that take one.
    pub fn handle(&self) -> &Handle {
        &self.workers.handle
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which tokio refuses inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_workers_of_its_own_and_they_may_be_dropped_in_async_code() -> io::Result<()> {
        let cpu = Cpu::with_workers(1)?;
        let name = cpu.spawn_cpu(async { std::thread::current().name().map(str::to_string) }).await?;
        assert_eq!(name.as_deref(), Some("vitalake-cpu"));
        drop(cpu);
        Ok(())
    }
}
