//! JSON records straight into Arrow columns, by contract: one pass over the bytes, no tree of values in between.
//!
//! What it accepts, beyond RFC 8259's grammar:
//! - a record is one object of at most 64 levels; nothing follows it;
//! - a field of the contract stands in it at most once. RFC 8259 leaves open which of two counts, so a record with both
//!   is rejected and nothing is lost; names that the contract does not know may repeat and are all rescued;
//! - an integer column takes any number with a whole value in its range (`5`, `5.0`, `5e3`); text is text and never a
//!   number, a number is never text;
//! - absent and `null` are null; a value of another type is null too and is kept in `_rescued`;
//! - a byte order mark before the object is stepped over;
//! - half of a surrogate pair in a text that is read is no character, and the record is rejected.
//!
//! Invariant: a record that fails leaves no trace in the columns.

use vitalake_contract::{ColumnType, time_format};

use super::columns::{Span, Values};
use super::csv::is_json;
use super::first_bytes::{BYTE_ORDER_MARK, not_json};
use super::plan::{Plan, ROOT};
use super::rows::{RowBuffer, push};
use super::scan::{Cursor, DEPTH_MAX, Fault, Wrong, unescape};
use super::{DecodeError, Decoded, Envelope, RULE_JSON, RULE_TOMBSTONE, RecordMeta, Rules};

/// Decodes JSON records, one object each, into batches of rows and rejects.
#[derive(Debug)]
pub struct JsonDecoder {
    plan: Plan,
    rows: RowBuffer,
    /// Which field followed the last time: at a node's index its first child, past the nodes the field after a child.
    guess: Vec<u16>,
    /// The number of the record in which a node was met last, so that meeting it twice is seen.
    met: Vec<u64>,
    record: u64,
    path: Vec<u16>,
    scratch: String,
}

impl JsonDecoder {
    /// A decoder for a raw dataset's records. `_topic` is the contract's topic, or `feed/{dataset}` for a feed.
    #[must_use]
    pub fn new(rules: impl Into<Rules>) -> Self {
        let rules = rules.into();
        let topic = Plan::topic_of(&rules.contract);
        Self::with_topic(rules, topic)
    }

    /// The same with another `_topic`.
    #[must_use]
    pub fn with_topic(rules: impl Into<Rules>, topic: String) -> Self {
        let plan = Plan::new(rules.into(), topic);
        let nodes = plan.nodes.len();
        Self {
            rows: RowBuffer::new(&plan),
            plan,
            guess: vec![ROOT; 2 * nodes],
            met: vec![0; nodes],
            record: 0,
            path: Vec::with_capacity(DEPTH_MAX),
            scratch: String::new(),
        }
    }

    /// A decoder for rows of typed files, written as JSON, of a feed.
    pub(super) fn of_typed(rules: Rules) -> Self {
        let topic = Plan::feed_of(&rules.contract);
        let mut decoder = Self::with_topic(rules, topic);
        decoder.rows.was_typed = true;
        decoder
    }

    /// Takes one record; `None` is a record without a value (a tombstone), which is a reject.
    pub fn append(&mut self, value: Option<&[u8]>, meta: RecordMeta) {
        self.append_with(value, Envelope::default(), meta);
    }

    /// The same with what the record carries beside its value.
    pub fn append_with(&mut self, value: Option<&[u8]>, envelope: Envelope<'_>, meta: RecordMeta) {
        self.rows.envelopes.begin(envelope);
        let Some(bytes) = value else {
            let reason = "the record has no value: nothing is deleted by it here".to_owned();
            return self.rows.abandon(None, meta, RULE_TOMBSTONE, reason);
        };
        let unmarked = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let text = match std::str::from_utf8(unmarked) {
            Ok(text) => text,
            Err(error) => {
                let at = bytes.len() - unmarked.len() + error.valid_up_to();
                let reason = not_json(bytes).unwrap_or_else(|| format!("not UTF-8 at byte {at}"));
                return self.rows.abandon(value, meta, RULE_JSON, reason);
            }
        };
        self.record += 1;
        self.path.clear();
        let mut walk = Walk {
            plan: &self.plan,
            base: self.rows.records.len(),
            rows: &mut self.rows,
            guess: &mut self.guess,
            met: &mut self.met,
            record: self.record,
            path: &mut self.path,
            scratch: &mut self.scratch,
            cursor: Cursor::new(text),
        };
        match walk.record() {
            Ok(()) => self.rows.keep(text, meta),
            Err(fault) => {
                let fault = Fault { at: bytes.len() - text.len() + fault.at, ..fault };
                let named = if fault.at <= 1 { not_json(bytes) } else { None };
                let reason = named.unwrap_or_else(|| reason(&self.plan, fault));
                self.rows.abandon(value, meta, RULE_JSON, reason);
            }
        }
    }

    /// Rejects a record that another decoder could not make rows of.
    pub(super) fn refuse(&mut self, bytes: &[u8], meta: RecordMeta, rule: &str, reason: String) {
        self.rows.envelopes.begin(Envelope::default());
        self.rows.abandon(Some(bytes), meta, rule, reason);
    }

    /// How many records were taken since the last `finish`.
    #[must_use]
    pub fn records(&self) -> usize {
        self.rows.taken()
    }

    /// Whether any row so far had a field of the contract.
    pub(super) fn has_met_fields(&self) -> bool {
        self.rows.met_fields
    }

    /// How many bytes of values are held since the last `finish`. Callers finish well before 2 GiB.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// Gives the rows and rejects of the records taken so far, and begins anew.
    ///
    /// # Errors
    /// When Arrow or the contract's rules refuse the columns as a whole.
    pub fn finish(&mut self) -> Result<Decoded, DecodeError> {
        self.rows.finish(&self.plan)
    }

    /// The same, but ends before the first record that breaks a rule of severity fatal. That record is counted; it and
    /// what follows it are left out.
    ///
    /// # Errors
    /// As [`JsonDecoder::finish`].
    pub fn finish_before_fatal(&mut self) -> Result<Decoded, DecodeError> {
        self.rows.finish_before_fatal(&self.plan)
    }
}

fn reason(plan: &Plan, fault: Fault) -> String {
    match fault.what {
        Wrong::Form(what) => format!("not one JSON object: {what}, at byte {}", fault.at),
        Wrong::Twice(node) => {
            let name = plan.nodes.get(usize::from(node)).map_or("", |node| node.name.as_str());
            format!("the field {name} stands twice in the record, again at byte {}", fault.at)
        }
    }
}

/// One record on its way into the columns.
struct Walk<'a> {
    plan: &'a Plan,
    rows: &'a mut RowBuffer,
    guess: &'a mut [u16],
    met: &'a mut [u64],
    record: u64,
    path: &'a mut Vec<u16>,
    scratch: &'a mut String,
    cursor: Cursor<'a>,
    /// Where the record will stand in the batch's records.
    base: usize,
}

impl Walk<'_> {
    fn record(&mut self) -> Result<(), Fault> {
        self.cursor.skip_space();
        if self.cursor.text.is_empty() {
            return self.cursor.fault("");
        }
        if self.cursor.peek() != b'{' {
            return self.cursor.fault("an object was expected");
        }
        self.object(ROOT)?;
        self.cursor.skip_space();
        if !self.cursor.is_at_end() {
            return self.cursor.fault("more follows after the object");
        }
        Ok(())
    }

    /// Walks an object whose opening brace is next; `path` leads to it.
    fn object(&mut self, node: u16) -> Result<(), Fault> {
        self.cursor.check_depth(self.path.len() + 1)?;
        self.cursor.at += 1;
        self.cursor.skip_space();
        if self.cursor.peek() == b'}' {
            self.cursor.at += 1;
            return Ok(());
        }
        let mut guess = usize::from(node);
        loop {
            let name_at = self.cursor.at;
            let child = self.name(node, &mut guess)?;
            let name_end = self.cursor.at;
            self.cursor.colon()?;
            match child {
                Some(child) => {
                    self.meet(child, name_at)?;
                    self.value(child, name_at, name_end)?;
                }
                None => {
                    let start = self.cursor.at;
                    self.cursor.skip_value(self.path.len() + 1)?;
                    self.rescue(name_at, name_end, start);
                }
            }
            if !self.cursor.more(b'}', "a comma or } was expected")? {
                return Ok(());
            }
        }
    }

    /// Reads a field's name. Producers write fields in the same order again and again, so the name that followed the
    /// last time is compared first, quotes and all.
    #[inline(always)]
    fn name(&mut self, node: u16, guess: &mut usize) -> Result<Option<u16>, Fault> {
        let guessed = self.guess.get(*guess).copied().unwrap_or(ROOT);
        if guessed != ROOT
            && let Some(child) = self.plan.nodes.get(usize::from(guessed))
            && self.cursor.rest().starts_with(child.quoted.as_bytes())
        {
            self.cursor.at += child.quoted.len();
            *guess = self.plan.nodes.len() + usize::from(guessed);
            return Ok(Some(guessed));
        }
        self.search(node, guess)
    }

    fn search(&mut self, node: u16, guess: &mut usize) -> Result<Option<u16>, Fault> {
        if self.cursor.peek() != b'"' {
            return self.cursor.fault("a field's name was expected");
        }
        let name = self.cursor.string()?;
        let text = self.cursor.slice(name.start, name.end);
        let child = if name.escaped {
            self.scratch.clear();
            match unescape(text, self.scratch) {
                Ok(()) => self.plan.child(node, self.scratch),
                Err(_) => None,
            }
        } else {
            self.plan.child(node, text)
        };
        if let Some(child) = child {
            if let Some(slot) = self.guess.get_mut(*guess) {
                *slot = child;
            }
            *guess = self.plan.nodes.len() + usize::from(child);
        }
        Ok(child)
    }

    #[inline(always)]
    fn meet(&mut self, node: u16, at: usize) -> Result<(), Fault> {
        if let Some(met) = self.met.get_mut(usize::from(node)) {
            if *met == self.record {
                return Err(Fault { at, what: Wrong::Twice(node) });
            }
            *met = self.record;
        }
        Ok(())
    }

    /// Reads the value of a field that the plan knows.
    #[inline]
    fn value(&mut self, node: u16, name_at: usize, name_end: usize) -> Result<(), Fault> {
        let plan = self.plan;
        let Some(known) = plan.nodes.get(usize::from(node)) else { return Ok(()) };
        let start = self.cursor.at;
        let mut right = true;
        for &column in &known.columns {
            self.cursor.at = start;
            right &= self.leaf(column)?;
        }
        if !known.children.is_empty() {
            self.cursor.at = start;
            if self.cursor.peek() == b'{' {
                self.path.push(node);
                self.object(node)?;
                self.rows.rescued.leave(self.path.len());
                self.path.pop();
                return Ok(());
            }
            right &= self.not_an_object(&known.children)?;
        }
        if !right {
            self.rescue(name_at, name_end, start);
        }
        Ok(())
    }

    /// Steps over a value that stands where an object with fields of the contract should; says whether it is null.
    #[cold]
    fn not_an_object(&mut self, children: &[u16]) -> Result<bool, Fault> {
        if self.cursor.peek() == b'n' {
            self.cursor.literal("null")?;
            return Ok(true);
        }
        self.cursor.skip_value(self.path.len() + 1)?;
        let mut columns = Vec::new();
        children.iter().for_each(|&child| self.plan.columns_under(child, &mut columns));
        columns.into_iter().for_each(|column| self.rows.push_wrong(column));
        Ok(false)
    }

    fn rescue(&mut self, name_at: usize, name_end: usize, value_at: usize) {
        let name = self.cursor.slice(name_at, name_end);
        let value = self.cursor.slice(value_at, self.cursor.at);
        self.rows.rescued.field(self.plan, self.path, name, value);
    }

    /// Reads a column's value and pushes it; false, and a null, where it has another type.
    #[inline]
    fn leaf(&mut self, column: u16) -> Result<bool, Fault> {
        let start = self.cursor.at;
        let plan = self.plan;
        let kind = plan.kind(column);
        let next = self.cursor.peek();
        let pushed = match next {
            b'"' => self.text(column, kind)?,
            b'-' | b'0'..=b'9' => self.number(column)?,
            b't' | b'f' => self.boolean(column, next == b't')?,
            b'n' => {
                self.cursor.literal("null")?;
                if let Some(buffer) = self.rows.columns.get_mut(usize::from(column)) {
                    buffer.push_null();
                }
                true
            }
            b'{' | b'[' => {
                self.cursor.skip_value(self.path.len() + 1)?;
                matches!(kind, ColumnType::Json) && self.push_span(column, start, self.cursor.at)
            }
            _ => return self.cursor.fault("a value was expected"),
        };
        if pushed {
            self.rows.pushed += 1;
        } else {
            self.rows.push_wrong(column);
        }
        Ok(pushed)
    }

    #[inline]
    fn number(&mut self, column: u16) -> Result<bool, Fault> {
        let start = self.cursor.at;
        let number = self.cursor.number()?;
        let text = self.cursor.slice(start, self.cursor.at);
        if self.rows.was_typed && matches!(self.plan.kind(column), ColumnType::String) {
            return Ok(self.push_span(column, start, self.cursor.at));
        }
        let Some(buffer) = self.rows.columns.get_mut(usize::from(column)) else { return Ok(false) };
        let temporal = matches!(self.plan.kind(column), ColumnType::Date(_) | ColumnType::Timestamp(_));
        Ok(match &mut buffer.values {
            Values::Long(values) if !temporal => push(values, number.to_i64(text)),
            Values::Int(values) if !temporal => push(values, number.to_i64(text).and_then(|v| i32::try_from(v).ok())),
            Values::Double(values) => push(values, number.to_f64(text)),
            Values::Float(values) => push(values, number.to_f32(text)),
            _ => false,
        })
    }

    fn boolean(&mut self, column: u16, value: bool) -> Result<bool, Fault> {
        let start = self.cursor.at;
        self.cursor.literal(if value { "true" } else { "false" })?;
        if self.rows.was_typed && matches!(self.plan.kind(column), ColumnType::String) {
            return Ok(self.push_span(column, start, self.cursor.at));
        }
        let buffer = self.rows.columns.get_mut(usize::from(column));
        Ok(match buffer.map(|buffer| &mut buffer.values) {
            Some(Values::Boolean(values)) => push(values, Some(value)),
            _ => false,
        })
    }

    #[inline]
    fn text(&mut self, column: u16, kind: &ColumnType) -> Result<bool, Fault> {
        let text = self.cursor.string()?;
        let raw = self.cursor.slice(text.start, text.end);
        if text.escaped {
            return self.escaped_text(column, kind, raw, text.start);
        }
        Ok(match kind {
            ColumnType::String => self.push_span(column, text.start, text.end),
            ColumnType::Time(format) => {
                let right = time_format::is_time(format.as_ref(), raw.as_bytes())
                    || (self.rows.was_typed && time_format::is_time(None, raw.as_bytes()));
                right && self.push_span(column, text.start, text.end)
            }
            _ => self.rows.push_temporal(column, kind, raw.as_bytes()),
        })
    }

    /// A text with escapes: undone beside the records for a text column, in passing for a date or a time.
    #[cold]
    fn escaped_text(&mut self, column: u16, kind: &ColumnType, raw: &str, at: usize) -> Result<bool, Fault> {
        let beside = self.rows.beside.len();
        if let Err(offset) = unescape(raw, &mut self.rows.beside) {
            return Err(Fault { at: at + offset, what: Wrong::Form("half of a surrogate pair") });
        }
        let keep = matches!(kind, ColumnType::String | ColumnType::Time(_));
        let is_document = self.rows.was_typed
            && matches!(kind, ColumnType::Json)
            && is_json(self.rows.beside.get(beside..).unwrap_or_default());
        if keep || is_document {
            return Ok(self.rows.push_beside(column, kind, beside));
        }
        let text = self.rows.beside.split_off(beside);
        Ok(self.rows.push_temporal(column, kind, text.as_bytes()))
    }

    #[inline(always)]
    fn push_span(&mut self, column: u16, start: usize, end: usize) -> bool {
        let Ok(length) = u32::try_from(end - start) else { return false };
        let span = Span { start: self.base + start, length, beside: false };
        match self.rows.columns.get_mut(usize::from(column)).map(|buffer| &mut buffer.values) {
            Some(Values::Text(values)) => push(values, Some(span)),
            _ => false,
        }
    }
}
