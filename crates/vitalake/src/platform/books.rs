//! The books of the datasets: counters of the commits beside what tables, quarantine and log hold.
//!
//! Invariant: both sides of a dataset are of one moment, between two of its commits.

use vitalake_lake::{Books, Table};
use vitalake_ops::books::DatasetBooks;
use vitalake_serve::platform::ApiError;

use super::{Life, tables};

impl Life {
    /// The books of one dataset, named with or without its layer, or of all that have books.
    pub(super) async fn books(&self, dataset: Option<&str>) -> Result<Vec<DatasetBooks>, ApiError> {
        let is_asked_for = |table: &Table| {
            let id = table.id();
            dataset.is_none_or(|asked| asked == id.to_string() || asked == id.dataset.as_str())
        };
        let (mut found, mut grouped) = (Vec::new(), false);
        for table in self.lake.tables().filter(|table| is_asked_for(table)) {
            match table.books().await {
                Some(books) => found.push(self.told(table, &books)),
                None => grouped = true,
            }
        }
        let unopened = self.lake.unopened().filter(|unopened| {
            let id = unopened.id();
            dataset.is_none_or(|asked| asked == id.to_string() || asked == id.dataset.as_str())
        });
        found.extend(unopened.map(|unopened| DatasetBooks {
            dataset: unopened.id().to_string(),
            note: format!("its rows cannot be counted: {}", tables::sentence(unopened)),
            ..DatasetBooks::default()
        }));
        found.sort_by_key(|books| (layer_order(&books.dataset), books.dataset.clone()));
        match dataset {
            Some(name) if found.is_empty() && grouped => Err(ApiError::Invalid(format!(
                "{name} holds one row per group of its input, which has no books of rows; ask for those of its input"
            ))),
            Some(name) if found.is_empty() => {
                Err(ApiError::NotFound(format!("there is no dataset {name}; `vitalake datasets` lists them")))
            }
            _ => Ok(found),
        }
    }

    fn told(&self, table: &Table, books: &Books) -> DatasetBooks {
        let landing = self.intake.landings.iter().find(|landing| landing.table().id() == table.id());
        let behind = |landing: &std::sync::Arc<vitalake_ingest::landing::TopicLanding>| {
            let positions = landing.positions().into_iter();
            positions
                .map(|at| u64::try_from(at.end_offset - at.committed_offset.max(at.start_offset)).unwrap_or(0))
                .sum()
        };
        let waiting: Option<u64> = landing.map(behind);
        DatasetBooks {
            dataset: table.id().to_string(),
            offered: books.offered,
            accepted: books.accepted.unwrap_or(0),
            quarantined: books.quarantined.unwrap_or(0),
            duplicates: books.duplicates,
            erased: books.erased,
            balanced: books.missing() == Some(0),
            filtered: books.filtered,
            replaced: books.replaced,
            retracted: books.retracted,
            discarded: books.discarded,
            missing: books.missing().unwrap_or(0),
            waiting,
            version: books.version,
            note: note(books, waiting),
        }
    }
}

fn layer_order(dataset: &str) -> usize {
    ["raw.", "curated.", "serving."].iter().position(|layer| dataset.starts_with(layer)).unwrap_or(3)
}

/// What it comes to, and what to do.
fn note(books: &Books, waiting: Option<u64>) -> String {
    let sum = match books.missing() {
        None => "a file of another writer does not say how many rows it holds, so they cannot be counted".to_owned(),
        Some(0) => "everything that was offered has a place".to_owned(),
        Some(_) if books.unfinished => {
            "rejects are committed whose rows are not yet: ask again after the next commit".to_owned()
        }
        Some(missing) if missing > 0 => format!(
            "{missing} rows that were offered are nowhere: they were lost, or something else removed them from the table or its quarantine; ops.checks has the sum of each commit under the rule conservation"
        ),
        Some(missing) => format!(
            "{} rows are there that nobody offered: something else wrote to the table or its quarantine; the history of the table says what",
            missing.unsigned_abs()
        ),
    };
    match waiting {
        Some(waiting) if waiting > 0 => format!("{sum}; {waiting} records of the topic wait for their commit"),
        _ => sum,
    }
}
