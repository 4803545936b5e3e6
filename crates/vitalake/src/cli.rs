//! The command line as types: what can be asked, with the words that a newcomer reads.
//!
//! Invariant: every command has an example in its help, and every option says its default.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vitalake_ingest::decode::DeliveryFormat;

use crate::command::alert::AlertArgs;
use crate::command::audit::AuditArgs;
use crate::command::azure::AzureArgs;
use crate::command::druid::DruidArgs;
use crate::command::erase::EraseArgs;
use crate::command::feed::FeedArgs;
use crate::command::gate::GateArgs;
use crate::command::import::ImportArgs;
use crate::command::lineage::LineageArgs;
use crate::command::password::PasswordArgs;
use crate::command::policy::PolicyArgs;
use crate::command::quarantine::QuarantineArgs;
use crate::command::reconcile::ReconcileArgs;
use crate::command::runbook::RunbookArgs;
use crate::command::superset::SupersetArgs;
use crate::command::token::TokenArgs;
use crate::platform::Role;
use crate::simulate::incident::Incident;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "vitalake",
    version,
    about = "One governed platform for wearable streams and operational batch feeds",
    long_about = "One governed platform for wearable streams and operational batch feeds: Kafka in, open Delta tables \
                  under contract, SQL out, in one process and one folder.",
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  vitalake up --example                         write the example project, start it, feed it
  vitalake init my-lake                         make a small project to begin with
  vitalake validate examples/remote-care        check a project: contracts, models, configuration
  vitalake up examples/remote-care              start it: Kafka on 9092, SQL and HTTP on 8888
  vitalake simulate --wearers 50                send it readings (in a second terminal)
  vitalake query \"SELECT COUNT(*) FROM raw.wearable_readings\"

Exit status:
  0  done
  1  the input is wrong, or a check failed
  2  the command line is wrong
  3  no server answered, or it is not ready yet
  4  it answered, and something is not well (status, flush, reconcile)";

const INIT_ABOUT: &str = "Make a project that runs, in a folder that is empty or not there yet: one stream, one model, one roll-up, a few readings \
                  to try them with, and comments that say what each line does.\n\n\
                  With --from a contract is drafted from a sample of your data instead: columns, types, formats of dates and times, \
                  fields within fields, and what was always there. No value of the sample comes into it. Without DIR the \
                  contract alone is printed.";

const VALIDATE_ABOUT: &str = "Check a whole project directory without touching a network and without starting anything.\n\n\
                  Every mistake of every file is shown at once, with its file, line and column and what to do.";

const LINT_ABOUT: &str = "Check single contract files against the Open Data Contract Standard v3.1, as the standard itself has it.\n\n\
                  `vitalake validate` asks for more: what a project needs beyond the standard.";

const IMPORT_ABOUT: &str = "Draft a contract from a sample, ready to be edited: columns, types, formats of dates and times, and `required` for what was \
                  never null. For FHIR a view is drafted as well (docs/fhir.md). No value of the sample's records comes into it.\n\n\
                  The draft is printed, or with --out written into a project: contracts/raw/NAME.yaml and views/NAME.json.";

const UP_ABOUT: &str = "Start the platform on a project directory: a Kafka endpoint for what comes in, SQL over HTTP for what goes out, \
                  and the tables between them. It stays in the foreground; Ctrl-C flushes and stops.\n\n\
                  Settings come from vitalake.yaml, then the environment (VITALAKE_STORAGE__URL for storage.url), then these options.";

const QUERY_ABOUT: &str = "Ask a question in SQL. Datasets are raw.x, curated.x, serving.x and quarantine.x; \
                  serving.x_live adds to serving.x what is not yet published.";

const INGEST_ABOUT: &str = "Load a file into a raw dataset, as one delivery: all of its rows appear in one commit, and a row that breaks the \
                  contract goes to quarantine with its bytes and the reason.\n\n\
                  A delivery is known by its content: the same file again changes nothing.";

const SIMULATE_ABOUT: &str = "Send what wearables and an app would send, to any Kafka address: topics wearable-readings and app-events, as the \
                  example project's contracts have them.\n\n\
                  The same seed, start and count give the same events. Readings follow the hours of the day: sleep, rest, \
                  activity, an empty battery, a device left on the table.";

const TOKEN_ABOUT: &str = "Make a token with which a person, a service or a tool comes in, and show the lines of vitalake.yaml that let it: its \
                  name, its roles, the SHA-256 of the token and the day on which it ends. Nothing is written anywhere.";

const PASSWORD_ABOUT: &str = "Take a password with which a person or a tool comes in, and show the lines of vitalake.yaml that let it: its name, \
                  its roles, and hashes of the password. It is asked for twice without an echo, or read from standard input. \
                  Nothing is written anywhere.";

const FUNCTIONS_ABOUT: &str = "Answer the host of Azure Functions as a custom handler, on the port that it names: a timer runs a feed of the platform, a \
                  request hands it a delivery. It holds nothing and decides nothing; VITALAKE_SERVER names the platform, VITALAKE_TOKEN is \
                  what it comes in with. `vitalake azure render` makes host.json and the functions.";

/// `vitalake functions`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  FUNCTIONS_CUSTOMHANDLER_PORT=7071 VITALAKE_SERVER=http://127.0.0.1:8888 vitalake functions"
)]
pub struct FunctionsArgs {}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a project to begin with, or draft a contract from a sample
    #[command(long_about = INIT_ABOUT)]
    Init(InitArgs),
    /// Check a project directory: contracts, models, configuration
    #[command(long_about = VALIDATE_ABOUT)]
    Validate(ValidateArgs),
    /// Work with single contracts
    Contract(ContractArgs),
    /// Start the platform on a project directory
    #[command(long_about = UP_ABOUT)]
    Up(UpArgs),
    /// Ask a question in SQL
    #[command(long_about = QUERY_ABOUT)]
    Query(QueryArgs),
    /// See what was rejected, put it through again, or give it up
    Quarantine(QuarantineArgs),
    /// Load a file into a dataset, as one atomic delivery
    #[command(long_about = INGEST_ABOUT)]
    Ingest(IngestArgs),
    /// List the datasets
    Datasets(ListArgs),
    /// Show how fresh, how large and how far behind each dataset is
    Status(ListArgs),
    /// Commit to Delta what is still in memory, now
    Flush(ListArgs),
    /// Show alerts, take one on, silence one, try its receivers
    Alert(AlertArgs),
    /// Show whether everything that was offered to a dataset has a place
    Reconcile(ReconcileArgs),
    /// Show what to do when an alert fires, with the evidence as it is now
    Runbook(RunbookArgs),
    /// Show where feeds stand and what became of deliveries, run one, decide about what is held
    Feed(FeedArgs),
    /// Show what gates hold back, hold a dataset, or release it
    Gate(GateArgs),
    /// Show what of the serving datasets is in a real Druid, what would be sent, and remove what was replaced
    Druid(DruidArgs),
    /// Erase a person from everything, with a signed receipt; check a receipt
    Erase(Box<EraseArgs>),
    /// Show what a client would see of a query, and why
    Policy(PolicyArgs),
    /// Show who saw and did what, and check that the journal of it is whole
    Audit(AuditArgs),
    /// Show where a column comes from, and what is made of it
    Lineage(LineageArgs),
    /// Make a token with which a client comes in, and the lines that let it
    #[command(long_about = TOKEN_ABOUT)]
    Token(TokenArgs),
    /// Take a password with which a client comes in, and show the lines that let it
    #[command(long_about = PASSWORD_ABOUT)]
    Password(PasswordArgs),
    /// Keep the project's dashboards in a Superset: show what would change, do it, read them back
    Superset(SupersetArgs),
    /// Write what a project needs in Azure as files: Bicep, alert rules, timers
    Azure(AzureArgs),
    /// Answer the host of Azure Functions: timers that run feeds, deliveries by HTTP
    #[command(long_about = FUNCTIONS_ABOUT)]
    Functions(FunctionsArgs),
    /// Send plausible readings and app events to a Kafka address
    #[command(long_about = SIMULATE_ABOUT)]
    Simulate(SimulateArgs),
}

/// Where a server is, or where to open a project without one.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// The server to ask [default: http://127.0.0.1:8888]
    #[arg(long, env = "VITALAKE_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// The project to open in this process when no server runs [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// That project's data folder [default: data, inside the project]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
}

/// `vitalake init`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake init my-lake\n  vitalake init my-lake --from export.csv\n  \
                  vitalake init --from events.ndjson --dataset app_events > contracts/raw/app_events.yaml")]
pub struct InitArgs {
    /// The folder to make the project in
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Draft a contract from this file: CSV with a header, or JSON
    #[arg(long, value_name = "SAMPLE")]
    pub from: Option<PathBuf>,
    /// The drafted dataset's name [default: after the sample's]
    #[arg(long, value_name = "NAME", requires = "from")]
    pub dataset: Option<String>,
    /// The sample's form [default: by its name: .csv; .ndjson, .jsonl, .json]
    #[arg(long, value_enum, requires = "from")]
    pub format: Option<FileFormat>,
}

/// `vitalake validate`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake validate\n  vitalake validate examples/remote-care\n  vitalake validate --json | jq '.diagnostics[].message'"
)]
pub struct ValidateArgs {
    /// The project directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `vitalake contract`
#[derive(Debug, Args)]
pub struct ContractArgs {
    /// What to do with contracts.
    #[command(subcommand)]
    pub command: ContractCommand,
}

/// What can be done with contracts.
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// Check contract files against the Open Data Contract Standard v3.1
    #[command(long_about = LINT_ABOUT)]
    Lint(LintArgs),
    /// Draft a contract from a sample: CSV, JSON, FHIR, Parquet or an Avro schema
    #[command(long_about = IMPORT_ABOUT)]
    Import(ImportArgs),
}

/// `vitalake contract lint`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake contract lint contracts/raw/wearable_readings.yaml\n  vitalake contract lint contracts/*/*.yaml --json"
)]
pub struct LintArgs {
    /// The contract files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `vitalake up`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake up --example\n  vitalake up my-lake\n  vitalake up examples/remote-care --data data\n  vitalake up examples/remote-care --simulate 50\n  vitalake up --kafka 127.0.0.1:19092 --http 127.0.0.1:18888"
)]
pub struct UpArgs {
    /// The project directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// The data folder: the log, the lake and their lock [default: data, inside the project]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Where to listen for Kafka clients [default: kafka.listen, 127.0.0.1:9092]
    #[arg(long, value_name = "ADDR")]
    pub kafka: Option<String>,
    /// Where to listen for HTTP [default: http.listen, 127.0.0.1:8888]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// What this process does; with several, each needs kafka.bootstrap and storage.url (docs/operations.md)
    #[arg(long, value_enum, default_value = "all", env = "VITALAKE_ROLE")]
    pub role: Role,
    /// Write the example project into DIR (by default remote-care), start it, and feed it with files and 50 simulated wearers
    #[arg(long, conflicts_with = "role")]
    pub example: bool,
    /// Send events of this many simulated wearers from within
    #[arg(long, value_name = "N")]
    pub simulate: Option<u32>,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// One JSON array of objects
    Json,
    /// CSV with a header
    Csv,
}

/// `vitalake query`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake query \"SELECT COUNT(*) FROM raw.wearable_readings\"\n  \
                  vitalake query \"SELECT _rule, COUNT(*) AS n FROM quarantine.wearable_readings GROUP BY _rule\"\n  \
                  vitalake query --format csv \"SELECT * FROM serving.vitals_hourly\" > vitals.csv\n  \
                  vitalake query - < question.sql")]
pub struct QueryArgs {
    /// The SQL; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// How to print the answer
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What form a delivered file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a header
    Csv,
    /// JSON: one object a line, or one array of objects
    #[value(alias = "json", alias = "jsonl")]
    Ndjson,
    /// Parquet
    Parquet,
    /// Arrow IPC, a stream of it or a file
    #[value(alias = "arrows", alias = "feather", alias = "ipc")]
    Arrow,
    /// A ZIP archive whose files' names say their form
    Zip,
}

impl From<DeliveryFormat> for FileFormat {
    fn from(format: DeliveryFormat) -> Self {
        match format {
            DeliveryFormat::Csv => Self::Csv,
            DeliveryFormat::Ndjson => Self::Ndjson,
            DeliveryFormat::Arrow => Self::Arrow,
            DeliveryFormat::Parquet => Self::Parquet,
            DeliveryFormat::Zip => Self::Zip,
        }
    }
}

/// `vitalake ingest`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake ingest patients deliveries/patients.csv\n  vitalake ingest device_assignments export.txt --format csv --json\n  \
                  vitalake ingest visits visits-2026-04-13.csv --business-date 2026-04-13 --manifest visits.ctl --hold\n\n\
                  The status is 0 when the delivery is loaded, also when some of its rows went to quarantine or it was loaded before; \
                  1 when it was refused or is held. --strict makes quarantined rows a failure."
)]
pub struct IngestArgs {
    /// The raw dataset, as in its contract's file name
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// The file: CSV, JSON, Parquet or Arrow
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file's form [default: by its name, as .csv, .json, .parquet, .arrow, .zip or .csv.gz]
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// The day that it stands for: another content for the same day takes its place
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub business_date: Option<String>,
    /// What it has to hold: rows, bytes, sha256 and sums of columns, as JSON or lines of key=value
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Keep it for somebody to decide where it would be refused, or breaks a rule about the delivery
    #[arg(long)]
    pub hold: bool,
    /// End with status 1 when any row went to quarantine
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to deliver.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake datasets`, `status` and `flush`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake status\n  vitalake status --json | jq '.datasets[] | {dataset, rows}'\n  vitalake datasets --server http://127.0.0.1:18888\n  vitalake flush"
)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake simulate`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake simulate --wearers 50\n  vitalake simulate --rate 5000 --duration 60 --malformed 0.01 --late 0.02\n  \
                  vitalake simulate --history 24 --count 0         a day of history, then stop\n  \
                  vitalake simulate --incident strings-for-numbers   and see the platform catch it\n  \
                  vitalake simulate --seed 7 --start 2026-01-01T00:00:00Z --count 1000 --dry-run"
)]
pub struct SimulateArgs {
    /// The Kafka address to send to
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "ADDR")]
    pub kafka: String,
    /// How many wearers, each with one device and the app
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub wearers: u32,
    /// Events a second; 0 is as fast as they are taken [default: one per wearer]
    #[arg(long, value_name = "EVENTS/S")]
    pub rate: Option<f64>,
    /// Where the random choices start
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Share of events that tell of minutes to hours ago
    #[arg(long, default_value_t = 0.02, value_name = "SHARE", value_parser = share)]
    pub late: f64,
    /// Share of events that are sent twice
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub duplicate: f64,
    /// Share of events that break the contract
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub malformed: f64,
    /// Let something go wrong on purpose: 30 seconds of it, with what to look at afterwards
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["late", "duplicate", "malformed", "history"])]
    pub incident: Option<Incident>,
    /// The server that an incident of a feed delivers to [default: http://127.0.0.1:8888]
    #[arg(long, env = "VITALAKE_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// Send first the last hours, at a reading a minute and wearer
    #[arg(long, default_value_t = 0, value_name = "HOURS")]
    pub history: u32,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// Stop after so many events (history and duplicates not counted)
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// The time of the first event; time then runs at the rate [default: now]
    #[arg(long, value_name = "TIME")]
    pub start: Option<chrono::DateTime<chrono::Utc>>,
    /// Print the events as NDJSON instead of sending them; needs --count
    #[arg(long, requires = "count")]
    pub dry_run: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "a share is a number from 0 to 1, such as 0.02".to_owned())?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err("a share is a number from 0 to 1, such as 0.02".to_owned())
    }
}
