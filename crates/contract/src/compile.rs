//! The document of a contract becomes the compiled [`Contract`], or findings that say why it cannot.

use crate::contract::{Contract, DatasetName, Layer};
use crate::diagnostic::Diagnostic;
use crate::project::ContractSource;

/// What compiling a file gave.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The contract, when there was no error.
    pub contract: Option<Contract>,
    /// Where it is written, when the file could be read as YAML.
    pub source: Option<ContractSource>,
    /// The findings, in the file's order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles a contract's file for a layer and a dataset.
#[must_use]
pub fn compile(file: &str, bytes: &[u8], layer: Layer, dataset: &DatasetName) -> Compiled {
    let _ = (bytes, layer, dataset);
    let diagnostics = vec![Diagnostic::error(
        file,
        "internal",
        "contracts cannot be compiled yet",
    )];
    Compiled {
        contract: None,
        source: None,
        diagnostics,
    }
}
