//! The book over time: who is told what, once, whatever happens to processes, receivers and clocks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Awaited, Book, Identity, Moment, Observed, Silence};
use super::lineage::Lineage;
use super::machine::{Observation, Timing};
use super::notice::{Kind, Notice};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Alerts and what holds of each, a book, and receivers that are there or not.
struct World {
    book: Book,
    alerts: Vec<(Identity, Timing)>,
    holds: BTreeSet<String>,
    away: BTreeSet<String>,
    awaited: Vec<Awaited>,
    got: Vec<(String, Kind, String)>,
    now: Moment,
}

fn lineage() -> Lineage {
    Lineage::new([("b".to_owned(), vec!["a".to_owned()]), ("c".to_owned(), vec!["b".to_owned()])])
}

impl World {
    fn new() -> Self {
        Self {
            book: Book::default(),
            alerts: Vec::new(),
            holds: BTreeSet::new(),
            away: BTreeSet::new(),
            awaited: Vec::new(),
            got: Vec::new(),
            now: Moment { wall_ms: 1_800_000_000_000, steady_ms: 0 },
        }
    }

    /// Adds an alert: its name is that of its dataset unless there is a `/`: `dataset/name`.
    fn with(mut self, name: &str, severity: &str, hold_for_ms: u64, receivers: &[&str]) -> Self {
        let (dataset, name) = name.split_once('/').unwrap_or((name, name));
        let identity = Identity {
            alert: name.to_owned(),
            dataset: Some(format!("serving.{dataset}")),
            labels: BTreeMap::new(),
            severity: severity.to_owned(),
            owner: "team".to_owned(),
            runbook: "book".to_owned(),
            group: None,
            receivers: receivers.iter().map(|r| (*r).to_owned()).collect(),
        };
        self.alerts.push((identity, Timing { hold_for_ms, keep_firing_for_ms: 0 }));
        self
    }

    fn grouped(mut self, group: &str) -> Self {
        self.alerts.iter_mut().for_each(|(identity, _)| identity.group = Some(group.to_owned()));
        self
    }

    fn names(&self) -> BTreeSet<String> {
        self.alerts.iter().map(|(identity, _)| identity.alert.clone()).collect()
    }

    /// Evaluates with these alerts holding, after so long, and delivers what is to be delivered.
    fn after(&mut self, ms: u64, holds: &[&str]) -> &mut Self {
        self.evaluate(ms, holds);
        self.deliver();
        self
    }

    fn evaluate(&mut self, ms: u64, holds: &[&str]) {
        self.now.steady_ms += ms;
        self.now.wall_ms += i64::try_from(ms).unwrap();
        self.holds = holds.iter().map(|name| (*name).to_owned()).collect();
        let observed = self.alerts.iter().map(|(identity, timing)| Observed {
            identity: identity.clone(),
            observation: if self.holds.contains(&identity.alert) {
                Observation::Holds(format!("{} holds", identity.alert))
            } else {
                Observation::Clear
            },
            timing: *timing,
            young: false,
        });
        let observed = observed.collect();
        self.book.observe(observed, &BTreeSet::new(), &self.names(), self.now);
        self.book.settle(&lineage(), &self.awaited, self.now.wall_ms);
    }

    fn next(&mut self, receiver: &str) -> Option<Notice> {
        self.book.sweep(receiver);
        self.book.notices(receiver, receiver == "pager", &lineage(), self.now.wall_ms).into_iter().next()
    }

    fn deliver(&mut self) {
        let receivers: BTreeSet<String> = self.alerts.iter().flat_map(|(i, _)| i.receivers.clone()).collect();
        for receiver in receivers {
            while let Some(notice) = self.next(&receiver).filter(|_| !self.away.contains(&receiver)) {
                let message = &notice.message;
                self.got.push((message.alert.clone(), message.kind, message.summary.clone()));
                self.book.delivered(&receiver, notice);
                assert!(self.got.len() < 100, "it does not end: {:?}", self.got);
            }
        }
    }

    /// What was told since the last time, as `alert kind`.
    fn told(&mut self) -> Vec<String> {
        self.got.drain(..).map(|(alert, kind, _)| format!("{alert} {kind:?}").to_lowercase()).collect()
    }

    /// The process ends and another takes up what was kept.
    fn restart(&mut self, kept: &str) {
        self.book = serde_json::from_str(kept).unwrap();
        self.book.resume(self.now.wall_ms);
        self.now.steady_ms = 0;
    }

    fn kept(&self) -> String {
        serde_json::to_string(&self.book).unwrap()
    }
}

#[test]
fn each_change_is_told_once_also_over_a_clean_restart() {
    let mut world = World::new().with("a", "error", SECOND, &["ops"]);
    world.after(0, &["a"]).after(SECOND, &["a"]).after(SECOND, &["a"]);
    assert_eq!(world.told(), ["a firing"]);
    let kept = world.kept();
    world.restart(&kept);
    world.after(SECOND, &["a"]).after(MINUTE, &["a"]);
    assert!(world.told().is_empty());
    world.after(SECOND, &[]).after(SECOND, &[]);
    assert_eq!(world.told(), ["a resolved"]);
    world.after(SECOND, &["a"]).after(SECOND, &["a"]);
    assert_eq!(world.told(), ["a firing"]);
}

#[test]
fn a_crash_between_sending_and_writing_down_repeats_one_message() {
    let mut world = World::new().with("a", "error", 0, &["ops"]);
    world.evaluate(0, &["a"]);
    let kept = world.kept();
    world.deliver();
    assert_eq!(world.told(), ["a firing"]);
    world.restart(&kept);
    world.after(SECOND, &["a"]).after(SECOND, &["a"]).after(SECOND, &[]);
    assert_eq!(world.told(), ["a firing", "a resolved"]);
}

#[test]
fn after_an_hour_away_a_receiver_is_told_what_is_open_and_a_digest_names_what_came_and_went() {
    let mut world = World::new()
        .with("x/told", "error", 0, &["ops"])
        .with("x/open", "error", 0, &["ops"])
        .with("x/gone", "error", 0, &["ops"])
        .with("x/twice", "error", 0, &["ops"]);
    world.after(0, &["told"]);
    assert_eq!(world.told(), ["told firing"]);
    world.away.insert("ops".to_owned());
    world.after(MINUTE, &["told", "open", "gone", "twice"]).after(MINUTE, &["open"]);
    world.after(MINUTE, &["open", "twice"]).after(MINUTE, &["open"]).after(56 * MINUTE, &["open"]);
    let kept = world.kept();
    world.restart(&kept);
    world.after(SECOND, &["open"]);
    assert!(world.told().is_empty());
    world.away.clear();
    world.after(SECOND, &["open"]);
    let digest = world.got.iter().find(|(_, kind, _)| *kind == Kind::Digest).map(|(_, _, words)| words.clone());
    assert!(digest.unwrap().ends_with("gone, twice (2 times)"));
    assert_eq!(world.told(), ["open firing", "told resolved", "digest digest"]);
    world.after(MINUTE, &["open"]);
    assert!(world.told().is_empty());
}

#[test]
fn one_cause_is_one_message_that_names_what_derives_also_over_a_restart() {
    let mut world = World::new().with("a", "error", 0, &["ops"]).with("c", "warning", 0, &["ops"]);
    world.after(0, &["a", "c"]);
    assert!(world.got[0].2.ends_with("what derives from it: b, c"), "{:?}", world.got);
    assert_eq!(world.told(), ["a firing"]);
    let kept = world.kept();
    world.restart(&kept);
    world.after(SECOND, &["a", "c"]).after(MINUTE, &["c"]).after(MINUTE, &["c"]);
    assert_eq!(world.told(), ["a resolved"]);
    // It has had its time to recover.
    world.after(4 * MINUTE, &["c"]);
    assert_eq!(world.told(), ["c firing"]);
    world.after(MINUTE, &[]);
    assert_eq!(world.told(), ["c resolved"]);
}

#[test]
fn what_recovers_with_its_cause_is_never_told() {
    let mut world = World::new().with("a", "error", 0, &["ops"]).with("c", "warning", 0, &["ops"]);
    world.after(0, &["a", "c"]).after(MINUTE, &["c"]).after(MINUTE, &[]);
    assert_eq!(world.told(), ["a firing", "a resolved"]);
}

#[test]
fn a_cause_that_is_about_to_fire_is_waited_for_though_not_for_ever() {
    let mut world = World::new().with("a", "error", 2 * MINUTE, &["ops"]).with("c", "warning", 0, &["ops"]);
    world.after(0, &["a", "c"]).after(MINUTE, &["a", "c"]).after(MINUTE, &["a", "c"]);
    assert_eq!(world.told(), ["a firing"]);
    let mut world = World::new().with("a", "error", 60 * MINUTE, &["ops"]).with("c", "warning", 0, &["ops"]);
    world.after(0, &["a", "c"]).after(4 * MINUTE, &["a", "c"]);
    assert!(world.told().is_empty());
    world.after(2 * MINUTE, &["a", "c"]);
    assert_eq!(world.told(), ["c firing"]);
}

#[test]
fn a_cause_that_is_still_to_be_evaluated_is_waited_for_though_not_for_ever() {
    let awaited = |seen_ms| Awaited { dataset: "a".to_owned(), receivers: BTreeSet::from(["ops".to_owned()]), seen_ms };
    let world = || World::new().with("a", "error", 0, &["ops"]).with("c", "warning", 0, &["ops", "pager"]);
    let mut world_a = world();
    let since_ms = world_a.now.wall_ms;
    world_a.awaited = vec![awaited(Some(since_ms - 1))];
    // Whoever is not told of the cause is told at once.
    world_a.after(0, &["c"]).after(30 * SECOND, &["c"]);
    assert_eq!(world_a.told(), ["c firing"]);
    world_a.awaited = vec![awaited(Some(since_ms + 1))];
    world_a.after(SECOND, &["a", "c"]).after(MINUTE, &["a", "c"]);
    assert_eq!(world_a.told(), ["a firing"]);
    // One that was evaluated and does not hold speaks for nobody; nor does one that never comes to it.
    for (seen_ms, after) in [(Some(since_ms), 0), (None, 61 * SECOND)] {
        let mut world_b = world();
        world_b.awaited = vec![awaited(seen_ms)];
        world_b.after(0, &["c"]).after(after, &["c"]);
        assert_eq!(world_b.told(), ["c firing", "c firing"], "{seen_ms:?}");
    }
}

#[test]
fn an_alert_that_is_put_into_a_group_while_it_fires_leaves_no_message_of_its_own_behind() {
    let mut world = World::new().with("a", "error", 0, &["ops"]).with("x/b", "error", 0, &["ops"]);
    world.after(0, &["a", "b"]);
    assert_eq!(sorted(world.told()), ["a firing", "b firing"]);
    world = world.grouped("g");
    world.after(SECOND, &["a", "b"]).after(SECOND, &["a", "b"]);
    assert_eq!(sorted(world.told()), ["a resolved", "b resolved", "g firing"]);
    world.alerts.iter_mut().for_each(|(identity, _)| identity.group = None);
    world.after(SECOND, &["a"]).after(SECOND, &["a"]);
    assert_eq!(world.told(), ["a firing", "g resolved"]);
    world.after(SECOND, &[]).after(SECOND, &[]);
    assert_eq!(world.told(), ["a resolved"]);
    assert!(world.book.ledgers["ops"].told.values().all(|told| !told.open));
}

fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

#[test]
fn a_cause_speaks_only_to_those_that_it_is_sent_to_and_is_as_bad_as_what_it_causes() {
    let mut world = World::new().with("a", "info", 0, &[]).with("c", "critical", 0, &["ops"]);
    world.after(0, &["a", "c"]);
    assert_eq!(world.told(), ["c firing"]);
    let mut world = World::new().with("a", "info", 0, &["ops"]).with("c", "critical", 0, &["ops"]);
    world.after(0, &["a"]);
    assert_eq!(world.told(), ["a firing"]);
    // Whoever was told of a trifle is told that it has become none, once.
    world.after(SECOND, &["a", "c"]);
    assert_eq!(world.book.ledgers["ops"].told.values().next().unwrap().severity, "critical");
    world.after(SECOND, &["a", "c"]);
    assert_eq!(world.told(), ["a firing"]);
}

#[test]
fn a_silence_keeps_an_alert_from_being_told_until_its_end_but_not_from_being_resolved() {
    let mut world = World::new().with("a", "error", 0, &["ops"]).with("x/b", "error", 0, &["ops"]);
    world.after(0, &["b"]);
    assert_eq!(world.told(), ["b firing"]);
    let until_ms = world.now.wall_ms + 600_000;
    let silence = |alert: &str| Silence { alert: alert.to_owned(), until_ms, reason: String::new(), by: String::new() };
    world.book.silences = vec![silence("a"), silence("b")];
    world.after(MINUTE, &["a"]);
    assert_eq!(world.told(), ["b resolved"]);
    // A clock that jumps back after the end does not bring the silence back.
    world.after(10 * MINUTE, &["a"]);
    assert_eq!(world.told(), ["a firing"]);
    world.now.wall_ms -= 3_600_000;
    world.after(SECOND, &["a"]).after(SECOND, &["b"]);
    assert_eq!(world.told(), ["b firing", "a resolved"]);
}

#[test]
fn what_came_and_went_in_silence_is_in_no_digest() {
    let mut world = World::new().with("a", "error", 0, &["ops"]);
    let until_ms = world.now.wall_ms + 600_000;
    world.book.silences = vec![Silence { alert: "a".to_owned(), until_ms, reason: String::new(), by: String::new() }];
    world.after(MINUTE, &["a"]).after(MINUTE, &[]).after(20 * MINUTE, &[]);
    assert!(world.told().is_empty());
}

#[test]
fn an_acknowledgement_is_told_where_that_is_understood() {
    let mut world = World::new().with("a", "error", 0, &["ops", "pager"]);
    world.after(0, &["a"]);
    assert_eq!(world.told(), ["a firing", "a firing"]);
    let acknowledgement = super::machine::Acknowledgement { by: "me".to_owned(), at_ms: 0, comment: None };
    world.book.instances.values_mut().for_each(|i| i.state.acknowledged = Some(acknowledgement.clone()));
    world.after(SECOND, &["a"]).after(SECOND, &["a"]);
    assert_eq!(world.told(), ["a acknowledged"]);
    world.after(SECOND, &[]);
    assert_eq!(world.told(), ["a resolved", "a resolved"]);
}

#[test]
fn a_group_is_one_message_told_again_when_others_have_joined_for_a_while() {
    let mut world = World::new().with("x/a", "error", 0, &["ops"]).with("y/b", "error", 0, &["ops"]).grouped("g");
    world.after(0, &["a"]);
    assert_eq!(world.told(), ["a firing"]);
    world.after(MINUTE, &["a", "b"]);
    assert!(world.told().is_empty());
    world.after(5 * MINUTE, &["a", "b"]);
    assert_eq!(world.told(), ["g firing"]);
    world.after(MINUTE, &["b"]);
    assert!(world.told().is_empty());
    world.after(MINUTE, &[]);
    assert_eq!(world.told(), ["g resolved"]);
}

#[test]
fn an_alert_that_is_taken_out_of_the_project_is_resolved() {
    let mut world = World::new().with("a", "error", 0, &["ops"]).with("x/b", "error", 0, &["ops"]);
    world.after(0, &["a"]);
    world.alerts.remove(0);
    world.after(SECOND, &[]);
    assert_eq!(world.told(), ["a firing", "a resolved"]);
    world.after(SECOND, &[]);
    assert!(world.book.instances.is_empty());
}

#[test]
fn an_alert_that_cannot_be_evaluated_is_not_resolved_and_a_query_without_its_row_is() {
    let mut world = World::new().with("a", "error", 0, &["ops"]);
    world.after(0, &["a"]);
    let blind = Observed {
        identity: world.alerts[0].0.clone(),
        observation: Observation::Unknown("the query failed".to_owned()),
        timing: Timing::default(),
        young: false,
    };
    let names = world.names();
    world.book.observe(vec![blind], &BTreeSet::new(), &names, world.now);
    assert_eq!(world.book.report()[0].state, "error");
    assert!(world.book.report()[0].open);
    world.book.observe(Vec::new(), &names, &names, world.now);
    world.deliver();
    assert_eq!(world.told(), ["a firing", "a resolved"]);
}
