//! Where the keys of a project's YAML file stand, for checks that only the whole project can make.
//!
//! Invariant: a key that the file does not have is told of at its beginning.

use crate::diagnostic::Diagnostic;
use crate::yaml::Place;

/// The places of keys, by their names.
#[derive(Clone, Debug)]
pub(super) struct Places(pub(super) Vec<(String, Place)>);

impl Places {
    /// An error that points at the value of a key of a file with this text.
    pub(super) fn error_at(
        &self,
        (path, text): (&str, &str),
        key: &str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        let known = self.0.iter().find(|(name, _)| name == key);
        let place = known.map_or(Place { line: 1, column: 1, length: 1 }, |(_, place)| *place);
        Diagnostic::error(path, code, message).at(text, place.line, place.column, place.length)
    }
}
