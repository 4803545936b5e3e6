//! Control totals: what a sender says that a file holds, and how that compares with what came.
//!
//! They come beside the file: as parameters of an upload, or in a manifest. A manifest is JSON
//! (`{"rows": 604, "bytes": 81234, "sha256": "…", "sums": {"amount": "1234.50"}}`) or lines of `key=value`
//! (`rows=604`, `sum.amount=1234.50`). Invariant: what is found holds counts and sums, never a record.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// How large a manifest may be.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;

/// What a sender says that a file holds; what is `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Records, good and bad; a header is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of the file as it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The SHA-256 of these bytes, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Sums of columns over all records, as decimal numbers.
    #[serde(default, deserialize_with = "numbers", skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, String>,
}

/// Why a manifest is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manifest cannot be read: {0}; write rows, bytes, sha256 and sums by column, as JSON or as lines of key=value"
)]
pub struct NoManifest(pub String);

impl Expected {
    /// Whether it says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is too large, or neither of the two forms; its text is not repeated.
    pub fn parse(manifest: &[u8]) -> Result<Self, NoManifest> {
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(NoManifest(format!("it is larger than {MANIFEST_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(manifest).map_err(|_| NoManifest("it is no UTF-8 text".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        let expected = match text.starts_with('{') {
            true => serde_json::from_str::<Self>(text)
                .map_err(|error| NoManifest(format!("line {}, column {}", error.line(), error.column())))?,
            false => Self::of_lines(text)?,
        };
        if let Some(column) = expected.sums.iter().find(|(_, sum)| number(sum).is_none()).map(|(column, _)| column) {
            return Err(NoManifest(format!("the sum of {column} is no number")));
        }
        match expected.is_empty() {
            true => Err(NoManifest("it says nothing".to_owned())),
            false => Ok(expected),
        }
    }

    /// What it says, as [`Expected::set`] takes it.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        let counts = [("rows", self.rows), ("bytes", self.bytes)];
        let counts = counts.into_iter().filter_map(|(key, count)| Some((key.to_owned(), count?.to_string())));
        let hash = self.sha256.into_iter().map(|hash| ("sha256".to_owned(), hash));
        counts.chain(hash).chain(self.sums.into_iter().map(|(column, sum)| (format!("sum.{column}"), sum)))
    }

    fn of_lines(text: &str) -> Result<Self, NoManifest> {
        let mut expected = Self::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
            expected.set(key.trim(), value.trim()).map_err(|_| NoManifest(format!("line {}", at + 1)))?;
        }
        Ok(expected)
    }

    /// Sets what is expected under a name: `rows`, `bytes`, `sha256` or `sum.COLUMN`.
    ///
    /// # Errors
    /// When there is no such name, or the value is none of it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), NoManifest> {
        let count = || value.parse().map_err(|_| NoManifest(format!("{key} is no count")));
        match key {
            "rows" => self.rows = Some(count()?),
            "bytes" => self.bytes = Some(count()?),
            "sha256" => self.sha256 = Some(value.to_ascii_lowercase()),
            _ => match key.strip_prefix("sum.").filter(|column| !column.is_empty() && number(value).is_some()) {
                Some(column) => {
                    self.sums.insert(column.to_owned(), value.to_owned());
                }
                None => return Err(NoManifest(format!("{key} is no total, or has no number"))),
            },
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Sums as numbers or as text.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sum {
        Number(serde_json::Number),
        Text(String),
    }
    let sums = BTreeMap::<String, Sum>::deserialize(deserializer)?;
    let text = |sum| match sum {
        Sum::Number(number) => number.to_string(),
        Sum::Text(text) => text,
    };
    Ok(sums.into_iter().map(|(column, sum)| (column, text(sum))).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::json(r#"{"rows": 604, "sums": {"amount": 12.5, "paid": "7.10"}, "sha256": "AB"}"#)]
    #[case::lines("rows=604\r\nsha256: AB\n\nsum.amount=12.5\nsum.paid = 7.10\n")]
    fn a_manifest_is_json_or_lines(#[case] text: &str) {
        let mut expected = Expected::parse(text.as_bytes()).unwrap();
        expected.sha256 = expected.sha256.map(|hash| hash.to_ascii_lowercase());
        let sums = [("amount", "12.5"), ("paid", "7.10")].map(|(column, sum)| (column.to_owned(), sum.to_owned()));
        assert_eq!(expected.sums, sums.into());
        assert_eq!((expected.rows, expected.bytes, expected.sha256.as_deref()), (Some(604), None, Some("ab")));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::nothing_in_json("{}")]
    #[case::another_word("lines=5")]
    #[case::no_count("rows=many")]
    #[case::no_sum("sum.amount=secret")]
    #[case::no_sum_in_json(r#"{"sums": {"amount": "secret"}}"#)]
    #[case::broken(r#"{"rows": "#)]
    fn what_is_no_manifest_is_refused_without_its_text(#[case] text: &str) {
        let error = Expected::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains("secret") && !error.contains("many"), "{error}");
    }
}
