//! The way into one dataset for files, whoever brings them: an upload, a feed, a release.
//!
//! What became of a file is in the ledger when [`Door::take`] answers, or follows from the commit, which says the same.
//! Invariant: what only the ledger knows is durable in it before the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use vitalake_contract::DatasetName;
use vitalake_contract::check::SqlRules;
use vitalake_ingest::delivery::{
    DeliverError, Delivered, DeliveredState, DeliveryDesk, DeliveryRules, HeldDeliveries, Incoming, OnRefusal,
    Overruled, deliver,
};
use vitalake_lake::{LakeError, Table};
use vitalake_process::sql_rules;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::{DeliveryTold, Event};
use vitalake_serve::platform::ApiError;

use crate::platform::delivered_sets::{self, DeliveredSets};
use crate::platform::{Life, Role};

/// The way into one dataset.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    life: Arc<Life>,
    table: Arc<Table>,
    desk: Arc<DeliveryDesk>,
    sql: Option<Arc<dyn SqlRules>>,
}

impl Door {
    /// Of a raw dataset, `raw.x` or `x`.
    pub(crate) fn of(life: &Arc<Life>, dataset: &str) -> Result<Self, ApiError> {
        let unknown = || {
            ApiError::NotFound(format!(
                "there is no raw dataset {dataset} to deliver to; `vitalake datasets` lists them"
            ))
        };
        // A name as SQL has it is one too.
        let name = dataset.strip_prefix("raw.").unwrap_or(dataset);
        let id = DatasetName::new(name).map_err(|_| unknown())?;
        if let role @ (Role::Process | Role::Serve | Role::Spare) = life.role {
            return Err(ApiError::Invalid(format!(
                "a process with the role {} takes no deliveries; send the file to one with the role ingest",
                role.as_str()
            )));
        }
        let desk = Arc::clone(life.deliveries.get(&id).ok_or_else(unknown)?);
        let table = Arc::clone(life.lake.table(&id).map_err(|error| match error {
            LakeError::NotOpen { .. } => ApiError::Conflict(error.to_string()),
            _ => unknown(),
        })?);
        let sql = sql_rules(table.contract()).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Self { life: Arc::clone(life), table, desk, sql })
    }

    /// The dataset's name.
    pub(crate) fn dataset(&self) -> &str {
        self.table.contract().dataset.as_str()
    }

    /// What is held.
    pub(super) fn held(&self) -> &HeldDeliveries {
        self.desk.held()
    }

    /// Takes one file. It outlives whoever waits for it.
    pub(crate) async fn take(&self, incoming: Incoming) -> Result<Delivered, DeliverError> {
        let started = Instant::now();
        let told = of_incoming(self.dataset(), &incoming);
        let door = self.clone();
        let rules = DeliveryRules { sql: self.sql.clone(), sets: DeliveredSets::of(&self.life.lake, &self.table) };
        let delivering = tokio::spawn(async move { deliver(&door.table, rules, incoming, &door.desk).await });
        let outcome = delivering.await.unwrap_or_else(|_| Err(DeliverError::Stopped(self.dataset().to_owned())));
        match &outcome {
            Ok(delivered) => {
                delivered_sets::tell(&self.life.setup.events, self.table.contract(), delivered);
                self.enter(of_delivered(told, delivered, started.elapsed())).await;
            }
            // What the end of a life cuts short comes again, as what another process takes over does.
            Err(DeliverError::LeaseLost(_)) => {}
            Err(_) if self.life.is_ending() => {}
            Err(error) => {
                let reason = Some(in_full(error).into());
                self.enter(DeliveryTold { state: "refused", reason, took: started.elapsed(), ..told }).await;
            }
        }
        outcome
    }

    /// Enters that a file of a feed was refused before a byte of it was read.
    pub(crate) async fn refused_unread(&self, feed: &str, date: Option<NaiveDate>, reason: &str) {
        let told = DeliveryTold {
            dataset: self.dataset().into(),
            state: "refused",
            feed: Some(feed.into()),
            business_date: date.map(|date| date.to_string().into()),
            reason: Some(reason.into()),
            since_ms: Some(self.life.setup.clock.now_ms()),
            ..DeliveryTold::default()
        };
        self.enter(told).await;
    }

    /// Enters a decision into the ledger. What the commits or the list of what is held say too is entered again after a
    /// crash, and waits for nobody here.
    async fn enter(&self, told: DeliveryTold) {
        let told = match told.state {
            "superseded" | "held" | "released" | "known" | "refused" => {
                let kept = self.keep(told.clone()).await;
                if let Err(error) = &kept {
                    tracing::warn!(dataset = self.dataset(), error = %error, "a decision about a delivery is entered later");
                }
                DeliveryTold { kept: kept.is_ok(), ..told }
            }
            _ => told,
        };
        self.life.setup.events.send(Event::Delivery(Arc::new(told)));
    }

    /// Enters a decision durably.
    pub(super) async fn keep(&self, told: DeliveryTold) -> Result<(), ApiError> {
        let event = Event::Delivery(Arc::new(told));
        let kept = self.life.setup.recorder.record_durably(&event).await;
        kept.map_err(|error| ApiError::Unavailable(in_full(&error)))
    }

    /// Counts a decision that the ledger has.
    pub(super) fn count(&self, told: DeliveryTold) {
        self.life.setup.events.send(Event::Delivery(Arc::new(DeliveryTold { kept: true, ..told })));
    }
}

/// What is known of a file before it has come.
fn of_incoming(dataset: &str, incoming: &Incoming) -> DeliveryTold {
    let told = DeliveryTold {
        dataset: dataset.into(),
        feed: incoming.feed.as_deref().map(Into::into),
        business_date: incoming.business_date.map(|date| date.to_string().into()),
        since_ms: Some(incoming.now_ms),
        ..DeliveryTold::default()
    };
    match &incoming.on_refusal {
        OnRefusal::Overrule(Overruled { held, actor, reason, .. }) => DeliveryTold {
            held: Some(held.to_string().into()),
            actor: Some(actor.as_str().into()),
            reason: Some(reason.as_str().into()),
            ..told
        },
        _ => told,
    }
}

fn of_delivered(told: DeliveryTold, delivered: &Delivered, took: Duration) -> DeliveryTold {
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let totals = &delivered.totals;
    let is_known = delivered.known();
    let counted = |rows: u64| if is_known { 0 } else { rows };
    let told = DeliveryTold {
        delivery: number(delivered.number),
        corrects: number(delivered.corrects),
        sha256: Some(delivered.sha256.as_str().into()),
        offered: Some(totals.records),
        accepted: counted(totals.rows),
        quarantined: counted(totals.rejects),
        duplicate: if is_known { totals.records } else { 0 },
        took,
        ..told
    };
    match &delivered.state {
        DeliveredState::Loaded if told.held.is_some() => DeliveryTold { state: "released", ..told },
        DeliveredState::Loaded => DeliveryTold { state: "loaded", ..told },
        DeliveredState::Known => DeliveryTold { state: "known", ..told },
        DeliveredState::Held { id, why } => {
            let why: Vec<String> = why.iter().map(ToString::to_string).collect();
            let (held, reason) = (Some(id.to_string().into()), Some(why.join("; ").into()));
            DeliveryTold { state: "held", held, reason, ..told }
        }
        DeliveredState::Superseded { by } => {
            let reason = Some(format!("the dataset shows {by} already").into());
            DeliveryTold { state: "superseded", reason, accepted: 0, quarantined: 0, ..told }
        }
    }
}
