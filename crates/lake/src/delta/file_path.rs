//! A data file's path in its table, spelled one way.
//!
//! In a log a path is percent-encoded, by each writer in its own manner; in the store and in memory it is not.
//! Invariant: two paths are equal exactly when they name the same object.

use std::fmt;
use std::sync::Arc;

use object_store::path::Path;

/// A path relative to the table's root, decoded. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(Arc<str>);

impl FilePath {
    /// Of a path as an action has it: percent-encoded. Text that is not encoded right is taken as it is.
    #[must_use]
    pub fn of_log(encoded: &str) -> Self {
        Self(decoded(encoded).map_or_else(|| encoded.into(), Into::into))
    }

    /// Of a path as the store and `FilePath` itself show it.
    #[must_use]
    pub fn of_store(path: &str) -> Self {
        Self(path.into())
    }

    /// The path, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the file lies in the store of a table with this root.
    #[must_use]
    pub fn location(&self, root: &Path) -> Path {
        self.0.split('/').filter(|part| !part.is_empty()).fold(root.clone(), |path, part| path.join(part))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Undoes percent-encoding; `None` where there is none, or what comes of it is no text.
fn decoded(path: &str) -> Option<String> {
    if !path.contains('%') {
        return None;
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = code.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_one() {
        let plain = FilePath::of_store("day=1 2/ü%.parquet");
        for spelled in ["day=1 2/ü%25.parquet", "day%3D1%202/%C3%BC%25.parquet", "day%3d1%202/%c3%bc%25.parquet"] {
            assert_eq!(FilePath::of_log(spelled), plain, "{spelled}");
        }
    }

    #[test]
    fn what_is_not_encoded_right_is_taken_as_it_is() {
        for text in ["a%", "a%2", "a%zz", "a%+1", "a%ff"] {
            assert_eq!(FilePath::of_log(text).as_str(), text);
        }
    }

    #[test]
    fn a_file_lies_under_its_tables_root() {
        let root = Path::from("lake/raw/x");
        assert_eq!(FilePath::of_log("a%20b/c.parquet").location(&root).as_ref(), "lake/raw/x/a b/c.parquet");
    }
}
