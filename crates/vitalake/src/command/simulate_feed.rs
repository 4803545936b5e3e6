//! What an incident does to a feed: files are delivered to the server, as the clinic would.
//!
//! Part of `simulate`. Blocking. Invariant: what it delivers is made up.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use vitalake_ops::status::DeliveryReport;

use super::ingest;
use crate::cli::{ConnectArgs, FileFormat};
use crate::client::{Client, Outgoing};
use crate::local::Purpose;
use crate::output::Style;
use crate::simulate::incident::Incident;

/// The dataset of the example project that the clinic's visits come into.
const VISITS: &str = "clinic_visits";
/// The dataset whose deliveries are the whole list of who wears what.
const ASSIGNMENTS: &str = "device_assignments";
/// How many visits the clinic has on a day; its contract wants half of them at least.
const VISITS_A_DAY: u32 = 40;
/// How old the last file is when a feed falls silent.
const SILENT_DAYS: i64 = 3;

/// A file, as somebody sends it.
struct Sent {
    dataset: &'static str,
    name: String,
    day: NaiveDate,
    text: String,
}

/// Delivers what the incident is made of, and says what the server answered of each file.
///
/// # Errors
/// When no server answers, or it is not on the example project.
pub fn deliver(incident: Incident, server: Option<String>, now: DateTime<Utc>) -> anyhow::Result<String> {
    let connect = ConnectArgs { server, project: None, data: None };
    let client = Client::connect(&connect, Purpose::Deliver)?;
    files(incident, now)
        .iter()
        .map(|sent| Ok(ingest::in_words(&send(&client, sent)?, &sent.name, Style::stdout())))
        .collect()
}

/// As a feed sends it: what is not well is held, for somebody to decide.
fn send(client: &Client, sent: &Sent) -> anyhow::Result<DeliveryReport> {
    let said = [("business_date".to_owned(), sent.day.to_string()), ("hold".to_owned(), "true".to_owned())];
    let mut bytes = sent.text.as_bytes();
    let file = Outgoing { length: Some(bytes.len() as u64), bytes: &mut bytes };
    client.deliver(sent.dataset, &sent.name, FileFormat::Csv, &said, file)
}

fn files(incident: Incident, now: DateTime<Utc>) -> Vec<Sent> {
    let ago = |days| (now - TimeDelta::days(days)).date_naive();
    let yesterday = ago(1);
    match incident {
        Incident::FeedLate => vec![visits(ago(SILENT_DAYS), VISITS_A_DAY)],
        Incident::HalfAFile => vec![visits(yesterday, VISITS_A_DAY / 3), visits(yesterday, VISITS_A_DAY)],
        Incident::FileAgain => vec![visits(yesterday, VISITS_A_DAY), visits(yesterday, VISITS_A_DAY)],
        Incident::SwappedColumns => vec![swapped(visits(yesterday, VISITS_A_DAY))],
        Incident::EmptySnapshot => vec![nobody(now.date_naive())],
        Incident::StringsForNumbers
        | Incident::ClockAhead
        | Incident::DuplicateStorm
        | Incident::ReplayFailsAgain
        | Incident::SilentSource => Vec::new(),
    }
}

/// The visits of a day, as far as the file has them.
fn visits(day: NaiveDate, count: u32) -> Sent {
    let visit = |n: u32| {
        let (patient, hour, minute) = (1 + n % 200, 7 + n / 4, 15 * (n % 4));
        format!("visit-{day}-{n},pat-{patient:04},{day}T{hour:02}:{minute:02}:00Z,check-up\n")
    };
    let text =
        std::iter::once("visit_id,patient_id,visited_at,kind\n".to_owned()).chain((0..count).map(visit)).collect();
    Sent { dataset: VISITS, name: format!("visits_{}.csv", day.format("%Y%m%d")), day, text }
}

/// Visits and patients in each other's column, under the header as ever.
fn swapped(sent: Sent) -> Sent {
    let line = |(number, line): (usize, &str)| match line.splitn(3, ',').collect::<Vec<_>>().as_slice() {
        [visit, patient, rest] if number > 0 => format!("{patient},{visit},{rest}\n"),
        _ => format!("{line}\n"),
    };
    Sent { text: sent.text.lines().enumerate().map(line).collect(), ..sent }
}

/// The list of who wears what, without anybody.
fn nobody(day: NaiveDate) -> Sent {
    let text = "assignment_id,device_id,patient_id,assigned_from,assigned_to\n".to_owned();
    Sent { dataset: ASSIGNMENTS, name: format!("assignments_{}.csv", day.format("%Y%m%d")), day, text }
}
