//! Who has agreed to a purpose: read from the decisions of the value that a query has pinned, before any row is shown.
//!
//! Of each subject the newest decision about the purpose counts, and of several at one moment a no. Whoever has decided
//! nothing has not agreed. The pinned value has the decisions that are not committed yet too, so that a withdrawal holds
//! from the next query on. Invariant: a decision that cannot be read is a no.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::StreamExt as _;
use tokio::sync::OnceCell;
use vitalake_contract::consent::Consent;

/// Bytes that an agreed subject takes in memory, beside its own.
const ENTRY_BYTES: usize = 64;

/// What binds a table's rows for one query.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    /// The decisions, as they are stored.
    pub(super) decisions: Arc<dyn TableProvider>,
    pub(super) consent: Arc<Consent>,
    /// What the query is for; none where nobody said it, to which nobody has agreed.
    pub(super) purpose: Option<Arc<str>>,
    /// The column that says whose row it is.
    pub(super) own: Arc<str>,
}

/// The subjects that have agreed, found when the first row is asked for.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    /// Subject, purpose, decision and time; none where no purpose was stated.
    decisions: Option<Arc<dyn ExecutionPlan>>,
    purpose: Option<Arc<str>>,
    given: Arc<str>,
    found: Arc<OnceCell<Arc<HashSet<String>>>>,
}

impl Binding {
    /// The plan by which the subjects are found.
    ///
    /// # Errors
    /// When the decisions have not the columns that the contract names.
    pub(super) async fn agreed(&self, state: &dyn Session) -> Result<Agreed> {
        let (consent, schema) = (&self.consent, self.decisions.schema());
        let names = [&consent.subject, &consent.purpose, &consent.decision, &consent.time];
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let Some((index, _)) = schema.column_with_name(name) else {
                return plan_err!("the decisions have not a column that the contract names");
            };
            columns.push(index);
        }
        let decisions = match &self.purpose {
            Some(_) => Some(self.decisions.scan(state, Some(&columns), &[], None).await?),
            None => None,
        };
        let (purpose, given) = (self.purpose.clone(), Arc::from(consent.given.as_str()));
        Ok(Agreed { decisions, purpose, given, found: Arc::default() })
    }
}

impl Agreed {
    /// The subjects; looked up once for all partitions of a query.
    pub(super) async fn subjects(&self, context: &Arc<TaskContext>) -> Result<Arc<HashSet<String>>> {
        self.found.get_or_try_init(|| self.look_up(context)).await.cloned()
    }

    async fn look_up(&self, context: &Arc<TaskContext>) -> Result<Arc<HashSet<String>>> {
        let (Some(decisions), Some(purpose)) = (&self.decisions, &self.purpose) else { return Ok(Arc::default()) };
        let memory = MemoryConsumer::new("consent").register(context.memory_pool());
        let mut newest = Newest { purpose, given: &self.given, of: HashMap::new() };
        for partition in 0..decisions.output_partitioning().partition_count() {
            let mut batches = decisions.execute(partition, Arc::clone(context))?;
            while let Some(batch) = batches.next().await {
                memory.try_grow(newest.take(&batch?)?)?;
            }
        }
        let agreed = newest.of.into_iter().filter_map(|(subject, (_, given))| given.then_some(subject));
        Ok(Arc::new(agreed.collect()))
    }
}

/// The newest decision of each subject about one purpose.
struct Newest<'p> {
    purpose: &'p str,
    given: &'p str,
    of: HashMap<String, (i64, bool)>,
}

impl Newest<'_> {
    /// Takes decisions, and says how many bytes they take beside those that were there.
    fn take(&mut self, batch: &RecordBatch) -> Result<usize> {
        let [subject, purpose, decision, time] = batch.columns() else {
            return internal_err!("decisions come in another form");
        };
        let (subjects, purposes) = (texts(subject)?, texts(purpose)?);
        let (subjects, purposes) = (subjects.as_string::<i32>(), purposes.as_string::<i32>());
        let times = cast(time, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let times = cast(&times, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        let decided = self.truths(decision)?;
        let mut grown = 0;
        for row in 0..batch.num_rows() {
            let given = decided.is_valid(row) && decided.value(row);
            // A no about no purpose in particular is one about each.
            let concerns = if purposes.is_null(row) { !given } else { purposes.value(row) == self.purpose };
            if subjects.is_null(row) || !concerns {
                continue;
            }
            let at = match (times.is_null(row), given) {
                (false, _) => times.value(row),
                (true, true) => continue,
                (true, false) => i64::MAX,
            };
            let subject = subjects.value(row);
            match self.of.get_mut(subject) {
                Some((known, agreed)) if at > *known => (*known, *agreed) = (at, given),
                Some((known, agreed)) if at == *known => *agreed &= given,
                Some(_) => {}
                None => {
                    grown += subject.len() + ENTRY_BYTES;
                    self.of.insert(subject.to_owned(), (at, given));
                }
            }
        }
        Ok(grown)
    }

    fn truths(&self, decision: &ArrayRef) -> Result<BooleanArray> {
        if let Some(truths) = decision.as_boolean_opt() {
            return Ok(truths.clone());
        }
        let words = texts(decision)?;
        Ok(words.as_string::<i32>().iter().map(|word| Some(word == Some(self.given))).collect())
    }
}

/// Which rows are of subjects that have agreed.
pub(super) fn of_agreed(own: &ArrayRef, agreed: &HashSet<String>) -> Result<BooleanArray> {
    let own = texts(own)?;
    Ok(own.as_string::<i32>().iter().map(|own| Some(own.is_some_and(|own| agreed.contains(own)))).collect())
}

fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(values, &DataType::Utf8)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{StringViewArray, TimestampMicrosecondArray};

    use super::*;

    type Decision<'t> = (Option<&'t str>, Option<&'t str>, Option<&'t str>, Option<i64>);

    fn decided(rows: &[Decision<'_>]) -> Vec<String> {
        let column = |values: Vec<Option<&str>>| Arc::new(StringViewArray::from(values)) as ArrayRef;
        let columns = [
            column(rows.iter().map(|row| row.0).collect()),
            column(rows.iter().map(|row| row.1).collect()),
            column(rows.iter().map(|row| row.2).collect()),
            Arc::new(
                TimestampMicrosecondArray::from(rows.iter().map(|row| row.3).collect::<Vec<_>>()).with_timezone("UTC"),
            ),
        ];
        let names = ["who", "what", "word", "at"];
        let batch = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
        let mut newest = Newest { purpose: "research", given: "permit", of: HashMap::new() };
        let middle = batch.num_rows() / 2;
        newest.take(&batch.slice(0, middle)).unwrap();
        newest.take(&batch.slice(middle, batch.num_rows() - middle)).unwrap();
        let mut agreed: Vec<String> =
            newest.of.into_iter().filter(|(_, (_, given))| *given).map(|(subject, _)| subject).collect();
        agreed.sort();
        agreed
    }

    #[test]
    fn the_newest_decision_about_the_purpose_counts_and_what_is_unclear_is_a_no() {
        let (yes, no, research) = (Some("permit"), Some("deny"), Some("research"));
        let agreed = decided(&[
            (Some("a"), research, yes, Some(1)),
            (Some("b"), research, yes, Some(5)),
            (Some("b"), research, no, Some(9)),
            (Some("c"), research, no, Some(9)),
            (Some("c"), research, yes, Some(10)),
            (Some("d"), Some("marketing"), yes, Some(1)),
            (Some("e"), research, yes, Some(7)),
            (Some("e"), research, no, Some(7)),
            (Some("f"), research, Some("Permit"), Some(1)),
            (Some("g"), research, None, Some(1)),
            (Some("h"), research, yes, None),
            (Some("i"), research, yes, Some(3)),
            (Some("i"), research, no, None),
            (Some("j"), research, yes, Some(3)),
            (Some("j"), None, no, Some(4)),
            (Some("k"), None, yes, Some(4)),
            (None, research, yes, Some(4)),
            (Some("l"), research, no, Some(8)),
            (Some("l"), research, yes, Some(2)),
        ]);
        assert_eq!(agreed, ["a", "c"]);
    }
}
