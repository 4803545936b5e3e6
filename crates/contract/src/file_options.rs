//! How the files of a raw dataset are written, where that is not the usual form: what decoders of CSV and JSON are told.
//!
//! Built by `compile` from `customProperties`. Invariant: the signs of a CSV differ from each other and are ASCII, so that
//! one byte tells each.

use encoding_rs::Encoding;

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
