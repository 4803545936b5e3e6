//! A batch of records from the socket to the published version, as one trace.
//!
//! Built from what each step says of itself: ids of transactions and versions tell whether a commit holds the batch; of a
//! model's runs it is the first that began after its input was there. Nothing is carried along with the records. Invariant:
//! a bounded number of batches is followed, each for a bounded time, and a span holds names, ids and counts alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::executor::block_on;
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use vitalake_runtime::events::{Event, Outcome};
use vitalake_runtime::steps::{Following, Step};

use super::Who;
use super::backlog::{Backlog, Counts, Sent};

/// How long a batch is followed.
const FOLLOWED_MAX: Duration = Duration::from_secs(900);
/// What a table of the staged log is named under.
const STAGED: &str = "staged";
/// Tables of rejects are not on the way.
const QUARANTINE: &str = "quarantine";

/// A queue whose thread sends by this exporter.
pub(super) fn backlog(
    mut exporter: SpanExporter,
    resource: &Resource,
    counts: Counts,
    interval: Duration,
) -> std::io::Result<Backlog<SpanData>> {
    exporter.set_resource(resource);
    Backlog::start("telemetry-traces", counts, interval, move |spans: &[SpanData], _: u32| {
        Sent::whole(spans, block_on(exporter.export(spans.to_vec())).is_ok())
    })
}

/// Puts spans that have ended into the queue.
#[derive(Debug)]
pub(super) struct Queue(pub(super) Arc<Backlog<SpanData>>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.offer(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Where a batch is in one dataset.
#[derive(Debug)]
struct Stage {
    /// The span that brought it there.
    span: SpanContext,
    since: SystemTime,
    /// The id of the table and its version that holds the batch.
    committed: Option<(Arc<str>, i64)>,
    published: bool,
}

/// One batch that is followed.
#[derive(Debug)]
struct Batch {
    partition: Arc<str>,
    offset: i64,
    root: SpanContext,
    since: Instant,
    stages: BTreeMap<String, Stage>,
}

/// All batches that are followed.
pub(super) struct Traces {
    tracer: SdkTracer,
    models: Vec<(String, Vec<String>)>,
    following: Following,
    batches: Vec<Batch>,
}

impl Traces {
    pub(super) fn new(provider: &SdkTracerProvider, who: &Who) -> Self {
        let (models, following) = (who.models.clone(), who.following.clone());
        Self { tracer: provider.tracer("vitalake"), models, following, batches: Vec::new() }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Step(Step::Produced { .. }) => self.produced(event),
            _ if self.batches.is_empty() => return,
            Event::Step(Step::Landed { .. }) => self.landed(event),
            Event::Step(Step::Committed { table, table_id, version, txns, took }) => {
                self.committed((table, table_id, *version), txns, *took);
            }
            Event::Run { dataset, outcome: Outcome::Done, rows_in, rows_out, took, .. } => {
                self.ran(dataset, (*rows_in, *rows_out), *took);
            }
            _ => return,
        }
        self.forget();
    }

    fn produced(&mut self, event: &Event) {
        let Event::Step(Step::Produced { partition, topic, number, offset, arrived, took }) = event else { return };
        let attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.destination.name", topic.to_string()),
            KeyValue::new("messaging.destination.partition.id", number.to_string()),
            KeyValue::new("messaging.kafka.offset", *offset),
        ];
        let root =
            self.span(None, (format!("produce {topic}"), SpanKind::Server), (*arrived, *arrived + *took), attributes);
        let log = vec![KeyValue::new("vitalake.txn", partition.to_string())];
        self.span(Some(&root), ("log append".to_owned(), SpanKind::Internal), (*arrived, *arrived + *took), log);
        self.batches.push(Batch {
            partition: Arc::clone(partition),
            offset: *offset,
            root,
            since: Instant::now(),
            stages: BTreeMap::new(),
        });
    }

    fn landed(&mut self, event: &Event) {
        let Event::Step(Step::Landed { partition, dataset, through, rows, rejects, took }) = event else { return };
        let now = SystemTime::now();
        let attributes = || {
            vec![
                KeyValue::new("vitalake.dataset", dataset.to_string()),
                KeyValue::new("vitalake.txn", partition.to_string()),
                KeyValue::new("vitalake.through_offset", *through),
                KeyValue::new("vitalake.rows", i64::try_from(*rows).unwrap_or(i64::MAX)),
                KeyValue::new("vitalake.rejects", i64::try_from(*rejects).unwrap_or(i64::MAX)),
            ]
        };
        for index in 0..self.batches.len() {
            let Some(batch) = self.batches.get(index) else { continue };
            if batch.partition != *partition || batch.offset > *through || batch.stages.contains_key(&**dataset) {
                continue;
            }
            let named = (format!("land {dataset}"), SpanKind::Consumer);
            let span = self.span(Some(&batch.root.clone()), named, (before(now, *took), now), attributes());
            self.enter(index, dataset, span, now);
        }
    }

    /// A model's run holds the batch when it began after one of its inputs did.
    fn ran(&mut self, model: &Arc<str>, (rows_in, rows_out): (u64, u64), took: Duration) {
        let Some((_, inputs)) = self.models.iter().find(|(name, _)| **name == **model) else { return };
        let (inputs, now) = (inputs.clone(), SystemTime::now());
        let began = before(now, took);
        for index in 0..self.batches.len() {
            let Some(batch) = self.batches.get(index) else { continue };
            if batch.stages.contains_key(&**model) {
                continue;
            }
            let there = inputs.iter().filter_map(|input| batch.stages.get(input)).find(|stage| stage.since <= began);
            let Some(parent) = there.map(|stage| stage.span.clone()) else { continue };
            let attributes = vec![
                KeyValue::new("vitalake.dataset", model.to_string()),
                KeyValue::new("vitalake.rows_in", i64::try_from(rows_in).unwrap_or(i64::MAX)),
                KeyValue::new("vitalake.rows_out", i64::try_from(rows_out).unwrap_or(i64::MAX)),
            ];
            let named = (format!("model {model}"), SpanKind::Internal);
            let span = self.span(Some(&parent), named, (began, now), attributes);
            self.enter(index, model, span, now);
        }
    }

    fn enter(&mut self, index: usize, dataset: &Arc<str>, span: SpanContext, since: SystemTime) {
        if let Some(batch) = self.batches.get_mut(index) {
            let stage = Stage { span, since, committed: None, published: false };
            batch.stages.insert(dataset.to_string(), stage);
        }
    }

    /// A commit holds the batch when its transactions reach it: the partition's offset, or the input's version.
    fn committed(
        &mut self,
        (table, table_id, version): (&Arc<str>, &Arc<str>, u64),
        txns: &[(Arc<str>, i64)],
        took: Duration,
    ) {
        let Some((space, dataset)) = table.split_once('.').filter(|(space, _)| *space != QUARANTINE) else { return };
        let (now, version) = (SystemTime::now(), i64::try_from(version).unwrap_or(i64::MAX));
        for index in 0..self.batches.len() {
            let Some(batch) = self.batches.get(index) else { continue };
            let Some(stage) = batch.stages.get(dataset).filter(|stage| !stage.published) else { continue };
            let holds = match &stage.committed {
                None => batch.is_in(txns),
                Some((_, staged)) => space != STAGED && publishes(txns, dataset, *staged),
            };
            if !holds {
                continue;
            }
            let verb = if stage.committed.is_some() { "publish" } else { "commit" };
            let attributes = vec![
                KeyValue::new("vitalake.table", table.to_string()),
                KeyValue::new("vitalake.table_id", table_id.to_string()),
                KeyValue::new("vitalake.version", version),
            ];
            let named = (format!("{verb} {table}"), SpanKind::Internal);
            let span = self.span(Some(&stage.span.clone()), named, (before(now, took), now), attributes);
            if let Some(stage) = self.batches.get_mut(index).and_then(|batch| batch.stages.get_mut(dataset)) {
                (stage.span, stage.committed) = (span, Some((Arc::clone(table_id), version)));
                stage.published = space != STAGED;
            }
        }
    }

    fn span(
        &self,
        parent: Option<&SpanContext>,
        (name, kind): (String, SpanKind),
        (from, to): (SystemTime, SystemTime),
        attributes: Vec<KeyValue>,
    ) -> SpanContext {
        let context = parent.map_or_else(Context::new, |span| Context::new().with_remote_span_context(span.clone()));
        let builder = self.tracer.span_builder(name).with_kind(kind).with_start_time(from).with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, &context);
        let said = span.span_context().clone();
        span.end_with_timestamp(to);
        said
    }

    /// Lets go of batches that are everywhere they can get to, and of those that took too long.
    fn forget(&mut self) {
        let (before, models) = (self.batches.len(), &self.models);
        self.batches.retain(|batch| batch.since.elapsed() < FOLLOWED_MAX && !batch.is_everywhere(models));
        self.following.ended(before - self.batches.len());
    }
}

impl Batch {
    fn is_in(&self, txns: &[(Arc<str>, i64)]) -> bool {
        txns.iter().any(|(id, through)| {
            let lands = *id == self.partition && *through >= self.offset;
            let input = id.rsplit('/').next().unwrap_or_default();
            let inputs = self.stages.values().filter_map(|stage| stage.committed.as_ref());
            lands || inputs.into_iter().any(|(table_id, version)| **table_id == *input && through >= version)
        })
    }

    fn is_everywhere(&self, models: &[(String, Vec<String>)]) -> bool {
        let reached = |name: &String| self.stages.get(name).is_some_and(|stage| stage.published);
        let derives = |(name, inputs): &(String, Vec<String>)| !inputs.iter().any(&reached) || reached(name);
        self.stages.values().any(|stage| stage.published) && models.iter().all(derives)
    }
}

/// Whether a commit publishes what was staged as that version.
fn publishes(txns: &[(Arc<str>, i64)], dataset: &str, staged: i64) -> bool {
    let is_publication = |id: &str| id.strip_suffix(dataset).is_some_and(|before| before.ends_with("/publish/"));
    txns.iter().any(|(id, version)| is_publication(id) && *version >= staged)
}

/// A moment that much earlier.
fn before(moment: SystemTime, by: Duration) -> SystemTime {
    moment.checked_sub(by).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::Sampler;
    use parking_lot::Mutex;

    use super::*;

    const NONE: Duration = Duration::ZERO;

    /// Keeps the spans that have ended.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn committed(table: &str, table_id: &str, version: u64, txn: (&str, i64)) -> Event {
        let txns = vec![(txn.0.into(), txn.1)];
        Event::Step(Step::Committed { table: table.into(), table_id: table_id.into(), version, txns, took: NONE })
    }

    fn ran(dataset: &str) -> Event {
        Event::Run { dataset: dataset.into(), outcome: Outcome::Done, rows_in: 3, rows_out: 3, error: None, took: NONE }
    }

    fn landed(through: i64) -> Event {
        let (partition, dataset) = ("vitalake/topic/0".into(), "r".into());
        Event::Step(Step::Landed { partition, dataset, through, rows: 3, rejects: 0, took: NONE })
    }

    /// Each span's name with its parent's, in the order in which they ended.
    fn spans_of(events: &[Event]) -> (Vec<(String, String)>, Following) {
        let kept = Kept::default();
        let provider =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(kept.clone()).build();
        let following = Following::default();
        following.set_rate(1);
        assert!(following.begins());
        let models = vec![("c".to_owned(), vec!["r".to_owned()]), ("s".to_owned(), vec!["c".to_owned()])];
        let who = Who { models, following: following.clone(), ..Who::default() };
        let mut traces = Traces::new(&provider, &who);
        events.iter().for_each(|event| traces.take(event));
        let spans = kept.0.lock().clone();
        let traces: std::collections::HashSet<_> = spans.iter().map(|span| span.span_context.trace_id()).collect();
        assert!(traces.len() <= 1, "one trace a batch: {traces:?}");
        let name =
            |id| spans.iter().find(|s| s.span_context.span_id() == id).map_or(String::new(), |s| s.name.to_string());
        (spans.iter().map(|span| (span.name.to_string(), name(span.parent_span_id))).collect(), following)
    }

    fn produced() -> Event {
        Event::Step(Step::Produced {
            partition: "vitalake/topic/0".into(),
            topic: "t".into(),
            number: 0,
            offset: 7,
            arrived: SystemTime::now(),
            took: NONE,
        })
    }

    #[test]
    fn a_batch_is_one_trace_from_the_socket_to_the_published_version() {
        let events = [
            produced(),
            landed(9),
            ran("c"),
            ran("s"),
            committed("raw.r", "R", 4, ("vitalake/topic/0", 9)),
            committed("quarantine.r", "Q", 4, ("vitalake/topic/0", 9)),
            committed("curated.c", "C", 2, ("vitalake/model/c/R", 4)),
            committed("staged.s", "S", 1, ("vitalake/model/s/C", 2)),
            committed("serving.s", "H", 8, ("vitalake/publish/s", 0)),
            committed("serving.s", "H", 9, ("vitalake/publish/s", 1)),
        ];
        let (spans, following) = spans_of(&events);
        let wanted = [
            ("produce t", ""),
            ("log append", "produce t"),
            ("land r", "produce t"),
            ("model c", "land r"),
            ("model s", "model c"),
            ("commit raw.r", "land r"),
            ("commit curated.c", "model c"),
            ("commit staged.s", "model s"),
            ("publish serving.s", "commit staged.s"),
        ];
        assert_eq!(spans, wanted.map(|(name, parent)| (name.to_owned(), parent.to_owned())));
        assert!(!following.is_any(), "what is everywhere is followed no longer");
    }

    #[test]
    fn what_does_not_hold_the_batch_has_no_span() {
        let events = [
            produced(),
            landed(6),
            ran("c"),
            committed("raw.r", "R", 3, ("vitalake/topic/0", 6)),
            landed(8),
            committed("raw.r", "R", 4, ("vitalake/topic/1", 90)),
            committed("curated.c", "C", 2, ("vitalake/model/c/R", 3)),
        ];
        let (spans, following) = spans_of(&events);
        let names: Vec<&str> = spans.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["produce t", "log append", "land r"]);
        assert!(following.is_any());
    }
}
