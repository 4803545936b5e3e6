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

    /// What a file is whose name says a form that is not read here, and what to do.
    #[must_use]
    pub fn not_read(name: &str) -> Option<&'static str> {
        let (_, ending) = name.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "avro" => "Avro is not read here: write its rows as Parquet, as CSV or as JSON, one object a line",
            "orc" => "ORC is not read here: write its rows as Parquet",
            "xls" | "xlsx" | "ods" => "a workbook is not read here: save the sheet as CSV in UTF-8",
            "xml" => "XML is not read here: write its rows as CSV or as JSON, one object a line",
            "tar" | "tgz" | "7z" | "rar" | "bz2" | "xz" | "lz4" => {
                "it is packed otherwise than with gzip, Zstandard or ZIP: pack it anew, or deliver its files one by one"
            }
            _ => return None,
        })
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a.csv", Some(DeliveryFormat::Csv))]
    #[case("a.b.CSV.gz", Some(DeliveryFormat::Csv))]
    #[case("a.zip", Some(DeliveryFormat::Zip))]
    #[case("a.avro", None)]
    #[case("a.tar.gz", None)]
    #[case("a", None)]
    fn a_name_says_a_form_or_what_to_do(#[case] name: &str, #[case] form: Option<DeliveryFormat>) {
        assert_eq!(DeliveryFormat::of_name(name), form);
        assert_eq!(DeliveryFormat::not_read(name).is_some(), name == "a.avro", "{name}");
    }
}
