//! A look of a feed: what lies in its source, and what of it is delivered.
//!
//! Invariant: deliveries are taken in the order of their dates, and none overtakes one that is tried again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use vitalake_contract::feed::FeedFiles;
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::delivery::{Expected, NoManifest};
use vitalake_ingest::feed::{Arrival, FeedError, Files, Listing, Look, Looks};
use vitalake_ops::feeds::{FeedDelivery, FeedRunReport};
use vitalake_ops::status::{DeliveryReport, DeliveryState};
use vitalake_runtime::error::in_full;
use vitalake_serve::platform::ApiError;

use super::super::Life;
use super::deliver::{Brought, NotLoaded, deliver, refused_unread};
use super::desk::{Desk, Source, Turn};
use super::times::Looked;

/// The longest that files are waited for to stand still by a run by hand.
const BY_HAND_MAX: Duration = Duration::from_secs(120);

impl Desk {
    /// Looks for deliveries once and takes those that are complete.
    pub(super) async fn look(&self, life: &Arc<Life>, mut looks: Turn) -> (Vec<FeedDelivery>, Looked) {
        let (place, files) = match (&self.source, self.feed.source.files()) {
            (Ok(Source::Files(place)), Some(files)) => (place, files),
            (Ok(Source::Rows(rows)), _) => return self.read(life, rows).await,
            _ => return Default::default(),
        };
        let listed = place.list().await;
        self.standing.lock().looked_at(self.clock.now_ms());
        let listing = match listed {
            Ok(listing) => listing,
            Err(error) => {
                self.away(in_full(&error));
                let looked = Looked { more: true, ..Looked::default() };
                self.times.lock().looked(&self.feed, looked, self.clock.monotonic());
                return (Vec::new(), looked);
            }
        };
        let look = looks.look(files, &listing, self.clock.monotonic());
        let mut looked = Looked { more: look.waiting > 0, complete_in: look.complete_in, ..Looked::default() };
        let mut deliveries = Vec::new();
        for arrival in &look.arrivals {
            if life.is_ending() || !self.is_run_here() {
                break;
            }
            let (delivery, again) = self.take(life, (files, place, &listing), arrival).await;
            looked.came |= delivery.report.is_some();
            deliveries.push(delivery);
            if again {
                // Later dates wait: a delivery must not overtake one that is tried again.
                (looked.more, looked.failed) = (true, true);
                break;
            }
            looks.taken(arrival);
        }
        let there: HashSet<String> = listing.files.iter().filter_map(|file| key_of(files, &file.name)).collect();
        self.standing.lock().keep_refused(&there);
        self.looked(&look, &looks, listing.refused);
        if deliveries.last().is_none_or(|last| last.report.is_some()) {
            self.answers();
        }
        self.keep().await;
        self.times.lock().looked(&self.feed, looked, self.clock.monotonic());
        (deliveries, looked)
    }

    fn looked(&self, look: &Look, looks: &Looks, refused: Vec<(String, &'static str)>) {
        let mut standing = self.standing.lock();
        standing.waiting = look.waiting;
        standing.taken = looks.taken_count();
        let without_day = look.without_day.iter().map(|name| (name.clone(), "its date is no day"));
        standing.not_read = without_day.chain(refused).collect();
    }

    /// Delivers what arrived. Gives also whether it is to be tried again.
    async fn take(
        &self,
        life: &Arc<Life>,
        (files, place, listing): (&FeedFiles, &Files, &Listing),
        arrival: &Arrival,
    ) -> (FeedDelivery, bool) {
        let name = arrival.name();
        let delivery =
            FeedDelivery { name: name.clone(), date: arrival.date.map(|d| d.to_string()), ..Default::default() };
        self.keeper.begin(arrival).await;
        let outcome = self.delivered(life, (files, place, listing), arrival).await;
        let again = outcome.as_ref().is_err_and(|error| error.again);
        self.keeper.end(arrival, !again).await;
        let key = arrival.files.first().and_then(|file| key_of(files, &file.name)).unwrap_or_default();
        self.became(&key, outcome, delivery, arrival.date)
    }

    async fn delivered(
        &self,
        life: &Arc<Life>,
        (files, place, listing): (&FeedFiles, &Files, &Listing),
        arrival: &Arrival,
    ) -> Result<DeliveryReport, NotLoaded> {
        let asked = async {
            let format = form(files, arrival).map_err(NotLoaded::for_good)?;
            Ok::<_, NotLoaded>((format, self.expected(life, (place, listing), arrival).await?))
        };
        let (format, expected) = match asked.await {
            Ok(asked) => asked,
            Err(error) => {
                if !error.again {
                    refused_unread(life, &self.feed, arrival.date, &error.message).await;
                }
                return Err(error);
            }
        };
        let pieces = place.read(arrival.files.clone());
        let names = match arrival.files.as_slice() {
            [_] => Vec::new(),
            several => several.iter().map(|file| file.name.clone()).collect(),
        };
        let (name, date) = (arrival.name(), arrival.date);
        let since_us = self.standing.lock().remembers_since_ms.saturating_mul(1_000);
        let brought = Brought {
            name,
            date,
            format,
            pieces,
            files: names,
            maybe_again: arrival.files.iter().all(|file| file.print.modified_us < since_us),
            may_be_held: true,
            expected,
            watermark: None,
            lease: self.keeper.lease(),
        };
        deliver(life, &self.feed, brought).await
    }

    /// What the manifest beside a file says, where the contract asks for control totals.
    async fn expected(
        &self,
        life: &Arc<Life>,
        (place, listing): (&Files, &Listing),
        arrival: &Arrival,
    ) -> Result<Option<Expected>, NotLoaded> {
        let asks = life.lake.table(&self.feed.dataset).is_ok_and(|table| table.contract().control_totals);
        let [file] = arrival.files.as_slice() else { return Ok(None) };
        if !asks {
            return Ok(None);
        }
        let unread = |error: FeedError| NotLoaded::for_now(in_full(&error));
        let no_manifest = |error: NoManifest| NotLoaded::for_good(error.to_string());
        let manifest = place.manifest(&file.name, listing).await.map_err(unread)?;
        manifest.map(|bytes| Expected::parse(&bytes)).transpose().map_err(no_manifest)
    }

    /// Takes note of what became of a delivery. Gives it as told, and whether it is to be tried again.
    pub(super) fn became(
        &self,
        key: &str,
        outcome: Result<DeliveryReport, NotLoaded>,
        delivery: FeedDelivery,
        date: Option<NaiveDate>,
    ) -> (FeedDelivery, bool) {
        match outcome {
            Ok(report) => {
                let is_new = matches!(report.state, DeliveryState::Loaded | DeliveryState::Held);
                let now_ms = is_new.then(|| self.clock.now_ms());
                let mut standing = self.standing.lock();
                standing.mended(key);
                standing.came(delivery.name.clone(), date, now_ms);
                drop(standing);
                self.said_delivered(&report.sha256, is_new);
                (FeedDelivery { report: Some(report), ..delivery }, false)
            }
            Err(error) if error.again => {
                self.away(error.shown());
                (FeedDelivery { error: Some(error.shown()), ..delivery }, true)
            }
            Err(error) => {
                tracing::warn!(feed = self.feed.name.as_str(), "a delivery was refused: {}", error.message);
                self.standing.lock().refused(key, &delivery.name, error.shown());
                (FeedDelivery { error: Some(error.shown()), ..delivery }, false)
            }
        }
    }

    fn said_delivered(&self, sha256: &str, is_new: bool) {
        let (feed, dataset) = (self.feed.name.as_str(), self.feed.dataset.as_str());
        match is_new {
            true => tracing::info!(feed, dataset, sha256, "a delivery of this feed was loaded"),
            false => tracing::debug!(feed, dataset, sha256, "a delivery of this feed had been loaded before"),
        }
    }

    /// Its source cannot be read.
    pub(super) fn away(&self, reason: String) {
        let feed = self.feed.name.as_str();
        if self.standing.lock().failed(reason.clone(), self.clock.now_ms()) {
            tracing::warn!(feed, "its source cannot be read, which is tried again: {reason}");
        }
    }

    pub(super) fn answers(&self) {
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
            let waits = looked.complete_in.filter(|_| self.clock.monotonic() - began < BY_HAND_MAX);
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
}

/// What a file's delivery is known by: its name, or its date where all of a date are one. None where it is of no delivery.
fn key_of(files: &FeedFiles, name: &str) -> Option<String> {
    let date = files.pattern.matches(name)?;
    Some(if files.gather { date.map(|date| date.to_string()).unwrap_or_default() } else { name.to_owned() })
}

/// The form of what arrived: what the feed says, or the ending of the files' names.
fn form(files: &FeedFiles, arrival: &Arrival) -> Result<DeliveryFormat, String> {
    let name = arrival.files.first().map_or("", |file| file.name.as_str());
    files.format.or_else(|| DeliveryFormat::of_name(name)).ok_or_else(|| {
        let unknown =
            "the form of the file is not known by its name; add `format: csv`, json, parquet, arrow or zip to the feed";
        DeliveryFormat::not_read(name).unwrap_or(unknown).to_owned()
    })
}
