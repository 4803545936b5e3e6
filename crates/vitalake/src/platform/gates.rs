//! Gates as HTTP asks for them: of the life that is there, in the words of `vitalake gate`.
//!
//! Invariant: what a person decides is a row of ops.gates before it is answered.

use async_trait::async_trait;
use vitalake_ops::gates::{GateDecision, GateReasonReport, GateReport, HELD, PASSED};
use vitalake_process::gate::{Decision, GateError, GateStatus};
use vitalake_runtime::error::{Class, Classified, in_full};
use vitalake_runtime::events::Event;
use vitalake_serve::pinned::Standing;
use vitalake_serve::platform::{ApiError, Gates};

use super::outside::instant;
use super::{Life, Platform};

/// Who decides where nobody says so.
const NOBODY: &str = "somebody";

#[async_trait]
impl Gates for Platform {
    async fn gates(&self, dataset: Option<&str>) -> Result<Vec<GateReport>, ApiError> {
        let life = self.living()?;
        match dataset {
            None => Ok(life.gates.statuses().into_iter().map(report).collect()),
            Some(name) => {
                let status = life.gates.status(name).ok_or_else(|| refusal(&GateError::NoGate(name.to_owned())))?;
                Ok(vec![report(status)])
            }
        }
    }

    async fn hold(&self, dataset: &str, decision: GateDecision) -> Result<GateReport, ApiError> {
        let life = self.living()?;
        let decided = life.gates.hold(dataset, decided(decision)).await;
        self.told(&life, decided).await
    }

    async fn release(&self, dataset: &str, decision: GateDecision) -> Result<GateReport, ApiError> {
        let life = self.living()?;
        let decided = life.gates.release(dataset, decided(decision)).await;
        self.told(&life, decided).await
    }
}

impl Platform {
    /// A decision is kept beside what is staged by now; its row in ops.gates is waited for.
    async fn told(&self, life: &Life, decided: Result<(GateStatus, Event), GateError>) -> Result<GateReport, ApiError> {
        let (status, event) = decided.map_err(|error| refusal(&error))?;
        let kept = life.setup.recorder.record_durably(&event).await;
        kept.map_err(|error| {
            ApiError::Unavailable(format!(
                "the decision holds, and its row in ops.gates is missing: {}",
                in_full(&error)
            ))
        })?;
        Ok(report(status))
    }
}

fn decided(decision: GateDecision) -> Decision {
    let by = decision.by.trim();
    Decision { by: if by.is_empty() { NOBODY } else { by }.to_owned(), reason: decision.reason.trim().to_owned() }
}

/// A gate's status in the words of the API.
pub(super) fn report(status: GateStatus) -> GateReport {
    let reasons = status.reasons.into_iter();
    GateReport {
        dataset: format!("serving.{}", status.dataset),
        state: if status.held { HELD } else { PASSED }.to_owned(),
        since: instant(status.since_ms).unwrap_or_default(),
        reasons: reasons.map(|r| GateReasonReport { rule: r.rule, got: r.got, want: r.want }).collect(),
        stale: status.stale,
        by: status.by,
    }
}

/// What answers say of the datasets that have gates.
pub(super) fn standings(life: &Life) -> Vec<Standing> {
    let now_ms = life.setup.clock.now_ms();
    let standing = |status: GateStatus| {
        let newest_ms = status.newest_ms.or_else(|| life.lake.table(&status.dataset).ok()?.newest_row_ms());
        Standing {
            dataset: status.dataset.to_string(),
            held: status.held,
            since: instant(status.since_ms).unwrap_or_default(),
            freshness_seconds: newest_ms.map(|at| now_ms.saturating_sub(at).max(0) as f64 / 1000.0),
            stale: status.stale,
        }
    };
    life.gates.statuses().into_iter().map(standing).collect()
}

fn refusal(error: &GateError) -> ApiError {
    match (error, error.class()) {
        (GateError::NoGate(_), _) => ApiError::NotFound(error.to_string()),
        (GateError::NoReason, _) => ApiError::Invalid(error.to_string()),
        (GateError::Follows(_) | GateError::Closed(_), _) => ApiError::Conflict(error.to_string()),
        (_, Class::Internal) => ApiError::internal("the decision could not be carried out", error),
        _ => ApiError::Conflict(in_full(error)),
    }
}
