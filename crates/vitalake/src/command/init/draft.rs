//! A contract out of what a sample showed, as text with comments, and in words for whoever asked for it.
//!
//! Invariant: names of fields and counts come into it, values never.

use std::fmt::Write as _;

use uuid::Uuid;

use super::guess::{Guess, ZONE_ASSUMED};
use super::name;
use super::sample::Sample;
use super::tree::Leaf;
use crate::output::Style;
use crate::table::{counted, thousands};

/// Columns beyond which the rest is left in `_rescued`.
const COLUMNS_MAX: usize = 400;
/// A sample of fewer records shows no key.
const KEY_RECORDS_MIN: u64 = 5;

/// A drafted contract.
#[derive(Debug)]
pub(in crate::command) struct Draft {
    dataset: String,
    file: String,
    records: u64,
    unreadable: u64,
    columns: Vec<Column>,
    left_out: Vec<String>,
}

#[derive(Debug)]
struct Column {
    name: String,
    path: Vec<String>,
    guess: Guess,
    values: u64,
    always: bool,
    key: bool,
}

impl Draft {
    /// Of a sample that holds at least one record.
    pub(super) fn new(dataset: String, file: String, sample: Sample) -> Self {
        let leaves = sample.root.leaves();
        let mut draft = Self {
            dataset,
            file,
            records: sample.records,
            unreadable: sample.unreadable,
            columns: Vec::new(),
            left_out: Vec::new(),
        };
        for leaf in &leaves {
            let twice = leaves.iter().filter(|other| other.path == leaf.path).count() > 1;
            match leaf.why_not(twice, sample.csv, draft.columns.len()) {
                Some(why) => draft.left_out.push(why),
                None => draft.add(leaf),
            }
        }
        draft.keep_likeliest_key();
        draft
    }

    fn add(&mut self, leaf: &Leaf<'_>) {
        let taken: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        let name = name::column(&leaf.path, &taken);
        let guess = leaf.seen.guess(&name);
        let always = leaf.seen.values == self.records && guess.fits_all;
        let keyed = matches!(guess.logical, "string" | "integer");
        let key = always && keyed && self.records >= KEY_RECORDS_MIN && leaf.seen.is_distinct();
        let values = leaf.seen.values;
        self.columns.push(Column { name, path: leaf.path.clone(), guess, values, always, key });
    }

    /// One column may be the key: one that is named so, else the first.
    fn keep_likeliest_key(&mut self) {
        let candidates = self.columns.iter().enumerate().filter(|(_, column)| column.key);
        let likeliest =
            candidates.min_by_key(|(at, column)| (!name::is_identifier(&column.name), *at)).map(|(at, _)| at);
        self.columns.iter_mut().enumerate().for_each(|(at, column)| column.key = Some(at) == likeliest);
    }

    /// The dataset that it is the contract of.
    pub(super) fn dataset(&self) -> &str {
        &self.dataset
    }

    /// The contract, drafted by that command.
    pub(in crate::command) fn contract(&self, by: &str) -> String {
        let Self { dataset, file, .. } = self;
        let records = counted(self.records, "record", "records");
        let mut text = format!(
            "# Drafted by `{by} {}` from {records}: names, types, formats, and `required` for what was\n\
             # always there. A sample does not show everything. Look at each line, then take these comments away.\n\
             apiVersion: v3.1.0\nkind: DataContract\nid: {}\nname: {dataset}\nversion: 0.1.0\nstatus: draft\n\
             description:\n  purpose: What these rows are, and who writes them. # to be written\nschema:\n  - name: {dataset}\n\
             \x20   physicalType: table\n    properties:\n",
            in_comment(file),
            Uuid::now_v7()
        );
        self.columns.iter().for_each(|column| column.write(&mut text));
        if !self.left_out.is_empty() {
            text += "# Left out, and kept as text in the column _rescued:\n";
            self.left_out.iter().for_each(|why| text += &format!("#   {}\n", in_comment(why)));
        }
        text += "customProperties:\n  - property: source\n    value: feed # delivered files; without this it is a Kafka topic\n\
                 \x20 - property: delivery\n    value: append # or `replace`, when each file is the whole dataset\n";
        text
    }

    /// What was drafted, and what to look at.
    pub(super) fn in_words(&self, style: Style) -> String {
        let counts =
            (counted(self.records, "record", "records"), counted(self.columns.len() as u64, "column", "columns"));
        let mut words = format!(
            "{} {}\n",
            style.bold(&format!("raw.{}", self.dataset)),
            style.dim(&format!("drafted from {}: {}, {}", self.file, counts.0, counts.1))
        );
        words.push('\n');
        let width = |of: fn(&Column) -> usize| self.columns.iter().map(of).max().unwrap_or(0);
        let (names, types) = (width(|column| column.name.len()), width(|column| column.guess.logical.len()));
        let percent = |values: u64| values * 100 / self.records.max(1);
        for column in &self.columns {
            let there = match column.values {
                _ if column.always => "always there".to_owned(),
                0 => "never there".to_owned(),
                values if values == self.records => "not always so".to_owned(),
                values => format!("{:>2}% there", percent(values)),
            };
            let Column { name, guess, .. } = column;
            let format = guess.format.map(|format| format!("  {format}")).unwrap_or_default();
            let line = format!("  {name:names$}  {:types$}  {there:13}{format}", guess.logical);
            let _ = writeln!(words, "{}", line.trim_end());
        }
        let notes = self.notes();
        if !notes.is_empty() {
            let _ = writeln!(words, "\nlook at:");
            notes.iter().for_each(|note| words += &format!("  {note}\n"));
        }
        words + "\n"
    }

    fn notes(&self) -> Vec<String> {
        let named = |which: fn(&Column) -> bool| {
            let names: Vec<&str> = self.columns.iter().filter(|c| which(c)).map(|c| c.name.as_str()).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let mut notes = Vec::new();
        let mut note = |names: Option<String>, said: &str| notes.extend(names.map(|names| format!("{names}: {said}")));
        note(named(|c| c.guess.zoneless), "the sample names no time zone, and UTC is assumed");
        note(named(|c| c.guess.or.is_some()), "another order of the same form fits the sample as well");
        note(named(|c| c.guess.identifier), "digits that are taken for an identifier, kept as text");
        note(
            named(|c| c.values > 0 && !c.guess.fits_all),
            "not every value has this type: the others are null, and in _rescued",
        );
        note(named(|c| c.values == 0), "empty in the sample: the type is not known");
        note(named(|c| c.key), "no value stands twice: perhaps the key");
        if self.unreadable > 0 {
            notes.push(format!(
                "{} could not be read and would go to quarantine",
                counted(self.unreadable, "record", "records")
            ));
        }
        notes.extend(self.left_out.iter().map(|why| format!("left out: {why}")));
        notes
    }
}

impl Leaf<'_> {
    /// Why it becomes no column.
    fn why_not(&self, twice: bool, csv: bool, columns: usize) -> Option<String> {
        let shown = || self.path.join(".");
        let steps = self.path.iter();
        let legal = if csv {
            self.path.join(".").split('.').all(name::is_path) && self.path.join(".").split('.').count() <= 32
        } else {
            steps.clone().all(|step| name::is_path(step) && !step.contains('.'))
        };
        match () {
            () if self.path.iter().all(String::is_empty) => Some("a column without a name".to_owned()),
            () if self.path.iter().any(|step| name::is_like_a_value(step)) => {
                Some("a field whose name looks like a value".to_owned())
            }
            () if twice => Some(format!("{:?}, which stands in the header twice", shown())),
            () if !legal => Some(format!("{:?}, a name that `path` cannot say", shown())),
            () if columns >= COLUMNS_MAX => {
                Some(format!("{:?}, beyond {} columns", shown(), thousands(COLUMNS_MAX as u64)))
            }
            () => None,
        }
    }
}

impl Column {
    fn write(&self, text: &mut String) {
        let Self { name, guess, .. } = self;
        *text += &format!("      - name: {name}\n");
        let unsure = match guess.fits_all {
            _ if self.values == 0 => " # empty in the sample",
            false => " # not every value of the sample has this type",
            true if guess.identifier => " # digits that look like an identifier",
            true => "",
        };
        *text += &format!("        logicalType: {}{unsure}\n", guess.logical);
        if let Some(format) = guess.format {
            let or = guess.or.map(|or| format!(" # or {or}: the sample fits both")).unwrap_or_default();
            *text += &format!("        logicalTypeOptions:\n          format: {}{or}\n", quoted(format));
            if guess.zoneless {
                let said = "assumed, since the sample names no zone: write the one its writer uses";
                *text += &format!("          defaultTimezone: {ZONE_ASSUMED} # {said}\n");
            }
        }
        if self.always {
            *text += "        required: true\n";
        }
        if self.key {
            *text += "        # primaryKey: true # perhaps: no value of it stood twice in the sample\n";
        }
        let path = self.path.join(".");
        if path != *name {
            *text += &format!(
                "        customProperties:\n          - property: path\n            value: {}\n",
                quoted(&format!("$.{path}"))
            );
        }
    }
}

/// Text as a YAML scalar: plain where that is read back the same.
pub(in crate::command) fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '$' | '(' | ')');
    let plain = text.chars().all(safe)
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$')
        && !text.ends_with(' ');
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Text in one line.
pub(in crate::command) fn in_comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
