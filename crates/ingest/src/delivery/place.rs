//! Where a delivery belongs: which deliveries of its business date, or of its dataset, are there already.
//!
//! Read from the transactions of the table's last commit. The same content is known once for each business date; in a
//! dataset that each delivery replaces, the newest day is what the table shows. Invariant: what is asked here is asked
//! again before each try to commit.

use chrono::NaiveDate;
use vitalake_contract::Delivery;
use vitalake_lake::{Table, TxnId, TxnKind};

/// Fields of a delivery's commitInfo: its number,
pub(super) const NUMBER: &str = "vitalakeDelivery";
/// its file's name,
pub(super) const NAME: &str = "vitalakeDeliveryName";
/// its content's hash,
pub(super) const SHA256: &str = "vitalakeDeliverySha256";
/// the day that it stands for,
pub(super) const BUSINESS_DATE: &str = "vitalakeDeliveryBusinessDate";
/// the feed that brought it,
pub(super) const FEED: &str = "vitalakeDeliveryFeed";
/// how far the database was read that it comes from,
pub(super) const WATERMARK: &str = "vitalakeDeliveryWatermark";
/// how many records it held,
pub(super) const RECORDS: &str = "vitalakeDeliveryRecords";
/// how many of them are rows,
pub(super) const ROWS: &str = "vitalakeDeliveryRows";
/// and how many rejects,
pub(super) const REJECTS: &str = "vitalakeDeliveryRejects";
/// when it came,
pub(super) const SINCE: &str = "vitalakeDeliverySince";
/// the delivery whose rows it took the place of,
pub(super) const CORRECTS: &str = "vitalakeDeliveryCorrects";
/// what it was held as,
pub(super) const RELEASED: &str = "vitalakeDeliveryReleased";
/// and who has released it,
pub(super) const ACTOR: &str = "vitalakeDeliveryActor";
/// and why.
pub(super) const REASON: &str = "vitalakeDeliveryReason";

/// What a delivery meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// Nothing that it takes the place of; rows are added to what is there.
    Nothing,
    /// The delivery with the same content.
    Itself(i64),
    /// An earlier delivery of its business date, which it corrects.
    Earlier(i64),
    /// A newer business date, which the table shows.
    NewerDay(NaiveDate),
    /// Everything that is there, and of that the last delivery.
    All(Option<i64>),
}

/// What a content for a business date meets in a table as it is.
pub(super) fn meets(table: &Table, sha256: &str, date: Option<NaiveDate>) -> Meets {
    let dataset = &table.contract().dataset;
    let last = table.committed_txn(&TxnId::delivery(dataset));
    let same = had(table, sha256, date);
    let of_date = date.and_then(|date| table.committed_txn(&TxnId::delivery_of_date(dataset, date)));
    match table.contract().delivery {
        Delivery::Append => match (date, same, of_date) {
            (None, Some(same), _) => Meets::Itself(same),
            (Some(_), Some(same), Some(current)) if same == current => Meets::Itself(same),
            (_, _, Some(current)) => Meets::Earlier(current),
            _ => Meets::Nothing,
        },
        Delivery::Replace => match date.and_then(|date| newer_day(table, date)) {
            _ if same.is_some() && same == last => Meets::Itself(same.unwrap_or_default()),
            Some(newer) => Meets::NewerDay(newer),
            None => Meets::All(last),
        },
    }
}

/// The delivery that a content was for a business date, whatever has taken its place since.
pub(super) fn had(table: &Table, sha256: &str, date: Option<NaiveDate>) -> Option<i64> {
    table.committed_txn(&TxnId::delivered_content(&table.contract().dataset, sha256, date))
}

/// The newest business date that a table has taken, where it is after a day.
fn newer_day(table: &Table, day: NaiveDate) -> Option<NaiveDate> {
    let head = table.head();
    let days = head.txns().filter_map(|txn| match TxnId::parse(&txn.app_id).kind() {
        TxnKind::DeliveryOfDate { date, .. } => Some(date),
        _ => None,
    });
    days.max().filter(|newest| *newest > day)
}

/// The business date of each delivery whose rows may be in the table, for those that have one.
pub(crate) fn dates(table: &Table) -> std::collections::BTreeMap<i32, NaiveDate> {
    let head = table.head();
    let dated = head.txns().filter_map(|txn| match TxnId::parse(&txn.app_id).kind() {
        TxnKind::DeliveredContent { date: Some(date), .. } => Some((i32::try_from(txn.version).ok()?, date)),
        _ => None,
    });
    dated.collect()
}
