//! Where a process's records come from, and who lands them: the embedded log, an external broker, or nowhere.
//!
//! Invariant: a topic lands under the id that its source gives it, so that a topic that was made anew starts anew.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use vitalake_contract::{Contract, Source as Origin};
use vitalake_ingest::gateway::{Gateway, GatewayOptions};
use vitalake_ingest::landing::{Landing, LandingSpec, TopicLanding};
use vitalake_ingest::log::{Log, LogOptions};
use vitalake_ingest::source::RecordSource;
use vitalake_lake::{Lake, Table};
use vitalake_process::{Contracts, sql_rules};

use super::{Role, Setup, troubles};

/// A source of records and the landing of each of its topics.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) landings: Vec<Arc<TopicLanding>>,
    /// The embedded log, where that is the source.
    pub(crate) log: Option<Arc<Log>>,
    /// The way into it by HTTP.
    pub(crate) gateway: Option<Arc<Gateway>>,
    #[cfg(feature = "rdkafka")]
    pub(crate) broker: Option<super::broker::Broker>,
}

/// What landings are made of.
pub(crate) struct IntakeContext<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) role: Role,
    pub(crate) contracts: &'a Contracts,
    pub(crate) lake: &'a Arc<Lake>,
}

impl IntakeContext<'_> {
    /// The streams that contracts name and whose tables are open: topic, partitions asked for, and the table.
    pub(crate) fn streams(&self) -> Vec<(String, u32, Arc<Table>)> {
        let open = |(topic, partitions, contract): (_, _, &Contract)| {
            Some((topic, partitions, Arc::clone(self.lake.table(&contract.dataset).ok()?)))
        };
        self.topics().filter_map(open).collect()
    }

    /// All topics that contracts name, with the partitions asked for.
    fn topics(&self) -> impl Iterator<Item = (String, u32, &Contract)> {
        self.contracts.values().filter_map(|contract| match &contract.source {
            Some(Origin::Stream { topic, partitions }) => Some((topic.clone(), *partitions, &**contract)),
            _ => None,
        })
    }
}

impl Intake {
    /// No records come in here.
    pub(crate) fn none() -> Self {
        Self {
            landings: Vec::new(),
            log: None,
            gateway: None,
            #[cfg(feature = "rdkafka")]
            broker: None,
        }
    }

    /// The intake that the configuration asks for.
    pub(crate) async fn open(context: &IntakeContext<'_>) -> anyhow::Result<Self> {
        match &context.setup.config.kafka.bootstrap {
            _ if !context.role.takes_records() => Ok(Self::none()),
            None if context.role == Role::All => Self::open_log(context).await,
            None if context.role == Role::Serve => Ok(Self::none()),
            // Files alone are delivered, for which nobody needs a log.
            None if context.topics().next().is_none() => Ok(Self::none()),
            None => anyhow::bail!(
                "the role {} needs kafka.bootstrap where contracts name topics: the embedded log has one owner, a process \
                 with the role all",
                context.role.as_str()
            ),
            #[cfg(feature = "rdkafka")]
            Some(bootstrap) => super::broker::open(context, bootstrap).await,
            #[cfg(not(feature = "rdkafka"))]
            Some(_) => anyhow::bail!("this binary was built without external Kafka; build it with --features rdkafka"),
        }
    }

    async fn open_log(context: &IntakeContext<'_>) -> anyhow::Result<Self> {
        let log = open_log(context.setup)?;
        let mut landings = Vec::new();
        let made = |topic: &str, partitions| {
            log.ensure_topic(topic, partitions).with_context(|| format!("topic {topic} could not be made"))
        };
        // What is sent to a table that is not open waits in the log.
        context.topics().try_for_each(|(topic, partitions, _)| made(&topic, partitions).map(|_| ()))?;
        for (topic, partitions, table) in context.streams() {
            let id = made(&topic, partitions)?;
            let partitions = log.topic(&topic).map_or(partitions, |t| t.partitions);
            let source: Arc<dyn RecordSource> = Arc::clone(&log) as _;
            let sql = sql_rules(table.contract())?;
            let landing = TopicLanding::new(LandingSpec {
                source,
                table,
                sql,
                topic,
                topic_id: id,
                landing: Landing::Owner,
                cpu: context.setup.cpu.clone(),
                clock: context.setup.clock.clone(),
            });
            landing.take_partitions(0..i32::try_from(partitions).unwrap_or(i32::MAX)).await?;
            landings.push(Arc::new(landing));
        }
        for topic in log.topics().iter().filter(|t| !t.active) {
            tracing::warn!(
                topic = topic.name,
                "this topic has no contract any longer: its log is kept, and goes on when the contract is back"
            );
        }
        for trouble in troubles::left_behind(&log, context.lake) {
            tracing::warn!(dataset = trouble.dataset, "{}", trouble.message);
        }
        for lost in landings.iter().filter_map(|landing| troubles::lost_log(&log, landing)) {
            tracing::warn!("{lost}");
        }
        let mut intake = Self::none();
        let gateway = Gateway::new(Arc::clone(&log), context.setup.clock.clone(), GatewayOptions::default());
        (intake.landings, intake.log, intake.gateway) = (landings, Some(log), Some(Arc::new(gateway)));
        Ok(intake)
    }

    /// Begins to read, once everything that follows what lands is in place. Gives a task that goes on beside it.
    pub(crate) async fn start(&self) -> anyhow::Result<Option<JoinHandle<()>>> {
        #[cfg(feature = "rdkafka")]
        if let Some(broker) = &self.broker {
            return broker.start(&self.landings).await.map(Some);
        }
        Ok(None)
    }

    /// Waits until the source cannot go on from where landing is; for ever, as a rule.
    pub(crate) async fn must_restart(&self) {
        #[cfg(feature = "rdkafka")]
        if let Some(broker) = &self.broker {
            return broker.must_restart(&self.landings).await;
        }
        std::future::pending().await
    }

    /// Ends the log or the client. Blocking.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
        #[cfg(feature = "rdkafka")]
        if let Some(broker) = &self.broker {
            broker.close();
        }
    }
}

fn open_log(setup: &Setup) -> anyhow::Result<Arc<Log>> {
    let config = &setup.config;
    let options = LogOptions {
        segment_bytes: setup.tuning.segment_bytes,
        retention_ms: i64::try_from(config.log.retention_ms).unwrap_or(i64::MAX),
        retention_bytes: config.log.retention_bytes.unwrap_or(LogOptions::default().retention_bytes),
        reserve_bytes: config.storage.reserve_bytes,
        ..LogOptions::default()
    };
    let folder = log_folder(&config.data);
    let (log, report) = Log::open(Arc::clone(&setup.disk), &folder, options, setup.clock.clone())
        .with_context(|| format!("the log at {} could not be opened", folder.display()))?;
    tracing::info!(?report, "the log is open");
    Ok(log)
}

fn log_folder(data: &Path) -> std::path::PathBuf {
    data.join("log")
}
