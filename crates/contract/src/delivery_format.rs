//! The forms in which deliveries come, and the words for them: in a file's name, a feed, a request.
//!
//! Pure. Invariant: what has no form here is read by nobody.

use serde::{Deserialize, Serialize};

/// The form of a delivered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryFormat {
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// JSON: one object a line, one array of objects, or objects over several lines.
    Ndjson,
    /// Arrow IPC, a stream of it or a file.
    Arrow,
    /// Parquet.
    Parquet,
    /// A ZIP archive whose files' names say their form.
    Zip,
}

impl DeliveryFormat {
    /// The form that a file's name says by its ending, before that of a compressor where there is one.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (before, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "gz" | "gzip" | "zst" | "zstd" => Self::named(before.rsplit_once('.')?.1),
            "zip" => before.rsplit_once('.').and_then(|(_, ending)| Self::named(ending)).or(Some(Self::Zip)),
            _ => Self::named(ending),
        }
    }

    /// The form that a word or a file's ending names.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "csv" => Self::Csv,
            "ndjson" | "jsonl" | "json" => Self::Ndjson,
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "parquet" => Self::Parquet,
            "zip" => Self::Zip,
            _ => return None,
        })
    }
}
