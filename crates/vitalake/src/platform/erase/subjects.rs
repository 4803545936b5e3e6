//! Where a person may be, as contracts and models say it: for who asks who saw the person.
//!
//! Invariant: a dataset is said to keep what it held only where nothing but an erasure takes rows away.

use std::collections::BTreeSet;

use vitalake_contract::{Contract, Source};
use vitalake_process::{Kind, Model};
use vitalake_serve::platform::{SubjectTable, Subjects};

use crate::command::validate::CheckedProject;

/// The datasets that may hold persons; nothing where no contract says which column holds an id. Where the person was erased,
/// what held it once does no longer.
pub(super) fn of(checked: &CheckedProject, was_erased: bool) -> Option<Subjects> {
    let contracts = || checked.project.contracts.iter();
    let named: Vec<&Contract> = contracts().map(|it| &**it).filter(|it| it.subjects().next().is_some()).collect();
    if named.is_empty() {
        return None;
    }
    let (keeping, related) = (keeping(checked), related(checked, &named));
    let named = named.into_iter().map(|contract| SubjectTable {
        schema: contract.layer.to_string(),
        table: contract.dataset.to_string(),
        columns: contract.subjects().map(|column| column.name.to_string()).collect(),
        keeps: !was_erased && keeping.contains(contract.dataset.as_str()),
    });
    let unrelated = contracts().filter(|contract| !related.contains(contract.dataset.as_str()));
    let names = |contract: &std::sync::Arc<Contract>| {
        [format!("{}.{}", contract.layer, contract.dataset), format!("quarantine.{}", contract.dataset)]
    };
    Some(Subjects { named: named.collect(), unrelated: unrelated.flat_map(names).collect() })
}

fn inputs(model: &Model) -> impl Iterator<Item = &str> {
    model.tables.iter().map(|table| table.table.as_str())
}

/// Streams, and what is made of them alone row by row or as sums: nothing there takes the place of anything.
fn keeping(checked: &CheckedProject) -> BTreeSet<String> {
    let streams =
        checked.project.contracts.iter().filter(|contract| matches!(contract.source, Some(Source::Stream { .. })));
    let mut keeping: BTreeSet<String> = streams.map(|contract| contract.dataset.to_string()).collect();
    let mut count = usize::MAX;
    while count != keeping.len() {
        count = keeping.len();
        for model in &checked.models {
            let adds = matches!(model.kind, Kind::Append | Kind::Rollup);
            if adds && inputs(model).all(|input| keeping.contains(input)) {
                keeping.insert(model.dataset.to_string());
            }
        }
    }
    keeping
}

/// What names persons, what that is made of, and what is made of any of these.
fn related(checked: &CheckedProject, named: &[&Contract]) -> BTreeSet<String> {
    let mut related: BTreeSet<String> = named.iter().map(|contract| contract.dataset.to_string()).collect();
    let mut count = 0;
    while count != related.len() {
        count = related.len();
        for model in &checked.models {
            if related.contains(model.dataset.as_str()) || inputs(model).any(|input| related.contains(input)) {
                related.insert(model.dataset.to_string());
                related.extend(inputs(model).map(ToOwned::to_owned));
            }
        }
    }
    related
}
