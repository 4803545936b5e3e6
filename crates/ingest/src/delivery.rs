//! A delivered file → the same decoders and rules as a stream → one atomic commit.
//!
//! The file is decoded while it comes in; its rows are written as files that nothing names, and one commit makes all of
//! them the delivery. It is known by its content: the same bytes again are the same delivery. Several files of one
//! dataset come in at once; their turns to commit come one after the other. Invariant: a delivery is taken whole, its end
//! having been said, or not at all, and its rejects are in quarantine before its rows are in the table. What a crash cuts
//! short between the two is finished by the same file, or taken back when another has its number.

mod files;
mod pieces;
mod sets;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use vitalake_contract::Delivery;
use vitalake_contract::check::SqlRules;
use vitalake_lake::{Account, DeliveredFiles, LakeError, Table, TxnId};
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::decode::{DeliveryError, DeliveryFormat, DeliveryTotals, Rules, decode_delivery};

use files::Files;
use pieces::{HashingReader, Received};
pub use pieces::{Piece, Pieces};
pub use sets::{DeliveryJudge, DeliveryRules, SetFinding};

/// How often a delivery whose number went to another process takes the next one.
const TRIES_MAX: u32 = 100;

/// Why a delivery was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The file as a whole cannot be taken.
    #[error(transparent)]
    File(#[from] DeliveryError),
    /// A rule of severity fatal was broken.
    #[error(
        "{rows} rows of the delivery of {dataset} break the rule {rule}, whose severity is fatal; nothing of it was loaded: correct the file and deliver it again"
    )]
    Fatal {
        /// The dataset.
        dataset: String,
        /// The rule's name.
        rule: String,
        /// How many rows break it.
        rows: u64,
    },
    /// A rule of severity fatal about the delivery as a set was broken, or could not be evaluated.
    #[error(
        "the delivery of {dataset} does not keep the rule {rule}, whose severity is fatal: {found} in place of {want}; nothing of it was loaded: correct the file and deliver it again"
    )]
    FatalSet {
        /// The dataset.
        dataset: String,
        /// The rule's name.
        rule: String,
        /// What was found, in words.
        found: String,
        /// What it wants, in words.
        want: String,
    },
    /// It would leave the dataset empty.
    #[error(
        "the delivery would replace {dataset} by nothing: no row of it is good, and {rejects} break a rule; what was there stays"
    )]
    Empty {
        /// The dataset.
        dataset: String,
        /// How many rows break a rule.
        rejects: u64,
    },
    /// The table refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The platform is shutting down.
    #[error("the delivery of {0} was stopped; deliver it again")]
    Stopped(String),
}

impl Classified for DeliverError {
    fn class(&self) -> Class {
        match self {
            Self::File(DeliveryError::Read { .. }) | Self::Stopped(_) => Class::External,
            Self::File(DeliveryError::Decode(_)) => Class::Internal,
            Self::File(_) | Self::Fatal { .. } | Self::FatalSet { .. } | Self::Empty { .. } => Class::User,
            Self::Lake(error) => error.class(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::File(DeliveryError::Read { .. }) | Self::Stopped(_) => Retry::Later,
            Self::File(_) | Self::Fatal { .. } | Self::FatalSet { .. } | Self::Empty { .. } => Retry::Never,
            Self::Lake(error) => error.retry(),
        }
    }
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// Its number.
    pub number: i64,
    /// The content's SHA-256, in hex.
    pub sha256: String,
    /// Whether the same content had been loaded before; nothing was done then.
    pub known: bool,
    /// What it held.
    pub totals: DeliveryTotals,
    /// The version of the table that holds it.
    pub version: i64,
    /// What the rules about the delivery as a set found.
    pub findings: Vec<SetFinding>,
}

/// A file on its way in.
#[derive(Debug)]
pub struct Incoming {
    /// Its name, for the table's history.
    pub name: String,
    /// Its form.
    pub format: DeliveryFormat,
    /// Its bytes.
    pub pieces: Pieces,
    /// When it began to come, milliseconds since 1970.
    pub now_ms: i64,
}

/// Takes one delivery. Run it in a task that outlives the request. `turn` is the dataset's: it is held for the commit and
/// not while the file comes in, so that a sender who is slow is slow alone.
///
/// # Errors
/// When the file, the table or the store refuses; nothing of the delivery is in the table then.
pub async fn deliver(
    table: &Arc<Table>,
    rules: DeliveryRules,
    incoming: Incoming,
    turn: &Mutex<()>,
) -> Result<Delivered, DeliverError> {
    let name = incoming.name.clone();
    let mut delivery = Receiving::new(table).all_of(rules.sql, incoming).await?;
    if let Some(sets) = &rules.sets {
        delivery.judge(sets.as_ref()).await?;
    }
    let _one_at_a_time = turn.lock().await;
    let mut tries = 1;
    loop {
        match delivery.commit(&name).await {
            Err(DeliverError::Lake(LakeError::Superseded { .. })) if tries < TRIES_MAX => tries += 1,
            outcome => return outcome,
        }
    }
}

/// A file whose end has not been said yet.
struct Receiving<'a> {
    table: &'a Arc<Table>,
    dataset: String,
    app_id: TxnId,
}

impl<'a> Receiving<'a> {
    fn new(table: &'a Arc<Table>) -> Self {
        let dataset = table.contract().dataset.to_string();
        let app_id = TxnId::delivery(&dataset);
        Self { table, dataset, app_id }
    }

    /// The number that the next delivery has, as far as this process knows.
    fn next_number(&self) -> i64 {
        self.table.committed_txn(&self.app_id).max(self.table.rejects_txn(&self.app_id)).unwrap_or(0) + 1
    }

    /// Reads a file to its end and writes its rows as files.
    async fn all_of(self, sql: Option<Arc<dyn SqlRules>>, incoming: Incoming) -> Result<Whole<'a>, DeliverError> {
        let mut files = Files::new(self.next_number());
        let received = self.decode(sql, incoming, &mut files).await?;
        let content_id = TxnId::delivered_content(&self.dataset, &received.sha256);
        files.write(self.table).await?;
        Ok(Whole { receiving: self, files, received, content_id, findings: Vec::new() })
    }

    async fn decode(
        &self,
        sql: Option<Arc<dyn SqlRules>>,
        incoming: Incoming,
        files: &mut Files,
    ) -> Result<Received, DeliverError> {
        let (sender, mut decoded) = mpsc::channel(2);
        let rules = Rules::new(Arc::clone(self.table.contract()), sql);
        let (number, dataset) = (files.number(), self.dataset.clone());
        let Incoming { format, pieces, now_ms, .. } = incoming;
        let decoding = tokio::task::spawn_blocking(move || {
            let mut reader = HashingReader::new(pieces);
            let mut decoder = decode_delivery(rules, format, &mut reader, number, now_ms);
            for batch in decoder.by_ref() {
                if sender.blocking_send(batch).is_err() {
                    return None;
                }
            }
            let totals = decoder.totals();
            drop(decoder);
            if let Some(bytes) = reader.cut_short_after() {
                tracing::warn!(
                    dataset,
                    bytes,
                    "a delivery was given up: its sender went away or stood still before the end of the file; nothing of it was loaded"
                );
            }
            reader.finish(totals)
        });
        while let Some(batch) = decoded.recv().await {
            files.take(self.table, batch?).await?;
        }
        // Without all of the file there was an error above, unless the thread that decodes is gone.
        decoding.await.ok().flatten().ok_or_else(|| DeliverError::Stopped(self.dataset.clone()))
    }
}

/// A file that is here to its end.
struct Whole<'a> {
    receiving: Receiving<'a>,
    files: Files,
    received: Received,
    content_id: TxnId,
    /// What the rules about it as a set found.
    findings: Vec<SetFinding>,
}

impl Whole<'_> {
    /// Has its rows judged as a set, unless its content is there already; refuses it for a rule of severity fatal.
    async fn judge(&mut self, sets: &dyn DeliveryJudge) -> Result<(), DeliverError> {
        let Receiving { table, dataset, .. } = &self.receiving;
        if self.known(table.contract().delivery == Delivery::Replace).is_some() {
            return Ok(());
        }
        self.findings = sets.judge(self.files.rows()).await;
        match self.findings.iter().find(|finding| finding.refuses()).cloned() {
            Some(SetFinding { rule, found, want, .. }) => {
                Err(DeliverError::FatalSet { dataset: dataset.clone(), rule, found, want })
            }
            None => Ok(()),
        }
    }

    /// One try to make it the table's: under the next number, unless its content is there already.
    async fn commit(&mut self, name: &str) -> Result<Delivered, DeliverError> {
        let Receiving { table, dataset, app_id } = &self.receiving;
        let replace = table.contract().delivery == Delivery::Replace;
        let totals = &self.received.totals;
        if let Some(known) = self.known(replace) {
            let version = i64::try_from(table.head().version().0).unwrap_or(i64::MAX);
            return Ok(self.delivered(known, true, version));
        }
        if replace && totals.rows == 0 {
            return Err(DeliverError::Empty { dataset: dataset.clone(), rejects: totals.rejects });
        }
        // Also those of a try of this process whose number went to another.
        table.withdraw_cut_short().await?;
        // Rejects without their rows: what a crash cut short is finished.
        let rejected = table.rejects_ahead(&self.received.sha256);
        let number = rejected.unwrap_or_else(|| self.receiving.next_number());
        self.files.renumber(table, number).await?;
        let rejects = if rejected.is_some() { Vec::new() } else { self.files.rejects().to_vec() };
        let info = BTreeMap::from([
            ("vitalakeDelivery".to_owned(), number.to_string()),
            ("vitalakeDeliveryName".to_owned(), name.to_owned()),
            ("vitalakeDeliverySha256".to_owned(), self.received.sha256.clone()),
        ]);
        let version = table
            .deliver(DeliveredFiles {
                rows: self.files.rows().to_vec(),
                rejects,
                replace,
                txns: vec![(app_id.clone(), number), (self.content_id.clone(), number)],
                account: Some(Account {
                    offered: i64::try_from(totals.records).unwrap_or(i64::MAX),
                    quarantined_before: match rejected.is_some() {
                        true => i64::try_from(totals.rejects).unwrap_or(i64::MAX),
                        false => 0,
                    },
                    ..Account::default()
                }),
                info,
            })
            .await?;
        // A delivery that was cut short has lost its number to this one.
        if let Err(error) = table.withdraw_cut_short().await {
            tracing::warn!(
                dataset,
                error = &error as &dyn std::error::Error,
                "rejects of a delivery that was cut short are taken away with the next delivery"
            );
        }
        Ok(self.delivered(number, false, version))
    }

    /// The delivery that brought the same content. Of a dataset that is replaced, only the one that is in place now is
    /// there already.
    fn known(&self, replace: bool) -> Option<i64> {
        let Receiving { table, app_id, .. } = &self.receiving;
        let in_place = |known: &i64| !replace || table.committed_txn(app_id) == Some(*known);
        table.committed_txn(&self.content_id).filter(in_place)
    }

    fn delivered(&self, number: i64, known: bool, version: i64) -> Delivered {
        let Received { totals, sha256 } = &self.received;
        let findings = if known { Vec::new() } else { self.findings.clone() };
        Delivered { number, sha256: sha256.clone(), known, totals: totals.clone(), version, findings }
    }
}
