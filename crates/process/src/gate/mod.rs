//! Gates: what stands between the staged log of a serving dataset and HEAD, which every reader opens.
//!
//! A gate takes what HEAD would be, has its contract's rules evaluated over it (`judge`), and has it published or holds it
//! back (`unit`); what it decided, and what a person has decided for it, is kept beside what is staged (`record`). The
//! process that owns the models runs the gates; the others show what the tables say. Invariant: what a gate holds back is
//! never published but by a release, and a gate that cannot tell holds.

mod judge;
mod record;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use vitalake_contract::{Contract, DatasetName};
use vitalake_lake::{Lake, LakeError, Unopened};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::{Class, Classified, Retry};
use vitalake_runtime::events::{Event, Events};

pub use record::GateReason;

use record::Record;
use unit::{Member, Unit};

/// All gates of a lake.
#[derive(Debug)]
pub struct Gates {
    units: Vec<Arc<Unit>>,
    /// Those of tables that are not open.
    closed: Vec<GateStatus>,
}

/// A gate at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct GateStatus {
    /// The serving dataset.
    pub dataset: DatasetName,
    /// Whether something is held back.
    pub held: bool,
    /// Since when it is so, milliseconds since 1970.
    pub since_ms: i64,
    /// The rules that do not pass.
    pub reasons: Vec<GateReason>,
    /// Whether what is published is older than the contract promises.
    pub stale: bool,
    /// Who holds it, where a person does.
    pub by: Option<String>,
    /// The newest time of what is published, where the contract promises one, milliseconds since 1970.
    pub newest_ms: Option<i64>,
}

/// What a person decides for a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why a person's decision was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// There is no such gate.
    #[error(
        "{0} has no gate: it is no serving dataset, or its contract asks for none; `vitalake gate status` lists them"
    )]
    NoGate(String),
    /// Its table, or one that is published with it, is not open.
    #[error(
        "{0} cannot be decided about: its table, or one that is published together with it, is not open; `vitalake status` says why"
    )]
    Closed(DatasetName),
    /// Another process decides.
    #[error("this process only follows {0}: ask the one that runs the models")]
    Follows(DatasetName),
    /// Nothing is decided without one.
    #[error("a decision needs a reason, in a few words")]
    NoReason,
    /// The tables refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl Classified for GateError {
    fn class(&self) -> Class {
        match self {
            Self::NoGate(_) | Self::Closed(_) | Self::Follows(_) | Self::NoReason => Class::User,
            Self::Lake(error) => error.class(),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NoGate(_) | Self::Closed(_) | Self::Follows(_) | Self::NoReason => Retry::Never,
            Self::Lake(error) => error.retry(),
        }
    }
}

impl Gates {
    /// The gates of all gated tables, as they were left. Datasets that are published together have one.
    #[must_use]
    pub fn new(lake: &Arc<Lake>, clock: &Clock, events: &Events) -> Self {
        let mut groups: BTreeMap<String, (Vec<Member>, Vec<GateReason>)> = BTreeMap::new();
        let mut closed = Vec::new();
        for table in lake.tables().filter(|table| table.is_gated()) {
            let (members, _) = groups.entry(group_of(table.contract())).or_default();
            members.push(Member::of(Arc::clone(table), clock.now_ms()));
        }
        for unopened in lake.unopened().filter(|unopened| unopened.is_gated()) {
            let contract = unopened.contract();
            let reason = not_open(unopened);
            if contract.publish_group.is_some() {
                groups.entry(group_of(contract)).or_default().1.push(reason.clone());
            }
            closed.push(GateStatus::closed(contract.dataset.clone(), clock.now_ms(), reason));
        }
        let unit = |(members, absent)| Arc::new(Unit::new(lake, members, absent, (clock.clone(), events.clone())));
        let units = groups.into_values().filter(|(members, _)| !members.is_empty()).map(unit);
        Self { units: units.collect(), closed }
    }

    /// Judges and publishes until dropped, each gate on its own. For the process that owns the models alone.
    pub async fn run(self: Arc<Self>) {
        join_all(self.units.iter().cloned().map(|unit| async move { unit.run().await })).await;
    }

    /// What each gate says, by dataset.
    #[must_use]
    pub fn statuses(&self) -> Vec<GateStatus> {
        let mut all: Vec<GateStatus> =
            self.units.iter().flat_map(|unit| unit.members.iter().map(Member::status)).collect();
        all.extend(self.closed.iter().cloned());
        all.sort_by(|a, b| a.dataset.cmp(&b.dataset));
        all
    }

    /// What the gate of a dataset says; `None` where it has none.
    #[must_use]
    pub fn status(&self, dataset: &str) -> Option<GateStatus> {
        let closed = || self.closed.iter().find(|closed| closed.dataset.as_str() == bare(dataset)).cloned();
        self.member(dataset).map(|(_, member)| member.status()).or_else(closed)
    }

    /// Holds a dataset back until it is released, whatever its rules say. The event is to be recorded by the caller.
    ///
    /// # Errors
    /// When there is no such gate, or the decision cannot be kept.
    pub async fn hold(&self, dataset: &str, decision: Decision) -> Result<(GateStatus, Event), GateError> {
        let (unit, member) = self.owned(dataset, &decision)?;
        unit.hold(member, &decision).await?;
        Ok((member.status(), told(member, "hold", None, &decision)))
    }

    /// Ends a hold, and publishes what is staged in spite of the rules, once. The event is to be recorded by the caller.
    ///
    /// # Errors
    /// When there is no such gate, or what is staged cannot be published: another writer came in between, or its files
    /// are gone.
    pub async fn release(&self, dataset: &str, decision: Decision) -> Result<(GateStatus, Event), GateError> {
        let (unit, member) = self.owned(dataset, &decision)?;
        if !unit.absent.is_empty() {
            return Err(GateError::Closed(member.table.id().dataset));
        }
        let version = unit.release(&decision).await?;
        Ok((member.status(), told(member, "release", version, &decision)))
    }

    /// Datasets of which nothing is noted beside what is staged: they are new, or their staged log was removed.
    #[must_use]
    pub fn without_notes(&self) -> Vec<DatasetName> {
        let members = self.units.iter().flat_map(|unit| &unit.members);
        let new = members.filter(|member| !member.table.is_followed() && Record::read(&member.table).is_none());
        new.map(|member| member.table.id().dataset).collect()
    }

    /// The datasets that are published together with one, itself among them.
    #[must_use]
    pub fn published_with(&self, dataset: &DatasetName) -> Vec<DatasetName> {
        let unit = self.member(dataset.as_str()).map(|(unit, _)| unit);
        unit.into_iter().flat_map(|unit| unit.members.iter().map(|member| member.table.id().dataset)).collect()
    }

    /// Waits until everything that was staged when this was called is published or held.
    pub async fn settled(&self) {
        join_all(self.units.iter().cloned().map(|unit| async move { unit.settled().await })).await;
    }

    fn owned(&self, dataset: &str, decision: &Decision) -> Result<(&Arc<Unit>, &Member), GateError> {
        let closed = self.closed.iter().find(|closed| closed.dataset.as_str() == bare(dataset));
        let absent = closed.map(|closed| GateError::Closed(closed.dataset.clone()));
        let none = || absent.unwrap_or_else(|| GateError::NoGate(dataset.to_owned()));
        let (unit, member) = self.member(dataset).ok_or_else(none)?;
        if member.table.is_followed() {
            return Err(GateError::Follows(member.table.id().dataset));
        }
        if decision.reason.trim().is_empty() {
            return Err(GateError::NoReason);
        }
        Ok((unit, member))
    }

    fn member(&self, dataset: &str) -> Option<(&Arc<Unit>, &Member)> {
        let name = bare(dataset);
        let of = |unit: &'_ Arc<Unit>| unit.members.iter().position(|m| m.table.id().dataset.as_str() == name);
        self.units.iter().find_map(|unit| Some((unit, unit.members.get(of(unit)?)?)))
    }
}

impl GateStatus {
    /// Of a table that is not open.
    fn closed(dataset: DatasetName, since_ms: i64, reason: GateReason) -> Self {
        Self { dataset, held: true, since_ms, reasons: vec![reason], stale: false, by: None, newest_ms: None }
    }
}

/// What its datasets are published with. A group's name may be that of a dataset: the two are told apart.
fn group_of(contract: &Contract) -> String {
    let group = contract.publish_group.as_ref().map(|group| format!("group {group}"));
    group.unwrap_or_else(|| format!("dataset {}", contract.dataset))
}

fn not_open(unopened: &Unopened) -> GateReason {
    let got = format!("{} is not open: {}", unopened.id(), unopened.reason());
    GateReason { rule: "table".to_owned(), got, want: "a table that fits its contract and can be read".to_owned() }
}

fn bare(dataset: &str) -> &str {
    dataset.strip_prefix("serving.").unwrap_or(dataset)
}

/// A person's decision as an event.
fn told(member: &Member, decision: &'static str, version: Option<u64>, by: &Decision) -> Event {
    let record = member.known.lock().record.clone();
    Event::Gate {
        dataset: member.table.id().to_string().into(),
        decision,
        version,
        reasons: record.reasons_as_json().into(),
        actor: by.by.as_str().into(),
        comment: Some(by.reason.as_str().into()),
    }
}

/// What the tables say of a gate that another process runs.
fn followed(member: &Member) -> Option<Record> {
    member.table.is_followed().then(|| Record::read(&member.table)).flatten()
}
