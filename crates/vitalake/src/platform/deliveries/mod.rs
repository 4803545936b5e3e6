//! Deliveries as the process answers for them: uploads, the ledger, and decisions about what is held.
//!
//! Whoever brings a file asks a life for the dataset's [`Door`]; HTTP does so here. Invariant: a delivery or a decision
//! outlives the client that asked for it, and the life's end waits for it.

mod decide;
mod door;
mod history;
mod kept;
mod said;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use vitalake_ingest::delivery::{Expected, Incoming, OnRefusal, Piece};
use vitalake_ops::deliveries::{DeliveryDecision, LedgerEntry, LedgerQuery, RejectedDelivery};
use vitalake_ops::status::DeliveryReport;
use vitalake_serve::platform::{ApiError, ByteStream, Deliveries, DeliveryRequest};

use super::Life;
use super::front::{Platform, ended, until_cut};
use super::tasks::until_the_end;

pub(super) use door::Door;
pub(super) use kept::keep_again;
pub(super) use said::{refusal, report};

#[async_trait]
impl Deliveries for Platform {
    async fn deliver(
        &self,
        dataset: &str,
        request: DeliveryRequest,
        body: ByteStream,
    ) -> Result<DeliveryReport, ApiError> {
        let life = self.present()?.0;
        let door = Door::of(&life, dataset)?;
        let hold = life.ending.watch().hold();
        // Whoever hangs up leaves the delivery to its end, and the life's end waits for it.
        let delivering = tokio::spawn(async move {
            let _hold = hold;
            let outcome = upload(&life, &door, request, until_cut(body, Arc::clone(&life))).await;
            match outcome {
                Err(_) if life.is_ending() => Err(ended("nothing of the delivery was loaded; deliver the file again")),
                outcome => outcome,
            }
        });
        let outcome = delivering.await;
        outcome.map_err(|error| ApiError::internal("the delivery was interrupted; deliver the file again", &error))?
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<LedgerEntry>, ApiError> {
        let life = self.present()?.0;
        until_the_end(&life, history::of(&life, &query)).await.unwrap_or_else(|| Err(ended("ask again")))
    }

    async fn release(&self, id: &str, decision: DeliveryDecision) -> Result<DeliveryReport, ApiError> {
        let (life, id) = (self.present()?.0, id.to_owned());
        let hold = life.ending.watch().hold();
        let deciding = tokio::spawn(async move {
            let _hold = hold;
            decide::release(&life, &id, decision).await
        });
        let outcome = deciding.await;
        outcome.map_err(|error| ApiError::internal("the release was interrupted; release it again", &error))?
    }

    async fn reject(&self, id: &str, decision: DeliveryDecision) -> Result<RejectedDelivery, ApiError> {
        let (life, id) = (self.present()?.0, id.to_owned());
        let hold = life.ending.watch().hold();
        let deciding = tokio::spawn(async move {
            let _hold = hold;
            decide::reject(&life, &id, decision).await
        });
        let outcome = deciding.await;
        outcome.map_err(|error| ApiError::internal("the rejection was interrupted; reject it again", &error))?
    }
}

/// A file that somebody sends.
async fn upload(
    life: &Arc<Life>,
    door: &Door,
    request: DeliveryRequest,
    body: ByteStream,
) -> Result<DeliveryReport, ApiError> {
    let DeliveryRequest { name, format, business_date, hold, totals } = request;
    let no_date = |date: &str| {
        let date = date.chars().take(40).collect::<String>();
        ApiError::Invalid(format!("{date:?} is no date; write the business date as 2026-04-13"))
    };
    let business_date = business_date.map(|date| date.parse().map_err(|_| no_date(&date))).transpose()?;
    let mut expected = Expected::default();
    for (key, value) in &totals {
        expected.set(key, value).map_err(|error| ApiError::Invalid(error.to_string()))?;
    }
    let (sender, pieces) = mpsc::channel(4);
    let incoming = Incoming {
        business_date,
        on_refusal: if hold { OnRefusal::Hold } else { OnRefusal::Refuse },
        expected: (!expected.is_empty()).then_some(expected),
        ..Incoming::new(name, format, pieces, life.setup.clock.now_ms())
    };
    let feeding = tokio::spawn(feed(body, sender));
    let outcome = door.take(incoming).await;
    // Whoever reads the rest of a refused file reads it alone.
    let _ = feeding.await;
    outcome.map(|delivered| said::report(door.dataset(), delivered)).map_err(|error| said::refusal(&error))
}

/// Sends a body on, and its end when the body has said it; a body that fails, or whose reader is gone, has none.
async fn feed(mut body: ByteStream, sender: mpsc::Sender<io::Result<Piece>>) {
    loop {
        let next = tokio::select! {
            biased;
            () = sender.closed() => return,
            next = body.next() => next,
        };
        let Some(bytes) = next else { break };
        let failed = bytes.is_err();
        if sender.send(bytes.map(Piece::Bytes)).await.is_err() || failed {
            return;
        }
    }
    let _ = sender.send(Ok(Piece::End)).await;
}
