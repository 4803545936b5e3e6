//! What was worked out for the console: facts once a second, and each answer once for all who see the same.
//!
//! Invariant: an answer is given only to who sees what the one sees for whom it was made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::hex;

use super::Overview;
use super::facts::{DatasetNews, Today};
use crate::platform::ApiError;
use crate::policy::{Seen, SeenKey};

/// For how long facts are good.
const FRESH: Duration = Duration::from_secs(1);
/// For how many turns of the facts news of a dataset are good: its tables are read for them.
const NEWS_TURNS: u64 = 5;
/// Answers that are kept; beyond them all are made anew.
const ANSWERS_MAX: usize = 512;

/// An answer as it is sent.
#[derive(Debug, Clone)]
pub struct Told {
    /// JSON.
    pub body: Bytes,
    /// What tells it from others, as `ETag` has it.
    pub tag: Arc<str>,
}

impl Told {
    /// An answer of these bytes.
    #[must_use]
    pub fn of(body: Vec<u8>) -> Self {
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
        Self { body: body.into(), tag: tag.into() }
    }
}

/// The facts of a moment.
#[derive(Debug)]
pub(super) struct Moment {
    /// Counts up with each.
    pub(super) turn: u64,
    pub(super) facts: Today,
    at: Duration,
}

/// An answer with the turn of the facts that it was made of.
type Answer = (u64, Told);

/// What tables say of a dataset, with the turn in which that was asked.
type News = (u64, Arc<DatasetNews>);

#[derive(Debug)]
pub(super) struct Memory {
    clock: Clock,
    /// One works them out, the others wait for it.
    today: tokio::sync::Mutex<Option<Arc<Moment>>>,
    answers: Mutex<HashMap<(&'static str, SeenKey), Answer>>,
    /// By dataset: one asks its tables, and holds up nobody who looks at another.
    news: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<News>>>>>,
}

impl Memory {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, today: tokio::sync::Mutex::default(), answers: Mutex::default(), news: Mutex::default() }
    }

    /// The time, by the process's clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default()
    }

    /// What tables say of a dataset of the project: asked once for all who look within a while.
    pub(super) async fn news(
        &self,
        overview: &dyn Overview,
        dataset: &str,
        turn: u64,
    ) -> Result<Arc<DatasetNews>, ApiError> {
        let place = Arc::clone(self.news.lock().entry(dataset.to_owned()).or_default());
        let mut held = place.lock().await;
        if let Some((asked, news)) = &*held
            && turn.saturating_sub(*asked) < NEWS_TURNS
        {
            return Ok(Arc::clone(news));
        }
        let news = Arc::new(overview.dataset(dataset).await?);
        *held = Some((turn, Arc::clone(&news)));
        Ok(news)
    }

    pub(super) async fn today(&self, overview: &dyn Overview) -> Arc<Moment> {
        let mut held = self.today.lock().await;
        let now = self.clock.monotonic();
        if let Some(moment) = held.as_ref().filter(|moment| now.saturating_sub(moment.at) < FRESH) {
            return Arc::clone(moment);
        }
        let turn = held.as_ref().map_or(1, |moment| moment.turn + 1);
        let moment = Arc::new(Moment { turn, facts: overview.today().await, at: now });
        *held = Some(Arc::clone(&moment));
        moment
    }

    /// An answer that was made of these facts for who sees the same, or a new one.
    pub(super) fn told(&self, what: &'static str, seen: &Seen, turn: u64, make: impl FnOnce() -> Vec<u8>) -> Told {
        let key = (what, seen.key().clone());
        if let Some((made_of, told)) = self.answers.lock().get(&key)
            && *made_of == turn
        {
            return told.clone();
        }
        let told = Told::of(make());
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, (turn, told.clone()));
        told
    }
}
