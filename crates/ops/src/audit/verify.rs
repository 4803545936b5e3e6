//! Whether the journal is as it was written: each line, each step of the chain, each signed head.
//!
//! Reads files alone, also while a process writes them. An edit and a gap show in the chain itself; a tail that was cut and a
//! chain that was computed anew show against heads, best those that were kept elsewhere. Invariant: what is found is said
//! by numbers of entries, names of files and moments, never by what an entry holds.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::hex;

use super::chain::{Found, Hash, Head, key_name};
use super::entry::Action;
use super::files::{HEADS, Segment, bytes_of, heads, lines, segments};
use super::keys::PUBLIC;
use super::writer::word;

/// Findings that are told one by one; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A line was changed, or is none.
    Edited,
    /// A line does not follow the one before it.
    Broken,
    /// Entries are not there.
    Missing,
    /// A file is not what its name says.
    Misplaced,
    /// Heads vouch for entries behind the last.
    Cut,
    /// A head vouches for another line.
    Recomputed,
    /// A head is not signed by the key.
    Forged,
    /// Heads are of another chain.
    Foreign,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The entry where it is, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// It in words.
    pub message: String,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub intact: bool,
    /// The name of the chain.
    pub chain: String,
    /// Entries that were read.
    pub entries: u64,
    /// The number of the last.
    pub last: u64,
    /// When it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// The number of the last entry that a good head vouches for.
    pub signed: u64,
    /// When that head was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_at: Option<String>,
    /// The same of heads from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_elsewhere: Option<u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
    /// What is worth knowing and nothing wrong.
    pub remarks: Vec<String>,
}

/// What the journal is held against.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// Heads that were kept elsewhere.
    pub heads: Option<Vec<Head>>,
    /// The public key, as hex digits, as it was noted elsewhere; the folder's own without it.
    pub public_key: Option<String>,
}

/// Checks the journal in a folder.
///
/// # Errors
/// When a file cannot be read, or there is no journal.
pub fn verify(disk: &Arc<dyn Disk>, folder: &Path, keys: Option<&Path>, against: &Against) -> io::Result<Report> {
    let mut check = Check::default();
    let (own, others) = heads(&bytes_of(disk, &folder.join(HEADS))?);
    let keys = keys.map_or_else(|| folder.join("keys"), Path::to_owned);
    let written = String::from_utf8(bytes_of(disk, &keys.join(PUBLIC))?).unwrap_or_default();
    let public = against.public_key.clone().unwrap_or(written);
    check.public = hex::decode(public.trim()).filter(|key| key.len() == 32).unwrap_or_default();
    let elsewhere = against.heads.clone().unwrap_or_default();
    check.heads =
        own.iter().map(|head| (head.clone(), false)).chain(elsewhere.into_iter().map(|head| (head, true))).collect();
    check.heads.sort_by_key(|(head, _)| head.sequence);
    let all = segments(disk, folder)?;
    if all.is_empty() && check.heads.is_empty() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    for (number, segment) in all.iter().enumerate() {
        check.segment(segment, &bytes_of(disk, &segment.path)?, number + 1 == all.len());
    }
    if others > 0 {
        check.remark(format!("{others} lines of {HEADS} are no heads, such as one that was torn off by a crash"));
    }
    check.finish(against.heads.is_some());
    Ok(check.report)
}

/// A chain on its way through the files.
#[derive(Default)]
struct Check {
    report: Report,
    public: Vec<u8>,
    /// By their numbers, each with whether it is from elsewhere.
    heads: Vec<(Head, bool)>,
    /// The first of them that no line has been held against.
    next_head: usize,
    last: Hash,
    last_ms: Option<i64>,
    /// Whether the line before can be trusted to say what follows it.
    is_lost: bool,
}

impl Check {
    fn find(&mut self, kind: Kind, sequence: Option<u64>, message: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { kind, sequence, message });
        } else {
            self.report.more += 1;
        }
    }

    fn remark(&mut self, message: String) {
        if self.report.remarks.len() < FINDINGS_MAX {
            self.report.remarks.push(message);
        }
    }

    fn segment(&mut self, segment: &Segment, bytes: &[u8], is_last: bool) {
        let name = segment.name();
        let count = lines(bytes).count();
        for (number, (line, end)) in lines(bytes).enumerate() {
            let is_end = is_last && number + 1 == count && bytes.get(end.saturating_sub(1)) != Some(&b'\n');
            match Found::read(line) {
                Some(found) => {
                    if number == 0 && found.recorded.sequence != segment.first {
                        let (is, says) = (found.recorded.sequence, segment.first);
                        let message = format!("{name} begins with entry {is}, and its name says {says}: files were swapped or renamed");
                        self.find(Kind::Misplaced, Some(is), message);
                    }
                    self.line(&found, &name);
                }
                // Its end is being written, or was torn off in the middle of it: nobody was answered for it.
                None if is_end => self.remark(format!(
                    "the last line of {name} is not complete: it is being written, or a process ended in the middle of it"
                )),
                None => {
                    let after = self.report.last;
                    let message = format!("line {} of {name}, after entry {after}, is no entry any longer", number + 1);
                    self.find(Kind::Edited, Some(after + 1), message);
                    self.is_lost = true;
                }
            }
        }
    }

    fn line(&mut self, found: &Found, file: &str) {
        let (sequence, at) = (found.recorded.sequence, &found.recorded.at);
        let expected = self.report.last + 1;
        if !found.is_whole {
            self.find(
                Kind::Edited,
                Some(sequence),
                format!("entry {sequence} of {at} in {file} was edited: its hash does not fit what it says"),
            );
        }
        if sequence > expected {
            let message = match sequence - expected {
                1 => format!("entry {expected} is missing before {file}'s entry {sequence}"),
                _ => format!("entries {expected} to {} are missing before {file}'s entry {sequence}", sequence - 1),
            };
            self.find(Kind::Missing, Some(expected), message);
        } else if sequence < expected {
            let message = format!("entry {sequence} in {file} stands after entry {}", self.report.last);
            self.find(Kind::Misplaced, Some(sequence), message);
        } else if !found.follows(self.last) && !self.is_lost {
            let message = format!(
                "entry {sequence} does not follow entry {} as it stands now: one of the two was put in its place later",
                sequence - 1
            );
            self.find(Kind::Broken, Some(sequence), message);
        }
        self.is_lost = false;
        if sequence == 1 {
            self.report.chain = found.hash.name();
        }
        self.vouched(found);
        self.said(found);
        self.last = found.hash;
        self.report.entries += 1;
        self.report.last = self.report.last.max(sequence);
        self.report.last_at = Some(at.clone());
    }

    /// Holds a line against the heads of its number.
    fn vouched(&mut self, found: &Found) {
        let sequence = found.recorded.sequence;
        while self.heads.get(self.next_head).is_some_and(|(head, _)| head.sequence < sequence) {
            self.next_head += 1;
        }
        while let Some((head, is_elsewhere)) =
            self.heads.get(self.next_head).filter(|(head, _)| head.sequence == sequence).cloned()
        {
            self.next_head += 1;
            if !self.is_ours(&head) {
                continue;
            }
            if head.hash == found.hash.to_string() && found.is_whole {
                self.report.signed = sequence;
                self.report.signed_at = Some(head.at);
                if is_elsewhere {
                    self.report.signed_elsewhere = Some(sequence);
                }
            } else {
                let message = format!(
                    "the head of entry {sequence}, signed {}{}, vouches for another line than the one that is there: the chain was computed anew up to there",
                    head.at,
                    of_where(is_elsewhere)
                );
                self.find(Kind::Recomputed, Some(sequence), message);
            }
        }
    }

    /// Whether a head is of this chain and key; what else it is is said at the end.
    fn is_ours(&self, head: &Head) -> bool {
        head.is_signed_by(&self.public) && (self.report.chain.is_empty() || head.chain == self.report.chain)
    }

    /// What the journal says of itself.
    fn said(&mut self, found: &Found) {
        let (sequence, at) = (found.recorded.sequence, &found.recorded.at);
        let at_ms = chrono::DateTime::parse_from_rfc3339(at).ok().map(|at| at.timestamp_millis());
        if let (Some(now), Some(before)) = (at_ms, self.last_ms)
            && before - now > 1000
        {
            self.remark(format!(
                "the clock went back by {} seconds before entry {sequence} of {at}; numbers say the order",
                (before - now) / 1000
            ));
        }
        self.last_ms = at_ms.or(self.last_ms);
        let entry = &found.recorded.entry;
        let rows = entry.rows.unwrap_or_default();
        match entry.reason.as_deref().filter(|_| entry.action == Action::Journal) {
            Some(word::TORN) => self.remark(format!(
                "before entry {sequence} of {at}, {rows} bytes behind the last whole line were set aside: a process had ended in the middle of a write"
            )),
            Some(word::GAP) => self.remark(format!("before entry {sequence} of {at}, {rows} entries could not be written")),
            Some(word::TOUCHED) => {
                let message = format!("before entry {sequence} of {at}, the file that was written to was changed, replaced or removed by somebody else");
                self.find(Kind::Broken, Some(sequence), message);
            }
            Some(word::DOUBTED) => self.remark(format!(
                "at the start of {at}, entry {sequence}, the process itself found that heads say otherwise than the entries that were there"
            )),
            _ => {}
        }
    }

    fn finish(&mut self, has_elsewhere: bool) {
        let heads = std::mem::take(&mut self.heads);
        let key = key_name(&self.public);
        let (last, chain) = (self.report.last, self.report.chain.clone());
        let forged = heads.iter().filter(|(head, _)| !head.is_signed_by(&self.public)).count();
        if forged > 0 {
            let message = format!(
                "{forged} of the heads are not signed by the key {key}: they are forged, or of another key (give its public key with --public-key)"
            );
            self.find(Kind::Forged, None, message);
        }
        let good: Vec<&(Head, bool)> = heads.iter().filter(|(head, _)| head.is_signed_by(&self.public)).collect();
        if let Some((head, is_elsewhere)) =
            good.iter().rev().find(|(head, _)| head.chain == chain && head.sequence > last)
        {
            let message = format!(
                "the end is cut off: a head signed {}{} vouches for entries up to {}, and the last that is there is {last}",
                head.at,
                of_where(*is_elsewhere),
                head.sequence
            );
            self.find(Kind::Cut, Some(last + 1), message);
        }
        let foreign: Vec<&&(Head, bool)> = good.iter().filter(|(head, _)| head.chain != chain).collect();
        if let Some((head, is_elsewhere)) = foreign.last().filter(|_| !chain.is_empty() || last == 0) {
            let message = format!(
                "this key has signed {} heads of another chain, {}, the last for entry {} at {}{}: the journal that they vouch for is not this one",
                foreign.len(),
                head.chain,
                head.sequence,
                head.at,
                of_where(*is_elsewhere)
            );
            self.find(Kind::Foreign, None, message);
        }
        let unsigned = last.saturating_sub(self.report.signed);
        if unsigned > 0 && self.report.findings.is_empty() {
            self.remark(format!("the last {unsigned} entries are not vouched for by a head yet"));
        }
        if has_elsewhere && self.report.signed_elsewhere.is_none() && self.report.findings.is_empty() {
            self.remark("none of the heads from elsewhere is of an entry that is here".to_owned());
        }
        if !has_elsewhere {
            self.remark("no heads from elsewhere were given: who has the data folder and its key can compute a chain anew (--heads)".to_owned());
        }
        self.report.intact = self.report.findings.is_empty();
    }
}

fn of_where(is_elsewhere: bool) -> &'static str {
    if is_elsewhere { " and kept elsewhere" } else { "" }
}
