//! One feed of a life: its source, its times, and what its looks found.
//!
//! Invariant: one look of a feed is under way at a time, and deliveries are taken in the order that it gives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use vitalake_contract::feed::{Feed, FeedFiles, FeedSource, FeedTrigger};
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::feed::{Arrival, FolderPlace, Look, Looks, Place};
use vitalake_ops::feeds::{FeedDelivery, FeedReport, FeedRunReport};
use vitalake_ops::status::DeliveryState;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::{Event, Events};
use vitalake_serve::platform::ApiError;

use super::super::outside::instant;
use super::super::{Life, Setup};
use super::deliver::{Brought, NotLoaded, deliver};
use super::lateness::late_since_ms;
use super::standing::Standing;
use super::times::{Looked, Times};

/// How long a run by hand waits for files to stand still, beyond the feed's own measure.
const BY_HAND_MAX: Duration = Duration::from_secs(5);
/// The rule under which a late delivery is told of in ops.checks.
const LATE_RULE: &str = "feed_late";

/// A feed of a life.
#[derive(Debug)]
pub(crate) struct Desk {
    feed: Feed,
    source: Result<Place, String>,
    clock: Clock,
    times: Mutex<Times>,
    standing: Mutex<Standing>,
    looks: Arc<tokio::sync::Mutex<Looks>>,
}

/// The right to look, with what earlier looks found.
pub(super) type Turn = OwnedMutexGuard<Looks>;

impl Desk {
    /// A feed that was not looked at yet.
    pub(super) fn open(setup: &Setup, feed: &Feed) -> Self {
        let clock = setup.clock.clone();
        let mut standing = Standing::default();
        standing.came.watched_since_ms = clock.now_ms();
        let source = source(&setup.checked.project.root, feed);
        if let Err(reason) = &source {
            standing.failed(reason.clone(), clock.now_ms());
        }
        let (standing, times) = (Mutex::new(standing), Mutex::default());
        Self { feed: feed.clone(), source, clock, times, standing, looks: Arc::default() }
    }

    /// What its file says.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Plans its times, from when a delivery last came.
    pub(super) fn plan(&self, life: &Life) {
        let last_ms = life.lake.table(&self.feed.dataset).ok().and_then(|table| table.newest_row_ms());
        self.standing.lock().came.last_ms = last_ms;
        let times = Times::plan(&self.feed, self.clock.now_ms(), last_ms);
        if times.missed > 0 {
            tracing::warn!(
                feed = self.feed.name.as_str(),
                runs = times.missed,
                "runs of this feed fell into a stop: they are made up for by one, now"
            );
        }
        *self.times.lock() = times;
    }

    /// Whether it is to be looked now.
    pub(super) fn is_due(&self) -> bool {
        self.source.is_ok() && self.times.lock().is_due(&self.feed, self.clock.now_ms(), self.clock.monotonic())
    }

    /// The right to look, unless somebody has it.
    pub(super) fn take_turn(&self) -> Option<Turn> {
        Arc::clone(&self.looks).try_lock_owned().ok()
    }

    /// Looks for deliveries once and takes those that are complete.
    pub(super) async fn look(&self, life: &Arc<Life>, mut looks: Turn) -> (Vec<FeedDelivery>, Looked) {
        let (Ok(place), Some(files)) = (&self.source, self.feed.source.files()) else { return Default::default() };
        let listed = place.list().await;
        let now_ms = self.clock.now_ms();
        self.standing.lock().last_look_ms = Some(now_ms);
        let listing = match listed {
            Ok(listing) => listing,
            Err(error) => {
                self.away(in_full(&error));
                let looked = Looked { more: true, ..Looked::default() };
                self.times.lock().looked(&self.feed, looked, self.clock.monotonic());
                return (Vec::new(), looked);
            }
        };
        self.answers();
        let look = looks.look(files, &listing, self.clock.monotonic());
        let mut looked = Looked { came: false, more: look.waiting > 0, complete_in: look.complete_in };
        let mut deliveries = Vec::new();
        for arrival in &look.arrivals {
            if life.is_ending() {
                break;
            }
            let (delivery, again) = self.take(life, files, place, arrival).await;
            looked.came |= delivery.report.is_some();
            looked.more |= again;
            if !again {
                looks.taken(arrival);
            }
            let stops = again;
            deliveries.push(delivery);
            // Later dates wait: a delivery must not overtake one that is tried again.
            if stops {
                break;
            }
        }
        self.looked(&look, &looks, listing.refused);
        self.times.lock().looked(&self.feed, looked, self.clock.monotonic());
        (deliveries, looked)
    }

    fn looked(&self, look: &Look, looks: &Looks, refused: Vec<(String, &'static str)>) {
        let mut standing = self.standing.lock();
        standing.waiting = look.waiting;
        standing.taken = looks.taken_count();
        standing.not_read = refused;
    }

    /// Delivers what arrived. Gives also whether it is to be tried again.
    async fn take(
        &self,
        life: &Arc<Life>,
        files: &FeedFiles,
        place: &Place,
        arrival: &Arrival,
    ) -> (FeedDelivery, bool) {
        let name = arrival.name();
        let delivery =
            FeedDelivery { name: name.clone(), date: arrival.date.map(|d| d.to_string()), ..Default::default() };
        let outcome = match form(files, arrival) {
            Ok(format) => {
                let pieces = place.read(arrival.files.clone());
                deliver(life, &self.feed, Brought { name: name.clone(), date: arrival.date, format, pieces }).await
            }
            Err(message) => Err(NotLoaded { message, again: false }),
        };
        match outcome {
            Ok(report) => {
                let is_new = matches!(report.state, DeliveryState::Loaded | DeliveryState::Held);
                let now_ms = is_new.then(|| self.clock.now_ms());
                self.standing.lock().came(name, arrival.date, now_ms);
                self.said_delivered(&report.sha256, is_new, arrival.files.len());
                (FeedDelivery { report: Some(report), ..delivery }, false)
            }
            Err(error) if error.again => {
                self.away(error.message.clone());
                (FeedDelivery { error: Some(error.message), ..delivery }, true)
            }
            Err(error) => {
                tracing::warn!(feed = self.feed.name.as_str(), "a delivery was refused: {}", error.message);
                self.standing.lock().refused = Some(error.message.clone());
                (FeedDelivery { error: Some(error.message), ..delivery }, false)
            }
        }
    }

    fn said_delivered(&self, sha256: &str, is_new: bool, files: usize) {
        let (feed, dataset) = (self.feed.name.as_str(), self.feed.dataset.as_str());
        match is_new {
            true => tracing::info!(feed, dataset, files, sha256, "a delivery of this feed was loaded"),
            false => tracing::debug!(feed, dataset, files, sha256, "a delivery of this feed had been loaded before"),
        }
    }

    /// Its source cannot be read.
    fn away(&self, reason: String) {
        let feed = self.feed.name.as_str();
        if self.standing.lock().failed(reason.clone(), self.clock.now_ms()) {
            tracing::warn!(feed, "its source cannot be read, which is tried again: {reason}");
        }
    }

    fn answers(&self) {
        if let Some((_, since_ms)) = self.standing.lock().away.take() {
            let seconds = (self.clock.now_ms() - since_ms) / 1000;
            tracing::info!(feed = self.feed.name.as_str(), seconds, "its source can be read again");
        }
    }

    /// Looks now, on somebody's word; waits for a look that is under way, and for files that may soon be complete.
    pub(super) async fn run_now(&self, life: &Arc<Life>) -> Result<FeedRunReport, ApiError> {
        if let Err(reason) = &self.source {
            return Err(ApiError::Invalid(format!("the feed {} cannot be run: {reason}", self.feed.name)));
        }
        let began = self.clock.monotonic();
        let mut deliveries = Vec::new();
        loop {
            let turn = Arc::clone(&self.looks).lock_owned().await;
            let (came, looked) = self.look(life, turn).await;
            deliveries.extend(came);
            let waits = looked.complete_in.filter(|_| self.clock.monotonic() - began < BY_HAND_MAX + STABLE_WAIT_MAX);
            let Some(wait) = waits else { break };
            tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
        }
        let standing = self.standing.lock();
        if let (true, Some((reason, _))) = (deliveries.is_empty(), &standing.away) {
            return Err(ApiError::Unavailable(format!("the feed {}: {reason}", self.feed.name)));
        }
        Ok(FeedRunReport {
            feed: self.feed.name.to_string(),
            dataset: self.feed.dataset.to_string(),
            deliveries,
            files_waiting: standing.waiting as u64,
        })
    }

    /// When the delivery was due that is late.
    pub(crate) fn late_since_ms(&self) -> Option<i64> {
        let came = self.standing.lock().came;
        late_since_ms(self.feed.due.as_ref()?, came, self.clock.now_ms())
    }

    /// When a delivery is due next.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.feed.due.as_ref()?.calendar.next_after_ms(self.clock.now_ms())
    }

    /// When a delivery last came.
    pub(crate) fn last_delivery_ms(&self) -> Option<i64> {
        self.standing.lock().came.last_ms
    }

    /// Why its source cannot be read, and since when.
    pub(crate) fn is_away(&self) -> Option<(String, i64)> {
        self.standing.lock().away.clone()
    }

    /// Tells of a delivery that has become late, or that a late one is here.
    pub(super) fn note_lateness(&self, events: &Events) {
        let Some(due) = &self.feed.due else { return };
        let late_ms = self.late_since_ms();
        let before_ms = std::mem::replace(&mut self.standing.lock().told_late_ms, late_ms);
        if late_ms == before_ms {
            return;
        }
        let (feed, due_ms) = (self.feed.name.as_str(), late_ms.or(before_ms).unwrap_or_default());
        let due_at = instant(due_ms).unwrap_or_default();
        match late_ms {
            Some(_) => tracing::warn!(feed, due_at, "the delivery that was due is not here"),
            None => tracing::info!(feed, "the delivery that was late is here"),
        }
        events.send(Event::Measured {
            dataset: self.feed.dataset.as_str().into(),
            rule: LATE_RULE.into(),
            severity: "error",
            scope: format!("delivery due at {due_at}").into(),
            got: Some((self.clock.now_ms() - due_ms).max(0) as f64 / 1000.0),
            want: format!("at most {} s", due.late_by.as_secs()).into(),
            passed: Some(late_ms.is_none()),
        });
    }

    /// Where it stands.
    pub(super) fn report(&self) -> FeedReport {
        let times = self.times.lock().clone();
        let feed = FeedReport {
            feed: self.feed.name.to_string(),
            dataset: self.feed.dataset.to_string(),
            source: shown(&self.feed.source),
            runs: match &self.feed.trigger {
                FeedTrigger::Arrival => "on arrival".to_owned(),
                FeedTrigger::Schedule { calendar, .. } => format!("{} {}", calendar.pattern(), calendar.zone()),
            },
            next_run_at: times.next_run_ms.and_then(instant),
            next_due_at: self.next_due_ms().and_then(instant),
            missed_runs: times.missed,
            ..FeedReport::default()
        };
        let running = self.looks.try_lock().is_err();
        let late_since_ms = self.late_since_ms();
        self.standing.lock().report(feed, running, late_since_ms)
    }
}

/// The longest that files are waited for to stand still by a run by hand.
const STABLE_WAIT_MAX: Duration = Duration::from_secs(120);

/// Where its files lie.
fn source(root: &Path, feed: &Feed) -> Result<Place, String> {
    match &feed.source {
        FeedSource::Folder(files) => Ok(Place::Folder(FolderPlace::new(root.join(&files.place)))),
        FeedSource::Store(files) => match files.place.strip_prefix("file://") {
            Some(path) => Ok(Place::Folder(FolderPlace::new(path.into()))),
            None => Err("object stores are not read yet".to_owned()),
        },
        FeedSource::Postgres(_) => Err("databases are not read yet".to_owned()),
    }
}

fn shown(source: &FeedSource) -> String {
    match source {
        FeedSource::Folder(files) => format!("folder {}", files.place),
        FeedSource::Store(files) => files.place.clone(),
        FeedSource::Postgres(_) => "postgres".to_owned(),
    }
}

/// The form of what arrived: what the feed says, or the ending of the files' names.
fn form(files: &FeedFiles, arrival: &Arrival) -> Result<DeliveryFormat, String> {
    let name = arrival.files.first().map_or("", |file| file.name.as_str());
    let ending = || name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match files.format.clone().or_else(ending).unwrap_or_default().as_str() {
        "csv" => Ok(DeliveryFormat::Csv),
        "ndjson" | "jsonl" | "json" => Ok(DeliveryFormat::Ndjson),
        _ => {
            Err("the form of the file is not known by its name; add `format: csv` or `format: ndjson` to the feed"
                .into())
        }
    }
}
