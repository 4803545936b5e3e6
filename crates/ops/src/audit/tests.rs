//! The journal over crashes, edits, cuts, chains computed anew, swapped files, a full disk and a clock that goes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use ring::signature::Ed25519KeyPair;
use rstest::rstest;
use vitalake_runtime::disk::{CrashDisk, LocalDisk};

use super::chain::{Found, Hash, line};
use super::files::{Segment, bytes_of, segments};
use super::read::{Asked, Because, Holding};
use super::verify::{Against, Kind, Report, verify};
use super::*;
use crate::signing::SigningKey;

const FOLDER: &str = "/data/audit";

fn who(name: &str) -> Who {
    Who::named(name, "token", ["analyst".to_owned()])
}

fn query(tokens: &Tokens, name: &str, dataset: &str, literal: &str) -> Entry {
    let columns = [("hr".to_owned(), Shown::Clear)].into();
    let read = Accessed { dataset: dataset.to_owned(), columns, filtered: false };
    let literals = vec![tokens.of(literal)];
    let statement =
        Statement { fingerprint: "f".to_owned(), shape: "SELECT ?".to_owned(), literals, literals_left_out: 0 };
    Entry { datasets: vec![read], statement: Some(statement), ..Entry::new(who(name), Surface::Http, Action::Query) }
}

/// A journal of 20 entries in files of few lines each, with a head after each five; where it was written, and its heads.
fn written(disk: &Arc<dyn Disk>, folder: &Path, clock: &Clock) -> Vec<Head> {
    let mut writer = open(disk, folder, clock).with_segments_of(2_000);
    let mut heads = Vec::new();
    for number in 0..19 {
        let entry = query(&writer.keys.tokens, "anna", "serving.x", &format!("P-{number}"));
        writer.append(&[(clock.now_ms(), entry)]).unwrap();
        if number % 5 == 4 {
            heads.extend(writer.sign().unwrap());
        }
    }
    heads.extend(writer.sign().unwrap());
    heads
}

fn open(disk: &Arc<dyn Disk>, folder: &Path, clock: &Clock) -> Writer {
    let keys = Arc::new(Keys::open(disk, &folder.join("keys")).unwrap());
    Writer::open(disk, folder.to_owned(), keys, clock.clone(), &[]).unwrap()
}

fn checked(disk: &Arc<dyn Disk>, folder: &Path, heads: Option<&[Head]>) -> Report {
    let against = Against { heads: heads.map(<[Head]>::to_vec), public_key: None };
    verify(disk, folder, None, &against).unwrap()
}

fn kinds(report: &Report) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds
}

struct Place(Arc<dyn Disk>, tempfile::TempDir, Vec<Head>);

/// A written journal on this machine's disk, to be attacked.
fn place() -> Place {
    let (disk, folder) = (LocalDisk::shared(), tempfile::tempdir().unwrap());
    let heads = written(&disk, folder.path(), &Clock::manual(1_000));
    Place(disk, folder, heads)
}

impl Place {
    fn folder(&self) -> &Path {
        self.1.path()
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        segments(&self.0, self.folder()).unwrap().into_iter().map(|segment| segment.path).collect()
    }

    fn check(&self) -> Report {
        checked(&self.0, self.folder(), Some(&self.2))
    }

    /// Computes the chain anew from an entry on, with what that entry says changed.
    fn recompute(&self, from: u64) {
        let mut last = None;
        for file in self.files() {
            let mut bytes = Vec::new();
            for text in std::fs::read(&file).unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let found = Found::read(text).unwrap();
                let sequence = found.recorded.sequence;
                if sequence < from {
                    last = Some(found.hash);
                    bytes.extend_from_slice(text);
                } else {
                    let mut entry = found.recorded.entry;
                    if sequence == from {
                        entry.who.name = Some("somebody else".to_owned());
                    }
                    let (anew, hash) = line(sequence, last.unwrap_or_default(), 1_000, &entry).unwrap();
                    last = Some(hash);
                    bytes.extend_from_slice(&anew);
                }
                bytes.push(b'\n');
            }
            std::fs::write(&file, bytes).unwrap();
        }
    }
}

#[test]
fn a_journal_as_it_was_written_is_intact_and_vouched_for() {
    let place = place();
    let report = place.check();
    assert!(report.intact, "{report:?}");
    assert_eq!((report.entries, report.last, report.signed, report.signed_elsewhere), (20, 20, 20, Some(20)));
    assert!(place.files().len() > 3, "files are rotated");
}

#[test]
fn an_edit_is_found_in_its_entry_wherever_it_is() {
    for at in [1_u64, 7, 20] {
        let place = place();
        for file in place.files() {
            let text = std::fs::read_to_string(&file).unwrap();
            let of = format!("{{\"sequence\":{at},");
            let edited: Vec<String> = text
                .lines()
                .map(|line| {
                    if line.starts_with(&of) {
                        line.replace("\"anna\"", "\"berta\"").replace("platform", "nobody")
                    } else {
                        line.to_owned()
                    }
                })
                .collect();
            std::fs::write(&file, edited.join("\n") + "\n").unwrap();
        }
        let report = place.check();
        let found = report.findings.iter().find(|finding| finding.kind == Kind::Edited).unwrap();
        assert_eq!((report.intact, found.sequence), (false, Some(at)), "{report:?}");
        assert!(!found.message.contains("berta"));
    }
}

#[test]
fn an_edit_with_its_own_hash_made_anew_breaks_the_step_after_it() {
    let place = place();
    let file = &place.files()[1];
    let text = std::fs::read_to_string(file).unwrap();
    let first = text.lines().next().unwrap();
    let found = Found::read(first.as_bytes()).unwrap();
    let mut entry = found.recorded.entry.clone();
    entry.rows = Some(0);
    let previous = Hash::parse(&found.recorded.previous).unwrap();
    let (anew, _) = line(found.recorded.sequence, previous, 1_000, &entry).unwrap();
    std::fs::write(file, text.replacen(first, std::str::from_utf8(&anew).unwrap(), 1)).unwrap();
    let report = place.check();
    let broken = report.findings.iter().find(|finding| finding.kind == Kind::Broken);
    assert_eq!(broken.and_then(|finding| finding.sequence), Some(found.recorded.sequence + 1), "{report:?}");
}

#[test]
fn a_cut_tail_is_found_by_heads_also_when_it_is_cut_at_the_end_of_a_line_or_a_file() {
    let place = place();
    let files = place.files();
    std::fs::remove_file(files.last().unwrap()).unwrap();
    let report = place.check();
    assert_eq!(kinds(&report), [Kind::Cut], "{report:?}");
    assert!(report.findings[0].message.contains("vouches for entries up to 20"), "{report:?}");
    // Who cuts the heads that lie beside it is found by those that lie elsewhere.
    std::fs::remove_file(place.folder().join(HEADS)).unwrap();
    assert_eq!(kinds(&place.check()), [Kind::Cut]);
    assert!(checked(&place.0, place.folder(), None).intact, "with nothing from elsewhere nobody could know");
}

#[rstest]
#[case(1)]
#[case(9)]
#[case(20)]
fn a_chain_that_was_computed_anew_is_found_by_heads(#[case] from: u64) {
    let place = place();
    place.recompute(from);
    // With the key that lies in the data folder heads can be made anew as well; those elsewhere cannot.
    std::fs::remove_file(place.folder().join(HEADS)).unwrap();
    let report = place.check();
    let wanted = if from == 1 { Kind::Foreign } else { Kind::Recomputed };
    assert!(kinds(&report).contains(&wanted), "{report:?}");
    assert!(!report.intact);
}

#[test]
fn a_missing_file_and_two_swapped_ones_are_named() {
    let place = place();
    let files = place.files();
    let kept = std::fs::read(&files[1]).unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    let report = place.check();
    assert_eq!(kinds(&report), [Kind::Missing], "{report:?}");
    std::fs::write(&files[1], std::fs::read(&files[2]).unwrap()).unwrap();
    std::fs::write(&files[2], kept).unwrap();
    let report = place.check();
    assert!(kinds(&report).contains(&Kind::Misplaced), "{report:?}");
}

#[test]
fn forged_heads_are_told_and_an_old_one_vouches_for_no_more_than_it_did() {
    let place = place();
    let stranger = SigningKey::from(Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap());
    let chain = place.2[0].chain.clone();
    let forged = Head::sign(&stranger, &chain, (20, Hash::of(b"x")), 0);
    let report = checked(&place.0, place.folder(), Some(&[forged]));
    assert_eq!(kinds(&report), [Kind::Forged], "{report:?}");
    let report = checked(&place.0, place.folder(), Some(&place.2[..1]));
    assert_eq!((report.intact, report.signed_elsewhere), (true, Some(6)), "{report:?}");
}

#[test]
fn a_torn_last_line_is_set_aside_said_and_gone_on_after() {
    for cut in [1, 40, 200] {
        let place = place();
        let last = place.files().pop().unwrap();
        let bytes = std::fs::read(&last).unwrap();
        let mut torn = bytes.clone();
        torn.extend_from_slice(&bytes[..cut]);
        std::fs::write(&last, torn).unwrap();
        assert!(place.check().intact, "what is being written is no finding");
        let mut writer = open(&place.0, place.folder(), &Clock::manual(2_000));
        writer.append(&[(2_000, Entry::new(who("anna"), Surface::Http, Action::Read))]).unwrap();
        writer.sign().unwrap();
        let report = place.check();
        assert!(report.intact && report.last == 23, "{report:?}");
        assert!(report.remarks.iter().any(|remark| remark.contains(&format!("{cut} bytes"))), "{report:?}");
        let aside = std::fs::read_dir(place.folder())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("torn-"));
        assert_eq!(aside.map(|entry| entry.metadata().unwrap().len()).sum::<u64>(), cut as u64);
    }
}

#[test]
fn a_cut_while_the_process_was_down_is_told_at_the_start() {
    let place = place();
    std::fs::remove_file(place.files().last().unwrap()).unwrap();
    let writer = open(&place.0, place.folder(), &Clock::manual(2_000));
    assert!(writer.tail.is_doubted);
    let report = place.check();
    assert!(!report.intact, "what was written after the cut does not cover it: {report:?}");
}

#[test]
fn what_somebody_does_to_the_file_meanwhile_is_said_and_nothing_is_lost_after_it() {
    for touch in [0, 1, 2] {
        let (disk, folder) = (LocalDisk::shared(), tempfile::tempdir().unwrap());
        let clock = Clock::manual(1_000);
        let mut writer = open(&disk, folder.path(), &clock);
        let entry = || (1_000, Entry::new(who("anna"), Surface::Http, Action::Read));
        writer.append(&[entry()]).unwrap();
        let file = segments(&disk, folder.path()).unwrap().pop().unwrap().path;
        match touch {
            0 => std::fs::remove_file(&file).unwrap(),
            1 => std::fs::write(&file, b"").unwrap(),
            _ => std::fs::write(&file, [std::fs::read(&file).unwrap(), b"{}\n".to_vec()].concat()).unwrap(),
        }
        writer.append(&[entry()]).unwrap();
        writer.append(&[entry()]).unwrap();
        let report = checked(&disk, folder.path(), None);
        assert!(!report.intact && report.last == 5, "{touch}: {report:?}");
        assert!(report.findings.iter().any(|finding| finding.message.contains("somebody else")), "{report:?}");
    }
}

#[test]
fn a_clock_that_goes_back_is_a_remark() {
    let (disk, folder, clock) = (LocalDisk::shared(), tempfile::tempdir().unwrap(), Clock::manual(100_000));
    let mut writer = open(&disk, folder.path(), &clock);
    writer.append(&[(40_000, Entry::new(who("anna"), Surface::Http, Action::Read))]).unwrap();
    let report = checked(&disk, folder.path(), None);
    assert!(
        report.intact && report.remarks.iter().any(|remark| remark.contains("went back by 60 seconds")),
        "{report:?}"
    );
}

/// Whatever was answered for is there after a crash at any step, and the journal goes on.
#[test]
fn what_was_durable_is_there_after_a_crash_at_any_step() {
    for seed in 0..40 {
        let crash = CrashDisk::new(seed);
        let disk: Arc<dyn Disk> = Arc::new(crash.clone());
        let (folder, clock) = (Path::new(FOLDER), Clock::manual(1_000));
        let keys = Arc::new(Keys::open(&disk, &folder.join("keys")).unwrap());
        let mut kept = 0;
        for round in 0..4 {
            let opened = Writer::open(&disk, folder.to_owned(), Arc::clone(&keys), clock.clone(), &[]);
            let Ok(writer) = opened else {
                crash.crash();
                continue;
            };
            let mut writer = writer.with_segments_of(1_500);
            crash.kill_after(seed * 3 + round * 7 + 5);
            loop {
                let entry = Entry { rows: Some(kept + 1), ..Entry::new(who("anna"), Surface::Http, Action::Query) };
                if writer.append(&[(1_000, entry)]).is_err() {
                    break;
                }
                kept += 1;
                if kept % 3 == 0 && writer.sign().is_err() {
                    break;
                }
            }
            crash.crash();
        }
        let mut writer = Writer::open(&disk, folder.to_owned(), keys, clock, &[]).unwrap();
        writer.sign().unwrap();
        let report = checked(&disk, folder, None);
        assert!(report.intact, "seed {seed}: {report:?}");
        let mut found = Vec::new();
        for segment in segments(&disk, folder).unwrap() {
            let bytes = bytes_of(&disk, &segment.path).unwrap();
            let read = files::lines(&bytes).filter_map(|(line, _)| Found::read(line));
            found.extend(
                read.filter_map(|line| {
                    line.recorded.entry.rows.filter(|_| line.recorded.entry.action == Action::Query)
                }),
            );
        }
        found.dedup();
        for number in 1..=kept {
            assert!(found.contains(&number), "seed {seed}: entry {number} of {kept} is gone");
        }
    }
}

fn options(disk: Arc<dyn Disk>, folder: &Path, is_required: bool) -> AuditOptions {
    let clock = Clock::manual(1_000);
    AuditOptions { disk, folder: folder.to_owned(), keys: None, clock, is_required, elsewhere: Vec::new() }
}

#[tokio::test]
async fn an_access_whose_entry_cannot_be_written_is_refused_and_counted_later() {
    let crash = CrashDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(crash.clone());
    let audit = Audit::open(options(Arc::clone(&disk), Path::new(FOLDER), true)).unwrap();
    let entry = || Entry::new(who("anna"), Surface::Http, Action::Read);
    audit.record(entry()).await.unwrap();
    crash.fail_writes(Some(io::ErrorKind::StorageFull));
    let mut begun = audit.begin(entry()).await.unwrap();
    assert!(matches!(begun.kept().await, Err(AuditError::Unwritable)));
    drop(begun);
    assert!(audit.is_failing());
    crash.fail_writes(None);
    audit.record(entry()).await.unwrap();
    audit.close(Duration::from_secs(5)).await;
    let report = checked(&disk, Path::new(FOLDER), None);
    assert!(report.intact && report.remarks.iter().any(|remark| remark.contains("could not be written")), "{report:?}");
}

#[tokio::test]
async fn beginning_and_end_are_one_access_and_who_hangs_up_is_abandoned_with_what_was_given() {
    let (disk, folder) = (LocalDisk::shared(), tempfile::tempdir().unwrap());
    let audit = Audit::open(options(Arc::clone(&disk), folder.path(), true)).unwrap();
    let entry = query(audit.tokens().unwrap(), "anna", "serving.x", "P-1");
    let mut done = audit.begin(entry.clone()).await.unwrap();
    done.kept().await.unwrap();
    done.give(7);
    done.end(Outcome::Done, None);
    let mut gone = audit.begin(entry.clone()).await.unwrap();
    gone.kept().await.unwrap();
    gone.give(3);
    drop(gone);
    audit.record(entry.ended(Outcome::Refused, Some("policy"))).await.unwrap();
    audit.close(Duration::from_secs(5)).await;
    let listed = audit.list(&Asked { action: Some(Action::Query), limit: 10, ..Asked::default() }).unwrap();
    let ends: Vec<_> = listed.iter().map(|listed| (listed.entry.outcome, listed.entry.rows)).collect();
    assert_eq!(ends, [(Outcome::Refused, None), (Outcome::Abandoned, Some(3)), (Outcome::Done, Some(7))]);
    assert!(listed.iter().all(|listed| listed.entry.statement.as_ref().unwrap().literals.is_empty()));
}

#[tokio::test]
async fn disclosures_are_what_named_a_person_or_read_what_holds_him() {
    let (disk, folder) = (LocalDisk::shared(), tempfile::tempdir().unwrap());
    let audit = Audit::open(options(Arc::clone(&disk), folder.path(), true)).unwrap();
    let tokens = audit.tokens().unwrap().clone();
    let give = |name: &str, dataset: &str, literal: &str, rows: u64| Entry {
        rows: Some(rows),
        ..query(&tokens, name, dataset, literal)
    };
    for entry in [
        give("anna", "serving.x", "P-1", 1),
        give("berta", "serving.x", "P-2", 5),
        give("carl", "serving.y", "P-3", 5),
        give("dora", "serving.x", "P-1", 0),
        give("emil", "serving.x", "P-1", 0).ended(Outcome::Refused, Some("policy")),
        Entry {
            datasets: vec![Accessed { dataset: "serving.x".to_owned(), ..Accessed::default() }],
            ..give("fritz", "serving.x", "P-9", 1)
        },
    ] {
        audit.record(entry).await.unwrap();
    }
    audit.close(Duration::from_secs(5)).await;
    let datasets = |name: &str| [name.to_owned()].into();
    let holding = Holding { now: datasets("serving.x"), never: datasets("serving.y") };
    let found = audit.disclosures("P-1", (None, None), Some(&holding)).unwrap();
    let names: Vec<_> = found.disclosures.iter().map(|of| (of.who.name.clone().unwrap(), of.because)).collect();
    assert_eq!(names, [("anna".to_owned(), Because::Named), ("berta".to_owned(), Because::Dataset)]);
    assert_eq!(found.named_in_vain, 2);
    assert!(!serde_json::to_string(&found).unwrap().contains("P-1"), "the answer names nobody");
    let holding = Holding { now: datasets("serving.x"), ..Holding::default() };
    let found = audit.disclosures("P-1", (None, None), Some(&holding)).unwrap();
    let carl = found.disclosures.iter().find(|of| of.who.name.as_deref() == Some("carl")).unwrap();
    assert_eq!(carl.because, Because::MayHold, "what may have held him then counts");
    let all = audit.disclosures("P-1", (None, None), None).unwrap();
    assert_eq!(all.disclosures.len(), 3, "where it is not known what holds him, all may");
    assert!(audit.disclosures("P-1", (Some(2_000), None), None).unwrap().disclosures.is_empty());
}

#[tokio::test]
async fn a_cursor_gives_each_entry_once_over_files() {
    let (disk, folder) = (LocalDisk::shared(), tempfile::tempdir().unwrap());
    written(&disk, folder.path(), &Clock::manual(1_000));
    let audit = Audit::open(options(disk, folder.path(), false)).unwrap();
    let mut cursor = Cursor::at(4);
    let mut found = Vec::new();
    loop {
        let read = audit.read_on(&mut cursor).unwrap();
        if read.is_empty() {
            break;
        }
        found.extend(read.into_iter().map(|recorded| recorded.sequence));
    }
    assert_eq!(found, (4..=21).collect::<Vec<u64>>());
    let _named = Segment::new(folder.path(), 1).name();
}
