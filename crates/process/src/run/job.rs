//! What one model's task is given, where it stands in its input, and how it waits.
//!
//! Made for each model before any of them works. Invariant: the place in the input is where the output's last commit ended.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use vitalake_contract::DatasetName;
use vitalake_lake::{ChangeReader, Lake, Seal, Table, TxnId};
use vitalake_runtime::error::{Classified, Retry};
use vitalake_runtime::retry::Backoff;

use super::ModelsOptions;
use super::progress::{self, Progress};
use crate::engine::On;
use crate::error::{Error, Result};
use crate::graph::{Contracts, Feeding};
use crate::kind::{consumed_by_state, followed_tables};
use crate::model::{EngineName, Kind, Model};
use crate::replay::Request;

/// What one model's task is given.
pub(crate) struct Job {
    pub(crate) lake: Arc<Lake>,
    pub(crate) model: Model,
    pub(crate) contracts: Arc<Contracts>,
    pub(crate) input: Arc<Table>,
    pub(crate) output: Arc<Table>,
    /// How rows come to the input.
    pub(crate) feeding: Feeding,
    /// Names the input's versions in the commits of the output.
    pub(crate) txn: TxnId,
    pub(crate) options: ModelsOptions,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: watch::Receiver<bool>,
    /// Says that the models must be started anew, from the tables as a new opening finds them.
    pub(crate) broken: watch::Sender<bool>,
    /// Portions of quarantine that are to be put through again; whoever lives has it.
    pub(crate) replays: tokio::sync::Mutex<mpsc::Receiver<Request>>,
    pub(crate) to_replay: mpsc::Sender<Request>,
}

impl Job {
    /// A reader of the input from where the last commit ended. Made before any model works, so that no epoch of an
    /// input ends unseen; `first_seal` is what counts as committed when the backlog is.
    pub(crate) async fn reader(&self) -> Result<Reader> {
        let committed = self.output.committed_txn(&self.txn);
        let by_state = consumed_by_state(self.model.kind, &self.output, &self.txn).await?;
        let consumed = match self.model.kind {
            // It reads its inputs as they are, and no history.
            Kind::Full => i64::try_from(self.input.head().version().0).ok(),
            _ => committed.max(by_state),
        };
        let rejected = self.output.rejects_txn(&self.txn);
        let rejects_ahead = rejected.filter(|v| consumed.is_none_or(|c| c < *v));
        // A first commit that was cut short consumed a history that begins with the table.
        let from = consumed.or(rejects_ahead.map(|_| 0));
        let first_seal = self.input.last_seal();
        let changes = self.input.reader(from).await?;
        let head = i64::try_from(self.input.head().version().0).unwrap_or(i64::MAX);
        if committed == Some(head) {
            self.progress.committed(first_seal, committed);
        }
        Ok(Reader { changes, first_seal, rejects_ahead })
    }

    /// What the model's plans run on.
    ///
    /// # Errors
    /// When it is to run on a Spark and there is none.
    pub(crate) fn on(&self) -> Result<On> {
        self.options.engines.on(&self.model, self.progress.runs())
    }

    /// Whether rows are gathered before they are run: each run on a Spark costs as much as many rows.
    pub(crate) fn gathers(&self) -> bool {
        self.options.engines.of(&self.model) == EngineName::Spark
    }

    /// The tables that the model joins and whose changes it follows.
    pub(crate) fn joined(&self) -> Vec<Arc<Table>> {
        let names = followed_tables(&self.model).iter().skip(1).filter_map(|table| DatasetName::new(&table.table).ok());
        names.filter_map(|name| self.lake.table(&name).ok().cloned()).collect()
    }

    /// The last seal of the input that is committed with this one; those of the backlog have no number.
    pub(crate) fn seal_number(first_seal: u64, seal: &Seal) -> u64 {
        seal.number.max(first_seal)
    }

    /// Waits after an error that may pass, longer and longer between attempts, and tells the status and the log why; gives
    /// back one that cannot pass.
    pub(crate) async fn try_again(&self, attempts: &mut u32, error: Error) -> Result<()> {
        self.wait(attempts, error, Progress::stalled).await
    }

    /// The same after a commit, which steps beside it do not make good.
    pub(crate) async fn commit_again(&self, attempts: &mut u32, error: Error) -> Result<()> {
        self.wait(attempts, error, Progress::not_committed).await
    }

    async fn wait(&self, attempts: &mut u32, error: Error, tell: impl FnOnce(&Progress, &Error)) -> Result<()> {
        if error.retry() == Retry::Never {
            return Err(error);
        }
        *attempts += 1;
        tell(&self.progress, &error);
        tracing::warn!(model = %self.model.dataset, attempts, error = progress::in_words(&error), "a model waits and tries again");
        let noise = u64::from(*attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if let Some(wait) = Backoff::default().wait(*attempts, noise) {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

/// A model's place in its input.
pub(crate) struct Reader {
    pub(crate) changes: ChangeReader,
    pub(crate) first_seal: u64,
    /// The version of the input whose rejects are committed already, when its rows are not.
    pub(crate) rejects_ahead: Option<i64>,
}
