//! The files of the journal: their names, and what of them is whole.
//!
//! `{data}/audit/{first number}.jsonl`, a line an entry; `heads.jsonl` beside them. Invariant: nothing here changes a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vitalake_runtime::disk::Disk;

use super::chain::{Found, Head};

/// What a file of entries is called after its number.
const SUFFIX: &str = ".jsonl";
/// Digits of the number, so that names sort as numbers do.
const DIGITS: usize = 16;
/// The file of signed heads.
pub const HEADS: &str = "heads.jsonl";

/// A file of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first entry, as its name has it.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

impl Segment {
    pub(super) fn new(folder: &Path, first: u64) -> Self {
        Self { first, path: folder.join(format!("{first:0DIGITS$}{SUFFIX}")) }
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The files of entries in a folder, by their numbers.
pub(super) fn segments(disk: &Arc<dyn Disk>, folder: &Path) -> io::Result<Vec<Segment>> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        (name.len() == DIGITS).then(|| name.parse().ok()).flatten()
    };
    let files = disk.list(folder)?.into_iter().filter(|entry| !entry.is_dir);
    let mut found: Vec<Segment> =
        files.filter_map(|file| Some(Segment { first: number(&file.path)?, path: file.path })).collect();
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// All bytes of a file; none of one that is not there.
pub(super) fn bytes_of(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Vec<u8>> {
    let file = match disk.open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The lines of a file, each with the place at which it ends; the last may have no line feed.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut end = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        end += line.len();
        (line.strip_suffix(b"\n").unwrap_or(line), end)
    })
}

/// The last whole line of a file and the place at which it ends, with its line feed or without.
pub(super) fn last_whole(bytes: &[u8]) -> Option<(Found, usize)> {
    let whole = |(line, end)| Some((Found::read(line).filter(|found| found.is_whole)?, end));
    lines(bytes).filter_map(whole).last()
}

/// The heads of a file's text; what is none is passed over and counted.
#[must_use]
pub fn heads(bytes: &[u8]) -> (Vec<Head>, u64) {
    let (mut found, mut others) = (Vec::new(), 0);
    for (line, _) in lines(bytes).filter(|(line, _)| !line.trim_ascii().is_empty()) {
        match serde_json::from_slice(line) {
            Ok(head) => found.push(head),
            Err(_) => others += 1,
        }
    }
    (found, others)
}
