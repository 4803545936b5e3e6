//! What a raw contract says of its files: `csv`, `rowsPath` and `onNewColumn` of `customProperties`.
//!
//! Invariant: options that could not be told apart in a file are errors here, so that no decoder has to guess.

use encoding_rs::{Encoding, UTF_8};

use super::Context;
use super::custom::Custom;
use crate::file_options::{CsvOptions, FileOptions, Header, NewColumns, RowsPath, Trailer};
use crate::verdict::nearest;
use crate::yaml::{Entry, Node, shorten};

/// The keys of `csv`.
const CSV_KEYS: [&str; 12] = [
    "delimiter",
    "quote",
    "escape",
    "encoding",
    "header",
    "nullWords",
    "decimal",
    "thousands",
    "comment",
    "skipTop",
    "skipBottom",
    "trailer",
];
/// So many lines may be left out at an end of a file.
const SKIP_MAX: i64 = 1_000;

impl Context<'_> {
    pub(super) fn file_options(&mut self, custom: &Custom<'_>) -> FileOptions {
        FileOptions {
            csv: custom.get("csv").map(|node| self.csv(node)).unwrap_or_default(),
            rows_path: self.rows_path(custom),
            new_columns: self.new_columns(custom),
        }
    }

    fn rows_path(&mut self, custom: &Custom<'_>) -> Option<RowsPath> {
        let (text, place) = custom.text(self, "rowsPath")?;
        let path = RowsPath::parse(text);
        if path.is_none() {
            let message = format!("`{}` is no path to rows", shorten(text));
            self.error(place, "bad-path", message, "write the names to the array and `[*]`: `$.entry[*].resource`");
        }
        path
    }

    fn new_columns(&mut self, custom: &Custom<'_>) -> NewColumns {
        match custom.text(self, "onNewColumn") {
            None | Some(("rescue", _)) => NewColumns::Rescue,
            Some(("refuse", _)) => NewColumns::Refuse,
            Some(("evolve", place)) => {
                let message = "`onNewColumn: evolve` would make a column that no contract describes";
                let help =
                    "keep `rescue`, see the column in `_rescued`, and add it to the contract: the table then gains it";
                self.error(place, "not-allowed", message, help);
                NewColumns::Rescue
            }
            Some((other, place)) => {
                let message = format!("`onNewColumn` cannot be `{}`", shorten(other));
                self.error(place, "not-allowed", message, "allowed: rescue, refuse");
                NewColumns::Rescue
            }
        }
    }

    fn csv(&mut self, node: &Node) -> CsvOptions {
        let mut options = CsvOptions::default();
        if node.entries().is_empty() {
            let help = "write `value: {delimiter: \";\", decimal: \",\"}`";
            self.error(node.place, "wrong-type", "the value of `csv` must be a mapping of options", help);
        }
        for entry in node.entries() {
            self.csv_option(entry, &mut options);
        }
        self.distinct(node, &options);
        options
    }

    fn csv_option(&mut self, entry: &Entry, options: &mut CsvOptions) {
        let node = &entry.node;
        match entry.key.as_str() {
            "delimiter" => options.delimiter = self.sign(entry).unwrap_or(options.delimiter),
            "quote" => options.quote = if is_none(node) { None } else { self.sign(entry).or(options.quote) },
            "escape" => options.escape = self.sign(entry),
            "comment" => options.comment = self.sign(entry),
            "encoding" => options.encoding = self.encoding(node),
            "header" => options.header = self.header(node),
            "nullWords" => options.null_words = self.words(entry),
            "decimal" => options.decimal = self.mark(entry, &['.', ',']).unwrap_or('.'),
            "thousands" => {
                let marks = ['.', ',', ' ', '\'', '\u{2019}', '_', '\u{a0}', '\u{202f}'];
                options.thousands = self.mark(entry, &marks);
            }
            "skipTop" => options.skip_top = self.lines(entry),
            "skipBottom" => options.skip_bottom = self.lines(entry),
            "trailer" => options.trailer = self.trailer(node),
            other => {
                let near = nearest(other, CSV_KEYS);
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", CSV_KEYS.join(", ")),
                };
                let message = format!("`csv` has no option `{}`", shorten(other));
                self.error(entry.place, "unknown-key", message, help);
            }
        }
    }

    /// One sign of ASCII, or the word `tab`.
    fn sign(&mut self, entry: &Entry) -> Option<u8> {
        let sign = match entry.node.text() {
            Some("tab") => Some(b'\t'),
            Some(text) => match text.as_bytes() {
                [sign] if sign.is_ascii() && !matches!(sign, b'\n' | b'\r' | 0) && !sign.is_ascii_alphanumeric() => {
                    Some(*sign)
                }
                _ => None,
            },
            None => None,
        };
        if sign.is_none() {
            let message = format!("`{}` must be one sign of ASCII, no letter, digit or line end", entry.key);
            self.error(entry.node.place, "not-allowed", message, "put it in quotes: \";\", \"|\", or write `tab`");
        }
        sign
    }

    fn mark(&mut self, entry: &Entry, allowed: &[char]) -> Option<char> {
        let mut signs = entry.node.text().unwrap_or_default().chars();
        let mark = signs.next().filter(|mark| allowed.contains(mark) && signs.next().is_none());
        if mark.is_none() {
            let shown: Vec<String> = allowed.iter().map(|mark| format!("{mark:?}")).collect();
            let message = format!("`{}` cannot be this", entry.key);
            self.error(entry.node.place, "not-allowed", message, format!("allowed: {}", shown.join(", ")));
        }
        mark
    }

    fn lines(&mut self, entry: &Entry) -> u32 {
        let lines = entry.node.integer().filter(|lines| (0..=SKIP_MAX).contains(lines));
        if lines.is_none() {
            let message = format!("`{}` must be a whole number from 0 to {SKIP_MAX}", entry.key);
            self.error(entry.node.place, "not-allowed", message, "count the lines that are no rows");
        }
        lines.and_then(|lines| u32::try_from(lines).ok()).unwrap_or(0)
    }

    fn trailer(&mut self, node: &Node) -> Option<Trailer> {
        let trailer = node.text().and_then(Trailer::parse);
        if trailer.is_none() {
            let message =
                "`trailer` must be the form of a file's last line, with `{rows}` where it says how many there are";
            self.error(node.place, "not-allowed", message, "write \"TRL|{rows}\"; `*` is any text: \"T;*;{rows}\"");
        }
        trailer
    }

    fn words(&mut self, entry: &Entry) -> Vec<String> {
        let words: Option<Vec<String>> =
            entry.node.items().iter().map(|item| item.text().map(ToOwned::to_owned)).collect();
        let words = words.filter(|words| !words.is_empty());
        if words.is_none() {
            let message = format!("`{}` must be a list of texts", entry.key);
            self.error(entry.node.place, "wrong-type", message, "write them in quotes: [\"NULL\", \"n/a\"]");
        }
        words.unwrap_or_default()
    }

    fn header(&mut self, node: &Node) -> Header {
        match (node.boolean(), node.text()) {
            (Some(true), _) => return Header::FirstLine,
            (_, Some("contract")) => return Header::Contract,
            _ => {}
        }
        let names: Option<Vec<String>> = node.items().iter().map(|item| item.text().map(ToOwned::to_owned)).collect();
        match names.filter(|names| !names.is_empty()) {
            Some(names) => Header::Names(names),
            None => {
                let message = "`header` says where the columns' names stand";
                let help = "write true (in the first line), a list of the names in the file's order, or `contract`: the \
                            file's columns are the contract's, in its order";
                self.error(node.place, "not-allowed", message, help);
                Header::FirstLine
            }
        }
    }

    fn encoding(&mut self, node: &Node) -> Option<&'static Encoding> {
        let label = node.text().unwrap_or_default();
        let encoding = Encoding::for_label_no_replacement(label.as_bytes());
        if encoding.is_none() {
            let message = format!("no encoding is called `{}`", shorten(label));
            let help =
                "write a name of the WHATWG Encoding Standard: utf-8, utf-16le, windows-1252, iso-8859-15, shift_jis";
            self.error(node.place, "unknown-encoding", message, help);
        }
        encoding.filter(|encoding| *encoding != UTF_8)
    }

    fn distinct(&mut self, node: &Node, options: &CsvOptions) {
        let signs = [Some(options.delimiter), options.quote, options.escape, options.comment];
        let signs: Vec<u8> = signs.into_iter().flatten().collect();
        let twice = signs.iter().enumerate().any(|(at, sign)| signs.iter().skip(at + 1).any(|other| other == sign));
        if twice {
            let message = "two of `delimiter`, `quote`, `escape` and `comment` are the same sign";
            self.error(node.place, "not-allowed", message, "a doubled quote needs no `escape`: leave it out");
        }
        if options.trailer.is_some() && options.skip_bottom > 0 {
            let message = "`trailer` is the last line, and `skipBottom` leaves it out";
            self.error(node.place, "not-allowed", message, "keep one of them");
        }
        if options.thousands == Some(options.decimal) {
            let message = "`decimal` and `thousands` are the same sign";
            self.error(node.place, "not-allowed", message, "write `decimal: \",\"` with `thousands: \".\"`");
        }
    }
}

fn is_none(node: &Node) -> bool {
    node.text() == Some("none") || node.boolean() == Some(false)
}
