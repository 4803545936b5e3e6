//! The built-in signals: what is known of the platform at one moment becomes observations.
//!
//! Pure; the binary gathers the facts. Invariant: what is not known is said to be so, never taken for well.

use chrono::{DateTime, SecondsFormat, Utc};
use croner::parser::CronParser;
use vitalake_contract::Layer;
use vitalake_contract::alert::{About, AlertDataset, AlertSchedule, Signal};

use super::machine::Observation;
use super::rates::Rates;
use super::rule::Rule;
use super::volume::Volume;

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// All datasets.
    pub datasets: Vec<DatasetFacts>,
    /// Free bytes of the data folder's disk.
    pub disk_free_bytes: Option<u64>,
    /// Free bytes below which records are refused.
    pub disk_reserve_bytes: u64,
    /// Bytes of memory that the process has.
    pub memory_bytes: Option<u64>,
    /// Parts outside the process that do not answer, and for how many seconds.
    pub away: Vec<(String, f64)>,
}

/// What is known of a dataset.
#[derive(Clone, Debug)]
pub struct DatasetFacts {
    /// Which.
    pub dataset: AlertDataset,
    /// Whether files alone come into it.
    pub is_feed: bool,
    /// Whether what follows is what is: not while it is being recovered.
    pub ready: bool,
    /// Records that are durable and not in it.
    pub lag_records: Option<u64>,
    /// Age of its newest row.
    pub newest_age_s: Option<f64>,
    /// What its feed says, where it has one that this process runs.
    pub feed: Option<FeedFacts>,
    /// The age that its contract allows.
    pub freshness_sla_s: Option<f64>,
    /// Rows that it has taken.
    pub rows: u64,
    /// Records that were set aside.
    pub quarantined: u64,
    /// Files that compaction has not come to.
    pub small_files: Option<u64>,
    /// Why each delivery to it is held that waits for somebody to decide; none before it was looked.
    pub held: Option<Vec<String>>,
    /// What its gate says; none before it was asked.
    pub gate: Option<GateFacts>,
    /// Whether its books balance, and if not in which words; none before they were looked at.
    pub balanced: Option<Result<(), String>>,
    /// Why a real Druid does not have what it should have of it; none where nothing is to be there, or all is.
    pub not_in_druid: Option<String>,
    /// Its rows by the hour; none before they were counted.
    pub volume: Option<Volume>,
}

/// What a feed says.
#[derive(Clone, Debug, Default)]
pub struct FeedFacts {
    /// Whether the feed says when a delivery is due.
    pub is_watched: bool,
    /// When the delivery was due that is not here and may be no later.
    pub late_since_ms: Option<i64>,
    /// Why its source cannot be read.
    pub away: Option<String>,
}

/// What a gate says.
#[derive(Clone, Debug, Default)]
pub struct GateFacts {
    /// Whether it holds a version back.
    pub held: bool,
    /// The rules that did not pass, with what was found and what is wanted.
    pub reasons: Vec<String>,
}

/// An observation, the dataset it is about, and whether it only says that the process has not looked for long enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The dataset, where the signal is about one.
    pub dataset: Option<AlertDataset>,
    /// What was seen.
    pub observation: Observation,
    /// Not known yet, and nothing to tell of: it will be in a while.
    pub young: bool,
}

/// Looks at a rule's signal.
#[must_use]
pub fn look(rule: &Rule, signal: Signal, facts: &Facts, rates: &Rates, wall_ms: i64) -> Vec<Seen> {
    let whole = |observation| vec![Seen { dataset: None, observation, young: false }];
    match signal {
        Signal::Disk => whole(disk(rule, facts)),
        Signal::Memory => whole(memory(rule, facts)),
        Signal::ComponentAway => whole(away(facts)),
        _ => {
            let datasets = facts.datasets.iter().filter(|facts| is_meant(rule, signal, facts));
            datasets.map(|facts| of_dataset(rule, signal, facts, rates, wall_ms)).collect()
        }
    }
}

/// Whether a rule's signal can be about this dataset at all, where the rule does not name it.
fn is_meant(rule: &Rule, signal: Signal, facts: &DatasetFacts) -> bool {
    let layer = facts.dataset.layer;
    let fits = match signal.about() {
        About::Serving => layer == Layer::Serving,
        About::Raw => layer == Layer::Raw,
        _ => true,
    };
    let bound = rule.alert.threshold.is_some() || facts.freshness_sla_s.is_some() || rule.alert.schedule.is_some();
    let applies = match signal {
        // The platform's own is about sources that fall silent; feeds have a signal of their own.
        Signal::Freshness => bound && (!rule.built_in || layer == Layer::Raw && !facts.is_feed),
        Signal::FeedLate => (bound || facts.feed.is_some()) && facts.is_feed,
        Signal::Lag => !rule.built_in || layer == Layer::Raw,
        _ => true,
    };
    fits && applies && rule.is_about(&facts.dataset)
}

fn of_dataset(rule: &Rule, signal: Signal, facts: &DatasetFacts, rates: &Rates, wall_ms: i64) -> Seen {
    let seen = |observation, young| Seen { dataset: Some(facts.dataset.clone()), observation, young };
    if !facts.ready {
        return seen(Observation::NoData("the dataset is being recovered".into()), true);
    }
    let threshold = rule.alert.threshold.or(signal.default_threshold());
    let over = |number: Option<u64>, what: &str, why: &str| match (number, threshold) {
        (Some(number), Some(most)) if number as f64 > most => {
            Observation::Holds(format!("{number} {what}, more than {most}"))
        }
        (Some(_), _) => Observation::Clear,
        (None, _) => Observation::NoData(why.to_owned()),
    };
    match signal {
        Signal::Lag => seen(over(facts.lag_records, "records are not in it yet", "its lag is not known"), true),
        Signal::CompactionBehind => {
            seen(over(facts.small_files, "files wait for compaction", "its files are not known"), true)
        }
        Signal::Freshness => seen(fresh(facts, threshold), false),
        Signal::FeedLate => seen(feed(rule, facts, threshold, wall_ms), false),
        Signal::DeliveryHeld => match &facts.held {
            None => seen(Observation::NoData("what is held has not been looked at since the start".into()), true),
            Some(held) if !held.is_empty() => seen(Observation::Holds(deliveries_held(held)), false),
            Some(_) => seen(Observation::Clear, false),
        },
        Signal::GateHeld => match &facts.gate {
            None => seen(Observation::NoData("its gate has not decided since the start".into()), true),
            Some(gate) if gate.held => seen(Observation::Holds(held(gate)), false),
            Some(_) => seen(Observation::Clear, false),
        },
        Signal::Conservation => match &facts.balanced {
            None => seen(Observation::NoData("its books have not been looked at since the start".into()), true),
            Some(Err(words)) => seen(Observation::Holds(words.clone()), false),
            Some(Ok(())) => seen(Observation::Clear, false),
        },
        Signal::DruidBehind => match &facts.not_in_druid {
            Some(words) => seen(Observation::Holds(words.clone()), false),
            None => seen(Observation::Clear, false),
        },
        Signal::Volume => match &facts.volume {
            None => seen(Observation::NoData("its rows have not been counted since the start".into()), true),
            Some(volume) => seen(volume.judge(threshold.unwrap_or(5.0)), false),
        },
        Signal::QuarantineRate => {
            let (observation, whole) = rates.judge(facts, rule.alert.window, threshold.unwrap_or(0.0));
            seen(observation, !whole)
        }
        Signal::SchemaDrift => {
            let minutes = rule.alert.window.as_secs_f64() / 60.0;
            let what = format!("rows within {minutes:.0} min do not look like their contract");
            seen(
                over(rates.rows_drifted(&rule.alert.name, &facts.dataset), &what, "its drift is not counted yet"),
                true,
            )
        }
        Signal::Disk | Signal::Memory | Signal::ComponentAway => seen(Observation::Clear, true),
    }
}

fn disk(rule: &Rule, facts: &Facts) -> Observation {
    // Twice the reserve: told before records are refused.
    let least = rule.alert.threshold.unwrap_or(facts.disk_reserve_bytes as f64 * 2.0);
    match facts.disk_free_bytes {
        Some(free) if (free as f64) < least => Observation::Holds(format!(
            "{} free on the data folder's disk, less than {}",
            size(free as f64),
            size(least)
        )),
        Some(_) => Observation::Clear,
        None => Observation::Unknown("the disk does not say how much is free".into()),
    }
}

fn memory(rule: &Rule, facts: &Facts) -> Observation {
    match (facts.memory_bytes, rule.alert.threshold) {
        (Some(used), Some(most)) if used as f64 > most => {
            Observation::Holds(format!("the process has {} of memory, more than {}", size(used as f64), size(most)))
        }
        (Some(_), _) => Observation::Clear,
        (None, _) => Observation::Unknown("this system does not say how much memory the process has".into()),
    }
}

fn away(facts: &Facts) -> Observation {
    let words = |(part, seconds): &(String, f64)| format!("{part} does not answer for {}", age(*seconds));
    match facts.away.as_slice() {
        [] => Observation::Clear,
        parts => Observation::Holds(parts.iter().map(words).collect::<Vec<_>>().join("; ")),
    }
}

fn fresh(facts: &DatasetFacts, threshold: Option<f64>) -> Observation {
    match (facts.newest_age_s, threshold.or(facts.freshness_sla_s)) {
        (Some(found), Some(most)) if found > most => {
            Observation::Holds(format!("its newest row is {} old, more than {}", age(found), age(most)))
        }
        (Some(_), _) => Observation::Clear,
        (None, _) => Observation::NoData("it has no row yet".into()),
    }
}

fn feed(rule: &Rule, facts: &DatasetFacts, threshold: Option<f64>, wall_ms: i64) -> Observation {
    if let Some(late) = facts.feed.as_ref().and_then(|feed| of_feed(feed, facts)) {
        return late;
    }
    let Some(schedule) = &rule.alert.schedule else {
        let bound = threshold.or(facts.freshness_sla_s).is_some();
        return if bound { fresh(facts, threshold) } else { Observation::Clear };
    };
    let due = match last_due(schedule, wall_ms) {
        Ok(due) => due,
        Err(reason) => return Observation::Unknown(reason),
    };
    let Some(seconds) = facts.newest_age_s else { return Observation::NoData("nothing was delivered yet".into()) };
    let delivered = DateTime::from_timestamp_millis(wall_ms - (seconds * 1000.0) as i64);
    if delivered.is_some_and(|delivered| delivered >= due) {
        return Observation::Clear;
    }
    let due = due.to_rfc3339_opts(SecondsFormat::Millis, true);
    Observation::Holds(format!("the delivery due at {due} is not here; the last came {} ago", age(seconds)))
}

/// What a feed says of itself; none where it says nothing of when a delivery is due, and its source answers.
fn of_feed(feed: &FeedFacts, facts: &DatasetFacts) -> Option<Observation> {
    if let Some(reason) = &feed.away {
        return Some(Observation::Holds(format!("its feed cannot read its source: {reason}")));
    }
    let Some(due) = feed.late_since_ms.and_then(DateTime::<Utc>::from_timestamp_millis) else {
        return feed.is_watched.then_some(Observation::Clear);
    };
    let due = due.to_rfc3339_opts(SecondsFormat::Millis, true);
    let last =
        facts.newest_age_s.map_or_else(|| "nothing came yet".to_owned(), |s| format!("the last came {} ago", age(s)));
    Some(Observation::Holds(format!("the delivery due at {due} is not here; {last}")))
}

/// The newest moment at or before now that a schedule names.
///
/// # Errors
/// When the schedule names none, in words.
pub fn last_due(schedule: &AlertSchedule, wall_ms: i64) -> Result<DateTime<Utc>, String> {
    let cron =
        CronParser::new().parse(&schedule.cron).map_err(|error| format!("its schedule cannot be read: {error}"))?;
    let now = DateTime::from_timestamp_millis(wall_ms).ok_or("the clock shows no time")?;
    let due = cron.find_previous_occurrence(&now.with_timezone(&schedule.zone), true);
    due.map(|due| due.with_timezone(&Utc)).map_err(|_| "its schedule names no moment that ever comes".to_owned())
}

fn held(gate: &GateFacts) -> String {
    match gate.reasons.len() {
        0 => "its gate holds a version back".to_owned(),
        _ => format!("its gate holds a version back: {}", gate.reasons.join("; ")),
    }
}

/// The first reasons: a message is read on a telephone.
fn deliveries_held(held: &[String]) -> String {
    const TOLD: usize = 3;
    let reasons = held.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    let more = held.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    match held.len() {
        1 => format!("a delivery waits for a decision: {reasons}"),
        count => format!("{count} deliveries wait for a decision: {reasons}{more}"),
    }
}

/// A size in the unit that fits it.
fn size(bytes: f64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().map(|(name, power)| (name, f64::from(power).exp2())).find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(|| format!("{bytes:.0} B"), |(name, unit)| format!("{:.1} {name}", bytes / unit))
}

/// An age in the unit that fits it.
fn age(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}
