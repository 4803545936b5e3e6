//! Contracts that name a view get it: deliveries of FHIR resources are read through it.
//!
//! Needs the whole project, as a contract only names its view. Invariant: a contract that names a view has one whose columns
//! are its own, or there is an error.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{ContractSource, ViewFile};
use crate::contract::Contract;
use crate::diagnostic::Diagnostic;
use crate::fhir::check;
use crate::verdict::nearest;

/// Gives each contract its view, and compares the two.
pub(super) fn resolve(
    compiled: &mut [(Option<Contract>, ContractSource)],
    views: &[ViewFile],
    found: &mut Vec<Diagnostic>,
) {
    for (contract, source) in compiled.iter_mut() {
        let (Some(contract), Some((name, place))) = (contract, &source.places.view) else { continue };
        match views.iter().find(|view| view.name == *name) {
            Some(file) => {
                let Some(view) = &file.view else { continue };
                check::check(view, contract, source, found);
                contract.fingerprint = with_view(&contract.fingerprint, file);
                contract.view = Some(Arc::clone(view));
            }
            None => {
                let help = match nearest(name, views.iter().map(|view| view.name.as_str())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write the ViewDefinition as views/{name}.json"),
                };
                found.push(source.error_in(*place, "no-view", format!("there is no view `{name}`")).help(help));
            }
        }
    }
    let named: Vec<&str> =
        compiled.iter().filter_map(|(_, source)| Some(source.places.view.as_ref()?.0.as_str())).collect();
    for file in views.iter().filter(|file| !named.contains(&file.name.as_str())) {
        let help = format!("give a raw contract the custom property `view: {}`, or remove the file", file.name);
        found.push(Diagnostic::warning(&file.path, "unused-view", "no contract reads the view").help(help));
    }
}

/// What a contract says is also what its view says.
fn with_view(fingerprint: &str, file: &ViewFile) -> Arc<str> {
    let digest = Sha256::new().chain_update(fingerprint).chain_update(&file.said).finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
