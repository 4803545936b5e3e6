//! The records of a request's body: one JSON object, an array of them, or one object a line; and single values in them.
//!
//! `gateway` sends what is found here to the log, where landing reads it with the same cursor. Invariant: a record that
//! is found is one JSON object by the decoder's own rules, and a value is picked where the decoder would read it.

use std::ops::Range;

use super::document::{is_space, value_end};
use super::first_bytes::BYTE_ORDER_MARK;
use super::scan::{Cursor, Fault, Wrong, unescape};

/// How the records stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// One object, or an array of objects.
    Json,
    /// One object a line.
    Lines,
}

/// What was found in a body.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Where the good records stand.
    pub(crate) records: Vec<Range<usize>>,
    /// What is no record.
    pub(crate) rejected: Vec<Rejected>,
}

/// Something that stands where a record should, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its number among the records of the body, from 0.
    pub index: u32,
    /// The line of the fault, from 1.
    pub line: u64,
    /// The byte of the fault, from 0, in the body as it is unpacked.
    pub byte: u64,
    /// What is wrong; never what stands there.
    pub reason: String,
}

/// Why a body cannot be split into records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsplit {
    /// It breaks off or is not JSON at a place.
    Malformed { line: u64, byte: u64, what: &'static str },
    /// There are more records than are taken at once.
    TooMany,
}

/// The largest body and record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitLimits {
    pub(crate) records_max: usize,
    pub(crate) record_bytes_max: usize,
}

/// Finds the records of a body.
pub(crate) fn split(body: &[u8], form: BodyForm, limits: SplitLimits) -> Result<Found, Unsplit> {
    let mut splitter = Splitter { body, limits, found: Found::default(), line: (0, 1) };
    let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    match form {
        BodyForm::Lines => splitter.lines(start)?,
        BodyForm::Json => splitter.document(start)?,
    }
    Ok(splitter.found)
}

struct Splitter<'b> {
    body: &'b [u8],
    limits: SplitLimits,
    found: Found,
    /// A byte and its line, up to which lines were counted.
    line: (usize, u64),
}

impl Splitter<'_> {
    fn lines(&mut self, start: usize) -> Result<(), Unsplit> {
        let mut at = start;
        while at < self.body.len() {
            let rest = self.body.get(at..).unwrap_or(&[]);
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            if !rest.get(..length).unwrap_or(&[]).trim_ascii().is_empty() {
                self.take(at..at + length)?;
            }
            at += length + 1;
        }
        Ok(())
    }

    fn document(&mut self, start: usize) -> Result<(), Unsplit> {
        let mut at = self.after_space(start);
        if self.byte(at) != Some(b'[') {
            let end = self.value(at)?;
            self.take(at..end)?;
            return self
                .nothing_after(end, "more follows after the object; send one object a line as application/x-ndjson");
        }
        at = self.after_space(at + 1);
        if self.byte(at) == Some(b']') {
            return self.nothing_after(at + 1, "more follows after the array");
        }
        loop {
            let end = self.value(at)?;
            self.take(at..end)?;
            at = self.after_space(end);
            match self.byte(at) {
                Some(b',') => at = self.after_space(at + 1),
                Some(b']') => return self.nothing_after(at + 1, "more follows after the array"),
                Some(_) => return self.malformed(at, "a comma or ] was expected after an element"),
                None => return self.malformed(at, "the body ends before the array is closed"),
            }
        }
    }

    /// Where a value ends.
    fn value(&mut self, at: usize) -> Result<usize, Unsplit> {
        match value_end(self.body.get(at..).unwrap_or(&[]), true) {
            Ok(Some(length)) if length > 0 => Ok(at + length),
            Ok(Some(_)) => self.malformed(at, "a value was expected"),
            Ok(None) => self.malformed(self.body.len(), "the body ends within a record"),
            Err(_) if at >= self.body.len() => self.malformed(at, "a record was expected, and the body ends"),
            Err(broken) => self.malformed(at + broken.at, broken.what),
        }
    }

    fn nothing_after(&mut self, end: usize, what: &'static str) -> Result<(), Unsplit> {
        let at = self.after_space(end);
        if at < self.body.len() { self.malformed(at, what) } else { Ok(()) }
    }

    /// Takes what stands there as a record, or rejects it.
    fn take(&mut self, place: Range<usize>) -> Result<(), Unsplit> {
        let taken = self.found.records.len() + self.found.rejected.len();
        if taken >= self.limits.records_max {
            return Err(Unsplit::TooMany);
        }
        let fault = if place.len() > self.limits.record_bytes_max {
            Some((0, format!("the record is larger than {} bytes", self.limits.record_bytes_max)))
        } else {
            self.body.get(place.clone()).and_then(fault_of)
        };
        match fault {
            None => self.found.records.push(place),
            Some((at, reason)) => {
                let (line, byte) = self.place(place.start + at);
                let index = u32::try_from(taken).unwrap_or(u32::MAX);
                self.found.rejected.push(Rejected { index, line, byte, reason });
            }
        }
        Ok(())
    }

    fn malformed<T>(&mut self, at: usize, what: &'static str) -> Result<T, Unsplit> {
        let (line, byte) = self.place(at);
        Err(Unsplit::Malformed { line, byte, what })
    }

    /// Line and byte of a place; places come in their order.
    fn place(&mut self, at: usize) -> (u64, u64) {
        let (counted, line) = self.line;
        let passed = self.body.get(counted..at).unwrap_or(&[]);
        let line = line + memchr::memchr_iter(b'\n', passed).count() as u64;
        self.line = (at.max(counted), line);
        (line, at as u64)
    }

    fn after_space(&self, at: usize) -> usize {
        at + self.body.get(at..).unwrap_or(&[]).iter().take_while(|byte| is_space(**byte)).count()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.body.get(at).copied()
    }
}

/// Why bytes are not one JSON object, and where in them.
fn fault_of(bytes: &[u8]) -> Option<(usize, String)> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Some((error.valid_up_to(), "not UTF-8".to_owned())),
    };
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    let walked = if cursor.peek() == b'{' { cursor.skip_value(0) } else { cursor.fault("an object was expected") };
    let ended = walked.and_then(|()| {
        cursor.skip_space();
        if cursor.is_at_end() { Ok(()) } else { cursor.fault("more follows after the object") }
    });
    let Fault { at, what } = ended.err()?;
    let what = match what {
        Wrong::Form(what) => what,
        Wrong::Twice(_) => "a field stands twice",
    };
    Some((at, format!("not one JSON object: {what}")))
}

/// What was picked from a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Picked {
    /// There is no value, or null.
    Nothing,
    /// A text, without its escapes.
    Text(String),
    /// A number or a truth value, as it is written.
    Bare(String),
    /// An object, an array, or a field that stands twice on the way: no value that says one thing.
    Unclear,
}

/// The value at a path of a record that [`split`] has found.
pub(crate) fn pick(record: &[u8], path: &[String]) -> Picked {
    let Ok(text) = std::str::from_utf8(record) else { return Picked::Unclear };
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    match descend(&mut cursor, path) {
        Ok(place) => read(place.and_then(|place| text.get(place)).unwrap_or("null")),
        Err(()) => Picked::Unclear,
    }
}

fn read(value: &str) -> Picked {
    match value.as_bytes() {
        [b'"', ..] => {
            let mut text = String::new();
            let raw = value.get(1..value.len() - 1).unwrap_or_default();
            unescape(raw, &mut text).map_or(Picked::Unclear, |()| Picked::Text(text))
        }
        b"null" => Picked::Nothing,
        [b'{' | b'[', ..] => Picked::Unclear,
        _ => Picked::Bare(value.to_owned()),
    }
}

/// Steps over the value that is next, and gives where in it the path leads. A field of the path that stands twice is an
/// error, as it is for the decoder.
fn descend(cursor: &mut Cursor<'_>, path: &[String]) -> Result<Option<Range<usize>>, ()> {
    let start = cursor.at;
    let Some((name, rest)) = path.split_first() else {
        cursor.skip_value(0).map_err(drop)?;
        return Ok(Some(start..cursor.at));
    };
    if cursor.peek() != b'{' {
        cursor.skip_value(0).map_err(drop)?;
        return Ok(None);
    }
    cursor.at += 1;
    cursor.skip_space();
    if cursor.peek() == b'}' {
        cursor.at += 1;
        return Ok(None);
    }
    let (mut found, mut met) = (None, false);
    loop {
        let field = cursor.string().map_err(drop)?;
        let raw = cursor.slice(field.start, field.end);
        let mut plain = String::new();
        let is_it = raw == name || field.escaped && unescape(raw, &mut plain).is_ok() && plain == *name;
        cursor.colon().map_err(drop)?;
        if is_it {
            if std::mem::replace(&mut met, true) {
                return Err(());
            }
            found = descend(cursor, rest)?;
        } else {
            cursor.skip_value(0).map_err(drop)?;
        }
        if !cursor.more(b'}', "a comma or } was expected").map_err(drop)? {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIMITS: SplitLimits = SplitLimits { records_max: 5, record_bytes_max: 40 };

    /// Records, and index, line and byte of what is none.
    type Found<'b> = (Vec<&'b str>, Vec<(u32, u64, u64)>);

    fn of(body: &str, form: BodyForm) -> Result<Found<'_>, Unsplit> {
        let found = split(body.as_bytes(), form, LIMITS)?;
        let records = found.records.into_iter().map(|place| body.get(place).unwrap()).collect();
        Ok((records, found.rejected.into_iter().map(|one| (one.index, one.line, one.byte)).collect()))
    }

    #[rstest::rstest]
    #[case(r#" {"a":1} "#, &[r#"{"a":1}"#], &[])]
    #[case("[]", &[], &[])]
    #[case("\u{feff}[{\"a\":1},\n {\"b\":[1,{}]} ]\n", &[r#"{"a":1}"#, r#"{"b":[1,{}]}"#], &[])]
    #[case("[{\"a\":1},\n7,{\"a\":01},{}]", &[r#"{"a":1}"#, "{}"], &[(1, 2, 10), (2, 2, 17)])]
    fn a_document_is_one_record_or_a_list_and_a_bad_element_harms_no_other(
        #[case] body: &str,
        #[case] records: &[&str],
        #[case] rejected: &[(u32, u64, u64)],
    ) {
        assert_eq!(of(body, BodyForm::Json).unwrap(), (records.to_vec(), rejected.to_vec()));
    }

    #[test]
    fn lines_are_records_and_a_bad_or_long_one_is_told_with_its_place() {
        let body = "{\"a\":1}\r\n\n  {\"a\":2}\nnull\n{\"a\":\"0123456789012345678901234567890123456789\"}\n{\"a\":3}";
        let (records, rejected) = of(body, BodyForm::Lines).unwrap();
        assert_eq!(records, ["{\"a\":1}\r", "  {\"a\":2}", "{\"a\":3}"]);
        assert_eq!(rejected, [(2, 4, 20), (3, 5, 25)]);
    }

    #[rstest::rstest]
    #[case("", 1, 0)]
    #[case("[", 1, 1)]
    #[case("[{},", 1, 4)]
    #[case("[{}\n{}]", 2, 4)]
    #[case("{\"a\":\n[1}", 2, 8)]
    #[case("{}\n{}", 2, 3)]
    fn a_body_that_cannot_be_split_is_told_with_line_and_byte(
        #[case] body: &str,
        #[case] at_line: u64,
        #[case] at_byte: u64,
    ) {
        let Err(Unsplit::Malformed { line, byte, .. }) = of(body, BodyForm::Json) else { unreachable!("{body}") };
        assert_eq!((line, byte), (at_line, at_byte), "{body}");
    }

    #[test]
    fn more_records_than_the_limit_are_refused() {
        assert_eq!(of(&"{}\n".repeat(6), BodyForm::Lines), Err(Unsplit::TooMany));
        assert!(of(&"{}\n".repeat(5), BodyForm::Lines).is_ok());
    }

    #[test]
    fn a_value_is_picked_where_the_decoder_reads_it() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let of = |record: &str, at: &str| pick(record.as_bytes(), &path(at));
        assert_eq!(of(r#"{"x":{"id":"no"},"p":{"id":"a\u00e9"}}"#, "p.id"), Picked::Text("aé".into()));
        assert_eq!(of(r#"{"\u0069d":5.0}"#, "id"), Picked::Bare("5.0".into()));
        for (record, at) in [("{}", "id"), (r#"{"id":null}"#, "id"), (r#"{"p":3}"#, "p.id"), (r#"{"p":{}}"#, "p.id")] {
            assert_eq!(of(record, at), Picked::Nothing, "{record}");
        }
        // Whoever may write of one subject only must not hide another behind it.
        for record in
            [r#"{"id":"me","id":"you"}"#, r#"{"id":"me","\u0069d":"you"}"#, r#"{"id":["me"]}"#, r#"{"id":"\ud800"}"#]
        {
            assert_eq!(of(record, "id"), Picked::Unclear, "{record}");
        }
        assert_eq!(of(r#"{"p":{"id":1},"p":{"id":2}}"#, "p.id"), Picked::Unclear);
    }
}
