//! What an entry of the journal says: who did what, by which way, with which columns of which datasets, and what came of it.
//!
//! Invariant: an entry holds names, counts and words of fixed lists; what a client wrote is in it as keyed tokens alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The way by which somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// SQL, files and decisions over HTTP.
    Http,
    /// A page of the console.
    Console,
    /// The Postgres wire protocol.
    Postgres,
    /// Arrow Flight SQL.
    Flight,
    /// Kafka's protocol.
    Kafka,
    /// Records over HTTP.
    Ingest,
    /// A command that opened the project in its own process.
    CommandLine,
    /// The platform by itself.
    Platform,
}

/// What somebody did, or tried to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Proved a name, or failed to.
    Login,
    /// Asked in SQL.
    Query,
    /// Read rows or records in another way.
    Read,
    /// Sent records.
    Produce,
    /// Sent a file.
    Deliver,
    /// Decided something, or had something done: a release, a discard, an acknowledgement, a flush.
    Decide,
    /// Had a person forgotten.
    Erase,
    /// The journal says something of itself.
    Journal,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is under way: another entry with the same id says how it ended.
    Begun,
    /// It was done.
    Done,
    /// Whoever asked may not.
    Refused,
    /// It failed, or what was asked is wrong.
    Failed,
    /// Whoever asked went away; rows say what had been given by then.
    Abandoned,
}

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The name that was proved; none where none was.
    #[serde(rename = "who", skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What vouched for it, such as `loopback` or `token`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Its roles.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub roles: Vec<String>,
}

impl Who {
    /// Somebody whose name was proved.
    #[must_use]
    pub fn named(name: impl Into<String>, by: impl Into<String>, roles: impl IntoIterator<Item = String>) -> Self {
        Self { name: Some(name.into()), by: Some(by.into()), roles: roles.into_iter().collect() }
    }

    /// Somebody who proved no name.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The platform.
    #[must_use]
    pub fn platform() -> Self {
        Self::named("platform", "platform", [])
    }
}

/// How a column was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// As it is.
    Clear,
    /// Something else in its place.
    Masked,
}

/// A dataset that was touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accessed {
    /// Its name in SQL, such as `serving.vitals`.
    pub dataset: String,
    /// The columns that were read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub columns: BTreeMap<String, Shown>,
    /// Whether the policy showed some of the rows alone.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub filtered: bool,
}

/// A statement without what stood in it as values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The same for statements of one shape.
    pub fingerprint: String,
    /// Its words, `?` for each value and each name that the platform does not have.
    pub shape: String,
    /// The values as keyed tokens, each once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub literals: Vec<String>,
    /// How many values more there were than are kept.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub literals_left_out: u64,
}

/// What is written down. The journal adds when, and what it follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The same for the beginning and the end of one access.
    pub id: String,
    /// Who.
    #[serde(flatten)]
    pub who: Who,
    /// By which way.
    pub surface: Surface,
    /// What.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether another entry with the same id said how it began.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub ends: bool,
    /// More of that, as a word of a fixed list.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What it touched.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub datasets: Vec<Accessed>,
    /// For which purpose.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purpose: Option<String>,
    /// The fingerprint of the rules that held.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
    /// The statement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub statement: Option<Statement>,
    /// The person that it was about, as a keyed token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    /// Rows that were given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
}

impl Entry {
    /// Something that was done.
    #[must_use]
    pub fn new(who: Who, surface: Surface, action: Action) -> Self {
        Self {
            id: uuid::Uuid::now_v7().simple().to_string(),
            who,
            surface,
            action,
            outcome: Outcome::Done,
            ends: false,
            reason: None,
            datasets: Vec::new(),
            purpose: None,
            policy: None,
            statement: None,
            subject: None,
            rows: None,
        }
    }

    /// The same with another outcome, and more of it as a word of a fixed list.
    #[must_use]
    pub fn ended(self, outcome: Outcome, reason: Option<&'static str>) -> Self {
        Self { outcome, reason: reason.map(ToOwned::to_owned), ..self }
    }

    /// The same, of a dataset beside those that it has; no column of it is named.
    #[must_use]
    pub fn of(mut self, dataset: impl Into<String>) -> Self {
        self.datasets.push(Accessed { dataset: dataset.into(), ..Accessed::default() });
        self
    }

    /// The end of what this entry began.
    pub(crate) fn end(&self, outcome: Outcome, reason: Option<&'static str>, rows: Option<u64>) -> Self {
        let bare = |of: &Accessed| Accessed { dataset: of.dataset.clone(), ..Accessed::default() };
        Self {
            id: self.id.clone(),
            ends: true,
            datasets: self.datasets.iter().map(bare).collect(),
            purpose: self.purpose.clone(),
            policy: self.policy.clone(),
            rows,
            ..Self::new(self.who.clone(), self.surface, self.action).ended(outcome, reason)
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
