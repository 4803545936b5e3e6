//! Alerts in SQL: the rows of a query become observations, one for each row's labels.
//!
//! What leaves with a message is chosen here. The columns `dataset` and `rule` and those that begin with `label_` tell
//! alerts apart; other columns show their numbers, booleans and times. Invariant: no text of a row leaves but the name
//! of a dataset or a rule that the project itself has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::machine::Observation;

/// The most rows of an alert's query: each is an alert.
pub const ROWS_MAX: usize = 100;
/// How long an alert's query may take.
pub const TIME_MAX: Duration = Duration::from_secs(30);
/// Columns of a row that are shown.
const SHOWN_MAX: usize = 6;

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A number, a boolean, a date or a time, as it is printed.
    Plain(String),
    /// A text, which leaves only where it is a name that the project has.
    Text(String),
}

/// The answer to an alert's query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The columns' names.
    pub names: Vec<String>,
    /// The rows, one more than asked for where there are more.
    pub rows: Vec<Vec<Cell>>,
}

/// Why there is no answer, without a record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// Tables that it asks of are still being recovered.
    NotReady(String),
    /// It failed.
    Failed(String),
}

/// Whoever answers in SQL, off the way of what comes in.
#[async_trait]
pub trait Questions: Send + Sync + 'static {
    /// Asks. An answer of more than `rows_max` rows may be cut after one more.
    ///
    /// # Errors
    /// [`AskError`].
    async fn ask(&self, sql: &str, rows_max: usize, time_max: Duration) -> Result<Rows, AskError>;

    /// Asks a question of the platform's own that is answered by one number, about any column.
    ///
    /// # Errors
    /// Why there is no answer, without a record's value.
    async fn count(&self, sql: &str) -> Result<u64, String>;
}

/// An observation of a query and what tells it from its others.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The dataset that it names.
    pub dataset: Option<String>,
    /// What was seen.
    pub observation: Observation,
}

/// The observations of an answer. `names` are those that the project has.
#[must_use]
pub fn observations(answer: Result<Rows, String>, names: &BTreeSet<String>) -> Vec<Row> {
    match answer.and_then(|answer| rows(&answer, names)) {
        Ok(rows) => rows,
        Err(reason) => vec![Row { labels: BTreeMap::new(), dataset: None, observation: Observation::Unknown(reason) }],
    }
}

fn rows(answer: &Rows, names: &BTreeSet<String>) -> Result<Vec<Row>, String> {
    if answer.rows.len() > ROWS_MAX {
        return Err(format!("its query gives more than {ROWS_MAX} rows, each an alert: aggregate, or add a LIMIT"));
    }
    let mut found: BTreeMap<BTreeMap<String, String>, (Vec<String>, u64)> = BTreeMap::new();
    for row in &answer.rows {
        let (labels, shown) = read(answer, row, names)?;
        let known = found.entry(labels).or_insert((shown, 0));
        known.1 += 1;
    }
    let row = |(labels, (shown, count)): (BTreeMap<String, String>, (Vec<String>, u64))| {
        let words = match (shown.is_empty(), count) {
            (false, 1) => shown.join(", "),
            (_, 1) => "its query gives a row".to_owned(),
            (_, count) => format!("its query gives {count} rows"),
        };
        Row { dataset: labels.get("dataset").cloned(), labels, observation: Observation::Holds(words) }
    };
    Ok(found.into_iter().map(row).collect())
}

type Read = (BTreeMap<String, String>, Vec<String>);

/// A row's labels and what it shows.
fn read(answer: &Rows, row: &[Cell], names: &BTreeSet<String>) -> Result<Read, String> {
    let (mut labels, mut shown) = (BTreeMap::new(), Vec::new());
    for (name, cell) in answer.names.iter().zip(row) {
        let is_label = name == "dataset" || name == "rule" || name.starts_with("label_");
        match cell {
            Cell::Text(text) if is_label && names.contains(text) => {
                labels.insert(name.clone(), text.clone());
            }
            Cell::Text(_) if is_label => {
                return Err(format!(
                    "its column {name} has a text that is no name of a dataset or rule: it might be somebody's, and does not leave"
                ));
            }
            Cell::Plain(value) if is_label => {
                labels.insert(name.clone(), value.clone());
            }
            Cell::Plain(value) if shown.len() < SHOWN_MAX => shown.push(format!("{name} = {value}")),
            _ => {}
        }
    }
    Ok((labels, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(names: &[&str], rows: Vec<Vec<Cell>>) -> Result<Rows, String> {
        Ok(Rows { names: names.iter().map(|n| (*n).to_owned()).collect(), rows })
    }

    fn known() -> BTreeSet<String> {
        BTreeSet::from(["serving.steps".to_owned()])
    }

    fn plain(value: &str) -> Cell {
        Cell::Plain(value.to_owned())
    }

    fn text(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }

    #[test]
    fn a_row_is_an_alert_with_its_numbers_and_no_text() {
        let found = observations(
            answer(&["dataset", "late", "who"], vec![vec![text("serving.steps"), plain("7"), text("Ada")]]),
            &known(),
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().map(|row| row.dataset.as_deref()), Some(Some("serving.steps")));
        assert!(
            matches!(&found.first().map(|r| &r.observation), Some(Observation::Holds(words)) if words == "late = 7")
        );
    }

    #[test]
    fn a_text_as_a_label_that_is_no_name_is_refused_without_being_shown() {
        let found = observations(answer(&["label_who"], vec![vec![text("Ada")]]), &known());
        let words = format!("{found:?}");
        assert!(words.contains("Unknown") && !words.contains("Ada"), "{words}");
    }

    #[test]
    fn rows_without_labels_are_one_alert_and_too_many_are_none() {
        let many = |n: usize| answer(&["x"], vec![vec![text("Ada")]; n]);
        let found = observations(many(3), &known());
        assert!(
            matches!(&found.first().map(|r| &r.observation), Some(Observation::Holds(words)) if words.contains("3 rows"))
        );
        let found = observations(many(ROWS_MAX + 1), &known());
        assert!(matches!(found.first().map(|r| &r.observation), Some(Observation::Unknown(_))));
        assert!(observations(many(0), &known()).is_empty());
    }
}
