//! What `validate` says of consent: what a model makes of rows that are bound to consent must be bound as well.
//!
//! Invariant: no dataset shows what was made of the rows of somebody who has withdrawn, since each that is made of bound
//! rows keeps, row by row, whose they are.

use vitalake_contract::consent::Consent;
use vitalake_contract::{Contract, Diagnostic, Project};
use vitalake_process::{ColumnName, Contracts, Model, carried, keeps_apart};

/// Finds datasets that are less bound than what they are made of.
pub(super) fn check_consent(project: &Project, models: &[Model], contracts: &Contracts, found: &mut Vec<Diagnostic>) {
    for model in models {
        let (Some(contract), Some(source)) =
            (contracts.get(&model.dataset), project.contract_source(model.dataset.as_str()))
        else {
            continue;
        };
        for input in model.tables.iter().filter_map(|table| bound(contracts, &table.table)) {
            let carried = carried(model, contracts);
            let keeps = contract.consent.as_ref().zip(input.consent.as_ref()).is_some_and(|(own, of_input)| {
                is_as_strict(own, of_input)
                    && keeps_apart(model, contracts, &input.dataset)
                    && is_carried(contract, own, (input, of_input), &carried)
            });
            if keeps {
                continue;
            }
            let message = format!(
                "the rows of {}.{} are bound to consent, and {}.{} would show what is made of them without it",
                input.layer, input.dataset, contract.layer, contract.dataset
            );
            let help = "read them once, without windows, keep the column that says whose row it is unchanged, and write the same `consent` here; what counts over many people would go on counting those who withdraw";
            let finding = Diagnostic::error(&source.path, "rows-without-consent", message).help(help);
            found.push(finding.at(&source.text, source.name.line, source.name.column, source.name.length));
        }
    }
}

/// The contract of an input whose rows are bound.
fn bound<'c>(contracts: &'c Contracts, dataset: &str) -> Option<&'c Contract> {
    let contract = contracts.values().find(|contract| contract.dataset.as_str() == dataset)?;
    contract.consent.is_some().then_some(contract.as_ref())
}

/// Whether who is bound to one is bound to the other: the same decisions, and no purpose more that needs none.
fn is_as_strict(own: &Consent, of_input: &Consent) -> bool {
    let decisions = |consent: &Consent| {
        let Consent { dataset, subject, purpose, decision, given, time, .. } = consent.clone();
        (dataset, subject, purpose, decision, given, time)
    };
    decisions(own) == decisions(of_input) && own.without.iter().all(|purpose| of_input.without.contains(purpose))
}

/// Whether the column that says whose row it is carries that of the input as it is.
fn is_carried(
    contract: &Contract,
    own: &Consent,
    (input, of_input): (&Contract, &Consent),
    carried: &std::collections::BTreeMap<String, ColumnName>,
) -> bool {
    let name = |contract: &Contract, at: usize| contract.columns.get(at).map(|column| column.name.to_lowercase());
    let from = name(contract, own.own).and_then(|column| carried.get(&column));
    from.is_some_and(|(dataset, column)| {
        *dataset == input.dataset && name(input, of_input.own).as_ref() == Some(column)
    })
}
