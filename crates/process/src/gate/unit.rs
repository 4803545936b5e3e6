//! One gate at work: of a dataset, or of several that are published together.
//!
//! Woken by what is staged and by time; what it judges is pinned and judged beside the commits that go on. Decisions of the
//! gate and of people are made one at a time. Invariant: between the judgement of a candidate and its publication nobody
//! has said hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use parking_lot::Mutex;
use tokio::sync::watch;
use vitalake_lake::{Candidate, Lake, LakeError, Table};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::{Classified, Retry, in_full};
use vitalake_runtime::events::{Event, Events};

use crate::gate::judge::{Judge, Judgement, Measured};
use crate::gate::record::{GateReason, Hold, Record, Release};
use crate::gate::{Decision, GateStatus, followed};
use crate::quality::measured;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long what is held, or may have become stale, is left before it is looked at again, though nothing was staged.
const LOOK_AGAIN_MS: i64 = 5_000;
/// How long the datasets of a group may have consumed different versions of the same input before that is said.
const OUT_OF_STEP_MS: i64 = 30_000;

/// What is known of one dataset's gate.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) record: Record,
    /// Whether the gate has decided since the process began.
    has_decided: bool,
}

/// One dataset of a gate.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) table: Arc<Table>,
    pub(super) known: Mutex<Known>,
}

impl Member {
    pub(super) fn of(table: Arc<Table>, now_ms: i64) -> Self {
        let record = Record::read(&table).unwrap_or_else(|| Record { since_ms: now_ms, ..Record::default() });
        Self { table, known: Mutex::new(Known { record, has_decided: false }) }
    }

    pub(super) fn status(&self) -> GateStatus {
        let record = followed(self).unwrap_or_else(|| self.known.lock().record.clone());
        GateStatus {
            dataset: self.table.id().dataset,
            held: record.held,
            since_ms: record.since_ms,
            reasons: record.reasons,
            stale: record.stale,
            by: record.hold.map(|hold| hold.by),
            newest_ms: record.newest_ms,
        }
    }

    fn record(&self) -> Record {
        self.known.lock().record.clone()
    }
}

/// What the last look saw: the versions that it judged, and when.
#[derive(Debug, Default)]
struct Looks {
    versions: Vec<(i64, u64)>,
    at_ms: Option<i64>,
    out_of_step_since_ms: Option<i64>,
    measured: Measured,
}

/// A gate.
#[derive(Debug)]
pub(super) struct Unit {
    lake: Arc<Lake>,
    pub(super) members: Vec<Member>,
    /// Why datasets that are published with these cannot be: nothing is, then.
    pub(super) absent: Vec<GateReason>,
    clock: Clock,
    events: Events,
    /// One decision at a time.
    deciding: tokio::sync::Mutex<()>,
    /// The staged versions that were judged last, for who waits for them.
    judged: watch::Sender<Vec<i64>>,
}

impl Unit {
    pub(super) fn new(
        lake: &Arc<Lake>,
        members: Vec<Member>,
        absent: Vec<GateReason>,
        (clock, events): (Clock, Events),
    ) -> Self {
        let (lake, judged) = (Arc::clone(lake), watch::channel(Vec::new()).0);
        Self { lake, members, absent, clock, events, deciding: tokio::sync::Mutex::new(()), judged }
    }

    /// Judges and publishes until dropped.
    pub(super) async fn run(&self) {
        let mut looks = Looks::default();
        let mut moved: Vec<_> = self.members.iter().map(|member| member.table.watch()).collect();
        self.finish_release().await;
        loop {
            moved.iter_mut().for_each(|moved| drop(moved.borrow_and_update()));
            self.look(&mut looks).await;
            let changed: Vec<BoxFuture<'_, _>> = moved.iter_mut().map(|moved| moved.changed().boxed()).collect();
            tokio::select! {
                _ = select_all(changed) => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Waits until what is staged now was judged.
    pub(super) async fn settled(&self) {
        if self.members.iter().any(|member| member.table.is_followed()) {
            return;
        }
        let staged: Vec<i64> = self.versions().into_iter().map(|(staged, _)| staged).collect();
        let mut judged = self.judged.subscribe();
        let _ = judged
            .wait_for(|judged| judged.len() == staged.len() && judged.iter().zip(&staged).all(|(j, s)| j >= s))
            .await;
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.members.iter().filter_map(|member| member.table.candidate()).collect()
    }

    /// The version that is staged of each dataset and that of its HEAD.
    fn versions(&self) -> Vec<(i64, u64)> {
        self.members.iter().filter_map(|member| member.table.staged_versions()).collect()
    }

    async fn look(&self, looks: &mut Looks) {
        let now_ms = self.clock.now_ms();
        let versions = self.versions();
        // A clock that was set back is no reason to wait.
        let is_due = looks.at_ms.is_none_or(|at| now_ms < at || now_ms >= at.saturating_add(LOOK_AGAIN_MS));
        let looks_by_time = || self.members.iter().any(|member| member.record().held || has_limits(member));
        if versions == looks.versions && !(is_due && looks_by_time()) {
            return;
        }
        let candidates = self.candidates();
        if !self.in_step(&candidates, looks, now_ms) {
            return;
        }
        (looks.versions, looks.at_ms) = (versions, Some(now_ms));
        let mut judged = Vec::with_capacity(candidates.len());
        for (member, candidate) in self.members.iter().zip(&candidates) {
            judged.push(self.judge(member, candidate, &mut looks.measured, now_ms).await);
        }
        if looks.out_of_step_since_ms.is_some() {
            judged.iter_mut().for_each(|judgement| judgement.reasons.push(out_of_step()));
        }
        if self.decide(&candidates, judged, now_ms).await {
            self.judged.send_replace(candidates.iter().map(Candidate::version).collect());
        }
    }

    /// Whether datasets that are published together are made of the same versions of what they share; where they are
    /// not for long, that is judged.
    fn in_step(&self, candidates: &[Candidate], looks: &mut Looks, now_ms: i64) -> bool {
        let of_each: Vec<Vec<(String, i64)>> = candidates.iter().map(Candidate::consumed).collect();
        // A dataset that has not looked at its inputs yet is behind those that have, whatever they share.
        let begun = of_each.iter().filter(|consumed| !consumed.is_empty()).count();
        let consumed: BTreeSet<&(String, i64)> = of_each.iter().flatten().collect();
        let tables: BTreeSet<&String> = consumed.iter().map(|(table_id, _)| table_id).collect();
        if consumed.len() == tables.len() && (begun == 0 || begun == of_each.len()) {
            looks.out_of_step_since_ms = None;
            return true;
        }
        let since = *looks.out_of_step_since_ms.get_or_insert(now_ms);
        now_ms < since || now_ms.saturating_sub(since) >= OUT_OF_STEP_MS
    }

    async fn judge(&self, member: &Member, candidate: &Candidate, measured: &mut Measured, now_ms: i64) -> Judgement {
        let record = member.record();
        let contract = member.table.contract();
        let judge = Judge { lake: &self.lake, contract, now_ms, fresh_before: &record.fresh };
        if candidate.is_empty() && !candidate.changes_rows() {
            return Judgement::default();
        }
        if !candidate.changes_rows() {
            // The rows are those that readers see: only how old they are may be news.
            let mut found = judge.freshness(candidate, &self.lake.pin(), measured).await;
            found.stale.append(&mut found.reasons);
            found.fresh.clear();
            return found;
        }
        judge.judge(candidate, measured).await
    }

    /// Publishes what may be, and says what is held and why. `false` where HEAD is another since the candidates were
    /// pinned, as after a release while they were judged: the next look has those that follow it.
    async fn decide(&self, candidates: &[Candidate], mut judged: Vec<Judgement>, now_ms: i64) -> bool {
        let _one_at_a_time = self.deciding.lock().await;
        if !self.versions().into_iter().map(|(_, head)| head).eq(candidates.iter().map(|c| c.follows().0)) {
            return false;
        }
        for (member, judgement) in self.members.iter().zip(&mut judged) {
            judgement.reasons.extend(self.absent.iter().cloned());
            // What a person has said comes first, and hides nothing that follows.
            judgement.reasons.splice(0..0, member.record().hold.as_ref().map(held_by));
        }
        let waits = candidates.iter().any(Candidate::waits);
        let mut version = None;
        if let Some(passed) = self.passed(candidates, &judged) {
            if waits && passed.iter().any(|candidate| candidate.waits()) {
                let has_news = passed.iter().any(Candidate::changes_rows);
                match self.publish(&passed).await {
                    Ok(published) => version = Some(published).filter(|_| has_news),
                    Err(error) => {
                        self.lose_lease(&error);
                        judged.iter_mut().for_each(|judgement| judgement.reasons.push(not_published(&error)));
                    }
                }
            }
        } else if self.members.len() > 1 {
            self.hold_the_others(&mut judged);
        }
        for (member, mut judgement) in self.members.iter().zip(judged) {
            judgement.reasons.append(&mut judgement.window_reasons);
            self.conclude(member, judgement, version, now_ms).await;
        }
        true
    }

    /// What may be published: the windows that pass of one dataset, all of several.
    fn passed(&self, candidates: &[Candidate], judged: &[Judgement]) -> Option<Vec<Candidate>> {
        if judged.iter().any(|judgement| !judgement.reasons.is_empty()) {
            return None;
        }
        match (candidates, judged) {
            ([candidate], [judgement]) => Some(vec![candidate.without(&judgement.held_windows)]),
            _ => judged.iter().all(|judgement| judgement.held_windows.is_empty()).then(|| candidates.to_vec()),
        }
    }

    /// A dataset of a group that passes waits for those that do not.
    fn hold_the_others(&self, judged: &mut [Judgement]) {
        for judgement in judged.iter_mut() {
            judgement.reasons.append(&mut judgement.window_reasons);
        }
        let held = self.members.iter().zip(judged.iter()).filter(|(_, judgement)| !judgement.reasons.is_empty());
        let names: Vec<String> = held.map(|(member, _)| member.table.id().to_string()).collect();
        for judgement in judged.iter_mut().filter(|judgement| judgement.reasons.is_empty()) {
            let (rule, want) = ("publishGroup".to_owned(), "all of its group pass".to_owned());
            judgement.reasons.push(GateReason { rule, got: format!("held: {}", names.join(", ")), want });
        }
    }

    /// Another writer has changed a table: everything begins anew, and finds what is staged begun anew from that.
    fn lose_lease(&self, error: &LakeError) {
        let LakeError::ForeignCommit { table, .. } = error else { return };
        let member = self.members.iter().find(|member| member.table.id() == *table);
        if let Some(member) = member.filter(|member| member.table.can_be_staged_again()) {
            tracing::warn!(%table, "another writer has changed the table: beginning anew from it");
            member.table.lose_lease();
        }
    }

    async fn publish(&self, candidates: &[Candidate]) -> Result<u64, LakeError> {
        match (self.members.as_slice(), candidates) {
            ([member], [candidate]) => member.table.publish(candidate).await.map(|version| version.0),
            _ => {
                let waiting: Vec<Candidate> = candidates.iter().filter(|c| c.waits()).cloned().collect();
                self.lake.publish_together(&waiting).await.map(|version| version.0)
            }
        }
    }

    /// Keeps what was decided, and tells it where it is news.
    async fn conclude(&self, member: &Member, judgement: Judgement, version: Option<u64>, now_ms: i64) {
        let old = member.record();
        let held = !judgement.reasons.is_empty();
        let mut record = Record { held, stale: !judgement.stale.is_empty(), reasons: judgement.reasons, ..old.clone() };
        record.newest_ms = judgement.newest_ms;
        if held != old.held {
            record.since_ms = now_ms;
        }
        match version {
            Some(_) => record.fresh.clear(),
            None => record.fresh.extend(judgement.fresh),
        }
        let is_first = {
            let mut known = member.known.lock();
            known.record = record.clone();
            let is_first = !known.has_decided && (held || version.is_some());
            known.has_decided |= is_first;
            is_first
        };
        if record.differs(&old) || record.fresh != old.fresh {
            self.keep(member, &record).await;
        }
        if is_first || record.differs(&old) {
            let results = judgement.results.iter();
            results.for_each(|(scope, result)| self.events.send(measured(member.table.contract(), scope, result)));
            let stale = judgement.stale.into_iter().filter(|_| !held).collect();
            self.tell(member, &Record { reasons: [record.reasons, stale].concat(), ..record }, version);
        }
    }

    fn tell(&self, member: &Member, record: &Record, version: Option<u64>) {
        let decision = match (record.held, record.stale) {
            (true, _) => "held",
            (false, true) => "stale",
            (false, false) => "passed",
        };
        let dataset = member.table.id().to_string();
        let rules: Vec<&str> = record.reasons.iter().map(|reason| reason.rule.as_str()).collect();
        tracing::info!(dataset, decision, rules = rules.join(", "), "a gate has decided");
        let (reasons, actor) = (record.reasons_as_json().into(), "gate".into());
        self.events.send(Event::Gate { dataset: dataset.into(), decision, version, reasons, actor, comment: None });
    }

    /// Keeps a record; a failure is no reason to decide otherwise, and the next decision keeps it again.
    async fn keep(&self, member: &Member, record: &Record) {
        if let Err(error) = record.keep(&member.table).await {
            tracing::warn!(table = %member.table.id(), error = in_full(&error), "a gate's state could not be kept");
        }
    }

    /// Holds a dataset until it is released.
    pub(super) async fn hold(&self, member: &Member, decision: &Decision) -> Result<(), LakeError> {
        let _one_at_a_time = self.deciding.lock().await;
        let (old, now_ms) = (member.record(), self.clock.now_ms());
        let hold = Hold { by: decision.by.clone(), reason: decision.reason.clone(), at_ms: now_ms };
        let mut record = Record { held: true, released: None, ..old.clone() };
        record.reasons.retain(|reason| reason.rule != HOLD);
        record.reasons.insert(0, held_by(&hold));
        record.hold = Some(hold);
        if !old.held {
            record.since_ms = now_ms;
        }
        record.keep(&member.table).await?;
        member.known.lock().record = record;
        Ok(())
    }

    /// Ends the holds of a gate, and publishes what is staged in spite of its rules.
    pub(super) async fn release(&self, decision: &Decision) -> Result<Option<u64>, LakeError> {
        let _one_at_a_time = self.deciding.lock().await;
        let candidates = self.candidates();
        for (member, candidate) in self.members.iter().zip(&candidates) {
            let (by, reason) = (decision.by.clone(), decision.reason.clone());
            let mut record = member.record();
            record.reasons.retain(|reason| reason.rule != HOLD);
            record.hold = None;
            record.released = Some(Release { by, reason, version: candidate.version() });
            record.keep(&member.table).await?;
            member.known.lock().record = record;
        }
        let version = match candidates.iter().any(Candidate::waits) {
            true => Some(self.publish(&candidates).await?),
            false => None,
        };
        self.passed_by_hand().await;
        Ok(version)
    }

    /// A release whose publication a crash has cut short.
    async fn finish_release(&self) {
        let _one_at_a_time = self.deciding.lock().await;
        if !self.absent.is_empty() {
            return; // Published together or not at all: it is finished when all are open.
        }
        let mut candidates = Vec::new();
        for member in &self.members {
            let Some(release) = member.record().released else { return };
            let published = member.table.candidate().and_then(|candidate| candidate.published_version());
            if published.is_none_or(|published| published < release.version) {
                match member.table.candidate_at(release.version).await {
                    Ok(candidate) => candidates.push(candidate),
                    Err(error) => {
                        tracing::warn!(table = %member.table.id(), error = in_full(&error), "a release cannot be finished");
                        return;
                    }
                }
            }
        }
        if !candidates.iter().any(Candidate::waits) {
            return;
        }
        match self.publish(&candidates).await {
            Ok(_) => self.passed_by_hand().await,
            Err(error) => tracing::warn!(error = in_full(&error), "a release cannot be finished"),
        }
    }

    async fn passed_by_hand(&self) {
        for member in &self.members {
            let mut record = member.record();
            if record.held {
                record.since_ms = self.clock.now_ms();
            }
            (record.held, record.released) = (false, None);
            (record.reasons, record.fresh) = (Vec::new(), BTreeSet::new());
            member.known.lock().record = record.clone();
            self.keep(member, &record).await;
        }
    }
}

/// The rule that a person's hold stands for.
const HOLD: &str = "hold";

fn held_by(hold: &Hold) -> GateReason {
    let want = "a release: vitalake gate release".to_owned();
    GateReason { rule: HOLD.to_owned(), got: format!("held by {}: {}", hold.by, hold.reason), want }
}

fn out_of_step() -> GateReason {
    let (rule, got) = ("publishGroup".to_owned(), "made of different versions of the same input".to_owned());
    GateReason { rule, got, want: "datasets of a group made of the same versions".to_owned() }
}

/// Why what passes its rules was not published.
fn not_published(error: &LakeError) -> GateReason {
    let (rule, want) = match error {
        LakeError::ForeignCommit { .. } => ("head", "no commit of another writer since"),
        LakeError::StagedFilesGone { .. } => {
            ("staged_files", "every staged file: start the process again, and it makes them anew")
        }
        error if error.retry() == Retry::Later => ("publication", "a commit; it is tried again"),
        _ => ("publication", "a commit"),
    };
    GateReason { rule: rule.to_owned(), got: in_full(error), want: want.to_owned() }
}

/// Whether a dataset's age is looked at.
fn has_limits(member: &Member) -> bool {
    member.table.contract().sla.freshness.is_some()
}
