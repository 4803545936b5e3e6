//! `vitalake ingest`: one file, one delivery.
//!
//! Streams the file to the server, which knows it by its content. Invariant: status 0 means that the delivery is
//! committed, now or before, and is the whole file as it stood when it was opened.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::delivery::Expected;
use vitalake_ops::status::{DeliveryReport, DeliveryState, NotKept, ResourceCounts};

use crate::cli::{FileFormat, IngestArgs};
use crate::client::{Client, Outgoing};
use crate::failure::Failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table::{counted, thousands};

const PROGRESS_BYTES_MIN: u64 = 8 << 20;

/// Delivers the file and says what became of its rows.
///
/// # Errors
/// When the file cannot be read, the delivery is refused, or no server answers.
pub fn run(args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let format = format(args)?;
    let (file, metadata) = open(&args.file)?;
    let said = said(args)?;
    let client = Client::connect(&args.connect, Purpose::Deliver)?;
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let length = metadata.is_file().then_some(metadata.len());
    let progress = progress(length.unwrap_or(0));
    let mut unchanged = Unchanged { file, metadata, left: length, changed: false };
    let mut bytes = progress.wrap_read(BufReader::with_capacity(1 << 20, &mut unchanged));
    let outgoing = Outgoing { bytes: &mut bytes as &mut dyn Read, length };
    let report = client.deliver(&args.dataset, &name, format, &said, outgoing);
    progress.finish_and_clear();
    drop(bytes);
    if unchanged.changed {
        let message = format!("{} changed while it was read; nothing of it was loaded", args.file.display());
        return Err(Failure::input(message, "wait until whoever writes it is done, and deliver it again").into());
    }
    let report = report?;
    if args.json {
        output::json(&report)?;
    } else {
        write!(output::stdout(), "{}", in_words(&report, &name, Style::stdout()))?;
    }
    let failed = report.state == DeliveryState::Held || args.strict && report.quarantined > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is said of the file beside its bytes.
fn said(args: &IngestArgs) -> anyhow::Result<Vec<(String, String)>> {
    let mut said: Vec<(String, String)> =
        args.business_date.iter().map(|date| ("business_date".to_owned(), date.clone())).collect();
    said.extend(args.hold.then(|| ("hold".to_owned(), "true".to_owned())));
    if let Some(manifest) = &args.manifest {
        let refuse = |reason: String| {
            let message = format!("{} cannot be read: {reason}", manifest.display());
            anyhow::Error::from(Failure::input(message, "name a manifest, or deliver the file without one"))
        };
        let bytes = std::fs::read(manifest).map_err(|error| refuse(error.to_string()))?;
        let expected = Expected::parse(&bytes).map_err(|error| refuse(error.to_string()))?;
        said.extend(expected.into_pairs());
    }
    Ok(said)
}

/// A file that must stay as it was when it was opened: whoever still writes it would have a part of it delivered as the
/// whole.
struct Unchanged {
    file: File,
    metadata: Metadata,
    /// Bytes that are still to come; none of a pipe, which ends where its writer closes it.
    left: Option<u64>,
    changed: bool,
}

impl Read for Unchanged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let Some(left) = self.left else { return Ok(count) };
        let read = count as u64;
        let still = || {
            let now = self.file.metadata()?;
            io::Result::Ok(now.len() == self.metadata.len() && now.modified().ok() == self.metadata.modified().ok())
        };
        // Looked at with the last bytes as well: after them nobody may ask for more.
        if read > left || (count == 0 && left > 0) || (read == left && !still()?) {
            self.changed = true;
            return Err(io::Error::other("the file changed while it was read"));
        }
        self.left = Some(left - read);
        Ok(count)
    }
}

fn format(args: &IngestArgs) -> anyhow::Result<FileFormat> {
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match args.format.or_else(|| DeliveryFormat::of_name(&name).map(FileFormat::from)) {
        Some(format) => Ok(format),
        None => {
            let (message, help) = match DeliveryFormat::not_read(&name) {
                Some(why) => (format!("{}: {why}", args.file.display()), "say --format where its name is wrong"),
                None => (
                    format!("the form of {} cannot be told from its name", args.file.display()),
                    "say --format csv, json, parquet, arrow or zip",
                ),
            };
            Err(Failure::usage(message, help).into())
        }
    }
}

fn open(path: &Path) -> anyhow::Result<(File, Metadata)> {
    let refuse = |reason: String| {
        let message = format!("{} cannot be read: {reason}", path.display());
        anyhow::Error::from(Failure::input(message, "name a readable file"))
    };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| refuse(error.to_string()))?;
    if metadata.is_dir() {
        return Err(refuse("it is a directory".to_owned()));
    }
    Ok((file, metadata))
}

fn progress(size: u64) -> ProgressBar {
    if size < PROGRESS_BYTES_MIN || !output::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(size);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What became of a delivery, for people.
pub(crate) fn in_words(report: &DeliveryReport, name: &str, style: Style) -> String {
    let (dataset, delivery) = (&report.dataset, report.delivery.unwrap_or_default());
    match report.state {
        DeliveryState::Loaded => {}
        DeliveryState::AlreadyLoaded => {
            return format!("{name} was loaded into {dataset} before, as delivery {delivery}: nothing changed\n");
        }
        DeliveryState::Superseded => {
            return format!("{name} changes nothing: {dataset} shows a newer day already\n");
        }
        DeliveryState::Held => {
            let id = report.held.as_deref().unwrap_or_default();
            let mut words = format!("{name} is held, and nothing of it is in {dataset}\n");
            for NotKept { rule, got, want, .. } in &report.not_kept {
                words += &format!("  {}: {got} in place of {want}\n", style.yellow(rule));
            }
            let decide = |act| format!("  vitalake feed {act} {id} --reason TEXT\n");
            return words + &decide("release") + &decide("reject");
        }
    }
    let quarantined = style.yellow(&format!("{} quarantined", thousands(report.quarantined)));
    let quarantined = if report.quarantined == 0 { String::new() } else { format!(", {quarantined}") };
    let accepted = counted(report.accepted, "row", "rows");
    let mut words = format!("{name} into {dataset}: {accepted} accepted{quarantined}, as delivery {delivery}\n");
    if report.quarantined > 0 {
        words += &format!(
            "  see why: vitalake query \"SELECT _rule, COUNT(*) AS n FROM quarantine.{dataset} GROUP BY _rule\"\n"
        );
    }
    if let Some(resources) = &report.resources {
        words += &resources_in_words(resources);
    }
    for NotKept { rule, severity, got, want } in &report.not_kept {
        words +=
            &format!("  {} ({severity}): {got} in place of {want}\n", style.yellow(&format!("{rule} does not hold")));
    }
    words += &misfits_in_words(report, style);
    if !report.not_in_contract.is_empty() {
        let names = report.not_in_contract.join(", ");
        words += &format!("  not in the contract, kept as text in _rescued: {names}\n");
    }
    words
}

fn resources_in_words(resources: &ResourceCounts) -> String {
    let mut words = format!("  {} read", counted(resources.read, "FHIR resource", "FHIR resources"));
    if resources.of_another_type > 0 {
        words += &format!(", {} of another type skipped", thousands(resources.of_another_type));
    }
    if resources.without_rows > 0 {
        words += &format!(", {} without a row in the view", thousands(resources.without_rows));
    }
    words + "\n"
}

fn misfits_in_words(report: &DeliveryReport, style: Style) -> String {
    let values: u64 = report.did_not_fit.iter().map(|misfit| misfit.values).sum();
    if values == 0 {
        return String::new();
    }
    let said = counted(values, "value", "values");
    let their = if values == 1 { "its column: it is null, and kept" } else { "their column: they are null, and kept" };
    let mut words = format!("  {} did not fit {their} as text in _rescued\n", style.yellow(&said));
    let names = report.did_not_fit.iter().map(|misfit| misfit.column.chars().count()).max().unwrap_or(0);
    let counts = report.did_not_fit.iter().map(|misfit| thousands(misfit.values).len()).max().unwrap_or(0);
    for misfit in &report.did_not_fit {
        let (column, values) = (&misfit.column, thousands(misfit.values));
        words += &format!("    {column:names$}  {values:>counts$}  not {}\n", misfit.expected);
    }
    let (dataset, delivery) = (&report.dataset, report.delivery.unwrap_or_default());
    words
        + &format!(
            "  see them: vitalake query \"SELECT _rescued FROM raw.{dataset} WHERE _partition = {delivery} AND _rescued IS NOT NULL\"\n"
        )
}
