//! Who commits: the ids under which a table's `txn` actions say how far its sources have come.
//!
//! Made and read here alone, so that no two crates spell an id. Invariant: each maker's ids are read back as what they
//! were made of, and ids of other applications as none of ours.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use chrono::NaiveDate;
use uuid::Uuid;

pub use crate::counter::Counter;

/// What all ids of ours begin with.
const OURS: &str = "vitalake/";

/// The id of a `txn` action, ours or another application's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxnId(Arc<str>);

/// What a version of an id counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnKind<'a> {
    /// The last offset of a topic's partition that has landed.
    Landing {
        /// The topic's id.
        topic: Uuid,
        /// The partition's number.
        partition: i32,
    },
    /// The version of a table that a model has consumed.
    Model {
        /// The model's name.
        name: &'a str,
        /// The id of the table that it reads.
        input_table_id: &'a str,
    },
    /// The number of the last delivery.
    Delivery {
        /// The dataset.
        dataset: &'a str,
    },
    /// The number of a business date's current delivery.
    DeliveryOfDate {
        /// The dataset.
        dataset: &'a str,
        /// The date.
        date: NaiveDate,
    },
    /// The number of the delivery that had this content.
    DeliveredContent {
        /// The dataset.
        dataset: &'a str,
        /// The content's SHA-256, in hex.
        sha256: &'a str,
        /// The business date that it was delivered for.
        date: Option<NaiveDate>,
    },
    /// The number of the delivery by which one that was held came in.
    Released {
        /// The dataset.
        dataset: &'a str,
        /// The id of what was held.
        held: Uuid,
    },
    /// The number of the delivery of this content whose rejects were taken out of the quarantine again: its rows never
    /// came, or others have taken their place.
    Withdrawn {
        /// The dataset.
        dataset: &'a str,
        /// The content's SHA-256, in hex.
        sha256: &'a str,
        /// The business date that it was delivered for.
        date: Option<NaiveDate>,
    },
    /// The staged version that was published.
    Publication {
        /// The dataset.
        name: &'a str,
    },
    /// The number of the last replay of rejects, or of their being given up.
    Replay {
        /// The dataset.
        dataset: &'a str,
    },
    /// The number of the last correction: rows that took the place of others, and their rejects.
    Correction {
        /// The dataset.
        dataset: &'a str,
    },
    /// The number of the last replay that brought rows into what a gate holds back.
    ReplayStaged {
        /// The dataset.
        dataset: &'a str,
    },
    /// The number of the last replay whose rows were lost before they were published, and whose rejects are back in
    /// quarantine as far as they could be had.
    ReplayUndone {
        /// The dataset.
        dataset: &'a str,
    },
    /// The number of the last replay that gave rejects up.
    Discard {
        /// The dataset.
        dataset: &'a str,
    },
    /// The number of the last discard that `ops.discards` has a row of.
    DiscardEntered {
        /// The dataset.
        dataset: &'a str,
    },
    /// How many records of a partition have been offered to its table.
    LandedCount {
        /// The topic's id.
        topic: Uuid,
        /// The partition's number.
        partition: i32,
    },
    /// A counter of a table's books.
    Books {
        /// The dataset.
        dataset: &'a str,
        /// What is counted.
        counter: Counter,
    },
    /// The version of HEAD that a staged log builds on.
    StagedOn {
        /// The dataset.
        name: &'a str,
    },
    /// The staged version whose publication left some windows of it out.
    PublishedInPart {
        /// The dataset.
        name: &'a str,
    },
    /// The number of the last erasure whose person is not in the table's rows.
    Erasure {
        /// The dataset.
        dataset: &'a str,
    },
    /// Another application's.
    Foreign,
}

impl TxnId {
    /// Of a partition that lands.
    #[must_use]
    pub fn landing(topic: Uuid, partition: i32) -> Self {
        Self(format!("{OURS}{topic}/{partition}").into())
    }

    /// Of a model and a table that it reads; `input_table_id` is the one in the table's metadata.
    #[must_use]
    pub fn model(name: impl fmt::Display, input_table_id: &str) -> Self {
        Self(format!("{OURS}model/{name}/{input_table_id}").into())
    }

    /// Of a dataset's deliveries.
    #[must_use]
    pub fn delivery(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}feed/{dataset}").into())
    }

    /// Of the current delivery of a business date.
    #[must_use]
    pub fn delivery_of_date(dataset: impl fmt::Display, date: NaiveDate) -> Self {
        Self(format!("{OURS}feed/{dataset}/{date}").into())
    }

    /// Of a delivery's content, for the business date that it stands for.
    #[must_use]
    pub fn delivered_content(dataset: impl fmt::Display, sha256: &str, date: Option<NaiveDate>) -> Self {
        match date {
            Some(date) => Self(format!("{OURS}feed/{dataset}/{sha256}/{date}").into()),
            None => Self(format!("{OURS}feed/{dataset}/{sha256}").into()),
        }
    }

    /// Of a delivery's content that was withdrawn.
    #[must_use]
    pub fn withdrawn(dataset: impl fmt::Display, sha256: &str, date: Option<NaiveDate>) -> Self {
        let content = Self::delivered_content(dataset, sha256, date);
        Self(format!("{content}/withdrawn").into())
    }

    /// Of a held delivery that was released.
    #[must_use]
    pub fn released(dataset: impl fmt::Display, held: Uuid) -> Self {
        Self(format!("{OURS}feed/{dataset}/held/{held}").into())
    }

    /// Of the publication of what is staged.
    #[must_use]
    pub fn publication(name: impl fmt::Display) -> Self {
        Self(format!("{OURS}publish/{name}").into())
    }

    /// Of what is taken out of a dataset's quarantine again.
    #[must_use]
    pub fn replay(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}replay/{dataset}").into())
    }

    /// Of rows of a dataset that take the place of others.
    #[must_use]
    pub fn correction(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}correct/{dataset}").into())
    }

    /// Of replays that brought rows into what a gate holds back.
    #[must_use]
    pub fn replay_staged(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}replay/{dataset}/staged").into())
    }

    /// Of replays whose rows were lost before they were published.
    #[must_use]
    pub fn replay_undone(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}replay/{dataset}/undone").into())
    }

    /// Of what was given up of a dataset's quarantine.
    #[must_use]
    pub fn discard(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}discard/{dataset}").into())
    }

    /// Of the discards of a dataset that `ops.discards` has rows of.
    #[must_use]
    pub fn discard_entered(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}discard/{dataset}/entered").into())
    }

    /// Of the count of records that a partition has offered to its table.
    #[must_use]
    pub fn landed_count(topic: Uuid, partition: i32) -> Self {
        Self(format!("{OURS}books/{topic}/{partition}").into())
    }

    /// Of a counter of a table's books.
    #[must_use]
    pub fn books(dataset: impl fmt::Display, counter: Counter) -> Self {
        Self(format!("{OURS}books/{dataset}/{}", counter.as_str()).into())
    }

    /// Of the version of HEAD that a staged log builds on.
    #[must_use]
    pub fn staged_on(name: impl fmt::Display) -> Self {
        Self(format!("{OURS}head/{name}").into())
    }

    /// Of a publication that left some windows of what is staged out.
    #[must_use]
    pub fn published_in_part(name: impl fmt::Display) -> Self {
        Self(format!("{OURS}publish/{name}/part").into())
    }

    /// Of the erasures that a dataset has been through.
    #[must_use]
    pub fn erasure(dataset: impl fmt::Display) -> Self {
        Self(format!("{OURS}erase/{dataset}").into())
    }

    /// An id as it stands in a log, whosever it is.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.into())
    }

    /// Of a model's id the table that it reads, with the version given.
    #[must_use]
    pub fn consumed(&self, version: i64) -> Option<(String, i64)> {
        match self.kind() {
            TxnKind::Model { input_table_id, .. } => Some((input_table_id.to_owned(), version)),
            _ => None,
        }
    }

    /// The id as it stands in a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What its versions count.
    #[must_use]
    pub fn kind(&self) -> TxnKind<'_> {
        let parts: Vec<&str> = self.0.strip_prefix(OURS).map(|rest| rest.split('/').collect()).unwrap_or_default();
        match parts.as_slice() {
            ["model", name, input_table_id] => TxnKind::Model { name, input_table_id },
            ["feed", dataset] => TxnKind::Delivery { dataset },
            ["feed", dataset, of] => match of.parse() {
                Ok(date) => TxnKind::DeliveryOfDate { dataset, date },
                Err(_) => TxnKind::DeliveredContent { dataset, sha256: of, date: None },
            },
            ["feed", dataset, "held", held] => {
                Uuid::try_parse(held).map_or(TxnKind::Foreign, |held| TxnKind::Released { dataset, held })
            }
            ["feed", dataset, sha256, "withdrawn"] => TxnKind::Withdrawn { dataset, sha256, date: None },
            ["feed", dataset, sha256, date] => match date.parse() {
                Ok(date) => TxnKind::DeliveredContent { dataset, sha256, date: Some(date) },
                Err(_) => TxnKind::Foreign,
            },
            ["feed", dataset, sha256, date, "withdrawn"] => match date.parse() {
                Ok(date) => TxnKind::Withdrawn { dataset, sha256, date: Some(date) },
                Err(_) => TxnKind::Foreign,
            },
            ["publish", name] => TxnKind::Publication { name },
            ["replay", dataset] => TxnKind::Replay { dataset },
            ["correct", dataset] => TxnKind::Correction { dataset },
            ["replay", dataset, "staged"] => TxnKind::ReplayStaged { dataset },
            ["replay", dataset, "undone"] => TxnKind::ReplayUndone { dataset },
            ["discard", dataset] => TxnKind::Discard { dataset },
            ["discard", dataset, "entered"] => TxnKind::DiscardEntered { dataset },
            ["books", of, what] => match (Counter::parse(what), Uuid::try_parse(of), what.parse()) {
                (Some(counter), ..) => TxnKind::Books { dataset: of, counter },
                (None, Ok(topic), Ok(partition)) => TxnKind::LandedCount { topic, partition },
                _ => TxnKind::Foreign,
            },
            ["publish", name, "part"] => TxnKind::PublishedInPart { name },
            ["head", name] => TxnKind::StagedOn { name },
            ["erase", dataset] => TxnKind::Erasure { dataset },
            [topic, partition] => match (Uuid::try_parse(topic), partition.parse()) {
                (Ok(topic), Ok(partition)) => TxnKind::Landing { topic, partition },
                _ => TxnKind::Foreign,
            },
            _ => TxnKind::Foreign,
        }
    }
}

impl AsRef<str> for TxnId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TxnId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<TxnId> for String {
    fn from(id: TxnId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(7);
    const DAY: NaiveDate = match NaiveDate::from_ymd_opt(2026, 4, 13) {
        Some(day) => day,
        None => NaiveDate::MIN,
    };

    #[test]
    fn what_was_made_is_read_back() {
        let made = [
            (TxnId::landing(TOPIC, 3), TxnKind::Landing { topic: TOPIC, partition: 3 }),
            (TxnId::model("steps", "a-b"), TxnKind::Model { name: "steps", input_table_id: "a-b" }),
            (TxnId::delivery("patients"), TxnKind::Delivery { dataset: "patients" }),
            (TxnId::delivery_of_date("p", DAY), TxnKind::DeliveryOfDate { dataset: "p", date: DAY }),
            (
                TxnId::delivered_content("p", "0f", None),
                TxnKind::DeliveredContent { dataset: "p", sha256: "0f", date: None },
            ),
            (
                TxnId::delivered_content("p", "0f", Some(DAY)),
                TxnKind::DeliveredContent { dataset: "p", sha256: "0f", date: Some(DAY) },
            ),
            (TxnId::withdrawn("p", "0f", None), TxnKind::Withdrawn { dataset: "p", sha256: "0f", date: None }),
            (
                TxnId::withdrawn("p", "0f", Some(DAY)),
                TxnKind::Withdrawn { dataset: "p", sha256: "0f", date: Some(DAY) },
            ),
            (TxnId::released("p", TOPIC), TxnKind::Released { dataset: "p", held: TOPIC }),
            (TxnId::publication("daily"), TxnKind::Publication { name: "daily" }),
            (TxnId::landed_count(TOPIC, 3), TxnKind::LandedCount { topic: TOPIC, partition: 3 }),
            (TxnId::books("steps", Counter::Filtered), TxnKind::Books { dataset: "steps", counter: Counter::Filtered }),
            (TxnId::replay("hours"), TxnKind::Replay { dataset: "hours" }),
            (TxnId::correction("hours"), TxnKind::Correction { dataset: "hours" }),
            (TxnId::replay_staged("hours"), TxnKind::ReplayStaged { dataset: "hours" }),
            (TxnId::replay_undone("hours"), TxnKind::ReplayUndone { dataset: "hours" }),
            (TxnId::discard("hours"), TxnKind::Discard { dataset: "hours" }),
            (TxnId::discard_entered("hours"), TxnKind::DiscardEntered { dataset: "hours" }),
            (TxnId::published_in_part("daily"), TxnKind::PublishedInPart { name: "daily" }),
            (TxnId::staged_on("daily"), TxnKind::StagedOn { name: "daily" }),
            (TxnId::erasure("steps"), TxnKind::Erasure { dataset: "steps" }),
        ];
        for (id, kind) in made {
            assert_eq!((TxnId::parse(id.as_str()).kind(), id.kind()), (kind.clone(), kind));
        }
    }

    #[test]
    fn the_ids_are_those_that_the_format_says() {
        let ids = [TxnId::landing(TOPIC, 0), TxnId::model("m", "t"), TxnId::delivery("d"), TxnId::publication("p")];
        let texts = ids.map(String::from);
        let topic = "vitalake/00000000-0000-0000-0000-000000000007/0";
        assert_eq!(texts, [topic, "vitalake/model/m/t", "vitalake/feed/d", "vitalake/publish/p"]);
    }

    #[test]
    fn what_others_wrote_is_none_of_ours() {
        for text in [
            "",
            "spark",
            "vitalake/",
            "vitalake/model/x",
            "vitalake/x/0",
            "vitalake/feed/a/b/c",
            "vitalake/feed/a/held/b",
            "model/a/b",
        ] {
            assert_eq!(TxnId::parse(text).kind(), TxnKind::Foreign, "{text}");
        }
    }
}
