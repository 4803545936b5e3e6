//! How the files of a raw dataset are written, where that is not the usual form: what decoders of CSV and JSON are told.
//!
//! Built by `compile` from `customProperties`. Invariant: the signs of a CSV differ from each other and are ASCII, so that
//! one byte tells each.

use encoding_rs::Encoding;
use regex::Regex;

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    /// CSV.
    pub csv: CsvOptions,
    /// Where in a JSON document its rows stand; none where the file is rows.
    pub rows_path: Option<RowsPath>,
    /// What becomes of columns that the contract does not name.
    pub new_columns: NewColumns,
}

/// What a file's columns that the contract does not name mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewColumns {
    /// They are kept in `_rescued`.
    #[default]
    Rescue,
    /// The file is refused.
    Refuse,
}

/// Where rows stand in a JSON document: `$.entry[*].resource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsPath {
    /// As written.
    pub text: String,
    /// The names on the way to the array.
    pub array: Vec<String>,
    /// The names from an element to its row.
    pub row: Vec<String>,
}

impl RowsPath {
    /// Reads `$.a.b[*].c`: names, one `[*]`, and names again or none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (array, row) = text.strip_prefix('$')?.split_once("[*]")?;
        let names = |path: &str| -> Option<Vec<String>> {
            if path.is_empty() {
                return Some(Vec::new());
            }
            let names: Vec<String> = path.strip_prefix('.')?.split('.').map(ToOwned::to_owned).collect();
            let plain = |name: &String| !name.is_empty() && !name.contains(['[', ']', '*', '\'', '"', '$']);
            (names.len() <= 32 && names.iter().all(plain)).then_some(names)
        };
        Some(Self { text: text.to_owned(), array: names(array)?, row: names(row)? })
    }
}

/// How a CSV is written.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// What stands between cells.
    pub delimiter: u8,
    /// What stands around a cell that holds a delimiter or a line's end; none where nothing does.
    pub quote: Option<u8>,
    /// What stands before a quote within quotes; none where it is doubled.
    pub escape: Option<u8>,
    /// The text's encoding; none where it is UTF-8, or what a byte order mark says.
    pub encoding: Option<&'static Encoding>,
    /// Where the columns' names stand.
    pub header: Header,
    /// Cells that are null, beside empty ones.
    pub null_words: Vec<String>,
    /// What stands before the fraction of a number.
    pub decimal: char,
    /// What stands between a number's thousands; none where nothing may.
    pub thousands: Option<char>,
    /// What a line begins with that is no record.
    pub comment: Option<u8>,
    /// How many lines stand before the header, or before the first record.
    pub skip_top: u32,
    /// How many lines stand after the last record.
    pub skip_bottom: u32,
    /// What the last line says of the file, where it is a trailer and no record.
    pub trailer: Option<Trailer>,
}

/// The last line of a file that says how many records it has: `TRL|{rows}`, where `*` is any text.
#[derive(Clone, Debug)]
pub struct Trailer {
    /// As written.
    pub text: String,
    line: Regex,
}

impl Trailer {
    /// Reads a form with `{rows}` in it, once.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once("{rows}")?;
        let is_plain = |part: &str| !part.contains(['{', '}', '\n', '\r']);
        let form = |part: &str| part.split('*').map(regex::escape).collect::<Vec<_>>().join(".*?");
        (is_plain(before) && is_plain(after)).then_some(())?;
        let line = format!("^{}\\s*\"?([0-9]{{1,18}})\"?\\s*{}$", form(before), form(after));
        Some(Self { text: text.to_owned(), line: Regex::new(&line).ok()? })
    }

    /// How many records a line says that its file has; none where it is no trailer.
    #[must_use]
    pub fn rows(&self, line: &str) -> Option<u64> {
        self.line.captures(line.trim())?.get(1)?.as_str().parse().ok()
    }
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            encoding: None,
            header: Header::FirstLine,
            null_words: Vec::new(),
            decimal: '.',
            thousands: None,
            comment: None,
            skip_top: 0,
            skip_bottom: 0,
            trailer: None,
        }
    }
}

/// Where a CSV has its columns' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// In its first line.
    #[default]
    FirstLine,
    /// Nowhere: its columns are the contract's, in the contract's order.
    Contract,
    /// Nowhere: its columns have these names, in this order.
    Names(Vec<String>),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("TRL|{rows}", "TRL|000604", Some(604))]
    #[case("TRL|{rows}", " TRL|604 ", Some(604))]
    #[case("T;*;{rows};*", "T;20261128;604;12,50", Some(604))]
    #[case("T*{rows}", "T604", Some(604))]
    #[case("\"T\",{rows}", "\"T\",\"604\"", Some(604))]
    #[case("TRL|{rows}", "TRL|604|x", None)]
    #[case("TRL|{rows}", "p-17,2026-11-28,604", None)]
    #[case("{rows} rows.", "604 rowsX", None)]
    fn a_trailer_says_how_many_records_there_are(#[case] form: &str, #[case] line: &str, #[case] rows: Option<u64>) {
        assert_eq!(Trailer::parse(form).unwrap().rows(line), rows);
    }

    #[rstest]
    #[case("TRL")]
    #[case("{rows}{rows}")]
    #[case("TRL|{sum}")]
    fn what_names_no_count_once_is_no_trailer(#[case] form: &str) {
        assert!(Trailer::parse(form).is_none());
    }
}
