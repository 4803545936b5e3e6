//! A run of a feed that reads a database: its rows are one delivery.
//!
//! All rows are a delivery of the day of the run, so that a second run of a day corrects the first; rows after a
//! watermark are a delivery of their own. Invariant: the watermark moves on with the commit of the rows, and not before.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use vitalake_contract::feed::{self, PostgresSelect, WatermarkLag};
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::postgres::{Lag, PostgresLimits, PostgresRows, PostgresSource, Watermark, WatermarkColumn};
use vitalake_lake::postgres::PostgresAddress;
use vitalake_ops::feeds::FeedDelivery;
use vitalake_runtime::error::{Classified, Retry, in_full};

use super::super::Life;
use super::deliver::{Brought, deliver};
use super::desk::Desk;
use super::times::Looked;

/// What a run of a database is known by, where it was refused.
const ROWS: &str = "";

impl Desk {
    /// Reads the database once, and delivers what is new.
    pub(super) async fn read(&self, life: &Arc<Life>, source: &PostgresSource) -> (Vec<FeedDelivery>, Looked) {
        self.standing.lock().looked_at(self.clock.now_ms());
        let (deliveries, looked) = self.read_once(life, source).await;
        if !looked.more {
            self.answers();
        }
        self.keep().await;
        self.times.lock().looked(&self.feed, looked, self.clock.monotonic());
        (deliveries, looked)
    }

    async fn read_once(&self, life: &Arc<Life>, source: &PostgresSource) -> (Vec<FeedDelivery>, Looked) {
        let again = Looked { more: true, ..Looked::default() };
        let after = self.standing.lock().watermark.as_deref().and_then(Watermark::from_json);
        let reading = match source.read(self.feed.name.as_str(), after.as_ref()).await {
            Ok(Some(reading)) => reading,
            Ok(None) => {
                self.standing.lock().mended(ROWS);
                return Default::default();
            }
            Err(error) if error.retry() == Retry::Later => {
                self.away(in_full(&error));
                return (Vec::new(), again);
            }
            Err(error) => {
                tracing::warn!(feed = self.feed.name.as_str(), "its database cannot be read: {}", in_full(&error));
                let delivery = FeedDelivery { error: Some(in_full(&error)), ..self.told(None) };
                self.standing.lock().refused(ROWS, &delivery.name, in_full(&error));
                return (vec![delivery], Looked::default());
            }
        };
        let outcome = reading.outcome();
        let date = if source.watermark.is_some() { None } else { self.today() };
        let delivery = self.told(date);
        let brought = Brought {
            name: delivery.name.clone(),
            date,
            // Rows after a watermark come again with the next run, when they were refused.
            may_be_held: source.watermark.is_none(),
            format: DeliveryFormat::Arrow,
            pieces: reading.pieces,
            files: Vec::new(),
            maybe_again: false,
            expected: None,
            watermark: Some(outcome.clone()),
            lease: self.keeper.lease(),
        };
        let delivered = deliver(life, &self.feed, brought).await;
        if delivered.is_ok()
            && let Some(watermark) = outcome.get().and_then(|outcome| outcome.watermark.as_ref())
        {
            self.standing.lock().watermark = Some(watermark.to_json());
        }
        let (delivery, fails) = self.became(ROWS, delivered, delivery, date);
        let came = delivery.report.is_some();
        (vec![delivery], Looked { came, more: fails, failed: fails, complete_in: None })
    }

    fn told(&self, date: Option<NaiveDate>) -> FeedDelivery {
        let at = DateTime::<Utc>::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default();
        let name = format!("{} {}", self.feed.name, at.to_rfc3339_opts(SecondsFormat::Secs, true));
        FeedDelivery { name, date: date.map(|date| date.to_string()), ..FeedDelivery::default() }
    }

    /// The day that it is in the feed's zone.
    fn today(&self) -> Option<NaiveDate> {
        let now = DateTime::<Utc>::from_timestamp_millis(self.clock.now_ms())?;
        Some(now.with_timezone(&self.feed.zone).date_naive())
    }
}

/// The database of a feed; its server is not asked yet.
pub(super) fn source(rows: &feed::PostgresSource) -> Result<PostgresSource, String> {
    let url = resolved(&rows.url, |name| std::env::var(name).ok())?;
    Ok(PostgresSource {
        address: PostgresAddress::parse(&url).map_err(|error| error.to_string())?,
        rows: match &rows.select {
            PostgresSelect::Table(table) => PostgresRows::Table(table.clone()),
            PostgresSelect::Query(query) => PostgresRows::Query(query.clone()),
        },
        watermark: rows.watermark.clone().map(|column| WatermarkColumn {
            column,
            lag: match rows.lag {
                WatermarkLag::None => Lag::None,
                WatermarkLag::Time(time) => Lag::Time(time),
                WatermarkLag::Number(number) => Lag::Number(number),
            },
        }),
        limits: PostgresLimits::default(),
    })
}

/// A text with its variables replaced; an error names the variable that is not set.
fn resolved(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut parts = text.split("${");
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').ok_or("its URL has a ${ that never closes")?;
        let value = variable(name).ok_or_else(|| {
            format!("the environment has no variable {name}; set it where vitalake runs, and start it again")
        })?;
        resolved.push_str(&value);
        resolved.push_str(rest);
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_url_are_replaced_and_one_that_is_missing_is_named() {
        let variable = |name: &str| (name == "PASSWORD").then(|| "x$y".to_owned());
        assert_eq!(resolved("postgres://u:${PASSWORD}@h/d", variable).as_deref(), Ok("postgres://u:x$y@h/d"));
        assert!(resolved("${OTHER}", variable).is_err_and(|error| error.contains("OTHER")));
        assert!(resolved("${OPEN", variable).is_err());
    }
}
