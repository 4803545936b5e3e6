//! What people ask of the journal: what was done lately, and who saw a person.
//!
//! Reads the files, oldest or newest first. Invariant: an answer holds what entries hold, and so no value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::chain::Found;
use super::entry::{Action, Entry, Outcome, Surface, Who};
use super::files::{bytes_of, lines, segments};
use super::{Audit, AuditError, Inner};

/// Entries that are shown at once.
pub const LISTED_MAX: usize = 10_000;

/// Which accesses are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Of this name alone.
    pub who: Option<String>,
    /// Of this dataset alone, as `layer.name` or its bare name.
    pub dataset: Option<String>,
    /// This alone.
    pub action: Option<Action>,
    /// With this end alone.
    pub outcome: Option<Outcome>,
    /// From this moment on, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The most that are shown.
    pub limit: usize,
}

/// An access, its beginning and its end as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The number of its first entry.
    pub sequence: u64,
    /// When it began.
    pub at: String,
    /// What it was.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Why an access counts as a disclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The statement names the person.
    Named,
    /// It read a dataset that holds the person.
    Dataset,
    /// It read a dataset that may have held the person then.
    MayHold,
}

/// What is known of where a person is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Datasets that hold rows of the person now.
    pub now: BTreeSet<String>,
    /// Datasets that hold none and never have.
    pub never: BTreeSet<String>,
}

impl Holding {
    /// Why an access to a dataset counts; nothing where it does not.
    fn because(&self, name: &str) -> Option<Because> {
        let name = name.strip_suffix("_live").unwrap_or(name);
        if self.now.contains(name) {
            return Some(Because::Dataset);
        }
        (!self.never.contains(name) && !name.starts_with("ops.")).then_some(Because::MayHold)
    }
}

/// Somebody to whom a person's data went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosure {
    /// When.
    pub at: String,
    /// The number of the entry.
    pub sequence: u64,
    /// To whom.
    #[serde(flatten)]
    pub who: Who,
    /// By which way.
    pub surface: Surface,
    /// How.
    pub action: Action,
    /// Why it counts.
    pub because: Because,
    /// For which purpose, as was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purpose: Option<String>,
    /// Of which datasets.
    pub datasets: Vec<super::Accessed>,
    /// Rows that were given, the person's and others'; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Who saw a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosures {
    /// The person, as the journal's token.
    pub subject: String,
    /// The datasets that hold the person now; none where no contract says which column holds a person's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub datasets: Option<BTreeSet<String>>,
    /// Each of them, oldest first.
    pub disclosures: Vec<Disclosure>,
    /// Accesses that named the person and gave nothing.
    pub named_in_vain: u64,
    /// Entries made under another key, in which the person cannot be found by name.
    pub under_other_keys: u64,
}

impl Audit {
    /// Accesses, newest first. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn list(&self, asked: &Asked) -> Result<Vec<Listed>, AuditError> {
        let Some(inner) = &self.inner else { return Ok(Vec::new()) };
        let (mut found, mut ends) = (Vec::new(), BTreeMap::new());
        inner.each(true, |mut line| {
            line.recorded.entry.statement.iter_mut().for_each(|statement| statement.literals.clear());
            let entry = line.recorded.entry;
            let is_old = asked.since_ms.is_some_and(|since| moment(&line.recorded.at).is_some_and(|at| at < since));
            if is_old || found.len() >= asked.limit.min(LISTED_MAX) {
                return false;
            }
            let entry = match entry.outcome {
                Outcome::Begun => ended(entry, &mut ends),
                // A beginning may still come for this one; what has none is an access by itself.
                _ if entry.ends => {
                    ends.insert(entry.id.clone(), entry);
                    return true;
                }
                _ => entry,
            };
            if is_asked(asked, &entry) {
                found.push(Listed { sequence: line.recorded.sequence, at: line.recorded.at, entry });
            }
            true
        })?;
        Ok(found)
    }

    /// Who saw a person between two moments, in milliseconds since 1970. Without `holding` every dataset may have held
    /// the person. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn disclosures(
        &self,
        subject: &str,
        (from_ms, to_ms): (Option<i64>, Option<i64>),
        holding: Option<&Holding>,
    ) -> Result<Disclosures, AuditError> {
        let Some(inner) = &self.inner else { return Ok(Disclosures::default()) };
        let (token, key) = (inner.tokens.of(subject), inner.tokens.key_id());
        let datasets = holding.map(|holding| holding.now.clone());
        let mut answer = Disclosures { subject: token.clone(), datasets, ..Disclosures::default() };
        let (unknown, about) = (Holding::default(), token);
        let about = (about.as_str(), holding.unwrap_or(&unknown));
        let (mut open, mut is_our_key) = (BTreeMap::new(), true);
        inner.each(false, |line| {
            let (at, entry) = (moment(&line.recorded.at), line.recorded.entry);
            if entry.action == Action::Journal {
                if let Some(under) = &entry.subject {
                    is_our_key = *under == key;
                }
                return true;
            }
            answer.under_other_keys += u64::from(!is_our_key);
            if entry.ends {
                if let Some((sequence, at, begun)) = open.remove(&entry.id) {
                    let (outcome, rows, reason) = (entry.outcome, entry.rows, entry.reason);
                    note(&mut answer, about, (sequence, at, Entry { outcome, rows, reason, ..begun }));
                }
                return true;
            }
            let is_within = at.is_none_or(|at| from_ms.is_none_or(|from| at >= from) && to_ms.is_none_or(|to| at < to));
            if is_within {
                let (sequence, at) = (line.recorded.sequence, line.recorded.at);
                match entry.outcome {
                    Outcome::Begun => {
                        open.insert(entry.id.clone(), (sequence, at, entry));
                    }
                    _ => note(&mut answer, about, (sequence, at, entry)),
                }
            }
            true
        })?;
        // What never ended was cut short by the end of a process: something may have been given.
        for begun in open.into_values() {
            note(&mut answer, about, begun);
        }
        answer.disclosures.sort_by_key(|disclosure| disclosure.sequence);
        Ok(answer)
    }
}

/// Takes an access in, if somebody was given something of the person by it, or may have been.
fn note(answer: &mut Disclosures, (token, holding): (&str, &Holding), (sequence, at, entry): (u64, String, Entry)) {
    let is_named =
        entry.statement.as_ref().is_some_and(|statement| statement.literals.iter().any(|literal| literal == token));
    let gave = match entry.outcome {
        Outcome::Refused | Outcome::Failed => entry.rows.is_some_and(|rows| rows > 0),
        Outcome::Begun => true,
        Outcome::Done | Outcome::Abandoned => entry.rows != Some(0),
    };
    if !matches!(entry.action, Action::Query | Action::Read) || !gave {
        answer.named_in_vain += u64::from(is_named);
        return;
    }
    // A query that reads no column of a dataset counts its rows alone.
    let shows = |of: &&super::Accessed| entry.action == Action::Read || !of.columns.is_empty();
    let (mut because, mut datasets) = (is_named.then_some(Because::Named), Vec::new());
    for of in entry.datasets.iter().filter(shows) {
        let found = holding.because(&of.dataset);
        if found.is_some() || is_named {
            datasets.push(of.clone());
        }
        because = [because, found].into_iter().flatten().min();
    }
    // A page that shows rows of several datasets names none of them.
    if entry.action == Action::Read && entry.datasets.is_empty() {
        because = because.or(Some(Because::MayHold));
    }
    let Some(because) = because else { return };
    answer.disclosures.push(Disclosure {
        at,
        sequence,
        who: entry.who,
        surface: entry.surface,
        action: entry.action,
        because,
        purpose: entry.purpose,
        datasets,
        rows: entry.rows,
        outcome: entry.outcome,
    });
}

/// A beginning with its end, where that is known.
fn ended(begun: Entry, ends: &mut BTreeMap<String, Entry>) -> Entry {
    match ends.remove(&begun.id) {
        Some(end) => {
            Entry { outcome: end.outcome, rows: end.rows, reason: end.reason.or(begun.reason.clone()), ..begun }
        }
        None => begun,
    }
}

fn is_asked(asked: &Asked, entry: &Entry) -> bool {
    let of = |wanted: &String| {
        let is = |name: &str| name == wanted || name.rsplit('.').next() == Some(wanted);
        entry.datasets.iter().any(|of| is(&of.dataset))
    };
    asked.who.as_ref().is_none_or(|who| entry.who.name.as_ref() == Some(who))
        && asked.dataset.as_ref().is_none_or(of)
        && asked.action.is_none_or(|action| entry.action == action)
        && asked.outcome.is_none_or(|outcome| entry.outcome == outcome)
}

fn moment(at: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(at).ok().map(|at| at.timestamp_millis())
}

impl Inner {
    /// Gives each line of the journal, the newest or the oldest first, until one says that it is enough.
    fn each(&self, is_newest_first: bool, mut take: impl FnMut(Found) -> bool) -> Result<(), AuditError> {
        let failed = |source| AuditError::Read { path: self.folder.clone(), source };
        let mut all = segments(&self.disk, &self.folder).map_err(failed)?;
        if is_newest_first {
            all.reverse();
        }
        for segment in all {
            let bytes = bytes_of(&self.disk, &segment.path).map_err(failed)?;
            let mut found: Vec<Found> = lines(&bytes).filter_map(|(line, _)| Found::read(line)).collect();
            if is_newest_first {
                found.reverse();
            }
            for line in found {
                if !take(line) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
