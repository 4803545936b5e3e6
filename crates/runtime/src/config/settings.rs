//! The list of settings: the one place that a setting's key, type, default and description are written.
//!
//! What a setting is, is in `kind`, what a text must be to be its value in `value`, where texts come from beside the file in `sources`, the page
//! for people in `reference`. Invariant: nothing but this list says which settings there are.

mod kind;
mod reference;
mod sources;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::azure::Monitor;
use super::druid::DruidLive;
use super::engines::{Transform, spark_address};
use super::superset::database_uri;

pub use kind::{Kind, Setting};
pub use reference::reference_markdown;
pub(super) use sources::{apply_environment, apply_overrides};

pub(super) const COMMIT_INTERVAL_MS_DEFAULT: u64 = 30_000;
pub(super) const TAIL_BYTES_MAX_DEFAULT: u64 = 256 << 20;
pub(super) const RESERVE_BYTES_DEFAULT: u64 = 1 << 30;
pub(super) const CACHE_BYTES_MAX_DEFAULT: u64 = 10 << 30;
pub(super) const RETENTION_MS_DEFAULT: u64 = 7 * 24 * 3_600_000;
pub(super) const OPS_RETENTION_MS_DEFAULT: u64 = 30 * 24 * 3_600_000;
/// How many deliveries are held where nobody says.
pub(super) const HELD_MAX_DEFAULT: u64 = 100;
/// The bytes of these.
pub(super) const HELD_BYTES_MAX_DEFAULT: u64 = 16 << 30;
pub(super) const TELEMETRY_INTERVAL_MS_DEFAULT: u64 = 10_000;
pub(super) const TRACES_PER_SECOND_DEFAULT: u64 = 1;
/// Druid makes a segment of each change: a minute apart they are few.
pub(super) const DRUID_INTERVAL_MS_DEFAULT: u64 = 60_000;
/// Versions come within minutes: what streams in bridges that, and a week of it is more than a fault takes to be mended.
pub(super) const DRUID_LIVE_DAYS_DEFAULT: u64 = 7;
pub(super) const KAFKA_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9092);
pub(super) const HTTP_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8888);

const ENVIRONMENT_PREFIX: &str = "VITALAKE_";

/// Every setting of `vitalake.yaml`, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "name",
        kind: Kind::Text(|config, value| config.name = value),
        default: "the folder's name",
        description: "The project's name.",
    },
    Setting {
        key: "storage.url",
        kind: Kind::Text(|config, value| config.storage.url = Some(value)),
        default: "the data folder",
        description: "Where the tables lie: a folder, `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX` or `az://CONTAINER/PREFIX` (docs/azure.md). The log is always in the data folder.",
    },
    Setting {
        key: "storage.commit_interval_ms",
        kind: Kind::Integer {
            unit: "milliseconds",
            least: 100,
            most: 3_600_000,
            set: |config, value| config.storage.commit_interval_ms = value,
        },
        default: "30000",
        description: "How long rows wait before they are committed to their Delta table. SQL sees them before that; other readers of the table after it.",
    },
    Setting {
        key: "storage.tail_bytes_max",
        kind: Kind::Integer {
            unit: "bytes",
            least: 1 << 20,
            most: 1 << 40,
            set: |config, value| config.storage.tail_bytes_max = value,
        },
        default: "268435456 (256 MiB)",
        description: "The most memory for rows that are not yet in a Parquet file. Beyond it rows are written early.",
    },
    Setting {
        key: "storage.reserve_bytes",
        kind: Kind::Integer {
            unit: "bytes",
            least: 0,
            most: 1 << 50,
            set: |config, value| config.storage.reserve_bytes = value,
        },
        default: "1073741824 (1 GiB)",
        description: "Below this much free disk, new records are refused with a retriable error. Reads go on.",
    },
    Setting {
        key: "storage.cache_bytes_max",
        kind: Kind::Integer {
            unit: "bytes",
            least: 0,
            most: 1 << 50,
            set: |config, value| config.storage.cache_bytes_max = value,
        },
        default: "10737418240 (10 GiB)",
        description: "The most bytes of a remote lake's files that are kept in the data folder once they were read or written.",
    },
    Setting {
        key: "kafka.listen",
        kind: Kind::Address(|config, value| config.kafka.listen = value),
        default: "127.0.0.1:9092",
        description: "The address of the embedded Kafka endpoint: one of loopback, unless clients are listed under `access.clients` and it has a certificate.",
    },
    Setting {
        key: "kafka.tls.certificate",
        kind: Kind::Text(|config, value| config.kafka.tls.certificate = Some(value.into())),
        default: "none",
        description: "A file with the certificate of the embedded Kafka endpoint and those above it, in PEM; it may be that of HTTP. It is read again when it changes.",
    },
    Setting {
        key: "kafka.tls.key",
        kind: Kind::Text(|config, value| config.kafka.tls.key = Some(value.into())),
        default: "none",
        description: "A file with the certificate's private key, in PEM.",
    },
    Setting {
        key: "kafka.tls.client_authority",
        kind: Kind::Text(|config, value| config.kafka.tls.client_authority = Some(value.into())),
        default: "none",
        description: "A file with the certificates that those of clients are signed by, in PEM. A client that shows one is let in under the name that `access.clients` has it at.",
    },
    Setting {
        key: "kafka.tls.client_required",
        kind: Kind::Boolean(|config, value| config.kafka.tls.client_required = value),
        default: "false",
        description: "Whether Kafka's clients without such a certificate are refused.",
    },
    Setting {
        key: "kafka.bootstrap",
        kind: Kind::Brokers(|config, value| config.kafka.bootstrap = Some(value)),
        default: "none",
        description: "External Kafka brokers to read from, `HOST:PORT[,HOST:PORT…]`, in place of the embedded endpoint.",
    },
    Setting {
        key: "kafka.group",
        kind: Kind::Text(|config, value| config.kafka.group = Some(value)),
        default: "the project's name after `vitalake-`",
        description: "The consumer group on the external brokers. Processes of the role ingest share its partitions; its offsets are for lag tools alone.",
    },
    Setting {
        key: "kafka.properties",
        kind: Kind::Map(|config, name, value| {
            config.kafka.properties.insert(name, value);
        }),
        default: "none",
        description: "Properties of librdkafka for the external brokers, such as `security.protocol` and `sasl.username` (docs/azure.md). Secrets by `${NAME}`.",
    },
    Setting {
        key: "kafka.create_topics",
        kind: Kind::Boolean(|config, value| config.kafka.create_topics = value),
        default: "true",
        description: "Whether the topics that contracts name are made on the external broker.",
    },
    Setting {
        key: "log.retention_ms",
        kind: Kind::Integer {
            unit: "milliseconds",
            least: 1_000,
            most: i64::MAX as u64,
            set: |config, value| config.log.retention_ms = value,
        },
        default: "604800000 (7 days)",
        description: "How long the log keeps a record. A record that is not yet in its table is kept whatever its age.",
    },
    Setting {
        key: "log.retention_bytes",
        kind: Kind::Integer {
            unit: "bytes",
            least: 1 << 20,
            most: i64::MAX as u64,
            set: |config, value| config.log.retention_bytes = Some(value),
        },
        default: "none",
        description: "The most bytes that the log keeps for one partition. Records that are not yet in their table are kept beyond it.",
    },
    Setting {
        key: "http.listen",
        kind: Kind::Address(|config, value| config.http.listen = value),
        default: "127.0.0.1:8888",
        description: "The address of the HTTP endpoint: one of loopback, unless clients are listed under `access.clients` and it has a certificate or a proxy before it.",
    },
    Setting {
        key: "http.tls.certificate",
        kind: Kind::Text(|config, value| config.http.tls.certificate = Some(value.into())),
        default: "none",
        description: "A file with the server's certificate and those above it, in PEM. It is read again when it changes. Without `access.clients` TLS lets nobody in from elsewhere (docs/identities.md).",
    },
    Setting {
        key: "http.tls.key",
        kind: Kind::Text(|config, value| config.http.tls.key = Some(value.into())),
        default: "none",
        description: "A file with the certificate's private key, in PEM.",
    },
    Setting {
        key: "http.tls.client_authority",
        kind: Kind::Text(|config, value| config.http.tls.client_authority = Some(value.into())),
        default: "none",
        description: "A file with the certificates that those of clients are signed by, in PEM. A client that shows one is let in under the name that `access.clients` has it at.",
    },
    Setting {
        key: "http.tls.client_required",
        kind: Kind::Boolean(|config, value| config.http.tls.client_required = value),
        default: "false",
        description: "Whether HTTP clients without such a certificate are refused.",
    },
    Setting {
        key: "http.behind_proxy",
        kind: Kind::Boolean(|config, value| config.http.behind_proxy = value),
        default: "false",
        description: "Whether a proxy in front of the HTTP endpoint speaks TLS with clients, so that it may listen beyond loopback without a certificate. `access.clients` is needed all the same.",
    },
    Setting {
        key: "http.public_url",
        kind: Kind::PublicUrl(|config, value| config.http.public_url = Some(value)),
        default: "http:// and the address that it listens on",
        description: "Where people reach the HTTP endpoint, such as through a proxy: the links of messages about alerts lead there.",
    },
    Setting {
        key: "postgres.listen",
        kind: Kind::Address(|config, value| config.postgres.listen = Some(value)),
        default: "none: not spoken",
        description: "The address for clients of PostgreSQL's wire protocol, such as psql and dashboard tools (docs/postgres.md). Beyond loopback `access.clients` and `http.tls` are needed.",
    },
    Setting {
        key: "flight.listen",
        kind: Kind::Address(|config, value| config.flight.listen = Some(value)),
        default: "none: not spoken",
        description: "The address for clients of Arrow Flight SQL, such as ADBC drivers (docs/flight.md). Beyond loopback `access.clients` and `http.tls` are needed.",
    },
    Setting {
        key: "control.url",
        kind: Kind::Text(|config, value| config.control.url = Some(value.as_str().into())),
        default: "none",
        description: "The PostgreSQL database of the control store, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`, for processes that share feeds; without it `control.db` in the data folder (docs/operations.md). Secrets by `${NAME}`.",
    },
    Setting {
        key: "control.azure_identity",
        kind: Kind::Boolean(|config, value| config.control.azure_identity = value),
        default: "false",
        description: "Whether tokens of this process's identity in Azure stand for the password of `control.url`, whose user is then the principal's name (docs/azure-monitor.md).",
    },
    Setting {
        key: "engines.transform",
        kind: Kind::Form {
            form: "`datafusion`, `spark` or `sc://…`",
            set: |config, value| {
                config.engines.transform = Transform::parse(value)?;
                Ok(())
            },
        },
        default: "`datafusion`",
        description: "What runs the models whose header names no engine: `datafusion` is this process, `sc://HOST:PORT/;use_ssl=true;token=${NAME}` a Spark 4 by Spark Connect, `spark` the one at `engines.spark` (docs/spark.md). Secrets by `${NAME}`.",
    },
    Setting {
        key: "engines.spark",
        kind: Kind::Form {
            form: "`sc://…`",
            set: |config, value| {
                config.engines.spark = Some(spark_address(value)?);
                Ok(())
            },
        },
        default: "that of `engines.transform`",
        description: "The Spark that models with `-- engine: spark` in their header run on, where `engines.transform` names none. Secrets by `${NAME}`.",
    },
    Setting {
        key: "deliveries.held_max",
        kind: Kind::Integer {
            unit: "deliveries",
            least: 0,
            most: i64::MAX as u64,
            set: |config, value| config.deliveries.held_max = value,
        },
        default: "100",
        description: "How many deliveries are held at most until somebody releases or rejects them (docs/deliveries.md). With more, a delivery that would be held is refused.",
    },
    Setting {
        key: "deliveries.held_bytes_max",
        kind: Kind::Integer {
            unit: "bytes",
            least: 0,
            most: i64::MAX as u64,
            set: |config, value| config.deliveries.held_bytes_max = value,
        },
        default: "17179869184 (16 GiB)",
        description: "How many bytes the held deliveries may have in all.",
    },
    Setting {
        key: "ops.retention_ms",
        kind: Kind::Integer {
            unit: "milliseconds",
            least: 3_600_000,
            most: i64::MAX as u64,
            set: |config, value| config.ops.retention_ms = value,
        },
        default: "2592000000 (30 days)",
        description: "How long rows of the ops datasets are kept (docs/operations.md). They leave by whole files, so a day may stay a day longer.",
    },
    Setting {
        key: "telemetry.otlp_endpoint",
        kind: Kind::Text(|config, value| config.telemetry.otlp_endpoint = Some(value)),
        default: "none",
        description: "The address of a receiver of OTLP over HTTP, such as `http://127.0.0.1:4318`: traces, metrics and logs are sent to `/v1/traces`, `/v1/metrics` and `/v1/logs` under it (docs/operations.md).",
    },
    Setting {
        key: "telemetry.otlp_headers",
        kind: Kind::Map(|config, name, value| {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            config.telemetry.otlp_headers.insert(name, text);
        }),
        default: "none",
        description: "Headers of each request to that receiver, such as `authorization`. Secrets by `${NAME}`.",
    },
    Setting {
        key: "telemetry.otlp_traces_endpoint",
        kind: Kind::PublicUrl(|config, value| config.telemetry.otlp_signals.traces = Some(value)),
        default: "`/v1/traces` under telemetry.otlp_endpoint",
        description: "The whole address that traces are sent to, such as Azure Monitor's own (docs/azure-monitor.md).",
    },
    Setting {
        key: "telemetry.otlp_metrics_endpoint",
        kind: Kind::PublicUrl(|config, value| config.telemetry.otlp_signals.metrics = Some(value)),
        default: "`/v1/metrics` under telemetry.otlp_endpoint",
        description: "The same for metrics.",
    },
    Setting {
        key: "telemetry.otlp_logs_endpoint",
        kind: Kind::PublicUrl(|config, value| config.telemetry.otlp_signals.logs = Some(value)),
        default: "`/v1/logs` under telemetry.otlp_endpoint",
        description: "The same for log lines.",
    },
    Setting {
        key: "telemetry.otlp_temporality",
        kind: Kind::OneOf(&["cumulative", "delta"], |config, word| config.telemetry.otlp_delta = word == 1),
        default: "cumulative",
        description: "Whether sums and times are sent as they stand since the start, or as what was added since the last time, as Azure Monitor wants them.",
    },
    Setting {
        key: "telemetry.application_insights",
        kind: Kind::Text(|config, value| config.telemetry.application_insights = Some(value.as_str().into())),
        default: "none",
        description: "The connection string of Application Insights: traces, metrics and logs are sent there as well (docs/azure-monitor.md). By `${APPLICATIONINSIGHTS_CONNECTION_STRING}`.",
    },
    Setting {
        key: "telemetry.azure_identity",
        kind: Kind::Boolean(|config, value| config.telemetry.azure_identity = value),
        default: "false",
        description: "Whether requests to Application Insights, or to the receiver of OTLP, show a token of this process's identity in Azure.",
    },
    Setting {
        key: "telemetry.interval_ms",
        kind: Kind::Integer {
            unit: "milliseconds",
            least: 100,
            most: 3_600_000,
            set: |config, value| config.telemetry.interval_ms = value,
        },
        default: "10000",
        description: "How often metrics are sent, and the traces and logs that have gathered.",
    },
    Setting {
        key: "telemetry.traces_per_second",
        kind: Kind::Integer {
            unit: "batches",
            least: 0,
            most: 1_000,
            set: |config, value| config.telemetry.traces_per_second = value,
        },
        default: "1",
        description: "How many produced batches a second are followed from the socket to the published version.",
    },
    Setting {
        key: "engines.analytics",
        kind: Kind::OneOf(&["embedded", "druid"], |config, word| config.druid.publishes = word == 1),
        default: "embedded",
        description: "Who answers analytics: this process alone, or `druid`: each version of a serving dataset is published to a real Druid as well (docs/druid.md).",
    },
    Setting {
        key: "engines.druid.url",
        kind: Kind::PublicUrl(|config, value| config.druid.url = Some(value)),
        default: "none",
        description: "Druid's router, which passes on to overlord and coordinator (`druid.router.managementProxy.enabled=true`).",
    },
    Setting {
        key: "engines.druid.overlord",
        kind: Kind::PublicUrl(|config, value| config.druid.overlord = Some(value)),
        default: "engines.druid.url",
        description: "Druid's overlord.",
    },
    Setting {
        key: "engines.druid.coordinator",
        kind: Kind::PublicUrl(|config, value| config.druid.coordinator = Some(value)),
        default: "engines.druid.url",
        description: "Druid's coordinator.",
    },
    Setting {
        key: "engines.druid.broker",
        kind: Kind::PublicUrl(|config, value| config.druid.broker = Some(value)),
        default: "engines.druid.url",
        description: "Druid's broker.",
    },
    Setting {
        key: "engines.druid.user",
        kind: Kind::Text(|config, value| config.druid.user = Some(value)),
        default: "none",
        description: "The user that Druid is asked as.",
    },
    Setting {
        key: "engines.druid.password",
        kind: Kind::Text(|config, value| config.druid.password = Some(value.as_str().into())),
        default: "none",
        description: "The user's password, by `${NAME}`.",
    },
    Setting {
        key: "engines.druid.prefix",
        kind: Kind::Text(|config, value| config.druid.prefix = value),
        default: "none",
        description: "What the names of datasources begin with; the dataset's name follows.",
    },
    Setting {
        key: "engines.druid.files_url",
        kind: Kind::PublicUrl(|config, value| config.druid.files_url = Some(value)),
        default: "http.public_url, else http:// and the address that it listens on",
        description: "Where Druid's tasks reach the HTTP endpoint, to fetch the files of a version by signed addresses.",
    },
    Setting {
        key: "engines.druid.interval_ms",
        kind: Kind::Integer {
            unit: "milliseconds",
            least: 0,
            most: 86_400_000,
            set: |config, value| config.druid.interval_ms = value,
        },
        default: "60000",
        description: "The least time between two publications of a dataset without a gate; the commits in between are one.",
    },
    Setting {
        key: "engines.druid.subtasks",
        kind: Kind::Integer {
            unit: "tasks",
            least: 1,
            most: 1_000,
            set: |config, value| config.druid.subtasks = value,
        },
        default: "1",
        description: "How many of Druid's tasks may read the files of one publication at once, each in a slot of its own beside the one that waits for them.",
    },
    Setting {
        key: "engines.druid.live",
        kind: Kind::Form {
            form: "`none`, `all`, or names with commas between",
            set: |config, value| {
                config.druid.live = DruidLive::parse(value)?;
                Ok(())
            },
        },
        default: "none",
        description: "The raw datasets whose topics Druid streams in as well, each into a datasource of its name and `_live` (docs/druid.md).",
    },
    Setting {
        key: "engines.druid.live_bootstrap",
        kind: Kind::Brokers(|config, value| config.druid.live_bootstrap = Some(value)),
        default: "kafka.bootstrap, else kafka.listen",
        description: "The brokers of these topics as Druid reaches them.",
    },
    Setting {
        key: "engines.druid.live_properties",
        kind: Kind::Map(|config, name, value| {
            config.druid.live_properties.insert(name, value);
        }),
        default: "none",
        description: "Further properties of Druid's consumer, by the names of Kafka's Java client, such as `security.protocol`. Druid keeps them in its metadata as they are: give secrets by its own `druid.dynamic.config.provider`.",
    },
    Setting {
        key: "engines.druid.live_days",
        kind: Kind::Integer {
            unit: "days",
            least: 1,
            most: 36_500,
            set: |config, value| config.druid.live_days = value,
        },
        default: "7",
        description: "How many days of what is streamed in Druid keeps, by the records' own time.",
    },
    Setting {
        key: "access",
        kind: Kind::Access,
        default: "whoever reaches the loopback address",
        description: "Who may come in, and what they may see and do: `roles`, `clients` with hashes of their tokens and passwords and names of their certificates, `issuers` of other tokens (docs/identities.md), and `mask_key`, the key of the mask `hash` (docs/access.md).",
    },
    Setting {
        key: "audit.export",
        kind: Kind::Text(|config, value| config.audit.export = Some(value)),
        default: "none",
        description: "Where the signed heads of the audit journal are kept as well, out of reach of who can write the data folder: a folder, in which they are lines of `heads.jsonl`, or an address that takes each by POST (docs/audit.md).",
    },
    Setting {
        key: "audit.keys",
        kind: Kind::Text(|config, value| config.audit.keys = Some(value.into())),
        default: "the folder `audit/keys` in the data folder",
        description: "The folder of the audit journal's keys: the one that signs heads, and the one of the tokens that stand for values. They are made at the first start.",
    },
    Setting {
        key: "audit.retention_ms",
        kind: Kind::Integer {
            unit: "milliseconds",
            least: 86_400_000,
            most: i64::MAX as u64,
            set: |config, value| config.audit.retention_ms = value,
        },
        default: "189388800000 (six years)",
        description: "How long rows of `ops.audit` are kept. The journal's own files are never removed.",
    },
    Setting {
        key: "lineage.url",
        kind: Kind::PublicUrl(|config, value| config.lineage.url = Some(value)),
        default: "none",
        description: "An address that takes OpenLineage events by POST, such as Marquez's `http://HOST:5000/api/v1/lineage` (docs/lineage.md).",
    },
    Setting {
        key: "lineage.headers",
        kind: Kind::Map(|config, name, value| {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            config.lineage.headers.insert(name, text.as_str().into());
        }),
        default: "none",
        description: "Headers of each request to it, such as `authorization`. Secrets by `${NAME}`.",
    },
    Setting {
        key: "azure.monitor.endpoint",
        kind: Kind::PublicUrl(|config, value| config.azure.monitor.endpoint = Some(value)),
        default: "none",
        description: "Where a workspace of Log Analytics takes rows: the `logsIngestion` endpoint of a data collection rule, or of a data collection endpoint (docs/azure-monitor.md). The ops datasets are sent there; who this process is to Azure stands in the environment.",
    },
    Setting {
        key: "azure.monitor.rule",
        kind: Kind::Form {
            form: "`dcr-…`",
            set: |config, value| {
                config.azure.monitor.rule = Some(Monitor::parse_rule(value)?);
                Ok(())
            },
        },
        default: "none",
        description: "The `immutableId` of that data collection rule.",
    },
    Setting {
        key: "azure.monitor.tables",
        kind: Kind::Form {
            form: "`all`, or names with commas between",
            set: |config, value| {
                config.azure.monitor.tables = Monitor::parse_tables(value)?;
                Ok(())
            },
        },
        default: "all",
        description: "Which of the ops datasets are sent. `ops.audit` and `ops.evidence` never are.",
    },
    Setting {
        key: "azure.monitor.audience",
        kind: Kind::PublicUrl(|config, value| config.azure.monitor.audience = value),
        default: "https://monitor.azure.com",
        description: "What a token is asked for, in a sovereign cloud: `https://monitor.azure.cn`, `https://monitor.azure.us`.",
    },
    Setting {
        key: "superset.url",
        kind: Kind::PublicUrl(|config, value| config.superset.url = Some(value)),
        default: "none",
        description: "The Superset that `vitalake superset` keeps the project's dashboards in (docs/superset.md).",
    },
    Setting {
        key: "superset.user",
        kind: Kind::Text(|config, value| config.superset.user = Some(value)),
        default: "none",
        description: "The user that logs in there, with the role Admin.",
    },
    Setting {
        key: "superset.password",
        kind: Kind::Text(|config, value| config.superset.password = Some(value.as_str().into())),
        default: "none",
        description: "The user's password, by `${NAME}`.",
    },
    Setting {
        key: "superset.database_uri",
        kind: Kind::Form {
            form: "`DIALECT://…`",
            set: |config, value| {
                config.superset.database_uri = Some(database_uri(value)?);
                Ok(())
            },
        },
        default: "the HTTP endpoint, by `http.public_url` or the address that it listens on",
        description: "How Superset reaches the datasets, as SQLAlchemy's URI: our own endpoint, or a real Druid's broker. Secrets by `${NAME}`.",
    },
    Setting {
        key: "notify",
        kind: Kind::Receivers,
        default: "none",
        description: "Where alerts are sent: a map from a name, which alerts refer to, to a receiver (docs/alerts.md). The one named `default` gets alerts that name none. Secrets by `${NAME}`; a variable that is not set is an error when the platform starts.",
    },
];
