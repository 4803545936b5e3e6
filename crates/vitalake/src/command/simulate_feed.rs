//! What an incident does to a feed: it delivers to the server, as the clinic would.
//!
//! Part of `simulate`. Blocking. Invariant: what it delivers is made up.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cli::{ConnectArgs, FileFormat};
use crate::client::{Client, Outgoing};
use crate::local::Purpose;

/// The dataset of the example project that the clinic's visits come into.
const DATASET: &str = "clinic_visits";
/// How old the last file is.
const AGE_DAYS: i64 = 3;

/// Delivers the last file that came before the feed fell silent.
///
/// # Errors
/// When no server answers, or it is not on the example project.
pub fn last_of_a_feed(server: Option<String>, now: DateTime<Utc>) -> anyhow::Result<()> {
    let connect = ConnectArgs { server, project: None, data: None };
    let client = Client::connect(&connect, Purpose::Deliver)?;
    let day = (now - TimeDelta::days(AGE_DAYS)).date_naive();
    let visit = |n: u32| format!("visit-{day}-{n},pat-{n:04},{day}T{:02}:30:00Z,check-up\n", 7 + n);
    let text: String =
        std::iter::once("visit_id,patient_id,visited_at,kind\n".to_owned()).chain((1..=5).map(visit)).collect();
    let name = format!("visits_{}.csv", day.format("%Y%m%d"));
    let said = [("business_date".to_owned(), day.to_string())];
    let mut bytes = text.as_bytes();
    let file = Outgoing { length: Some(bytes.len() as u64), bytes: &mut bytes };
    client.deliver(DATASET, &name, FileFormat::Csv, &said, file)?;
    Ok(())
}
