//! What needs a person: damage to the log, files that are gone, topics that a fatal rule has stopped, records that no
//! contract claims, a log that is not the one the tables know.
//!
//! Worked out from log and tables whenever somebody asks. Invariant: names, counts and paths only.

use std::sync::Arc;

use vitalake_contract::Layer;
use vitalake_ingest::landing::{TopicLanding, transaction_id};
use vitalake_ingest::log::{Log, TopicId, TopicInfo, TopicPartition};
use vitalake_lake::{Lake, Table, TxnId, TxnKind, Unopened};
use vitalake_ops::status::{FAILED, STALLED, Trouble};
use vitalake_process::{ModelState, ModelStatus};
use vitalake_runtime::error::in_full;

use super::feeds::Desk;
use super::{Life, tables};

impl Life {
    /// Everything that is not well: what needs a person first, then what comes back by itself.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = missing_files(&self.lake);
        troubles.extend(self.lake.unopened().map(of_unopened));
        troubles.extend(self.intake.landings.iter().flat_map(of_landing));
        if let Some(log) = self.log() {
            troubles.extend(damages(log, &self.intake.landings));
            troubles.extend(left_behind(log, &self.lake));
        }
        let models = self.models.lock().clone();
        troubles.extend(models.iter().flat_map(|models| models.statuses()).filter_map(of_model));
        troubles.extend(self.feeds.run_here().filter_map(|desk| of_feed(desk)));
        let published = self.druid.iter().flat_map(|druid| druid.troubles(self.setup.clock.now_ms()));
        troubles.extend(published.map(|(dataset, needs_a_person, words)| Trouble {
            dataset: Some(dataset),
            state: if needs_a_person { FAILED } else { STALLED }.to_owned(),
            message: words,
        }));
        troubles.sort_by_key(|trouble| trouble.state != FAILED);
        troubles
    }
}

/// A table that does not open; records for it are kept.
fn of_unopened(unopened: &Unopened) -> Trouble {
    let state = if unopened.may_come_back() { STALLED } else { FAILED }.to_owned();
    Trouble { dataset: Some(unopened.id().dataset.to_string()), state, message: tables::sentence(unopened) }
}

/// A source of deliveries that cannot be read: the feed goes on by itself when it can.
fn of_feed(desk: &Desk) -> Option<Trouble> {
    let (reason, _) = desk.is_away()?;
    let message = format!("the feed {}: {reason}", desk.feed().name);
    Some(Trouble { dataset: Some(desk.feed().dataset.to_string()), state: STALLED.to_owned(), message })
}

/// What is said of a model that is not well: the expression and the cause, by the model's own words.
fn of_model(model: ModelStatus) -> Option<Trouble> {
    let state = match model.state {
        ModelState::Stalled => STALLED,
        state if state.needs_a_person() => FAILED,
        _ => return None,
    };
    let message = model.error.unwrap_or_else(|| "the model waits".to_owned());
    Some(Trouble { dataset: Some(model.dataset.to_string()), state: state.to_owned(), message })
}

/// Topics that a record has stopped, books that do not balance, and questions about topics that no broker answers.
fn of_landing(landing: &Arc<TopicLanding>) -> Vec<Trouble> {
    let dataset = landing.table().contract().dataset.to_string();
    let trouble = |state: &str, message| Trouble { dataset: Some(dataset.clone()), state: state.to_owned(), message };
    let stopped = landing.stops().into_iter().map(|stop| trouble(FAILED, stop.sentence(landing.topic())));
    let unbalanced = landing.unbalanced().map(|message| trouble(FAILED, message));
    stopped.chain(unbalanced).chain(landing.unanswered().map(|question| trouble(STALLED, question))).collect()
}

fn damages(log: &Log, landings: &[Arc<TopicLanding>]) -> Vec<Trouble> {
    let of = |landing: &Arc<TopicLanding>| {
        let dataset = landing.table().contract().dataset.to_string();
        log.damages(landing.topic_id()).into_iter().map(move |damage| Trouble {
            dataset: Some(dataset.clone()),
            state: FAILED.to_owned(),
            message: format!("the log is damaged: {}", in_full(&damage.error())),
        })
    };
    landings.iter().flat_map(of).collect()
}

fn missing_files(lake: &Lake) -> Vec<Trouble> {
    let of = |(table, path): (vitalake_lake::TableId, object_store::path::Path)| Trouble {
        dataset: Some(table.dataset.to_string()),
        state: FAILED.to_owned(),
        message: format!(
            "{table} names the file {path}, which is not there: its rows cannot be read until the file is back from a copy"
        ),
    };
    lake.missing_files().into_iter().map(of).collect()
}

/// Records of topics that no contract names any longer, as far as they have not landed.
pub(super) fn left_behind(log: &Log, lake: &Lake) -> Vec<Trouble> {
    log.topics().iter().filter(|topic| !topic.active).filter_map(|topic| waiting(log, lake, topic)).collect()
}

fn waiting(log: &Log, lake: &Lake, topic: &TopicInfo) -> Option<Trouble> {
    let (mut table, mut records) = (None, 0);
    for number in 0..i32::try_from(topic.partitions).unwrap_or(i32::MAX) {
        let id = TopicPartition::new(topic.id, number);
        let (start, end) = (log.start_offset(id).ok()?, log.durable_end(id).ok()?);
        let landed = raw_tables(lake)
            .find_map(|t| t.committed_txn(&transaction_id(topic.id, number)).map(|last| (t.id(), last + 1)));
        let from = landed.as_ref().map_or(start, |(_, end)| start.max(*end));
        table = table.or(landed.map(|(id, _)| id));
        records += (end - from).max(0);
    }
    let name = &topic.name;
    let message = match &table {
        Some(table) => format!(
            "{records} acknowledged records of topic `{name}` have not landed in {table}, because no contract names the topic any longer: name it in the contract again until `vitalake status` shows 0 behind"
        ),
        None => format!(
            "topic `{name}` holds {records} records and no contract names it any longer: bring its contract back to land what has not landed; its log is kept"
        ),
    };
    (records > 0).then(|| Trouble {
        dataset: table.map(|table| table.dataset.to_string()),
        state: FAILED.to_owned(),
        message,
    })
}

/// What is to be said when a table has rows of topics that this log does not know, and none of the one that it has now:
/// the log was deleted, or is another one.
pub(super) fn lost_log(log: &Log, landing: &TopicLanding) -> Option<String> {
    let topics: Vec<TopicId> = log.topics().iter().map(|topic| topic.id).collect();
    let head = landing.table().head();
    let landed: Vec<(TopicId, i64)> =
        head.txns().filter_map(|txn| Some((topic_of(&txn.app_id)?, txn.version))).collect();
    if landed.iter().any(|(topic, _)| *topic == landing.topic_id()) {
        return None;
    }
    let lost: Vec<_> = landed.iter().filter(|(topic, _)| !topics.contains(topic)).collect();
    let (topic, table) = (landing.topic(), landing.table().id());
    let records: i64 = lost.iter().map(|(_, last)| last + 1).sum();
    (!lost.is_empty()).then(|| {
        format!(
            "{table} has {records} offsets of topic `{topic}` from a log that is not in this data folder: it was deleted or replaced. The topic begins again at offset 0 under a new id and everything that comes is landed; records that were acknowledged and not committed are gone with the old log, and consumers have to begin anew"
        )
    })
}

/// The topic's id in a transaction of landing.
fn topic_of(app_id: &str) -> Option<TopicId> {
    match TxnId::parse(app_id).kind() {
        TxnKind::Landing { topic, .. } => Some(TopicId(topic)),
        _ => None,
    }
}

fn raw_tables(lake: &Lake) -> impl Iterator<Item = &Arc<Table>> {
    lake.tables().filter(|table| table.contract().layer == Layer::Raw)
}
