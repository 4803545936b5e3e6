//! What the first bytes of a delivered file say of its form, where that is none that is read here.
//!
//! Looked at once, before the decoder. Invariant: a file that is neither CSV nor JSON in UTF-8 is refused by what it is,
//! and never read as text that happens to have no line ends.

/// So many bytes tell a file's form.
pub(super) const LOOKED_AT: usize = 512;

/// Where a tar archive has its mark.
const TAR_AT: usize = 257;

/// Forms by how their files begin, with what to do instead.
const MARKS: &[(&[u8], &str)] = &[
    (b"\xff\xfe\x00\x00", "UTF-32 text: save it as UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32 text: save it as UTF-8"),
    (b"\x1f\x8b", "compressed with gzip twice: unpack it once"),
    (b"\x28\xb5\x2f\xfd", "compressed twice, with Zstandard within: unpack it once"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4: pack it with gzip, Zstandard or ZIP, or not at all"),
    (b"\xfd7zXZ\x00", "compressed with xz: pack it with gzip, Zstandard or ZIP, or not at all"),
    (b"BZh", "compressed with bzip2: pack it with gzip, Zstandard or ZIP, or not at all"),
    (b"PK\x03\x04", "a ZIP archive or a workbook within what packs it: unpack it once"),
    (b"\xd0\xcf\x11\xe0", "a workbook of an old spreadsheet: save the sheet as CSV in UTF-8"),
    (b"PAR1", "a Parquet file: deliver it as one (--format parquet)"),
    (b"ARROW1", "an Arrow file: deliver it as one (--format arrow)"),
    (b"Obj\x01", "an Avro file: write its rows as CSV or as JSON, one object a line"),
    (b"SQLite format 3\x00", "a SQLite database: write a table's rows as CSV"),
    (b"%PDF-", "a PDF: write its rows as CSV"),
    (b"<?xml", "XML: write its rows as CSV or as JSON, one object a line"),
    (b"<!DOCTYPE", "a web page: look whether it is an error message, and deliver the file itself"),
    (b"<html", "a web page: look whether it is an error message, and deliver the file itself"),
];

/// What a file is that begins so, and what to do; none when it may be text in UTF-8.
pub(super) fn refusal(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Some(what);
    }
    if bytes.get(TAR_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return Some("a tar archive: deliver its files one by one, or as a ZIP");
    }
    let begin = bytes.get(..LOOKED_AT.min(bytes.len())).unwrap_or(&[]);
    let zeros = |odd: usize| begin.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    // Latin text in UTF-16 has every second byte 0, and that is all of them in a file's first bytes.
    let half = begin.len() / 2;
    if half >= 2 && (zeros(0) * 10 >= half * 9 || zeros(1) * 10 >= half * 9) {
        let all = begin.iter().all(|byte| *byte == 0);
        return Some(if all {
            "nothing but zero bytes: look whether it was copied whole"
        } else {
            "UTF-16 text without a byte order mark: say `encoding` in the contract (customProperty csv), or save it as UTF-8"
        });
    }
    None
}

/// Whether text that is not CSV begins as JSON does.
pub(super) fn is_like_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}
