//! One session of Spark's, with its settings, for as many statements as one likes.
//!
//! Spark may restart, or close a session that was idle: the next statement then begins one anew, with the same settings. One
//! invariant: no statement runs in a session whose settings were not set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::answer::{self, Answer, Held};
use crate::context::{Context, Wire};
use crate::operation::{Operation, Patience};
use crate::proto::interrupt_request::{Interrupt, InterruptType};
use crate::query::{self, Outgoing, Query, Source};
use crate::running::{OwnSession, Running};
use crate::{Endpoint, Error, Result, artifacts, version};

const ZONE: &str = "spark.sql.session.timeZone";
/// Above this, the rows of a statement are sent before it, in parts.
const LOCAL_BYTES_MAX: u64 = 1 << 20;
/// What one input may have at most: Spark holds it in its driver's memory.
const INPUT_BYTES_MAX: u64 = 1 << 30;

/// How long a call may take that has one answer.
const CALL_MAX: Duration = Duration::from_secs(30);

/// How a session is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who asks, as Spark's logs have it: `vitalake/1.0`.
    pub user_agent: String,
    /// Settings of Spark's that hold for every statement, such as `spark.sql.ansi.enabled`.
    pub settings: Vec<(String, String)>,
    /// How long a connection that broke under a statement is tried again.
    pub away_max: Duration,
    /// How long nothing may come before Spark is asked whether it is there.
    pub quiet_max: Duration,
    /// How long a stream may say nothing before another takes its place. Spark ends each after two minutes by itself.
    pub silence_max: Duration,
}

impl Options {
    /// With the limits that suit a Spark as it is installed.
    #[must_use]
    pub fn new(user_agent: &str, settings: Vec<(String, String)>) -> Self {
        let (away_max, quiet_max, silence_max) =
            (Duration::from_secs(30), Duration::from_secs(15), Duration::from_secs(180));
        Self { user_agent: user_agent.to_owned(), settings, away_max, quiet_max, silence_max }
    }
}

/// One session of Spark's. Clones are the same one.
#[derive(Clone)]
pub struct Session {
    wire: Wire,
    options: Arc<Options>,
    current: Arc<Mutex<Option<Context>>>,
    planning: Arc<Mutex<()>>,
    running: Running,
}

impl Session {
    /// A session that begins with its first statement: nothing is asked of Spark yet.
    ///
    /// # Errors
    /// The endpoint cannot be one.
    pub fn open(endpoint: &Endpoint, options: Options) -> Result<Self> {
        let wire = Wire {
            client: endpoint.client()?,
            endpoint: endpoint.to_string(),
            user_id: endpoint.user_id().to_owned(),
            user_agent: options.user_agent.clone(),
            call_max: CALL_MAX.min(options.silence_max),
            trouble: Arc::new(watch::Sender::new(None)),
        };
        let (options, current, planning, running) =
            (Arc::new(options), Arc::default(), Arc::default(), Running::default());
        Ok(Self { wire, options, current, planning, running })
    }

    /// Runs a statement: gives its answer when Spark has made a plan of it. A session that Spark does not know any more is
    /// begun anew for it, once.
    ///
    /// # Errors
    /// Why there is no plan; what goes wrong later is told by the answer.
    pub async fn query(&self, query: &Query) -> Result<Answer> {
        match self.try_query(query).await {
            Err(Error::SessionLost { .. }) => self.try_query(query).await,
            other => other,
        }
    }

    /// Spark's version, `4.2.0`.
    ///
    /// # Errors
    /// Spark cannot be asked.
    pub async fn version(&self) -> Result<String> {
        match self.context().await?.version().await {
            Err(Error::SessionLost { .. }) => self.context().await?.version().await,
            other => other,
        }
    }

    /// Why Spark does not answer statements that are asked again meanwhile; nothing while it answers.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.wire.trouble.subscribe()
    }

    /// Waits until nothing of this session runs in Spark any more: statements whose answers were dropped are stopped there
    /// by tasks, which end with the process.
    pub async fn stopped(&self) {
        let mut running = self.running.0.subscribe();
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// Stops all statements of the session that have a tag; gives how many.
    ///
    /// # Errors
    /// Spark cannot be asked.
    pub async fn interrupt(&self, tag: &str) -> Result<usize> {
        let Some(context) = self.current.lock().await.clone() else { return Ok(0) };
        context.interrupt(InterruptType::Tag, Interrupt::OperationTag(tag.to_owned())).await
    }

    /// Ends the session, and with it whatever runs in it.
    ///
    /// # Errors
    /// Spark cannot be asked; it then closes the session by itself when that was idle for an hour.
    pub async fn close(&self) -> Result<()> {
        match self.current.lock().await.take() {
            Some(context) => context.close().await,
            None => Ok(()),
        }
    }

    async fn try_query(&self, query: &Query) -> Result<Answer> {
        let mut sizes = 0;
        let mut rows = Vec::new();
        for input in &query.inputs {
            if let Source::Rows { schema, batches } = &input.rows {
                let outgoing = Outgoing::new(&input.name, schema, batches)?;
                if outgoing.bytes() > INPUT_BYTES_MAX {
                    return Err(Error::InputSize { input: input.name.clone(), limit_bytes: INPUT_BYTES_MAX });
                }
                sizes += outgoing.bytes();
                rows.push((input.name.clone(), outgoing));
            }
        }
        if sizes > LOCAL_BYTES_MAX {
            self.query_with_much(query, rows).await
        } else {
            self.query_with_little(query, rows).await
        }
    }

    async fn query_with_little(&self, query: &Query, rows: Vec<(String, Outgoing)>) -> Result<Answer> {
        let sent = rows.iter().map(|(name, rows)| Ok((name.clone(), query::local(rows.whole()?))));
        let sent = sent.collect::<Result<HashMap<_, _>>>()?;
        let context = self.context().await?;
        // Spark makes views of the inputs while it plans, in the session, and takes them away again.
        let planning = if query.inputs.is_empty() { None } else { Some(self.planning.clone().lock_owned().await) };
        self.begin(query, &context, sent, Held { planning, _session: None, _running: self.running.one_more() }).await
    }

    /// What is sent before a statement stays in Spark until the session ends, so this statement has one of its own.
    async fn query_with_much(&self, query: &Query, rows: Vec<(String, Outgoing)>) -> Result<Answer> {
        let context = self.fresh().await?;
        let session = OwnSession { context: context.clone(), running: self.running.clone() };
        let mut sent = HashMap::new();
        for (name, rows) in rows {
            sent.insert(name, artifacts::upload(&context, rows).await?);
        }
        let held = Held { planning: None, _session: Some(session), _running: self.running.one_more() };
        self.begin(query, &context, sent, held).await
    }

    async fn begin(
        &self,
        query: &Query,
        context: &Context,
        sent: HashMap<String, query::Sent>,
        held: Held,
    ) -> Result<Answer> {
        let plan = query::plan(query, sent)?;
        let Options { away_max: away, silence_max: silence, quiet_max, .. } = *self.options;
        let patience = Patience { away, quiet: quiet_max.min(silence), silence };
        let operation = Operation::new(context.clone(), plan, query.tags.clone(), query.sql.clone(), patience);
        answer::begin(operation, self.zone(), held).await
    }

    /// The session's time zone, as its timestamps carry it.
    fn zone(&self) -> String {
        let zone = self.options.settings.iter().rev().find(|(key, _)| key == ZONE);
        zone.map_or_else(|| String::from("UTC"), |(_, zone)| zone.clone())
    }

    /// The session there is, or one begun now. One that Spark has lost, while a statement ran or before, is none.
    async fn context(&self) -> Result<Context> {
        let mut current = self.current.lock().await;
        if let Some(context) = current.as_ref().filter(|context| !context.is_lost()) {
            return Ok(context.clone());
        }
        let context = self.fresh().await?;
        Ok(current.insert(context).clone())
    }

    async fn fresh(&self) -> Result<Context> {
        let context = Context::new(self.wire.clone());
        let version = context.version().await?;
        if !version::suffices(&version) {
            return Err(Error::Version { endpoint: self.wire.endpoint.clone(), version: version::shown(&version) });
        }
        let mut settings = self.options.settings.clone();
        if !settings.iter().any(|(key, _)| key == ZONE) {
            settings.push((ZONE.to_owned(), self.zone()));
        }
        context.configure(&settings).await?;
        Ok(context)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a session of Spark at {}", self.wire.endpoint)
    }
}
