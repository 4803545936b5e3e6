//! What is still to be said to a receiver: the difference between what is and what it was told.
//!
//! Pure. No queue grows while a receiver is away: when it is back it is told of what is open, and a digest names what
//! came and went. Invariant: a receiver that was told of everything is told nothing.

use std::collections::{BTreeMap, BTreeSet};

use vitalake_contract::alert::AlertSeverity;

use super::book::{Book, Fingerprint, Instance, Ledger, Told, fingerprint};
use super::lineage::Lineage;

/// How long a group's message stands before those that have joined it are told of.
const GROUP_INTERVAL_MS: i64 = 5 * 60_000;
/// The alert's name under which a digest goes out.
pub const DIGEST: &str = "digest";
/// Names of datasets and alerts in one summary.
const LISTED_MAX: usize = 10;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It fires.
    Firing,
    /// Somebody has taken it on.
    Acknowledged,
    /// It is resolved.
    Resolved,
    /// What came and went while the receiver was away.
    Digest,
    /// Somebody tries the receiver.
    Test,
}

/// A message, before it has a receiver's form. Names, counts and times alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// The alert or group, the same over restarts.
    pub fingerprint: Fingerprint,
    /// The alert's name; the group's for more than one.
    pub alert: String,
    /// The dataset, as `layer.dataset`.
    pub dataset: Option<String>,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The team.
    pub owner: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// What was found, and what it affects.
    pub summary: String,
    /// The runbook's name.
    pub runbook: String,
}

/// A message and what its receiver knows once it has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What to send.
    pub message: Message,
    told: Option<Told>,
}

impl Book {
    /// Writes down what came and went before a receiver could be told; gives whether there was anything.
    pub fn sweep(&mut self, receiver: &str) -> bool {
        let ledger = self.ledgers.entry(receiver.to_owned()).or_default();
        let mut swept = false;
        for (fingerprint, instance) in &mut self.instances {
            if instance.state.is_open() || !instance.owed.remove(receiver) {
                continue;
            }
            swept = true;
            if !knows(ledger, fingerprint, instance) {
                *ledger.missed.entry(instance.identity.alert.clone()).or_default() += 1;
            }
        }
        swept
    }

    /// What a receiver is to be told, the most urgent first.
    #[must_use]
    pub fn notices(&self, receiver: &str, acknowledges: bool, lineage: &Lineage, wall_ms: i64) -> Vec<Notice> {
        let none = Ledger::default();
        let ledger = self.ledgers.get(receiver).unwrap_or(&none);
        let mut units: BTreeMap<Fingerprint, Vec<(&Fingerprint, &Instance)>> = BTreeMap::new();
        for (fingerprint, instance) in &self.instances {
            units.entry(unit(fingerprint, instance)).or_default().push((fingerprint, instance));
        }
        // What is open first: somebody may have to get up.
        let notices = units.iter().filter_map(|(unit, members)| {
            let context = Context { receiver, acknowledges, lineage, wall_ms, told: ledger.told.get(unit) };
            self.of_unit(unit, members, &context)
        });
        let left = ledger.told.iter().filter(|(unit, told)| told.open && !units.contains_key(*unit));
        let left = left.filter_map(|(unit, told)| self.told_elsewhere(unit, told));
        let mut notices: Vec<Notice> = notices.chain(left).collect();
        notices.sort_by_key(|notice| (notice.message.kind != Kind::Firing, std::cmp::Reverse(notice.message.severity)));
        notices.extend(digest(receiver, ledger, wall_ms));
        notices
    }

    fn of_unit(
        &self,
        unit: &Fingerprint,
        members: &[(&Fingerprint, &Instance)],
        context: &Context<'_>,
    ) -> Option<Notice> {
        let open: Vec<&(&Fingerprint, &Instance)> = members
            .iter()
            .filter(|(_, instance)| instance.state.is_open() && instance.owed.contains(context.receiver))
            .collect();
        let (told, worst) = (context.told.filter(|told| told.open), open.iter().map(|(_, i)| i.severity()).max());
        let Some(mut severity) = worst else {
            return told.and_then(|told| self.resolved(unit, members, told));
        };
        severity = severity.max(self.excused_severity(&open));
        let episodes: BTreeMap<Fingerprint, u64> =
            open.iter().map(|(fingerprint, instance)| ((*fingerprint).clone(), instance.state.episode)).collect();
        let acknowledged = open.iter().all(|(_, instance)| instance.state.acknowledged.is_some());
        let is_news = told.is_none_or(|told| {
            let joined = episodes.iter().any(|(f, episode)| told.episodes.get(f) != Some(episode));
            let rested = members.len() == 1 || context.wall_ms - told.at_ms >= GROUP_INTERVAL_MS;
            joined && rested || AlertSeverity::named(&told.severity).is_some_and(|before| severity > before)
        });
        let kind = if is_news {
            Kind::Firing
        } else if acknowledged && context.acknowledges && told.is_some_and(|told| !told.acknowledged) {
            Kind::Acknowledged
        } else {
            return None;
        };
        let mut told = Told {
            alert: String::new(),
            episodes,
            open: true,
            acknowledged: kind == Kind::Acknowledged,
            severity: severity.as_str().to_owned(),
            at_ms: context.wall_ms,
        };
        let listed: Vec<(&Fingerprint, &Instance)> = open.into_iter().copied().collect();
        let summary = summary(&listed, context.lineage);
        let message = message(kind, unit, &listed, severity, summary)?;
        told.alert.clone_from(&message.alert);
        Some(Notice { message, told: Some(told) })
    }

    /// The worst of the alerts that these speak for: whoever is told of the cause is told how bad it is.
    fn excused_severity(&self, open: &[&(&Fingerprint, &Instance)]) -> AlertSeverity {
        let speaks = |by: &Fingerprint| open.iter().any(|(fingerprint, _)| *fingerprint == by);
        let excused =
            self.instances.values().filter(|i| i.state.is_open() && i.excused_by.as_ref().is_some_and(speaks));
        excused.map(Instance::severity).max().unwrap_or(AlertSeverity::Info)
    }

    fn resolved(&self, unit: &Fingerprint, members: &[(&Fingerprint, &Instance)], told: &Told) -> Option<Notice> {
        let known: Vec<(&Fingerprint, &Instance)> =
            members.iter().filter(|(fingerprint, _)| told.episodes.contains_key(*fingerprint)).copied().collect();
        let severity = AlertSeverity::named(&told.severity).unwrap_or(AlertSeverity::Error);
        let summary = known.iter().map(|(_, i)| i.state.summary.as_str()).next().unwrap_or_default();
        let message = message(Kind::Resolved, unit, &known, severity, format!("it is over: {summary}"))?;
        Some(Notice { message, told: Some(Told { open: false, acknowledged: false, ..told.clone() }) })
    }

    /// Ends a message whose alerts are told under another name: they have been put into a group, or taken out of one.
    fn told_elsewhere(&self, unit: &Fingerprint, told: &Told) -> Option<Notice> {
        let members: Vec<_> = self.instances.iter().filter(|(f, _)| told.episodes.contains_key(*f)).collect();
        let severity = AlertSeverity::named(&told.severity).unwrap_or(AlertSeverity::Error);
        let summary = "from now on it is told with its group, or alone if it has left one".to_owned();
        let mut message = message(Kind::Resolved, unit, &members, severity, summary)?;
        if !told.alert.is_empty() {
            message.alert.clone_from(&told.alert);
        }
        Some(Notice { message, told: Some(Told { open: false, acknowledged: false, ..told.clone() }) })
    }

    /// Writes down that a receiver has a notice.
    pub fn delivered(&mut self, receiver: &str, notice: Notice) {
        let ledger = self.ledgers.entry(receiver.to_owned()).or_default();
        match notice.told {
            Some(told) => {
                ledger.told.insert(notice.message.fingerprint, told);
            }
            None => ledger.missed.clear(),
        }
    }
}

struct Context<'a> {
    receiver: &'a str,
    acknowledges: bool,
    lineage: &'a Lineage,
    wall_ms: i64,
    told: Option<&'a Told>,
}

/// The fingerprint under which an alert is told: its own, or its group's.
fn unit(fingerprint: &Fingerprint, instance: &Instance) -> Fingerprint {
    match &instance.identity.group {
        None => fingerprint.clone(),
        Some(group) => self::fingerprint("group", &BTreeMap::from([("group".to_owned(), group.clone())])),
    }
}

fn knows(ledger: &Ledger, fingerprint: &Fingerprint, instance: &Instance) -> bool {
    let told = ledger.told.get(&unit(fingerprint, instance));
    told.is_some_and(|told| told.episodes.get(fingerprint) == Some(&instance.state.episode))
}

fn message(
    kind: Kind,
    unit: &Fingerprint,
    members: &[(&Fingerprint, &Instance)],
    severity: AlertSeverity,
    summary: String,
) -> Option<Message> {
    let (_, first) = members.iter().max_by_key(|(_, instance)| instance.severity())?;
    let identity = &first.identity;
    let datasets: BTreeSet<&Option<String>> = members.iter().map(|(_, i)| &i.identity.dataset).collect();
    let many = members.len() > 1;
    Some(Message {
        kind,
        fingerprint: unit.clone(),
        alert: if many { identity.group.clone().unwrap_or(identity.alert.clone()) } else { identity.alert.clone() },
        dataset: if datasets.len() == 1 { identity.dataset.clone() } else { None },
        severity,
        owner: identity.owner.clone(),
        since_ms: members.iter().map(|(_, instance)| instance.state.since_ms).min().unwrap_or_default(),
        summary,
        runbook: identity.runbook.clone(),
    })
}

fn summary(members: &[(&Fingerprint, &Instance)], lineage: &Lineage) -> String {
    let of = |instance: &Instance| match &instance.identity.dataset {
        Some(dataset) if members.len() > 1 => {
            format!("{} of {dataset}: {}", instance.identity.alert, instance.state.summary)
        }
        _ => instance.state.summary.clone(),
    };
    let mut words = listed(members.iter().map(|(_, instance)| of(instance)).collect(), "; ");
    let datasets = members.iter().filter_map(|(_, instance)| instance.identity.dataset.as_deref());
    let affected: BTreeSet<String> = datasets.flat_map(|dataset| lineage.descendants(dataset)).collect();
    if !affected.is_empty() {
        words.push_str("; what derives from it: ");
        words.push_str(&listed(affected.into_iter().collect(), ", "));
    }
    words
}

fn listed(mut words: Vec<String>, between: &str) -> String {
    let more = words.len().saturating_sub(LISTED_MAX);
    words.truncate(LISTED_MAX);
    let text = words.join(between);
    if more > 0 { format!("{text} and {more} more") } else { text }
}

fn digest(receiver: &str, ledger: &Ledger, wall_ms: i64) -> Option<Notice> {
    if ledger.missed.is_empty() {
        return None;
    }
    let words = ledger.missed.iter().map(|(alert, times)| match times {
        1 => alert.clone(),
        times => format!("{alert} ({times} times)"),
    });
    let message = Message {
        kind: Kind::Digest,
        fingerprint: fingerprint(DIGEST, &BTreeMap::from([("receiver".to_owned(), receiver.to_owned())])),
        alert: DIGEST.to_owned(),
        dataset: None,
        severity: AlertSeverity::Info,
        owner: String::new(),
        since_ms: wall_ms,
        summary: format!("these came and went before you could be told: {}", listed(words.collect(), ", ")),
        runbook: String::new(),
    };
    Some(Notice { message, told: None })
}
