//! What is known of all alerts: their states, silences, and what each receiver has been told.
//!
//! One value, kept whole in the lake (`keep`), stepped by observations here and read by `notice`, which works out what is
//! still to be said. Pure. Invariant: what a receiver is owed follows from states and from what it was told alone, so
//! that a crash between sending and writing down repeats one message and loses none.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vitalake_contract::alert::AlertSeverity;
use vitalake_runtime::hex;

use super::lineage::Lineage;
use super::machine::{AlertState, Change, Observation, Phase, Tick, Timing, step};

/// The most alerts that are known at once.
pub const INSTANCES_MAX: usize = 2_000;
/// How long what derives from a dataset is still excused after that dataset's alert was resolved.
pub const EXCUSED_AFTER_MS: i64 = 5 * 60_000;
/// How long an alert waits for those upstream that are still to be evaluated: as long as a query may take, and its turn.
const AWAITED_MS: i64 = 60_000;
/// How long a resolved alert is still listed.
const LISTED_MS: i64 = 24 * 3_600_000;
/// The longest words of an observation.
const SUMMARY_CHARS_MAX: usize = 500;

/// Tells an alert from others, the same over restarts: of the alert's name and its labels.
pub type Fingerprint = String;

/// The fingerprint of an alert with these labels.
#[must_use]
pub fn fingerprint(alert: &str, labels: &BTreeMap<String, String>) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in std::iter::once(alert).chain(labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()])) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..8])
}

/// What an alert is, whatever its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The alert's name.
    pub alert: String,
    /// The dataset that it is about, as `layer.dataset`.
    pub dataset: Option<String>,
    /// What tells it from others of the same name.
    pub labels: BTreeMap<String, String>,
    /// `critical`, `error`, `warning` or `info`.
    pub severity: String,
    /// The team that it goes to.
    pub owner: String,
    /// The runbook's name.
    pub runbook: String,
    /// Alerts of one group are one message.
    pub group: Option<String>,
    /// Where it is sent.
    pub receivers: BTreeSet<String>,
}

impl Identity {
    /// Its fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.alert, &self.labels)
    }
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What it is.
    pub identity: Identity,
    /// How it is.
    pub state: AlertState,
    /// The receivers that are to know of this firing: it was neither silenced nor excused.
    #[serde(default)]
    pub owed: BTreeSet<String>,
    /// The upstream alert that speaks for it.
    #[serde(default)]
    pub excused_by: Option<Fingerprint>,
    /// When it was last looked at, on the clock that never steps back.
    #[serde(skip)]
    pub seen_ms: Option<u64>,
}

/// An alert that is not to be sent for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The alert's name.
    pub alert: String,
    /// Until when, milliseconds since 1970.
    pub until_ms: i64,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// What a receiver was told of one alert or group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The name that it was told by: the alert's or its group's.
    #[serde(default)]
    pub alert: String,
    /// Which firing of which alert.
    pub episodes: BTreeMap<Fingerprint, u64>,
    /// That it is open; else that it is resolved.
    pub open: bool,
    /// That somebody has taken it on.
    pub acknowledged: bool,
    /// The severity that it was told with.
    pub severity: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

/// What a receiver knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// By the fingerprint of the alert or its group.
    pub told: BTreeMap<Fingerprint, Told>,
    /// How often alerts came and went before it could be told, by name.
    pub missed: BTreeMap<String, u64>,
}

/// Everything that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// All alerts that are not simply quiet.
    pub instances: BTreeMap<Fingerprint, Instance>,
    /// Alerts that are not sent for a while.
    pub silences: Vec<Silence>,
    /// What each receiver knows.
    pub ledgers: BTreeMap<String, Ledger>,
}

/// One alert as it was evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What it is.
    pub identity: Identity,
    /// What was seen.
    pub observation: Observation,
    /// Its times.
    pub timing: Timing,
    /// Whether an observation that cannot be made only says that it is too early: then it makes no alert known.
    pub young: bool,
}

/// What one evaluation brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What changed, by alert.
    pub changes: Vec<(Fingerprint, Change)>,
    /// Whether anything of the book that is kept is another than before.
    pub dirty: bool,
}

/// An alert that is evaluated at its own pace, and may speak for others once it has been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The dataset that it is about, by its name.
    pub dataset: String,
    /// Where it is sent.
    pub receivers: BTreeSet<String>,
    /// Up to when what it is about was seen, milliseconds since 1970.
    pub seen_ms: Option<i64>,
}

/// When an evaluation was: for people, and on the clock that never steps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub wall_ms: i64,
    /// Milliseconds since the process began.
    pub steady_ms: u64,
}

impl Book {
    /// Takes it up after the process was away.
    pub fn resume(&mut self, wall_ms: i64) {
        self.instances.values_mut().for_each(|instance| instance.state.resume(wall_ms));
    }

    /// Takes in what was seen. An alert of a name in `evaluated` that was not seen holds no longer; one whose name is not
    /// in `names` was taken out of the project.
    pub fn observe(
        &mut self,
        observed: Vec<Observed>,
        evaluated: &BTreeSet<String>,
        names: &BTreeSet<String>,
        now: Moment,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut seen = BTreeSet::new();
        for one in observed {
            let fingerprint = one.identity.fingerprint();
            self.one(&fingerprint, one, now, &mut outcome);
            seen.insert(fingerprint);
        }
        for (fingerprint, instance) in &mut self.instances {
            let name = &instance.identity.alert;
            if !names.contains(name) && instance.state.phase != Phase::Quiet {
                instance.state.summary = "the alert was taken out of the project".to_owned();
                instance.advance(Observation::Clear, Timing::default(), now, fingerprint, &mut outcome);
            } else if evaluated.contains(name) && !seen.contains(fingerprint) {
                instance.advance(Observation::Clear, Timing::default(), now, fingerprint, &mut outcome);
            }
        }
        outcome.dirty |= self.tidy(names, now.wall_ms);
        outcome
    }

    fn one(&mut self, fingerprint: &Fingerprint, one: Observed, now: Moment, outcome: &mut Outcome) {
        let known = self.instances.contains_key(fingerprint);
        let tells = match &one.observation {
            Observation::Clear => false,
            Observation::NoData(_) => !one.young,
            Observation::Holds(_) | Observation::Unknown(_) => true,
        };
        if !known && (!tells || self.instances.len() >= INSTANCES_MAX) {
            return;
        }
        let identity = one.identity;
        let instance = self.instances.entry(fingerprint.clone()).or_insert_with(|| Instance {
            identity: identity.clone(),
            state: AlertState::default(),
            owed: BTreeSet::new(),
            excused_by: None,
            seen_ms: None,
        });
        if instance.identity != identity {
            (instance.identity, outcome.dirty) = (identity, true);
        }
        instance.advance(one.observation, one.timing, now, fingerprint, outcome);
    }

    /// Works out which alerts speak for which, and who is owed what. An alert upstream that has not been evaluated since
    /// this one began to hold may yet speak for it, and is waited for.
    pub fn settle(&mut self, lineage: &Lineage, awaited: &[Awaited], wall_ms: i64) -> bool {
        let silenced: BTreeSet<String> = self.silences.iter().map(|silence| silence.alert.clone()).collect();
        let causes: Vec<Cause> = self.instances.iter().filter_map(|(f, i)| Cause::of(f, i, wall_ms)).collect();
        let mut dirty = false;
        for instance in self.instances.values_mut().filter(|instance| instance.state.is_open()) {
            let ancestors = instance.identity.dataset.as_deref().map(|d| lineage.ancestors(d)).unwrap_or_default();
            let upstream: Vec<&Cause> = causes.iter().filter(|cause| ancestors.contains(&cause.dataset)).collect();
            let excused_by = upstream.first().map(|cause| cause.fingerprint.clone());
            dirty |= excused_by != instance.excused_by;
            instance.excused_by = excused_by;
            if silenced.contains(&instance.identity.alert) {
                continue;
            }
            let since_ms = instance.state.since_ms;
            let waits = (0..AWAITED_MS).contains(&(wall_ms - since_ms));
            let is_awaited = |one: &&Awaited| one.seen_ms.is_none_or(|seen_ms| seen_ms < since_ms);
            let awaited = awaited.iter().filter(|one| waits && ancestors.contains(&one.dataset)).filter(is_awaited);
            let awaited: Vec<&Awaited> = awaited.collect();
            for receiver in &instance.identity.receivers {
                let spoken_for = upstream.iter().any(|cause| cause.receivers.contains(receiver))
                    || awaited.iter().any(|one| one.receivers.contains(receiver));
                dirty |= !spoken_for && instance.owed.insert(receiver.clone());
            }
        }
        dirty
    }

    /// Ends silences whose time is over, and forgets what nobody needs any longer.
    fn tidy(&mut self, names: &BTreeSet<String>, wall_ms: i64) -> bool {
        let before = (self.silences.len(), self.instances.len());
        self.silences.retain(|silence| silence.until_ms > wall_ms);
        let ledgers = &self.ledgers;
        let open_somewhere =
            |f: &Fingerprint| ledgers.values().any(|l| l.told.values().any(|t| t.open && t.episodes.contains_key(f)));
        self.instances.retain(|fingerprint, instance| {
            let old = wall_ms - instance.state.since_ms > LISTED_MS || !names.contains(&instance.identity.alert);
            let over = instance.state.phase == Phase::Quiet && (old || instance.state.episode == 0);
            let needed = instance.state.blind.is_some() && names.contains(&instance.identity.alert);
            !over || needed || !instance.owed.is_empty() || open_somewhere(fingerprint)
        });
        let instances = &self.instances;
        for ledger in self.ledgers.values_mut() {
            ledger.told.retain(|_, told| told.open || told.episodes.keys().any(|f| instances.contains_key(f)));
        }
        before != (self.silences.len(), self.instances.len())
    }
}

impl Instance {
    fn advance(
        &mut self,
        observation: Observation,
        timing: Timing,
        now: Moment,
        fingerprint: &Fingerprint,
        outcome: &mut Outcome,
    ) {
        let elapsed_ms = self.seen_ms.map_or(0, |seen| now.steady_ms.saturating_sub(seen));
        self.seen_ms = Some(now.steady_ms);
        let tick = Tick { wall_ms: now.wall_ms, elapsed_ms };
        let (state, change) = step(std::mem::take(&mut self.state), cut(observation), tick, timing);
        self.state = state;
        if let Some(change) = change {
            outcome.changes.push((fingerprint.clone(), change));
            outcome.dirty = true;
        }
    }

    /// The severity that it has.
    #[must_use]
    pub fn severity(&self) -> AlertSeverity {
        AlertSeverity::named(&self.identity.severity).unwrap_or(AlertSeverity::Error)
    }
}

/// An alert that speaks for those of what derives from its dataset: it fires, is about to, or was resolved just now.
struct Cause {
    fingerprint: Fingerprint,
    dataset: String,
    receivers: BTreeSet<String>,
}

impl Cause {
    fn of(fingerprint: &Fingerprint, instance: &Instance, wall_ms: i64) -> Option<Self> {
        let state = &instance.state;
        let just_now = (0..EXCUSED_AFTER_MS).contains(&(wall_ms - state.since_ms));
        // One that is about to fire is waited for, though not for ever; one that did not fire never spoke.
        let speaks = match state.phase {
            Phase::Firing => true,
            Phase::Pending => just_now,
            Phase::Quiet => just_now && state.episode > 0,
        };
        let dataset = super::lineage::bare(instance.identity.dataset.as_deref()?).to_owned();
        let receivers = instance.identity.receivers.clone();
        speaks.then(|| Self { fingerprint: fingerprint.clone(), dataset, receivers })
    }
}

fn cut(observation: Observation) -> Observation {
    let short = |text: String| text.chars().take(SUMMARY_CHARS_MAX).collect();
    match observation {
        Observation::Clear => Observation::Clear,
        Observation::Holds(text) => Observation::Holds(short(text)),
        Observation::NoData(text) => Observation::NoData(short(text)),
        Observation::Unknown(text) => Observation::Unknown(short(text)),
    }
}
