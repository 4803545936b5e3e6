//! What people decide about held deliveries: to let one in, or to give it up.
//!
//! Invariant: a decision is durable before what was held is forgotten, so that it is never gone without who and why.

use std::sync::Arc;

use uuid::Uuid;
use vitalake_ingest::delivery::{Held, HeldDeliveries, Overruled};
use vitalake_ops::deliveries::{DeliveryDecision, RejectedDelivery};
use vitalake_ops::status::DeliveryReport;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::DeliveryTold;
use vitalake_serve::platform::ApiError;

use super::said;
use super::{Door, Life};

/// The longest reason of a decision.
const REASON_BYTES_MAX: usize = 2000;

/// Who decides, and why.
struct By {
    reason: String,
    actor: String,
}

impl By {
    fn of(decision: &DeliveryDecision) -> Result<Self, ApiError> {
        let reason = decision.reason.trim().to_owned();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(ApiError::Invalid(format!(
                "a held delivery is decided for a reason of 1 to {REASON_BYTES_MAX} bytes: say it with --reason"
            )));
        }
        Ok(Self { reason, actor: decision.by.clone().unwrap_or_else(|| "somebody".to_owned()) })
    }
}

/// Everything that may be held here.
fn shelf(life: &Life) -> Result<Arc<HeldDeliveries>, ApiError> {
    match life.deliveries.is_empty() {
        true => {
            Err(ApiError::Invalid("this process takes no deliveries; decide at one with the role ingest".to_owned()))
        }
        false => Ok(Arc::clone(&life.held)),
    }
}

async fn find(held: &HeldDeliveries, id: &str) -> Result<Held, ApiError> {
    let unknown = || {
        ApiError::NotFound(format!(
            "no delivery is held as {}; `vitalake feed history --state held` lists those that are",
            id.chars().take(40).collect::<String>()
        ))
    };
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    held.find(id).await.map_err(|error| ApiError::Unavailable(in_full(&error)))?.ok_or_else(unknown)
}

/// Lets one in: rows that break a fatal rule go to quarantine, and what else held it no longer does.
pub(super) async fn release(
    life: &Arc<Life>,
    id: &str,
    decision: DeliveryDecision,
) -> Result<DeliveryReport, ApiError> {
    let (by, shelf) = (By::of(&decision)?, shelf(life)?);
    let _one_at_a_time = shelf.turn_to_decide().await;
    let held = find(&shelf, id).await?;
    let door = Door::of(life, &held.dataset)?;
    let overruled = Overruled {
        held: held.id,
        instead_of: held.instead_of,
        replaces_newer: decision.replaces_newer,
        actor: by.actor,
        reason: by.reason,
    };
    let incoming = held.released(shelf.pieces(&held), overruled);
    let delivered = door.take(incoming).await.map_err(|error| said::refusal(&error))?;
    forget(&door, &held).await?;
    Ok(said::report(door.dataset(), delivered))
}

/// Gives one up.
pub(super) async fn reject(
    life: &Arc<Life>,
    id: &str,
    decision: DeliveryDecision,
) -> Result<RejectedDelivery, ApiError> {
    let (by, shelf) = (By::of(&decision)?, shelf(life)?);
    let _one_at_a_time = shelf.turn_to_decide().await;
    let held = find(&shelf, id).await?;
    let door = Door::of(life, &held.dataset)?;
    let told = DeliveryTold {
        state: "rejected",
        reason: Some(by.reason.as_str().into()),
        actor: Some(by.actor.as_str().into()),
        ..told_of(&held)
    };
    door.keep(told.clone()).await?;
    door.count(told);
    forget(&door, &held).await?;
    Ok(RejectedDelivery { dataset: held.dataset, id: held.id.to_string(), reason: by.reason, by: by.actor })
}

async fn forget(door: &Door, held: &Held) -> Result<(), ApiError> {
    door.held().forget(held).await.map_err(|error| {
        ApiError::Unavailable(format!("it is decided, and its bytes are not removed yet: {}", in_full(&error)))
    })
}

/// What the ledger says of a held delivery, but for the decision.
pub(super) fn told_of(held: &Held) -> DeliveryTold {
    DeliveryTold {
        dataset: held.dataset.as_str().into(),
        held: Some(held.id.to_string().into()),
        feed: held.feed.as_deref().map(Into::into),
        business_date: held.business_date.map(|date| date.to_string().into()),
        sha256: Some(held.sha256.as_str().into()),
        offered: Some(held.records),
        since_ms: Some(held.since_ms),
        ..DeliveryTold::default()
    }
}
