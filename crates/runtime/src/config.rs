//! The one typed structure of a project's `vitalake.yaml`.
//!
//! Values come from, in this order of precedence: defaults, the file, the environment
//! (`VITALAKE_STORAGE__URL` is `storage.url`), flags. Invariant: every setting stands once in `settings`, from which
//! the parser, the environment and the reference page (docs/configuration.md) are made; no message here holds a value.

pub mod access;
pub mod audit;
pub mod azure;
mod document;
mod druid;
pub mod engines;
pub mod notify;
mod problem;
mod settings;
pub mod superset;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use druid::{Druid, DruidLive};
pub use problem::{ConfigError, ConfigProblem};
pub use settings::{Kind, SETTINGS, Setting, reference_markdown};

/// The file that makes a folder a project.
pub const FILE_NAME: &str = "vitalake.yaml";
/// The data folder inside the project, when no flag names another.
pub const DATA_FOLDER_DEFAULT: &str = "data";

/// A project's configuration, whole and checked.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// The project's name.
    pub name: String,
    /// The folder that holds the log, the control store and, by default, the lake. Set by `--data`.
    pub data: PathBuf,
    /// Where and how the lake is kept.
    pub storage: Storage,
    /// The Kafka endpoint, or the broker that stands in for it.
    pub kafka: Kafka,
    /// The log's retention.
    pub log: Log,
    /// The HTTP endpoint.
    pub http: Http,
    /// PostgreSQL's wire protocol.
    pub postgres: Postgres,
    /// Arrow Flight SQL.
    pub flight: Flight,
    /// The control store.
    pub control: Control,
    /// What runs models.
    pub engines: engines::Engines,
    /// Delivered files.
    pub deliveries: Deliveries,
    /// The ops datasets.
    pub ops: Ops,
    /// Where traces, metrics and logs are sent beside.
    pub telemetry: Telemetry,
    /// The real Druid that serving datasets are published to, where `engines.analytics` is `druid`.
    pub druid: Druid,
    /// The Superset that dashboards are kept in.
    pub superset: superset::Superset,
    /// Where alerts are sent, by name; variables are still as written.
    pub notify: BTreeMap<String, notify::Receiver>,
    /// Who may come in, and what they may see and do.
    pub access: access::Access,
    /// The journal of who saw and did what.
    pub audit: audit::Audit,
    /// Where lineage is told.
    pub lineage: audit::Lineage,
    /// What is told to Azure.
    pub azure: azure::Azure,
}

/// Where and how the lake is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Storage {
    /// A folder or a URL for lake/ and staged/; the data folder when none.
    pub url: Option<String>,
    /// How long rows wait in the hot tail before a commit, in milliseconds.
    pub commit_interval_ms: u64,
    /// The most bytes that the hot tail holds in memory.
    pub tail_bytes_max: u64,
    /// Free bytes on the disk below which produces are refused.
    pub reserve_bytes: u64,
    /// The most bytes of a remote lake's files that are kept in the data folder.
    pub cache_bytes_max: u64,
}

/// The Kafka endpoint, or the broker that stands in for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Kafka {
    /// The address of the embedded endpoint.
    pub listen: SocketAddr,
    /// An external broker to read from instead of the embedded endpoint.
    pub bootstrap: Option<String>,
    /// The consumer group on the external broker.
    pub group: Option<String>,
    /// The client's properties for the external broker, by name. May hold secrets.
    pub properties: BTreeMap<String, serde_json::Value>,
    /// Whether topics that contracts name are made on the external broker.
    pub create_topics: bool,
    /// What the embedded endpoint is served under.
    pub tls: Tls,
}

/// What an endpoint is served under, as files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those above it; none where it is served in the clear.
    pub certificate: Option<PathBuf>,
    /// The certificate's key.
    pub key: Option<PathBuf>,
    /// What certificates of clients are signed by, where clients may have some.
    pub client_authority: Option<PathBuf>,
    /// Whether a client without one is refused.
    pub client_required: bool,
}

impl Tls {
    /// Whether an endpoint is served under TLS.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.certificate.is_some()
    }

    fn check(&self, key: &str, problems: &mut Vec<ConfigProblem>) {
        if self.certificate.is_some() != self.key.is_some() {
            let message = format!("{key}.certificate and {key}.key belong together");
            problems.push(ConfigProblem::nowhere(message).with_help("give both, or neither"));
        }
        if self.client_authority.is_some() && self.certificate.is_none() {
            let message = format!("{key}.client_authority is nothing without {key}.certificate");
            problems
                .push(ConfigProblem::nowhere(message).with_help("certificates of clients are shown inside TLS alone"));
        }
        if self.client_required && self.client_authority.is_none() {
            let message = format!("{key}.client_required is nothing without {key}.client_authority");
            problems.push(ConfigProblem::nowhere(message).with_help("give the file with what they are signed by"));
        }
    }
}

/// The log's retention; a record that has not landed is kept whatever these say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How long a record is kept after it was appended, in milliseconds.
    pub retention_ms: u64,
    /// The most bytes that one partition keeps; no limit when none.
    pub retention_bytes: Option<u64>,
}

/// The HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Its address.
    pub listen: SocketAddr,
    /// Where people reach it, where that is elsewhere; without a slash at its end.
    pub public_url: Option<String>,
    /// What it is served under.
    pub tls: Tls,
    /// Whether a proxy in front of it speaks TLS.
    pub behind_proxy: bool,
}

impl Http {
    /// How an address begins that it is reached at.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_given() { "https" } else { "http" }
    }
}

/// PostgreSQL's wire protocol. Connections are encrypted under HTTP's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Postgres {
    /// Its address; not spoken when none.
    pub listen: Option<SocketAddr>,
}

/// Arrow Flight SQL. Connections are encrypted under HTTP's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flight {
    /// Its address; not spoken when none.
    pub listen: Option<SocketAddr>,
}

/// The control store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The URL of a PostgreSQL database; a file in the data folder when none. May hold a password.
    pub url: Option<notify::Hidden>,
    /// Whether tokens of Azure stand for the password.
    pub azure_identity: bool,
}

/// Delivered files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliveries {
    /// How many are held at most, until somebody decides.
    pub held_max: u64,
    /// Their bytes in all, at most.
    pub held_bytes_max: u64,
}

/// The ops datasets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// How long their rows are kept, in milliseconds.
    pub retention_ms: u64,
}

/// Where traces, metrics and logs are sent beside; nowhere by default.
#[derive(Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The address of a receiver of OTLP over HTTP, without `/v1/…`.
    pub otlp_endpoint: Option<String>,
    /// Headers of each request to it. May hold secrets.
    pub otlp_headers: BTreeMap<String, String>,
    /// The whole addresses of each signal, where they are not under one.
    pub otlp_signals: OtlpSignals,
    /// Whether sums are told as what was added since the last time.
    pub otlp_delta: bool,
    /// Application Insights, by its connection string.
    pub application_insights: Option<notify::Hidden>,
    /// Whether requests to either show a token of Azure.
    pub azure_identity: bool,
    /// How often metrics are sent, and what has gathered of the others, in milliseconds.
    pub interval_ms: u64,
    /// Batches of records a second that are followed from the socket to the published version.
    pub traces_per_second: u64,
}

/// Where each signal is sent by OTLP, as a whole address; none of those that are not sent, or are under the one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpSignals {
    /// Traces.
    pub traces: Option<String>,
    /// Metrics.
    pub metrics: Option<String>,
    /// Log lines.
    pub logs: Option<String>,
}

/// What the command line says over everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data`: the data folder.
    pub data: Option<PathBuf>,
    /// `--kafka`: the address of the Kafka endpoint.
    pub kafka: Option<String>,
    /// `--http`: the address of the HTTP endpoint.
    pub http: Option<String>,
}

/// The variables that `${NAME}` and the `VITALAKE_*` settings are taken from.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process; a variable that is not UTF-8 is left out.
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Config {
    /// Reads `vitalake.yaml` of a project folder under this process's environment.
    ///
    /// # Errors
    /// When the file cannot be read, or with every problem found in it, each with its place.
    pub fn load(project: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = project.join(FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        Self::parse(&text, project, &process_environment(), overrides)
            .map_err(|problems| ConfigError::Invalid { path, problems })
    }

    /// Makes the configuration of a project folder from the file's text. Reads no file and no network.
    ///
    /// # Errors
    /// Every problem found, in the order of the file.
    pub fn parse(
        text: &str,
        project: &Path,
        environment: &Environment,
        overrides: &Overrides,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut config = Self::defaults(project);
        let mut problems = Vec::new();
        document::apply(text, environment, &mut config, &mut problems);
        settings::apply_environment(environment, &mut config, &mut problems);
        settings::apply_overrides(overrides, &mut config, &mut problems);
        config.check_listeners(&mut problems);
        config.druid.check(&mut problems);
        config.check_superset(&mut problems);
        config.azure.monitor.check(&mut problems);
        if config.name.is_empty() && problems.is_empty() {
            let named = project.canonicalize().unwrap_or_else(|_| project.to_path_buf());
            config.name = named.file_name().map_or("vitalake".into(), |name| name.to_string_lossy().into_owned());
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The configuration of a project folder whose file says nothing.
    pub fn defaults(project: &Path) -> Self {
        Self {
            name: String::new(),
            data: project.join(DATA_FOLDER_DEFAULT),
            storage: Storage {
                url: None,
                commit_interval_ms: settings::COMMIT_INTERVAL_MS_DEFAULT,
                tail_bytes_max: settings::TAIL_BYTES_MAX_DEFAULT,
                reserve_bytes: settings::RESERVE_BYTES_DEFAULT,
                cache_bytes_max: settings::CACHE_BYTES_MAX_DEFAULT,
            },
            kafka: Kafka {
                listen: settings::KAFKA_LISTEN_DEFAULT,
                bootstrap: None,
                group: None,
                properties: BTreeMap::new(),
                create_topics: true,
                tls: Tls::default(),
            },
            log: Log { retention_ms: settings::RETENTION_MS_DEFAULT, retention_bytes: None },
            http: Http {
                listen: settings::HTTP_LISTEN_DEFAULT,
                public_url: None,
                tls: Tls::default(),
                behind_proxy: false,
            },
            postgres: Postgres::default(),
            flight: Flight::default(),
            control: Control::default(),
            engines: engines::Engines::default(),
            deliveries: Deliveries {
                held_max: settings::HELD_MAX_DEFAULT,
                held_bytes_max: settings::HELD_BYTES_MAX_DEFAULT,
            },
            ops: Ops { retention_ms: settings::OPS_RETENTION_MS_DEFAULT },
            telemetry: Telemetry {
                otlp_endpoint: None,
                otlp_headers: BTreeMap::new(),
                otlp_signals: OtlpSignals::default(),
                otlp_delta: false,
                application_insights: None,
                azure_identity: false,
                interval_ms: settings::TELEMETRY_INTERVAL_MS_DEFAULT,
                traces_per_second: settings::TRACES_PER_SECOND_DEFAULT,
            },
            druid: Druid::default(),
            superset: superset::Superset::default(),
            notify: BTreeMap::new(),
            access: access::Access::default(),
            audit: audit::Audit::default(),
            lineage: audit::Lineage::default(),
            azure: azure::Azure::default(),
        }
    }

    fn check_listeners(&self, problems: &mut Vec<ConfigProblem>) {
        self.kafka.tls.check("kafka.tls", problems);
        self.http.tls.check("http.tls", problems);
        let is_asked = self.access.is_required();
        let is_guarded = is_asked && self.kafka.tls.is_given();
        if !self.kafka.listen.ip().is_loopback() && !is_guarded {
            let message = "kafka.listen: only a loopback address is allowed without authentication and TLS";
            problems.push(ConfigProblem::nowhere(message).with_help(
                "use an address such as 127.0.0.1, or list clients under access.clients and give kafka.tls.certificate and kafka.tls.key",
            ));
        }
        let is_guarded = is_asked && (self.http.tls.is_given() || self.http.behind_proxy);
        if !self.http.listen.ip().is_loopback() && !is_guarded {
            let message = "http.listen: only a loopback address is allowed without authentication and TLS";
            problems.push(ConfigProblem::nowhere(message).with_help(
                "list clients under access.clients, and give http.tls.certificate and http.tls.key, or set http.behind_proxy: true where a proxy speaks TLS",
            ));
        }
        self.check_surfaces(problems);
        if self.kafka.listen == self.http.listen && self.kafka.listen.port() != 0 {
            problems.push(
                ConfigProblem::nowhere("kafka.listen and http.listen are the same address")
                    .with_help("give each its own port"),
            );
        }
    }
}

impl Config {
    /// The listeners that are there only where somebody asks for them.
    fn check_surfaces(&self, problems: &mut Vec<ConfigProblem>) {
        let is_encrypted = self.access.is_required() && self.http.tls.certificate.is_some();
        let mut others = vec![("kafka.listen", self.kafka.listen), ("http.listen", self.http.listen)];
        let surfaces = [("postgres.listen", self.postgres.listen), ("flight.listen", self.flight.listen)];
        for (key, address) in surfaces.into_iter().filter_map(|(key, address)| Some((key, address?))) {
            if !address.ip().is_loopback() && !is_encrypted {
                let message = format!("{key}: only a loopback address is allowed without authentication and TLS");
                problems.push(ConfigProblem::nowhere(message).with_help(
                    "list clients under access.clients, and give http.tls.certificate and http.tls.key, which it uses too",
                ));
            }
            if let Some((other, _)) = others.iter().find(|(_, other)| *other == address && address.port() != 0) {
                let message = format!("{key} and {other} are the same address");
                problems.push(ConfigProblem::nowhere(message).with_help("give each its own port"));
            }
            others.push((key, address));
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notify: Vec<&String> = self.notify.keys().collect();
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("data", &self.data)
            .field("storage", &self.storage)
            .field("kafka", &self.kafka)
            .field("log", &self.log)
            .field("http", &self.http)
            .field("postgres", &self.postgres)
            .field("flight", &self.flight)
            .field("control", &self.control)
            .field("engines", &self.engines)
            .field("deliveries", &self.deliveries)
            .field("ops", &self.ops)
            .field("telemetry", &self.telemetry)
            .field("druid", &self.druid)
            .field("superset", &self.superset)
            .field("notify", &notify)
            .field("access", &self.access)
            .field("audit", &self.audit)
            .field("lineage", &self.lineage.url.as_deref().map(masked_url))
            .field("azure", &self.azure)
            .finish()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&String> = self.otlp_headers.keys().collect();
        f.debug_struct("Telemetry")
            .field("otlp_endpoint", &self.otlp_endpoint.as_deref().map(masked_url))
            .field("otlp_headers", &headers)
            .field("otlp_signals", &self.otlp_signals)
            .field("otlp_delta", &self.otlp_delta)
            .field("application_insights", &self.application_insights)
            .field("azure_identity", &self.azure_identity)
            .field("interval_ms", &self.interval_ms)
            .field("traces_per_second", &self.traces_per_second)
            .finish()
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Kafka")
            .field("listen", &self.listen)
            .field("bootstrap", &self.bootstrap)
            .field("group", &self.group)
            .field("properties", &properties)
            .field("create_topics", &self.create_topics)
            .finish()
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("url", &self.url.as_deref().map(masked_url))
            .field("commit_interval_ms", &self.commit_interval_ms)
            .field("tail_bytes_max", &self.tail_bytes_max)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("cache_bytes_max", &self.cache_bytes_max)
            .finish()
    }
}

/// A URL without what may be secret in it: the part before `@` in its authority, its query and its fragment.
pub fn masked_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = plain.find('/').map_or((plain, ""), |at| plain.split_at(at));
    // abfss://container@account names no secret before the `@`, unless there is a password too.
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("***@{host}"),
        _ => authority.to_owned(),
    };
    let separator = if scheme.is_empty() { "" } else { "://" };
    let query = if plain.len() < rest.len() { "?***" } else { "" };
    format!("{scheme}{separator}{authority}{path}{query}")
}

#[cfg(test)]
mod tests;
