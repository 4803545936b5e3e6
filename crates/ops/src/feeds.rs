//! What is said of feeds over HTTP and on the command line: the same JSON.
//!
//! Invariant: names of files, counts and times, never a record's value. Times are RFC 3339 in UTC with milliseconds.

use serde::{Deserialize, Serialize};

use crate::status::DeliveryReport;

/// A feed that waits for what comes next.
pub const WAITING: &str = "waiting";
/// A feed that is being run.
pub const RUNNING: &str = "running";
/// A feed whose delivery is due and not here.
pub const LATE: &str = "late";
/// A feed whose source cannot be read; it is tried again by itself.
pub const AWAY: &str = "away";
/// A feed of which deliveries were refused that lie there unchanged.
pub const REFUSED: &str = "refused";
/// A feed of which deliveries wait for somebody to decide.
pub const HELD: &str = "held";
/// A feed that another process runs.
pub const ELSEWHERE: &str = "elsewhere";

/// One feed: an entry of `GET /api/v1/feeds`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedReport {
    /// Its name.
    pub feed: String,
    /// The dataset that it delivers to.
    pub dataset: String,
    /// Where its deliveries come from, such as `folder deliveries/patients`.
    pub source: String,
    /// When it is run: `on arrival`, or its cron pattern and zone.
    pub runs: String,
    /// `waiting`, `running`, `late`, `away`, `refused`, `held` or `elsewhere`.
    pub state: String,
    /// Why it is not well, and what to do.
    #[serde(default)]
    pub message: Option<String>,
    /// When it was last looked for deliveries.
    #[serde(default)]
    pub last_look_at: Option<String>,
    /// When a delivery last came that was loaded, or was known.
    #[serde(default)]
    pub last_delivery_at: Option<String>,
    /// That delivery's name.
    #[serde(default)]
    pub last_delivery: Option<String>,
    /// The newest business date that was delivered.
    #[serde(default)]
    pub last_date: Option<String>,
    /// When it is run next, by its schedule.
    #[serde(default)]
    pub next_run_at: Option<String>,
    /// When the next delivery is due.
    #[serde(default)]
    pub next_due_at: Option<String>,
    /// When the delivery was due that is not here yet.
    #[serde(default)]
    pub late_since: Option<String>,
    /// Runs that fell into a stop, and were made up for by one at the start.
    #[serde(default)]
    pub missed_runs: u64,
    /// Files that are not complete yet.
    #[serde(default)]
    pub files_waiting: u64,
    /// Files of the source that are known to be delivered.
    #[serde(default)]
    pub files_taken: u64,
    /// Deliveries that were refused for what they are and lie there unchanged, and why: the newest of them.
    #[serde(default)]
    pub refused: Vec<NotRead>,
    /// Entries that are no files to be read, and why: the first of them.
    #[serde(default)]
    pub not_read: Vec<NotRead>,
}

/// What is not read, or was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRead {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// The answer of `POST /feeds/{name}/run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedRunReport {
    /// The feed.
    pub feed: String,
    /// The dataset that it delivers to.
    pub dataset: String,
    /// What came, in the order in which it was taken.
    pub deliveries: Vec<FeedDelivery>,
    /// Files that are there and not complete.
    pub files_waiting: u64,
}

/// One delivery of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedDelivery {
    /// The file's name, or the first file's and how many more there are.
    pub name: String,
    /// Its business date.
    #[serde(default)]
    pub date: Option<String>,
    /// What became of it; none where it failed.
    #[serde(default)]
    pub report: Option<DeliveryReport>,
    /// Why it was refused or failed, and what to do.
    #[serde(default)]
    pub error: Option<String>,
}
