//! Deliveries in the words of the API.
//!
//! Invariant: an error that leaves here holds names and counts, never a record's value.

use std::io;

use vitalake_ingest::decode::{DeliveryError, Misfit};
use vitalake_ingest::delivery::{DeliverError, Delivered, DeliveredState, SetFinding, Verdict};
use vitalake_lake::LakeError;
use vitalake_lake::delta::DeltaError;
use vitalake_ops::status::{DeliveryReport, DeliveryState, DidNotFit, NotKept, ResourceCounts};
use vitalake_runtime::error::{Classified, Retry, in_full};
use vitalake_serve::platform::ApiError;

/// What became of a delivery.
pub(in crate::platform) fn report(dataset: &str, delivered: Delivered) -> DeliveryReport {
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let (state, held, why) = match delivered.state {
        DeliveredState::Loaded => (DeliveryState::Loaded, None, Vec::new()),
        DeliveredState::Known => (DeliveryState::AlreadyLoaded, None, Vec::new()),
        DeliveredState::Held { id, why } => (DeliveryState::Held, Some(id.to_string()), why),
        DeliveredState::Superseded { .. } => (DeliveryState::Superseded, None, Vec::new()),
    };
    let misfits = delivered.totals.misfits.into_iter();
    let did_not_fit =
        misfits.map(|Misfit { column, expected, values }| DidNotFit { column, expected, values }).collect();
    let broken: Vec<SetFinding> =
        delivered.findings.into_iter().filter(|finding| finding.passed != Some(true)).collect();
    let is_of_set = |verdict: &Verdict| broken.iter().any(|finding| finding.rule == verdict.rule);
    let held_for = why.iter().filter(|verdict| !is_of_set(verdict)).cloned();
    let held_for =
        held_for.map(|Verdict { rule, got, want }| NotKept { rule, severity: "fatal".to_owned(), got, want });
    let not_kept: Vec<NotKept> = held_for.collect();
    let of_sets = broken.into_iter().map(|SetFinding { rule, severity, found, want, .. }| NotKept {
        rule,
        severity: severity.to_string(),
        got: found,
        want,
    });
    DeliveryReport {
        dataset: dataset.to_owned(),
        delivery: number(delivered.number),
        business_date: delivered.business_date.map(|date| date.to_string()),
        corrects: number(delivered.corrects),
        held,
        sha256: delivered.sha256,
        state,
        accepted: delivered.totals.rows,
        quarantined: delivered.totals.rejects,
        version: u64::try_from(delivered.version).unwrap_or(0),
        did_not_fit,
        not_in_contract: delivered.totals.unnamed,
        resources: delivered.totals.resources.map(|totals| ResourceCounts {
            read: totals.read,
            of_another_type: totals.of_another_type,
            without_rows: totals.without_rows,
        }),
        not_kept: not_kept.into_iter().chain(of_sets).collect(),
    }
}

/// Why a delivery was refused.
pub(in crate::platform) fn refusal(error: &DeliverError) -> ApiError {
    match error {
        DeliverError::File(file) => match file.cause() {
            DeliveryError::Read { source, .. } => match source.kind() {
                io::ErrorKind::TimedOut => ApiError::TimedOut(in_full(error)),
                io::ErrorKind::FileTooLarge => ApiError::TooLarge(in_full(error)),
                _ => ApiError::Invalid(in_full(error)),
            },
            _ => ApiError::Invalid(in_full(error)),
        },
        DeliverError::NewerThere { .. } => ApiError::Conflict(in_full(error)),
        DeliverError::Held(_) => ApiError::Unavailable(in_full(error)),
        DeliverError::Fatal { .. }
        | DeliverError::FatalSet { .. }
        | DeliverError::FarAhead { .. }
        | DeliverError::NotAsExpected { .. }
        | DeliverError::Empty { .. } => ApiError::Invalid(in_full(error)),
        DeliverError::Lake(cause) if cause.retry() == Retry::Later => {
            ApiError::Unavailable(format!("{error}; deliver the file again when the cause is gone"))
        }
        DeliverError::Lake(LakeError::Superseded { .. } | LakeError::Stopped { .. })
        | DeliverError::LeaseLost(_)
        | DeliverError::Stopped(_) => ApiError::Unavailable(error.to_string()),
        // Somebody set the table so: the sender cannot mend it, and whoever can must know what it is.
        DeliverError::Lake(LakeError::Delta { source: DeltaError::AppendOnly { .. }, .. }) => {
            ApiError::Conflict(format!("{}; nothing of the delivery was loaded", in_full(error)))
        }
        DeliverError::Lake(_) => ApiError::internal("the delivery failed; nothing of it was loaded", error),
    }
}
