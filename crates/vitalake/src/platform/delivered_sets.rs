//! Rules about a delivery as a set, evaluated over the files that its rows were written to.
//!
//! Where ingest and process meet. Invariant: the dataset itself is, within such a rule, the delivery's rows alone; other
//! datasets are what is visible when the delivery is judged.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use futures::FutureExt;
use futures::future::BoxFuture;
use vitalake_contract::rule::Severity;
use vitalake_contract::{Contract, Source};
use vitalake_ingest::decode::DeliveryTotals;
use vitalake_ingest::delivery::{Delivered, DeliveredState, DeliveryJudge, SetFinding};
use vitalake_lake::{Catalogue, DataFile, Lake, Table, TableView};
use vitalake_process::quality::{RuleScope, SetOutcome, SetResult, evaluate};
use vitalake_runtime::events::{Event, Events};

/// Judges deliveries to one dataset.
#[derive(Debug)]
pub(super) struct DeliveredSets {
    lake: Arc<Lake>,
    table: Arc<Table>,
}

impl DeliveredSets {
    /// The judge of a dataset; none where its rules are about the whole table, or it has none.
    pub(super) fn of(lake: &Arc<Lake>, table: &Arc<Table>) -> Option<Arc<dyn DeliveryJudge>> {
        let contract = table.contract();
        let has_rules = contract.source == Some(Source::Feed) && !contract.set_rules.is_empty();
        has_rules.then(|| Arc::new(Self { lake: Arc::clone(lake), table: Arc::clone(table) }) as Arc<dyn DeliveryJudge>)
    }
}

impl DeliveryJudge for DeliveredSets {
    fn judge<'a>(&'a self, rows: &'a [Arc<DataFile>]) -> BoxFuture<'a, Vec<SetFinding>> {
        let (lake, contract) = (Arc::clone(&self.lake), Arc::clone(self.table.contract()));
        let files = rows.to_vec();
        let judging = async move {
            let others = lake.pin();
            let store = Arc::clone(lake.store());
            let Some(rows) = of_files(&others, &contract, files) else { return Vec::new() };
            let scope = RuleScope { contract: &contract, rows, others, store };
            evaluate(&contract.set_rules, &scope).await.into_iter().map(finding).collect()
        };
        let judged = self.lake.cpu().spawn_cpu(judging);
        let contract = Arc::clone(self.table.contract());
        async move { judged.await.unwrap_or_else(|_| untold(&contract)) }.boxed()
    }
}

/// Files that no commit names yet, as if they were all of their table.
fn of_files(pinned: &Catalogue, contract: &Contract, files: Vec<Arc<DataFile>>) -> Option<Arc<dyn TableProvider>> {
    let (layer, dataset) = (contract.layer.as_str(), contract.dataset.as_str());
    let view = pinned.tables().find(|v| v.id.space.as_str() == layer && v.id.dataset == contract.dataset)?;
    let hidden: HashSet<_> = view.head.files().map(|file| file.path().clone()).collect();
    let mut view = TableView::clone(view);
    (view.tail.early, view.tail.rows, view.tail.hidden) = (files, Vec::new(), Arc::new(hidden));
    let mut alone = Catalogue::default();
    alone.put(view);
    alone.provider(layer, dataset)
}

fn finding(result: SetResult) -> SetFinding {
    let found = result.found();
    let passed = match &result.outcome {
        SetOutcome::Passed => Some(true),
        SetOutcome::Broken => Some(false),
        SetOutcome::NotEvaluated(_) => None,
    };
    SetFinding { rule: result.rule, severity: result.severity, got: result.got, found, want: result.want, passed }
}

/// What is found where the process stops while it judges.
fn untold(contract: &Contract) -> Vec<SetFinding> {
    let untold = |name: &String, severity: Severity| SetFinding {
        rule: name.clone(),
        severity,
        got: None,
        found: "could not be evaluated: the process stops".to_owned(),
        want: "an answer".to_owned(),
        passed: None,
    };
    contract.set_rules.iter().map(|rule| untold(&rule.name, rule.severity)).collect()
}

/// Tells what was found of a delivery, and how many of its values could not be read.
pub(super) fn tell(events: &Events, contract: &Contract, delivered: &Delivered) {
    let scope: Arc<str> = match (&delivered.state, delivered.number) {
        (DeliveredState::Loaded, Some(number)) => format!("delivery {number}").into(),
        (DeliveredState::Held { id, .. }, _) => format!("held delivery {id}").into(),
        _ => return,
    };
    let dataset: Arc<str> = contract.dataset.as_str().into();
    for finding in &delivered.findings {
        events.send(Event::Measured {
            dataset: Arc::clone(&dataset),
            rule: finding.rule.as_str().into(),
            severity: finding.severity.as_str(),
            scope: Arc::clone(&scope),
            got: finding.got,
            want: finding.want.as_str().into(),
            passed: finding.passed,
        });
    }
    let DeliveryTotals { misfits, .. } = &delivered.totals;
    for misfit in misfits {
        events.send(Event::unread(Arc::clone(&dataset), &misfit.column, Arc::clone(&scope), misfit.values));
    }
}
