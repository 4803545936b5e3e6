//! A Bundle of FHIR that is too large to be one record: whether one begins here, and what its entries bring.
//!
//! Used by `records` for what `fhir` cannot be given whole. Invariant: an entry without a resource brings nothing, and one
//! that is no object comes as it is, to be refused.

use std::ops::Range;

use vitalake_contract::file_options::RowsPath;

use super::document::is_space;
use super::path;
use super::scan::Cursor;

/// The way to a Bundle's entries.
pub(super) fn entries() -> RowsPath {
    RowsPath { text: "$.entry[*]".to_owned(), array: vec!["entry".to_owned()], row: Vec::new() }
}

/// Whether the object that begins here says that it is a Bundle before its entries.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes.get(..error.valid_up_to()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or(""),
    };
    says_bundle(&mut Cursor::new(text)).unwrap_or(false)
}

fn says_bundle(cursor: &mut Cursor<'_>) -> Option<bool> {
    cursor.skip_space();
    (cursor.peek() == b'{').then_some(())?;
    cursor.at += 1;
    loop {
        cursor.skip_space();
        (cursor.peek() == b'"').then_some(())?;
        let name = cursor.string().ok()?;
        let is_type = cursor.slice(name.start, name.end) == "resourceType";
        cursor.colon().ok()?;
        let start = cursor.at;
        cursor.skip_value(0).ok()?;
        if is_type {
            return Some(cursor.slice(start, cursor.at).trim() == "\"Bundle\"");
        }
        cursor.more(b'}', "").ok().filter(|more| *more)?;
    }
}

/// Where in an entry its resource stands; none where it has none.
pub(super) fn resource(entry: &[u8]) -> Option<Range<usize>> {
    let is_object = entry.iter().find(|byte| !is_space(**byte)) == Some(&b'{');
    match path::within(entry, &["resource".to_owned()]) {
        Some(found) => Some(found),
        None => (!is_object).then_some(0..entry.len()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(br#" {"resourceType": "Bundle", "type":"batch", "entry": [{"#, true)]
    #[case(br#"{"id":"b","resourceType":"Bundle""#, true)]
    #[case(br#"{"resourceType":"Patient","x":""#, false)]
    #[case(br#"{"entry":[{"resourceType":"Bundle""#, false)]
    #[case(b"[{", false)]
    fn a_bundle_says_so_before_its_entries(#[case] bytes: &[u8], #[case] begins_one: bool) {
        assert_eq!(begins(bytes), begins_one);
    }

    #[rstest]
    #[case(br#"{"fullUrl":"u","resource":{"resourceType":"Patient"}}"#, Some(br#"{"resourceType":"Patient"}"#.as_slice()))]
    #[case(br#"{"response":{"status":"201"}}"#, None)]
    #[case(b"7", Some(b"7".as_slice()))]
    fn an_entry_brings_its_resource(#[case] entry: &[u8], #[case] brings: Option<&[u8]>) {
        assert_eq!(resource(entry).and_then(|range| entry.get(range)), brings);
    }
}
