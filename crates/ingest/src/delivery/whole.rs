//! A file that is here to its end: what is known of its content, what its rules say, and its commit.
//!
//! After `receiving`. Invariant: nothing of it is in the table before the one commit that makes it the delivery.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use vitalake_contract::Delivery;
use vitalake_lake::{Account, DeliveredFiles, Table, TxnId};

use super::delivered::{Delivered, DeliveredState, Verdict};
use super::expected::Expected;
use super::files::Files;
use super::held::{Held, HeldDeliveries, Spool};
use super::incoming::OnRefusal;
use super::pieces::Received;
use super::place::{Meets, had, meets};
use super::receiving::next_number;
use super::sets::{DeliveryJudge, SetFinding};
use super::totals::Sums;
use super::{DeliverError, place};
use crate::decode::DeliveryFormat;
use crate::postgres::{OutcomeOfReading, Watermark};

/// What came with a file beside its bytes.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) format: DeliveryFormat,
    pub(super) maybe_again: bool,
    pub(super) now_ms: i64,
    pub(super) business_date: Option<NaiveDate>,
    pub(super) feed: Option<String>,
    pub(super) on_refusal: OnRefusal,
    pub(super) expected: Option<Expected>,
    pub(super) watermark: Option<OutcomeOfReading>,
}

/// A file that is here to its end.
pub(super) struct Whole<'a> {
    table: &'a Arc<Table>,
    origin: Origin,
    files: Files,
    received: Received,
    sums: Sums,
    spool: Option<Spool>,
    /// What the rules about it as a set found.
    findings: Vec<SetFinding>,
}

impl<'a> Whole<'a> {
    pub(super) fn new(table: &'a Arc<Table>, origin: Origin, files: Files, received: Received, sums: Sums) -> Self {
        Self { table, origin, files, received, sums, spool: None, findings: Vec::new() }
    }

    pub(super) fn with_spool(self, spool: Option<Spool>) -> Self {
        Self { spool, ..self }
    }

    /// Its bytes are needed no longer.
    pub(super) async fn give_up(&mut self) {
        if let Some(mut spool) = self.spool.take() {
            spool.give_up().await;
        }
    }

    fn dataset(&self) -> String {
        self.table.contract().dataset.to_string()
    }

    fn meets(&self) -> Meets {
        let (content, date) = (&self.received.sha256, self.origin.business_date);
        let before = if self.origin.maybe_again { had(self.table, content, date) } else { None };
        before.map_or_else(|| meets(self.table, content, date), Meets::Itself)
    }

    /// What is said of it where the table has it already, or shows a newer day.
    pub(super) fn there_already(&self) -> Option<Delivered> {
        if let Some(number) = self.released() {
            return Some(self.delivered(Some(number), DeliveredState::Known, None));
        }
        match self.meets() {
            Meets::Itself(number) => Some(self.delivered(Some(number), DeliveredState::Known, None)),
            Meets::NewerDay(by) => Some(self.delivered(None, DeliveredState::Superseded { by }, None)),
            _ => None,
        }
    }

    /// The number under which it came in, where it was held and an earlier release had come so far.
    fn released(&self) -> Option<i64> {
        let OnRefusal::Overrule(overruled) = &self.origin.on_refusal else { return None };
        self.table.committed_txn(&TxnId::released(&self.table.contract().dataset, overruled.held))
    }

    /// Why it is not taken as it is: nothing where it is, or somebody has decided that it is.
    pub(super) async fn judge(&mut self, sets: Option<&dyn DeliveryJudge>) -> Vec<Verdict> {
        if matches!(self.origin.on_refusal, OnRefusal::Overrule(_)) {
            return Vec::new();
        }
        let can_be_held = self.origin.on_refusal == OnRefusal::Hold;
        let mut why = self.compare_totals();
        why.extend(self.fatal_rows());
        why.extend(self.lost_rows());
        if let Some(sets) = sets {
            self.findings = sets.judge(self.files.rows()).await;
        }
        let broken = self.findings.iter().filter(|finding| finding.refuses(can_be_held));
        why.extend(broken.map(|finding| Verdict {
            rule: finding.rule.clone(),
            got: finding.found.clone(),
            want: finding.want.clone(),
        }));
        why
    }

    fn compare_totals(&self) -> Vec<Verdict> {
        let trailed = self.received.totals.not_as_trailed.map(|(came, says)| Verdict {
            rule: "trailer".to_owned(),
            got: format!("{came} records"),
            want: format!("the {says} that its last line says"),
        });
        let totals = match &self.origin.expected {
            Some(expected) => self.sums.compare(expected, &self.received),
            None if self.table.contract().control_totals => vec![Verdict {
                rule: "control totals".to_owned(),
                got: "none came with it".to_owned(),
                want: "those that the contract asks for".to_owned(),
            }],
            None => Vec::new(),
        };
        trailed.into_iter().chain(totals).collect()
    }

    fn fatal_rows(&self) -> Vec<Verdict> {
        let rules = &self.table.contract().row_rules;
        let verdict = |(rule, rows): (usize, u64)| Verdict {
            rule: rules.get(rule).map_or_else(String::new, |rule| rule.name.clone()),
            got: format!("{rows} rows break it"),
            want: "none, since its severity is fatal".to_owned(),
        };
        self.files.fatal().map(verdict).collect()
    }

    /// A snapshot that would leave nothing, or much less than there is.
    fn lost_rows(&self) -> Option<Verdict> {
        let contract = self.table.contract();
        let (rows, before) = (self.received.totals.rows, self.table.head().rows().unwrap_or(0));
        if contract.delivery != Delivery::Replace {
            return None;
        }
        let verdict = |got, want| Some(Verdict { rule: SNAPSHOT_RULE.to_owned(), got, want });
        if rows == 0 {
            return verdict("no good row".to_owned(), format!("rows in the place of the {before} that are there"));
        }
        let most = contract.snapshot_loss_max?;
        let lost = before.saturating_sub(rows) as f64 / before.max(1) as f64;
        let percent = |share: f64| format!("{:.1}%", share * 100.0);
        match lost > most {
            true => verdict(
                format!("{rows} rows, {} fewer than the {before} that are there", percent(lost)),
                format!("at most {} fewer", percent(most)),
            ),
            false => None,
        }
    }

    /// Holds it, or says that it is refused.
    pub(super) async fn hold_or_refuse(
        mut self,
        held: &HeldDeliveries,
        why: Vec<Verdict>,
    ) -> Result<Delivered, DeliverError> {
        let Some(spool) = self.spool.take() else { return Err(self.refusal(why)) };
        let id = spool.id;
        let instead_of = match self.meets() {
            Meets::Earlier(number) | Meets::All(Some(number)) => Some(number),
            _ => None,
        };
        let Origin { name, format, now_ms, business_date, feed, expected, .. } = &self.origin;
        let known = Held {
            id,
            dataset: self.dataset(),
            feed: feed.clone(),
            name: name.clone(),
            format: *format,
            business_date: *business_date,
            sha256: self.received.sha256.clone(),
            bytes: self.received.bytes,
            ends: spool.ends.clone(),
            records: self.received.totals.records,
            rows: self.received.totals.rows,
            rejects: self.received.totals.rejects,
            since_ms: *now_ms,
            why: why.clone(),
            expected: expected.clone(),
            instead_of,
        };
        held.hold(spool, known).await?;
        Ok(self.delivered(None, DeliveredState::Held { id, why }, None))
    }

    fn refusal(&self, why: Vec<Verdict>) -> DeliverError {
        let (dataset, rejects) = (self.dataset(), self.received.totals.rejects);
        let verdict = why.into_iter().next();
        match verdict.unwrap_or_else(|| Verdict { rule: String::new(), got: String::new(), want: String::new() }) {
            verdict if verdict.rule == SNAPSHOT_RULE && self.received.totals.rows == 0 => {
                DeliverError::Empty { dataset, rejects }
            }
            Verdict { rule, got, want } if self.findings.iter().any(|finding| finding.rule == rule) => {
                DeliverError::FatalSet { dataset, rule, found: got, want }
            }
            verdict => DeliverError::NotAsExpected { dataset, verdict },
        }
    }

    /// One try to make it the table's: under the next number, unless its content is there already.
    pub(super) async fn commit(&mut self) -> Result<Delivered, DeliverError> {
        let (table, dataset) = (self.table, self.dataset());
        // Also those of a try of this process whose number went to another.
        table.withdraw().await?;
        if let Some(found) = self.there_already() {
            return Ok(found);
        }
        let unless_moved = self.decided_by();
        let meets = self.meets();
        self.check_newer(meets)?;
        let corrects = match meets {
            Meets::Earlier(number) => Some(number),
            _ => None,
        };
        let date = self.origin.business_date;
        // Rejects without their rows: what a crash cut short is finished.
        let rejected = table.rejects_ahead(&self.received.sha256, date);
        let number = rejected.unwrap_or_else(|| next_number(table));
        self.files.renumber(table, number).await?;
        let files = self.files_to_deliver(number, corrects, rejected.is_some());
        let version = table.deliver(DeliveredFiles { unless_moved, ..files }).await?;
        // A delivery that was cut short has lost its number to this one, or a corrected one its rows.
        if let Err(error) = table.withdraw().await {
            tracing::warn!(
                dataset,
                error = &error as &dyn std::error::Error,
                "rejects of a delivery that does not count any longer are taken away with the next delivery"
            );
        }
        let state = if self.is_in_place() { DeliveredState::Loaded } else { DeliveredState::Known };
        let delivered = self.delivered(Some(number), state, corrects);
        Ok(Delivered { version, ..delivered })
    }

    /// Whether the files that were committed are these: another process may have delivered the same content under the same
    /// number at the same time, and then it is that one's.
    fn is_in_place(&self) -> bool {
        let head = self.table.head();
        self.files.rows().first().is_none_or(|file| head.file(file.path()).is_some())
    }

    /// The transactions by which it is decided what it meets, as they are.
    fn decided_by(&self) -> Vec<(TxnId, Option<i64>)> {
        let contract = self.table.contract();
        let (dataset, date) = (&contract.dataset, self.origin.business_date);
        let content = TxnId::delivered_content(dataset, &self.received.sha256, date);
        let of_all = (contract.delivery == Delivery::Replace).then(|| TxnId::delivery(dataset));
        let ids = [content].into_iter().chain(date.map(|date| TxnId::delivery_of_date(dataset, date))).chain(of_all);
        ids.map(|id| (id.clone(), self.table.committed_txn(&id))).collect()
    }

    /// Refuses the release of what others have come in the place of since.
    fn check_newer(&self, meets: Meets) -> Result<(), DeliverError> {
        let OnRefusal::Overrule(overruled) = &self.origin.on_refusal else { return Ok(()) };
        match meets {
            Meets::Earlier(newer) | Meets::All(Some(newer))
                if Some(newer) != overruled.instead_of && !overruled.replaces_newer =>
            {
                let date = self.origin.business_date.map_or_else(|| "no date".to_owned(), |date| date.to_string());
                Err(DeliverError::NewerThere { dataset: self.dataset(), newer, date })
            }
            _ => Ok(()),
        }
    }

    fn files_to_deliver(&self, number: i64, corrects: Option<i64>, has_rejected: bool) -> DeliveredFiles {
        let (dataset, totals) = (&self.table.contract().dataset, &self.received.totals);
        let (sha256, date) = (&self.received.sha256, self.origin.business_date);
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut txns =
            vec![(TxnId::delivery(dataset), number), (TxnId::delivered_content(dataset, sha256, date), number)];
        txns.extend(date.map(|date| (TxnId::delivery_of_date(dataset, date), number)));
        if let OnRefusal::Overrule(overruled) = &self.origin.on_refusal {
            txns.push((TxnId::released(dataset, overruled.held), number));
        }
        DeliveredFiles {
            rows: self.files.rows().to_vec(),
            rejects: if has_rejected { Vec::new() } else { self.files.rejects().to_vec() },
            replace: self.table.contract().delivery == Delivery::Replace,
            instead_of: corrects,
            txns,
            unless_moved: Vec::new(),
            account: Some(Account {
                offered: count(totals.records),
                quarantined_before: if has_rejected { count(totals.rejects) } else { 0 },
                erased: self.files.erased(),
                ..Account::default()
            }),
            info: self.info(number, corrects),
        }
    }

    /// What the commit says of itself: the ledger can be made again of it.
    fn info(&self, number: i64, corrects: Option<i64>) -> BTreeMap<String, String> {
        let Origin { name, now_ms, business_date, feed, on_refusal, watermark, .. } = &self.origin;
        let mut info = BTreeMap::from([
            (place::NUMBER.to_owned(), number.to_string()),
            (place::NAME.to_owned(), name.clone()),
            (place::SHA256.to_owned(), self.received.sha256.clone()),
            (place::RECORDS.to_owned(), self.received.totals.records.to_string()),
            (place::ROWS.to_owned(), self.received.totals.rows.to_string()),
            (place::REJECTS.to_owned(), self.received.totals.rejects.to_string()),
            (place::SINCE.to_owned(), now_ms.to_string()),
        ]);
        let mut say = |key: &str, value: Option<String>| info.extend(value.map(|value| (key.to_owned(), value)));
        say(place::BUSINESS_DATE, business_date.map(|date| date.to_string()));
        say(place::FEED, feed.clone());
        let read = watermark.as_ref().and_then(|read| read.get()?.watermark.as_ref());
        say(place::WATERMARK, read.map(Watermark::for_commit));
        say(place::CORRECTS, corrects.map(|number| number.to_string()));
        if let OnRefusal::Overrule(overruled) = on_refusal {
            say(place::RELEASED, Some(overruled.held.to_string()));
            say(place::ACTOR, Some(overruled.actor.clone()));
            say(place::REASON, Some(overruled.reason.clone()));
        }
        info
    }

    fn delivered(&self, number: Option<i64>, state: DeliveredState, corrects: Option<i64>) -> Delivered {
        let Received { totals, sha256, .. } = &self.received;
        let findings = if state == DeliveredState::Known { Vec::new() } else { self.findings.clone() };
        Delivered {
            number,
            sha256: sha256.clone(),
            state,
            business_date: self.origin.business_date,
            corrects,
            totals: totals.clone(),
            version: i64::try_from(self.table.head().version().0).unwrap_or(i64::MAX),
            findings,
        }
    }
}

/// What a snapshot that has lost rows is said to break.
const SNAPSHOT_RULE: &str = "snapshot";
