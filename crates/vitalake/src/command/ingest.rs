//! `vitalake ingest`: one file, one delivery.
//!
//! Streams the file to the server, which knows it by its content. Invariant: status 0 means that the delivery is
//! committed, now or before.

use std::fs::File;
use std::io::{BufReader, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use vitalake_ops::status::{DeliveryReport, DeliveryState};

use crate::cli::{FileFormat, IngestArgs};
use crate::client::Client;
use crate::failure::Failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table::counted;

const PROGRESS_BYTES_MIN: u64 = 8 << 20;

/// Delivers the file and says what became of its rows.
///
/// # Errors
/// When the file cannot be read, the delivery is refused, or no server answers.
pub fn run(args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let format = format(args)?;
    let (file, size) = open(&args.file)?;
    let client = Client::connect(&args.connect, Purpose::Deliver)?;
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let progress = progress(size);
    let mut bytes = progress.wrap_read(BufReader::with_capacity(1 << 20, file));
    let report = client.deliver(&args.dataset, &name, format, &mut bytes as &mut dyn Read);
    progress.finish_and_clear();
    let report = report?;
    if args.json {
        output::json(&report)?;
    } else {
        writeln!(output::stdout(), "{}", in_words(&report, &name, Style::stdout()))?;
    }
    let failed = args.strict && report.quarantined > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn format(args: &IngestArgs) -> anyhow::Result<FileFormat> {
    let extension = args.file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match (args.format, extension.as_deref()) {
        (Some(format), _) => Ok(format),
        (None, Some("csv")) => Ok(FileFormat::Csv),
        (None, Some("ndjson" | "jsonl" | "json")) => Ok(FileFormat::Ndjson),
        (None, _) => {
            let message = format!("the form of {} cannot be told from its name", args.file.display());
            Err(Failure::usage(message, "say --format csv or --format ndjson").into())
        }
    }
}

fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let refuse = |reason: String| {
        let message = format!("{} cannot be read: {reason}", path.display());
        anyhow::Error::from(Failure::input(message, "name a readable CSV or NDJSON file"))
    };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| refuse(error.to_string()))?;
    if metadata.is_dir() {
        return Err(refuse("it is a directory".to_owned()));
    }
    Ok((file, metadata.len()))
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

fn in_words(report: &DeliveryReport, name: &str, style: Style) -> String {
    let dataset = &report.dataset;
    let accepted = counted(report.accepted, "row", "rows");
    match report.state {
        DeliveryState::AlreadyLoaded => {
            format!("{name} was loaded into {dataset} before, as delivery {}: nothing changed", report.delivery)
        }
        DeliveryState::Loaded if report.quarantined == 0 => {
            format!("{name} into {dataset}: {accepted} accepted, as delivery {}", report.delivery)
        }
        DeliveryState::Loaded => format!(
            "{name} into {dataset}: {accepted} accepted, {}, as delivery {}\n  see why: vitalake query \"SELECT _rule, COUNT(*) AS n FROM quarantine.{dataset} GROUP BY _rule\"",
            style.yellow(&format!("{} quarantined", crate::table::thousands(report.quarantined))),
            report.delivery
        ),
    }
}
