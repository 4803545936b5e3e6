//! What a project's feed says: where files or rows come from, when they are fetched, and when one is due.
//!
//! Read from feeds/*.yaml by `project`; run by the binary, which hands what came to the dataset as deliveries. Invariant:
//! a feed names everything that a run needs, and holds no secret: a connection is named by a variable.

mod calendar;
mod pattern;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::contract::DatasetName;
use crate::delivery_format::DeliveryFormat;

pub use calendar::Calendar;
pub use pattern::{NamePattern, marker_name};

/// How long a file stands still, in size and time of modification, before it is taken, where a feed does not say it.
pub const STABLE_DEFAULT: Duration = Duration::from_secs(30);
/// How often a folder is looked at.
pub const LOOK_EVERY_DEFAULT: Duration = Duration::from_secs(10);
/// How often an object store is looked at: each look is a request that is paid for.
pub const LOOK_EVERY_STORE_DEFAULT: Duration = Duration::from_secs(60);

/// A feed's name: the file's, of the same form as a dataset's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedName(Arc<str>);

impl FeedName {
    /// Checks the form of a name.
    ///
    /// # Errors
    /// Gives the reason, in words, when the name cannot be a feed's.
    pub fn new(name: &str) -> Result<Self, String> {
        DatasetName::new(name).map_err(|reason| reason.replace("a dataset's", "a feed's"))?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FeedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A feed as its file says it.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its name: the file's.
    pub name: FeedName,
    /// The raw dataset that it delivers to.
    pub dataset: DatasetName,
    /// Where deliveries come from.
    pub source: FeedSource,
    /// When it is run.
    pub trigger: FeedTrigger,
    /// When a delivery is due.
    pub due: Option<FeedDue>,
    /// The zone of its times and of the dates of its deliveries.
    pub zone: Tz,
}

/// Where a feed's deliveries come from.
#[derive(Clone, Debug)]
pub enum FeedSource {
    /// Files of a folder of this machine.
    Folder(FeedFiles),
    /// Objects under a prefix of an object store.
    Store(FeedFiles),
    /// Rows of a PostgreSQL database.
    Postgres(PostgresSource),
}

impl FeedSource {
    /// The files that it watches; none of a database.
    #[must_use]
    pub fn files(&self) -> Option<&FeedFiles> {
        match self {
            Self::Folder(files) | Self::Store(files) => Some(files),
            Self::Postgres(_) => None,
        }
    }

    /// Its key in a feed's file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Folder(_) => "folder",
            Self::Store(_) => "url",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// Files that are deliveries.
#[derive(Clone, Debug)]
pub struct FeedFiles {
    /// A folder, as written (a relative one lies in the project's directory), or the URL of a store with its prefix.
    pub place: String,
    /// Which files are deliveries.
    pub pattern: NamePattern,
    /// How a file is known to be complete.
    pub complete: Complete,
    /// How often it is looked.
    pub look_every: Duration,
    /// Whether all files of one date are one delivery.
    pub gather: bool,
    /// The form of the files; by each one's name where nothing is said.
    pub format: Option<DeliveryFormat>,
}

/// How a file is known to be complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complete {
    /// Its size and its time of modification stood still for so long.
    Stable(Duration),
    /// Another file is beside it, whose name is this text with `{name}` or `{stem}` replaced.
    Marker(String),
}

/// Rows of a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSource {
    /// The connection's URL; `${NAME}` in it is a variable of the environment, which `validate` does not read.
    pub url: String,
    /// What is read.
    pub select: PostgresSelect,
    /// The column that tells new rows from those that were read; all rows are read where there is none.
    pub watermark: Option<String>,
    /// How much older than the newest a row may be that comes to light later.
    pub lag: WatermarkLag,
}

/// How far before the last watermark rows are read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatermarkLag {
    /// Not at all.
    #[default]
    None,
    /// So long, of a time.
    Time(Duration),
    /// So much, of a number.
    Number(u64),
}

/// What is read of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresSelect {
    /// A table or view, `schema.name` or `name`.
    Table(String),
    /// A SELECT.
    Query(String),
}

/// When a feed is run.
#[derive(Clone, Debug)]
pub enum FeedTrigger {
    /// At the times of a calendar.
    Schedule {
        /// The times.
        calendar: Calendar,
        /// What becomes of runs that fell into a stop.
        missed: Missed,
    },
    /// Whenever a complete file is there.
    Arrival,
}

/// What becomes of runs that fell into a stop of the platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// They are made up for by one run.
    #[default]
    Once,
    /// They are left out.
    Skip,
}

/// When a delivery is due.
#[derive(Clone, Debug)]
pub struct FeedDue {
    /// The times.
    pub calendar: Calendar,
    /// How much later it may be.
    pub late_by: Duration,
    /// The business date of the delivery that is due; none where files have no date, and any delivery counts that came
    /// since the time before.
    pub date: Option<DueDate>,
}

/// The business date of a delivery that is due, seen from the day on which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueDate {
    /// The same day.
    Today,
    /// The day before.
    Yesterday,
}
