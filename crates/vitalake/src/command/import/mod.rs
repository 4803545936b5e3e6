//! `vitalake contract import`: a contract drafted from a sample, ready to be edited; for FHIR with a view.
//!
//! CSV and JSON are drafted as `init --from` does. Invariant: names and types of the sample come into a draft, values of
//! its records never, and no file that is there is written over.

mod avro;
mod fhir;
mod page;
mod parquet;

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vitalake_contract::DatasetName;
use vitalake_ingest::decode::DeliveryFormat;

use super::init::{self, name};
use crate::failure::Failure;
use crate::output;

/// `vitalake contract import`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake contract import csv export.csv\n  \
                  vitalake contract import fhir Condition.ndjson --dataset conditions --out my-lake\n  \
                  vitalake contract import avro heart_rate.avsc > contracts/raw/heart_rate.yaml")]
pub struct ImportArgs {
    /// What the sample is
    #[arg(value_enum, value_name = "FORM")]
    pub form: SampleForm,
    /// The sample
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The drafted dataset's name [default: after the sample's]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// The type of the FHIR resources [default: the one that the sample has most of]
    #[arg(long, value_name = "TYPE")]
    pub resource: Option<String>,
    /// Write the files into this project's directory, in place of printing them
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SampleForm {
    /// Comma-separated values with a header
    Csv,
    /// JSON: one object a line, or one array of objects
    #[value(alias = "json", alias = "jsonl")]
    Ndjson,
    /// FHIR resources: bulk NDJSON, a Bundle, or a single resource
    Fhir,
    /// Parquet
    Parquet,
    /// An Avro schema (.avsc), or the header of an Avro file
    Avro,
}

/// What was drafted: files by their place in a project.
type Files = Vec<(String, String)>;

/// Drafts a contract.
///
/// # Errors
/// When the sample cannot be read, or a file would be written over.
pub fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let files = drafted(args)?;
    let mut out = output::stdout();
    match &args.out {
        Some(dir) => {
            for path in written(dir, &files)? {
                writeln!(out, "wrote {}", path.display())?;
            }
            writeln!(out, "look at each line, then: vitalake validate {}", dir.display())?;
        }
        None => match files.as_slice() {
            [(_, only)] => write!(out, "{only}")?,
            several => {
                let parts: Vec<String> = several.iter().map(|(path, text)| format!("# {path}\n{text}")).collect();
                write!(out, "{}", parts.join("---\n"))?;
            }
        },
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn drafted(args: &ImportArgs) -> anyhow::Result<Files> {
    let file_name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let dataset = match &args.dataset {
        Some(name) => DatasetName::new(name)
            .map(|name| name.to_string())
            .map_err(|reason| Failure::usage(reason, "choose another with --dataset"))?,
        None => name::dataset(&file_name),
    };
    if args.resource.is_some() && args.form != SampleForm::Fhir {
        return Err(Failure::usage("--resource is for FHIR alone", "leave it out").into());
    }
    let sample = Sample { dataset, file_name, path: args.file.clone() };
    match args.form {
        SampleForm::Csv => sample.records(DeliveryFormat::Csv, "csv"),
        SampleForm::Ndjson => sample.records(DeliveryFormat::Ndjson, "ndjson"),
        SampleForm::Fhir => fhir::draft(&sample, args.resource.as_deref()),
        SampleForm::Parquet => parquet::draft(&sample),
        SampleForm::Avro => avro::draft(&sample),
    }
}

/// The sample, and the dataset that is drafted from it.
struct Sample {
    dataset: String,
    file_name: String,
    path: PathBuf,
}

impl Sample {
    fn open(&self) -> anyhow::Result<BufReader<File>> {
        let file = File::open(&self.path).and_then(|file| {
            if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
        });
        let file = file.map_err(|error| self.refused(format!("cannot be read: {error}")))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    }

    /// Why no contract can be drafted.
    fn refused(&self, reason: impl std::fmt::Display) -> anyhow::Error {
        Failure::input(format!("{} {reason}", self.path.display()), "mend the sample, or give another").into()
    }

    fn contract(&self, text: String) -> (String, String) {
        (format!("contracts/raw/{}.yaml", self.dataset), text)
    }

    fn records(&self, format: DeliveryFormat, form: &str) -> anyhow::Result<Files> {
        let draft = init::draft_of(&self.path, format, self.dataset.clone(), self.file_name.clone())?;
        Ok(vec![self.contract(draft.contract(&format!("vitalake contract import {form}")))])
    }
}

/// Writes files that are not there yet.
fn written(dir: &Path, files: &Files) -> anyhow::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = files.iter().map(|(path, _)| dir.join(path)).collect();
    if let Some(there) = paths.iter().find(|path| path.exists()) {
        let message = format!("{} is there already, and nothing was written", there.display());
        return Err(Failure::input(message, "choose another name with --dataset, or move the file away").into());
    }
    for (path, (_, text)) in paths.iter().zip(files) {
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            File::create_new(path)?.write_all(text.as_bytes())
        };
        write().map_err(|error| {
            let message = format!("{} could not be written: {error}", path.display());
            anyhow::Error::from(Failure::input(message, "make room or give rights there, and try again"))
        })?;
    }
    Ok(paths)
}
