//! The runtime for work that computes (DataFusion, Parquet, decoding), apart from the network's, so that a long query
//! delays no answer to a producer.
//!
//! What nobody waits for runs on workers of its own that stand back: rows that come in are decoded and shown while those
//! that are there are compacted.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Planning and dropping a query recurses as deep as its expressions are; the memory is used only when it is touched.
const STACK_BYTES: usize = 32 << 20;
/// How far background workers stand back: a quarter of a core where another thread wants the same, so that they are
/// never far behind either.
const BACKGROUND_NICENESS: i32 = 5;

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
    count: usize,
    /// Made when it is first used; `None` where its threads could not be started.
    background: OnceLock<Option<Runtime>>,
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
        let count = workers.max(1);
        let runtime = runtime(count, "vitalake-cpu").build()?;
        let handle = runtime.handle().clone();
        let workers = Workers { handle, runtime: Some(runtime), count, background: OnceLock::new() };
        Ok(Self { workers: Arc::new(workers) })
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

    /// Runs a future that nobody waits for on the background workers. It goes on when the join handle is dropped.
    pub fn spawn_background<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let workers = &self.workers;
        let background = workers.background.get_or_init(|| {
            // Where the system refuses, the work is as important as any other.
            let stand_back = || {
                let _ = rustix::process::nice(BACKGROUND_NICENESS);
            };
            runtime(workers.count, "vitalake-after").on_thread_start(stand_back).build().ok()
        });
        background.as_ref().map_or(&workers.handle, Runtime::handle).spawn(future)
    }

    /// The workers' runtime, for libraries that take one.
    pub fn handle(&self) -> &Handle {
        &self.workers.handle
    }
}

fn runtime(workers: usize, name: &str) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_name(name).thread_stack_size(STACK_BYTES).enable_all();
    builder
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which tokio refuses inside another runtime.
        for runtime in self.runtime.take().into_iter().chain(self.background.take().flatten()) {
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

    #[tokio::test]
    async fn background_work_stands_back_behind_the_rest() -> io::Result<()> {
        let cpu = Cpu::with_workers(1)?;
        let niceness = || async { rustix::process::nice(0) };
        let (first, after) = (cpu.spawn_cpu(niceness()).await?, cpu.spawn_background(niceness()).await?);
        assert!(after? > first?);
        assert_eq!(cpu.spawn_cpu(niceness()).await??, rustix::process::nice(0)?, "the others stay as they were");
        Ok(())
    }
}
