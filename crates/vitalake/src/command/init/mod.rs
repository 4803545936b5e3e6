//! `vitalake init`: a project to begin with, or a contract drafted from a sample of the data.
//!
//! Without a sample the project is the template beside this file: a stream, a model, a roll-up, and a few readings to
//! try them with. Invariant: a folder that holds anything already is left as it is, and what is made is valid.

pub(in crate::command) mod draft;
mod guess;
pub(in crate::command) mod name;
mod sample;
mod tree;

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use uuid::Uuid;
use vitalake_contract::diagnostic::has_errors;
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_runtime::config::Overrides;

use super::validate;
use crate::cli::{FileFormat, InitArgs};
use crate::failure::Failure;
use crate::output::{self, Style};

use draft::Draft;

/// The project's files: where each goes, its text, and what it is.
const TEMPLATE: [(&str, &str, &str); 8] = [
    ("vitalake.yaml", include_str!("template/vitalake.yaml"), "where it listens and stores"),
    ("contracts/raw/readings.yaml", include_str!("template/contracts/raw/readings.yaml"), "what arrives on a topic"),
    ("models/curated/vitals.sql", include_str!("template/models/curated/vitals.sql"), "raw to curated, row by row"),
    ("contracts/curated/vitals.yaml", include_str!("template/contracts/curated/vitals.yaml"), "checked, each once"),
    (
        "models/serving/vitals_hourly.sql",
        include_str!("template/models/serving/vitals_hourly.sql"),
        "curated to serving, by the hour",
    ),
    (
        "contracts/serving/vitals_hourly.yaml",
        include_str!("template/contracts/serving/vitals_hourly.yaml"),
        "what readers see",
    ),
    ("deliveries/readings.ndjson", include_str!("template/deliveries/readings.ndjson"), "readings to try it with"),
    (".gitignore", include_str!("template/gitignore"), "keeps the data out of git"),
];

/// What drafts the contract, as it says itself.
const BY: &str = "vitalake init --from";

/// Lines longer than this do not push the others' remarks away.
const ALIGNED_MAX: usize = 64;

/// Makes a project, or drafts a contract.
///
/// # Errors
/// When the folder is not empty, or the sample cannot be read.
pub fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    match (&args.dir, &args.from) {
        (Some(dir), None) => {
            let folder = Folder::new(dir)?;
            folder.write(TEMPLATE.iter().map(|(path, text, _)| (*path, (*text).to_owned())))?;
            write!(output::stdout(), "{}", begun(&folder, Style::stdout()))?;
        }
        (None, None) => {
            let help = "say `vitalake init DIR`, or `vitalake init --from SAMPLE` for a contract alone";
            return Err(Failure::usage("init needs a folder to make the project in", help).into());
        }
        (None, Some(from)) => {
            let draft = drafted(args, from)?;
            write!(output::stdout(), "{}", draft.contract(BY))?;
            eprint!("{}", draft.in_words(Style::stderr()));
            let path = format!("contracts/raw/{}.yaml", draft.dataset());
            eprintln!("next: save it as {path} of a project, look at it, and `vitalake validate`");
        }
        (Some(dir), Some(from)) => {
            let (folder, draft) = (Folder::new(dir)?, drafted(args, from)?);
            let contract = format!("contracts/raw/{}.yaml", draft.dataset());
            let [settings, .., ignored] = TEMPLATE;
            let files = [
                (settings.0, settings.1.to_owned()),
                (&contract, draft.contract(BY)),
                (ignored.0, ignored.1.to_owned()),
            ];
            folder.write(files)?;
            write!(output::stdout(), "{}", folder.begun_from(&draft, &contract, from, Style::stdout()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn drafted(args: &InitArgs, from: &Path) -> anyhow::Result<Draft> {
    let file_name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = from.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let format = match (args.format, extension.as_deref()) {
        (Some(FileFormat::Csv), _) | (None, Some("csv")) => DeliveryFormat::Csv,
        (Some(FileFormat::Ndjson), _) | (None, Some("ndjson" | "jsonl" | "json")) => DeliveryFormat::Ndjson,
        _ => {
            let message =
                format!("a contract is drafted from CSV and JSON, and {} is not said to be one", from.display());
            return Err(Failure::usage(message, "say --format csv or --format json").into());
        }
    };
    let dataset = match &args.dataset {
        Some(name) => vitalake_contract::DatasetName::new(name)
            .map(|name| name.to_string())
            .map_err(|reason| Failure::usage(reason, "choose another with --dataset"))?,
        None => name::dataset(&file_name),
    };
    draft_of(from, format, dataset, file_name)
}

/// Drafts the contract of a dataset from a file.
pub(super) fn draft_of(
    from: &Path,
    format: DeliveryFormat,
    dataset: String,
    file_name: String,
) -> anyhow::Result<Draft> {
    let refused = |message: String, help: &str| anyhow::Error::from(Failure::input(message, help));
    let file = File::open(from)
        .and_then(
            |file| if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) },
        )
        .map_err(|error| refused(format!("{} cannot be read: {error}", from.display()), "name a CSV or JSON file"))?;
    let sample = sample::read(&dataset, format, BufReader::with_capacity(1 << 20, file))
        .map_err(|error| refused(error.to_string(), "mend the sample, or give another"))?;
    if sample.records == 0 {
        return Err(refused(format!("{} holds no record to draft from", from.display()), "give a sample with rows"));
    }
    Ok(Draft::new(dataset, file_name, sample))
}

/// The folder of a project that is made.
struct Folder {
    dir: PathBuf,
    name: String,
}

impl Folder {
    /// Refuses a folder that holds anything but a repository's own.
    fn new(dir: &Path) -> anyhow::Result<Self> {
        let occupied = match std::fs::read_dir(dir) {
            Ok(entries) => entries.filter_map(Result::ok).any(|entry| entry.file_name() != ".git"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => {
                let message = format!("{} cannot be made a project: {error}", dir.display());
                return Err(Failure::input(message, "name a folder that is empty or not there yet").into());
            }
        };
        if occupied {
            let message = format!("{} is not empty, and nothing was written", dir.display());
            return Err(Failure::input(message, "name a folder that is empty or not there yet").into());
        }
        let full = std::path::absolute(dir)?;
        let name = full.file_name().map(|name| name::project(&name.to_string_lossy())).unwrap_or_default();
        Ok(Self { dir: dir.to_owned(), name })
    }

    /// Writes files whose `{name}` and `{id}` are filled, and looks whether they are a valid project.
    fn write<'a>(&self, files: impl IntoIterator<Item = (&'a str, String)>) -> anyhow::Result<()> {
        for (path, text) in files {
            let path = self.dir.join(path);
            let text = text.replace("{name}", &self.name).replace("{id}", &Uuid::now_v7().to_string());
            let write = || {
                std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
                File::create_new(&path)?.write_all(text.as_bytes())
            };
            write().map_err(|error| {
                let message = format!("{} could not be written: {error}", path.display());
                anyhow::Error::from(Failure::input(
                    message,
                    "make room or give rights there, empty the folder, and try again",
                ))
            })?;
        }
        let checked = validate::check(&self.dir, &Overrides::default());
        if has_errors(&checked.diagnostics) {
            let findings = validate::in_words(&checked.diagnostics, Style::stderr());
            let message = format!("the project in {} is not valid yet\n{findings}", self.dir.display());
            return Err(Failure::input(message, "mend what is said there, then `vitalake validate`").into());
        }
        Ok(())
    }

    fn made(&self, style: Style) -> String {
        format!("made the project {} in {}\n\n", style.bold(&self.name), self.dir.display())
    }

    fn begun_from(&self, draft: &Draft, contract: &str, from: &Path, style: Style) -> String {
        let (dir, dataset) = (self.dir.display(), draft.dataset());
        let mut words = self.made(style);
        words += &draft.in_words(style);
        words += "next:\n";
        let edit = format!("{}", self.dir.join(contract).display());
        let steps = [
            (format!("look at {edit}"), "and say what a sample cannot"),
            (format!("vitalake up {dir}"), "SQL and HTTP on 127.0.0.1:8888"),
            (format!("vitalake ingest {dataset} {}", from.display()), "in a second terminal"),
            (format!("vitalake query \"SELECT * FROM raw.{dataset} LIMIT 10\""), ""),
        ];
        words + &listed(&steps, style)
    }
}

/// What was made, and what to do with it.
fn begun(folder: &Folder, style: Style) -> String {
    let dir = folder.dir.display();
    let mut words = folder.made(style);
    words += &listed(&TEMPLATE.map(|(path, _, what)| (path.to_owned(), what)), style);
    words += "\nnext:\n";
    let steps = [
        (format!("vitalake up {dir}"), "Kafka on 127.0.0.1:9092, SQL and HTTP on 127.0.0.1:8888"),
        (
            format!("vitalake ingest readings {}", folder.dir.join("deliveries/readings.ndjson").display()),
            "in a second terminal",
        ),
        ("vitalake query \"SELECT * FROM serving.vitals_hourly_live\"".to_owned(), ""),
        (
            "vitalake query \"SELECT _rule, _reason FROM quarantine.readings\"".to_owned(),
            "one reading breaks the contract",
        ),
    ];
    words + &listed(&steps, style)
}

/// Lines with what each is about beside it.
fn listed(lines: &[(String, &str)], style: Style) -> String {
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= ALIGNED_MAX).max().unwrap_or(0);
    let line = |(line, about): &(String, &str)| match *about {
        "" => format!("  {line}\n"),
        about => format!("  {line:width$}  {}\n", style.dim(about)),
    };
    lines.iter().map(line).collect()
}
