//! The one writer of the journal: appends lines, makes them durable, signs heads, and goes on after any end.
//!
//! What lies behind the last whole line of a file when it is opened was never answered for: it is kept in a file of its
//! own, and the journal says so. A file that somebody else has changed meanwhile is left as it is, and the next is begun.
//! Invariant: what was written is durable when `append` returns, and nothing that was durable is written over.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::{Disk, DiskFile};

use super::AuditError;
use super::chain::{Hash, Head, line};
use super::entry::{Action, Entry, Outcome, Surface, Who};
use super::files::{HEADS, Segment, bytes_of, heads, last_whole, segments};
use super::keys::Keys;

/// Bytes of a file beyond which the next is begun.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// What the journal says of itself, in one word.
pub(super) mod word {
    /// The first entry of a chain.
    pub(crate) const BEGAN: &str = "began";
    /// A process goes on with it.
    pub(crate) const CONTINUED: &str = "continued";
    /// Bytes behind the last whole line were set aside; `rows` says how many.
    pub(crate) const TORN: &str = "torn";
    /// Somebody else has changed the file that was written to.
    pub(crate) const TOUCHED: &str = "touched";
    /// It could not be written for a while; `rows` says how many entries are not there.
    pub(crate) const GAP: &str = "gap";
    /// Less is there, or something else, than a head says that was.
    pub(crate) const DOUBTED: &str = "doubted";
    /// The process leaves.
    pub(crate) const ENDED: &str = "ended";
}

/// Where the journal ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The name of the chain; empty before its first entry.
    pub chain: String,
    /// The number of its last entry.
    pub sequence: u64,
    /// Whether heads say otherwise than the entries that were there at the start.
    pub is_doubted: bool,
}

/// The journal, open for writing.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    clock: Clock,
    pub(super) keys: Arc<Keys>,
    file: Option<Open>,
    pub(super) tail: Tail,
    last: Hash,
    segment_bytes_max: u64,
    /// The number that the last head vouches for.
    signed: u64,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    file: Arc<dyn DiskFile>,
    length: u64,
    /// Whether a write of ours that failed may have left bytes behind the end.
    is_half: bool,
}

impl Writer {
    /// Opens the journal as it was left. `elsewhere` are heads that were kept in another place.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        folder: PathBuf,
        keys: Arc<Keys>,
        clock: Clock,
        elsewhere: &[Head],
    ) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open { path: folder.clone(), source };
        disk.create_dir_all(&folder).map_err(failed)?;
        let mut writer = Self {
            disk: Arc::clone(disk),
            folder: folder.clone(),
            clock,
            keys,
            file: None,
            tail: Tail::default(),
            last: Hash::default(),
            segment_bytes_max: SEGMENT_BYTES_MAX,
            signed: 0,
        };
        let said = writer.recover(elsewhere).map_err(failed)?;
        writer.append(&said).map_err(failed)?;
        Ok(writer)
    }

    /// The same with smaller files, for a rehearsal.
    #[cfg(test)]
    pub(super) fn with_segments_of(mut self, bytes: u64) -> Self {
        self.segment_bytes_max = bytes;
        self
    }

    /// Finds the last whole line, sets aside what is behind it, and gives what the journal has to say of that.
    fn recover(&mut self, elsewhere: &[Head]) -> io::Result<Vec<(i64, Entry)>> {
        let all = segments(&self.disk, &self.folder)?;
        let mut said = Vec::new();
        for segment in all.iter().rev() {
            let bytes = bytes_of(&self.disk, &segment.path)?;
            let whole = last_whole(&bytes);
            let end = whole.as_ref().map_or(0, |(_, end)| *end);
            if let Some(torn) = bytes.get(end..).filter(|torn| !torn.is_empty()) {
                self.set_aside(segment, torn)?;
                said.push(self.says(word::TORN, Some(torn.len() as u64)));
            }
            let file = self.disk.open(&segment.path, false)?;
            let has_feed = end.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'\n');
            if end < bytes.len() {
                file.set_len(end as u64)?;
            }
            if end > 0 && !has_feed {
                file.write_all_at(b"\n", end as u64)?;
            }
            file.sync_data()?;
            if let Some((found, _)) = whole {
                let length = file.len()?;
                self.file = Some(Open { segment: segment.clone(), file, length, is_half: false });
                (self.tail.sequence, self.last) = (found.recorded.sequence, found.hash);
                break;
            }
        }
        self.tail.chain = self.chain(&all)?;
        if self.is_doubted(&all, elsewhere)? {
            self.tail.is_doubted = true;
            said.push(self.says(word::DOUBTED, None));
        }
        let (first, keys) = (if self.tail.sequence == 0 { word::BEGAN } else { word::CONTINUED }, &self.keys);
        let (at_ms, mut opened) = self.says(first, None);
        // Whoever looks for a person's tokens sees under which key they were made.
        opened.subject = Some(keys.tokens.key_id());
        said.insert(0, (at_ms, opened));
        Ok(said)
    }

    /// The name of the chain that is there.
    fn chain(&self, all: &[Segment]) -> io::Result<String> {
        let Some(first) = all.first() else { return Ok(String::new()) };
        let bytes = bytes_of(&self.disk, &first.path)?;
        let found = super::files::lines(&bytes).next().and_then(|(line, _)| super::chain::Found::read(line));
        Ok(found.filter(|found| found.recorded.sequence == 1).map(|found| found.hash.name()).unwrap_or_default())
    }

    /// Whether a head of this key vouches for what is not there, at the journal's end.
    fn is_doubted(&mut self, all: &[Segment], elsewhere: &[Head]) -> io::Result<bool> {
        let (here, _) = heads(&bytes_of(&self.disk, &self.folder.join(HEADS))?);
        let public = self.keys.signing.public().to_vec();
        let ours = here.iter().chain(elsewhere).filter(|head| head.is_signed_by(&public));
        let Some(last) = ours.max_by_key(|head| (head.sequence, head.at.clone())) else { return Ok(false) };
        if last.chain != self.tail.chain || last.sequence > self.tail.sequence {
            return Ok(true);
        }
        self.signed = last.sequence;
        // The file in which the line lies that it vouches for.
        let Some(segment) = all.iter().rev().find(|segment| segment.first <= last.sequence) else { return Ok(true) };
        let bytes = bytes_of(&self.disk, &segment.path)?;
        let mut found = super::files::lines(&bytes).filter_map(|(line, _)| super::chain::Found::read(line));
        let vouched = found.find(|found| found.recorded.sequence == last.sequence);
        Ok(vouched.is_none_or(|found| !found.is_whole || found.hash.to_string() != last.hash))
    }

    /// Keeps bytes that are no whole lines in a file of their own.
    fn set_aside(&self, segment: &Segment, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(format!("torn-{}-{}.bin", segment.first, uuid::Uuid::now_v7().simple()));
        let file = self.disk.create_new(&path)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.folder)
    }

    /// What the journal says of itself, and when.
    pub(super) fn says(&self, what: &'static str, rows: Option<u64>) -> (i64, Entry) {
        let entry = Entry::new(Who::platform(), Surface::Platform, Action::Journal).ended(Outcome::Done, Some(what));
        (self.clock.now_ms(), Entry { rows, ..entry })
    }

    /// Appends entries, each with its moment, and returns when they are durable. When it fails, none of them counts, and
    /// the next call writes in their place.
    pub(super) fn append(&mut self, entries: &[(i64, Entry)]) -> io::Result<()> {
        let mut touched = Vec::new();
        self.drop_half()?;
        if self.is_touched() {
            touched.push(self.says(word::TOUCHED, None));
            self.file = None;
        }
        if self.file.as_ref().is_some_and(|open| open.length >= self.segment_bytes_max) {
            self.file = None;
        }
        let (mut bytes, mut chain) = (Vec::new(), self.tail.chain.clone());
        let (mut sequence, mut last) = (self.tail.sequence, self.last);
        for (at_ms, entry) in touched.iter().chain(entries) {
            let unwritable = || io::Error::other("an entry has no form");
            let (line, hash) = line(sequence + 1, last, *at_ms, entry).ok_or_else(unwritable)?;
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            (sequence, last) = (sequence + 1, hash);
            if sequence == 1 {
                chain = hash.name();
            }
        }
        let open = self.opened()?;
        open.is_half = true;
        open.file.write_all_at(&bytes, open.length)?;
        open.file.sync_data()?;
        open.length += bytes.len() as u64;
        open.is_half = false;
        (self.tail.sequence, self.tail.chain, self.last) = (sequence, chain, last);
        Ok(())
    }

    /// The file to write to; a new one where there is none.
    fn opened(&mut self) -> io::Result<&mut Open> {
        let open = match self.file.take() {
            Some(open) => open,
            None => {
                let segment = Segment::new(&self.folder, self.tail.sequence + 1);
                // One that is there was begun by a call that failed, or by somebody else: nothing in it counts.
                let file = match self.disk.create_new(&segment.path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        let there = bytes_of(&self.disk, &segment.path)?;
                        if !there.is_empty() {
                            self.set_aside(&segment, &there)?;
                        }
                        let file = self.disk.open(&segment.path, false)?;
                        file.set_len(0)?;
                        file
                    }
                    made => made?,
                };
                self.disk.sync_dir(&self.folder)?;
                Open { segment, file, length: 0, is_half: false }
            }
        };
        Ok(self.file.insert(open))
    }

    /// Takes away what a write that failed has left behind the end.
    fn drop_half(&mut self) -> io::Result<()> {
        if let Some(open) = self.file.as_mut().filter(|open| open.is_half) {
            open.file.set_len(open.length)?;
            open.is_half = false;
        }
        Ok(())
    }

    /// Whether the file that is written to is not as it was left: cut, grown, replaced by another or gone.
    fn is_touched(&self) -> bool {
        let Some(open) = &self.file else { return false };
        let is_as_left = |length: io::Result<u64>| length.is_ok_and(|length| length == open.length);
        let named = self.disk.metadata(&open.segment.path).map(|metadata| metadata.length);
        !is_as_left(named) || !is_as_left(open.file.len())
    }

    /// Signs the journal as it ends now and keeps the head beside it; none where the last one says the same.
    pub(super) fn sign(&mut self) -> io::Result<Option<Head>> {
        if self.signed == self.tail.sequence {
            return Ok(None);
        }
        let at = (self.tail.sequence, self.last);
        let head = Head::sign(&self.keys.signing, &self.tail.chain, at, self.clock.now_ms());
        append_line(&self.disk, &self.folder.join(HEADS), &head)?;
        self.signed = self.tail.sequence;
        Ok(Some(head))
    }

    /// How many entries no head vouches for yet.
    pub(super) fn unsigned(&self) -> u64 {
        self.tail.sequence.saturating_sub(self.signed)
    }
}

/// Adds a head to a file of heads, durably.
pub(super) fn append_line(disk: &Arc<dyn Disk>, path: &std::path::Path, head: &Head) -> io::Result<()> {
    let is_new = disk.metadata(path).is_err();
    let file = disk.open(path, true)?;
    let length = file.len()?;
    let mut line = serde_json::to_vec(head).map_err(io::Error::other)?;
    line.push(b'\n');
    // A line that was torn off is ended first, so that this one stands alone.
    let mut last = [b'\n'];
    if let Some(at) = length.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    if last != [b'\n'] {
        line.insert(0, b'\n');
    }
    file.write_all_at(&line, length)?;
    file.sync_data()?;
    if is_new {
        disk.sync_dir(path.parent().unwrap_or(std::path::Path::new(".")))?;
    }
    Ok(())
}
