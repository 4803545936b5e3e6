//! A file whose end has not been said yet: decoded, counted, hashed, and its bytes kept where it may have to be held.
//!
//! Before `whole`. Invariant: memory is bounded by batches and pieces, however large the file is.

use std::sync::Arc;

use tokio::sync::mpsc;
use vitalake_contract::Delivery;
use vitalake_contract::check::SqlRules;
use vitalake_contract::rule::Severity;
use vitalake_lake::{Table, TxnId};

use super::DeliverError;
use super::files::Files;
use super::held::{HeldDeliveries, Spool};
use super::incoming::{Incoming, OnRefusal};
use super::pieces::{PieceReader, Pieces, Received, WholeFile, hashed};
use super::together::Together;
use super::totals::Sums;
use super::whole::{Origin, Whole};
use crate::decode::{Decoded, DeliveryError, DeliveryFormat, DeliveryTotals, Rules, decode_delivery};

/// Decoded batches that may wait for a place among the files.
const BATCHES_AHEAD_MAX: usize = 2;

/// A file whose end has not been said yet.
pub(super) struct Receiving<'a> {
    table: &'a Arc<Table>,
    held: &'a HeldDeliveries,
    incoming: Incoming,
}

impl<'a> Receiving<'a> {
    pub(super) fn new(table: &'a Arc<Table>, held: &'a HeldDeliveries, incoming: Incoming) -> Self {
        Self { table, held, incoming }
    }

    /// Whether anything could hold it.
    fn may_be_held(&self) -> bool {
        let contract = self.table.contract();
        let has_rules = contract.row_rules.iter().any(|rule| rule.severity == Severity::Fatal)
            || contract.set_rules.iter().any(|rule| rule.severity != Severity::Warning);
        let is_trailed = contract.files.csv.trailer.is_some();
        let is_asked = has_rules || is_trailed || contract.control_totals || self.incoming.expected.is_some();
        self.incoming.on_refusal == OnRefusal::Hold && (is_asked || contract.delivery == Delivery::Replace)
    }

    /// Reads a file to its end and writes its rows as files.
    pub(super) async fn all_of(self, sql: Option<Arc<dyn SqlRules>>) -> Result<Whole<'a>, DeliverError> {
        let spool = self.may_be_held().then(|| self.held.spool(self.table.contract().dataset.as_str()));
        let Self { table, incoming, .. } = self;
        let Incoming { name, format, pieces, several, maybe_again, now_ms, .. } = incoming;
        let Incoming { business_date, feed, on_refusal, expected, watermark, .. } = incoming;
        let mut files = Files::new(next_number(table), business_date, on_refusal == OnRefusal::Refuse);
        let mut sums = Sums::of(table.contract(), expected.as_ref());
        let rules = Rules::new(Arc::clone(table.contract()), sql);
        let (pieces, spooling) = passed_on(pieces, spool);
        let decoding = Decoding { rules, format, pieces, several, now_ms };
        let received = decoding.run(table, &mut files, &mut sums).await;
        let spool = match spooling {
            Some(spooling) => spooling.await.ok().flatten(),
            None => None,
        };
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                if let Some(mut spool) = spool {
                    spool.give_up().await;
                }
                return Err(error);
            }
        };
        files.finish(table).await?;
        let origin = Origin { name, format, maybe_again, now_ms, business_date, feed, on_refusal, expected, watermark };
        Ok(Whole::new(table, origin, files, received, sums).with_spool(spool))
    }
}

/// The number that the next delivery has, as far as this process knows.
pub(super) fn next_number(table: &Table) -> i64 {
    let app_id = TxnId::delivery(&table.contract().dataset);
    table.committed_txn(&app_id).max(table.rejects_txn(&app_id)).unwrap_or(0) + 1
}

type Spooling = tokio::task::JoinHandle<Option<Spool>>;

/// Pieces on their way past the place where their bytes are kept, if there is one.
fn passed_on(pieces: Pieces, spool: Option<Spool>) -> (Pieces, Option<Spooling>) {
    let Some(spool) = spool else { return (pieces, None) };
    let (sender, passed) = mpsc::channel(4);
    (passed, Some(tokio::spawn(spool.pass(pieces, sender))))
}

/// A file in its decoder.
struct Decoding {
    rules: Rules,
    format: DeliveryFormat,
    pieces: Pieces,
    /// Whether more than one file may come, so that it has to be said with which something is wrong.
    several: bool,
    now_ms: i64,
}

impl Decoding {
    async fn run(self, table: &Arc<Table>, files: &mut Files, sums: &mut Sums) -> Result<Received, DeliverError> {
        let (sender, mut decoded) = mpsc::channel::<Result<Decoded, DeliveryError>>(BATCHES_AHEAD_MAX);
        let (number, dataset) = (files.number(), table.contract().dataset.to_string());
        let Self { rules, format, pieces, several, now_ms } = self;
        let (pieces, hashing) = hashed(pieces);
        let of = dataset.clone();
        let decoding = tokio::task::spawn_blocking(move || {
            let mut reader = PieceReader::new(pieces);
            let mut totals = DeliveryTotals::default();
            let mut together = Together::default();
            for file in 1.. {
                let decoder = decode_delivery(rules.clone(), format, &mut reader, number, now_ms);
                let mut decoder = decoder.numbered_from(totals.records);
                let named = |error| match several {
                    true => DeliveryError::OfSeveral { number: file, error: Box::new(error) },
                    false => error,
                };
                for batch in decoder.by_ref() {
                    let batch = batch.map_err(named);
                    let batch =
                        batch.and_then(|batch| together.take(&of, batch).map_err(DeliveryError::from)).transpose();
                    if batch.is_some_and(|batch| sender.blocking_send(batch).is_err()) {
                        return None;
                    }
                }
                totals.add(decoder.totals());
                if !reader.next_file() {
                    break;
                }
            }
            let rest = together.rest(&of).map_err(DeliveryError::from).transpose();
            if rest.is_some_and(|rest| sender.blocking_send(rest).is_err()) {
                return None;
            }
            if let Some(bytes) = reader.cut_short_after() {
                tracing::warn!(
                    dataset = of,
                    bytes,
                    "a delivery was given up: its sender went away or stood still before the end of the file; nothing of it was loaded"
                );
            }
            reader.finish(totals)
        });
        while let Some(batch) = decoded.recv().await {
            let batch = batch?;
            sums.take(&batch.rows, &batch.rejects).map_err(DeliveryError::from)?;
            files.take(table, batch).await?;
        }
        // Without all of the file there was an error above, unless the thread that decodes is gone.
        let whole = decoding.await.ok().flatten().zip(hashing.await.ok());
        let (WholeFile { totals, bytes }, sha256) = whole.ok_or(DeliverError::Stopped(dataset))?;
        Ok(Received { totals, sha256, bytes })
    }
}
