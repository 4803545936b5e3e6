//! One operation of Spark's, from its plan to `result_complete`, through as many streams as that takes.
//!
//! Spark ends a stream by design after two minutes or a gigabyte, and what ends is the stream alone: the operation goes on,
//! and its next stream begins after the last response that was seen. One invariant: `next` says that an operation has
//! ended only when Spark did.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status, Streaming};
use uuid::Uuid;

use crate::context::{Context, request};
use crate::proto::execute_plan_request::{RequestOption, request_option};
use crate::proto::execute_plan_response::ResponseType;
use crate::proto::interrupt_request::{Interrupt, InterruptType};
use crate::proto::{ExecutePlanRequest, ExecutePlanResponse, Plan, ReattachOptions, ResultChunkingOptions};
use crate::verdict::{self, Fault, Said};
use crate::{Error, Result};

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A stream that ends well before this, and said nothing, was not ended by design.
const STREAM_SHORTEST: Duration = Duration::from_secs(1);
/// Spark keeps what it sent until it is told that it came; this often it is told.
const RELEASE_EACH_RESPONSES: u32 = 16;
/// Trouble is told of once it has lasted so long: most is over before.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// How long a Spark that says nothing may take to say that it is there.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// How long to wait for what does not come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a broken connection is tried again.
    pub(crate) away: Duration,
    /// How long nothing may come before Spark is asked whether it is there.
    pub(crate) quiet: Duration,
    /// How long a stream may say nothing before another takes its place.
    pub(crate) silence: Duration,
}

/// Why it is no longer waited for what did not come.
enum Silence {
    Cut(&'static str),
    Lost(Error),
}

/// One operation.
pub(crate) struct Operation {
    context: Context,
    id: String,
    request: ExecutePlanRequest,
    statement: String,
    patience: Patience,
    stream: Option<Streaming<ExecutePlanResponse>>,
    attached: Instant,
    /// Whether Spark may know it, though it may not have said so.
    asked: bool,
    started: bool,
    complete: bool,
    last: Option<String>,
    unreleased: u32,
    trouble: Option<Instant>,
    attempts: u32,
}

impl Operation {
    /// An operation that Spark does not know yet. `statement` is the text that errors point into.
    pub(crate) fn new(context: Context, plan: Plan, tags: Vec<String>, statement: String, patience: Patience) -> Self {
        let id = Uuid::new_v4().to_string();
        let options = [
            request_option::RequestOption::ReattachOptions(ReattachOptions { reattachable: true }),
            request_option::RequestOption::ResultChunkingOptions(ResultChunkingOptions {
                allow_arrow_batch_chunking: true,
                preferred_arrow_chunk_size: None,
            }),
        ];
        let request_options = options.map(|option| RequestOption { request_option: Some(option) }).to_vec();
        let (operation_id, plan) = (Some(id.clone()), Some(plan));
        let request = request!(
            context,
            ExecutePlanRequest { operation_id: operation_id, plan: plan, tags: tags, request_options: request_options }
        );
        let (attached, asked, started, complete, last) = (Instant::now(), false, false, false, None);
        let (stream, unreleased, trouble, attempts) = (None, 0, None, 0);
        Self {
            context,
            id,
            request,
            statement,
            patience,
            stream,
            attached,
            asked,
            started,
            complete,
            last,
            unreleased,
            trouble,
            attempts,
        }
    }

    /// The operation's id, as Spark's own logs and pages have it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The next response, or `None` once Spark has said that the result is complete.
    pub(crate) async fn next(&mut self) -> Result<Option<ExecutePlanResponse>> {
        while !self.complete {
            let Some(mut stream) = self.stream.take() else {
                self.attach().await?;
                continue;
            };
            match self.patiently(stream.message()).await {
                Ok(Ok(Some(response))) => {
                    self.stream = Some(stream);
                    self.heard(&response).await?;
                    if !self.complete {
                        return Ok(Some(response));
                    }
                }
                Ok(Ok(None)) => self.cut(None).await?,
                Ok(Err(status)) => self.judge(&status).await?,
                Err(silence) => self.silent(silence).await?,
            }
        }
        Ok(None)
    }

    /// Waits for what Spark may be long in saying, and asks now and then whether it is still there.
    async fn patiently<T>(&self, what: impl Future<Output = T>) -> std::result::Result<T, Silence> {
        let mut what = pin!(what);
        let since = Instant::now();
        loop {
            if let Ok(came) = timeout(self.patience.quiet, &mut what).await {
                return Ok(came);
            }
            match timeout(PROBE_MAX, self.context.version()).await {
                Ok(Err(error @ Error::SessionLost { .. })) => return Err(Silence::Lost(error)),
                Ok(Err(Error::Away { .. })) | Err(_) => return Err(Silence::Cut("it does not answer")),
                _ if since.elapsed() >= self.patience.silence => return Err(Silence::Cut("it says nothing")),
                _ => {}
            }
        }
    }

    async fn silent(&mut self, silence: Silence) -> Result<()> {
        match silence {
            Silence::Cut(reason) => self.cut(Some(reason.to_owned())).await,
            Silence::Lost(error) => Err(error),
        }
    }

    /// Stops it there, and lets Spark forget it. For who does not want the rest.
    pub(crate) async fn abandon(&mut self) {
        self.stream = None;
        if self.complete || !self.asked {
            return;
        }
        self.complete = true;
        let what = Interrupt::OperationId(self.id.clone());
        if let Err(error) = self.context.interrupt(InterruptType::OperationId, what).await {
            tracing::debug!(operation = %self.id, %error, "an operation of Spark's could not be interrupted");
        }
        self.release(None).await;
    }

    async fn heard(&mut self, response: &ExecutePlanResponse) -> Result<()> {
        self.context.observe(&response.server_side_session_id)?;
        (self.trouble, self.attempts) = (None, 0);
        self.context.answers();
        if !response.response_id.is_empty() {
            self.last = Some(response.response_id.clone());
        }
        if matches!(response.response_type, Some(ResponseType::ResultComplete(_))) {
            (self.complete, self.stream) = (true, None);
            self.release(None).await;
        } else {
            self.unreleased += 1;
            if self.unreleased >= RELEASE_EACH_RESPONSES {
                self.unreleased = 0;
                self.release(self.last.clone()).await;
            }
        }
        Ok(())
    }

    /// What Spark keeps for nobody costs it memory until it gives it up by itself, and us nothing.
    async fn release(&self, until: Option<String>) {
        if let Err(error) = self.context.release(&self.id, until).await {
            tracing::debug!(operation = %self.id, %error, "an operation of Spark's could not be released");
        }
    }

    /// Begins the operation, or goes on with it after the last response that came.
    async fn attach(&mut self) -> Result<()> {
        (self.attached, self.asked) = (Instant::now(), true);
        match self.patiently(self.ask()).await {
            Ok(Ok(answer)) => {
                (self.stream, self.started) = (Some(answer.into_inner()), true);
                Ok(())
            }
            Ok(Err(status)) => self.judge(&status).await,
            Err(silence) => self.silent(silence).await,
        }
    }

    async fn ask(&self) -> std::result::Result<Response<Streaming<ExecutePlanResponse>>, Status> {
        let mut client = self.context.wire.client.clone();
        if self.started {
            let (operation_id, last) = (self.id.clone(), self.last.clone());
            let asked =
                request!(self.context, ReattachExecuteRequest { operation_id: operation_id, last_response_id: last });
            client.reattach_execute(asked).await
        } else {
            let mut asked = self.request.clone();
            asked.client_observed_server_side_session_id = self.context.observed();
            client.execute_plan(asked).await
        }
    }

    /// What a status says about the operation: go on, begin it, or give up.
    async fn judge(&mut self, status: &Status) -> Result<()> {
        self.stream = None;
        match verdict::fault(status) {
            Fault::Cut(reason) => {
                // The request may have arrived although its answer did not: asking for it tells.
                self.started = true;
                self.cut(Some(reason)).await
            }
            Fault::OperationUnknown if self.last.is_none() => {
                self.started = false;
                self.cut(Some(String::from("it does not know the operation"))).await
            }
            Fault::Error(said) => Err(self.details(said).await),
            fault => Err(self.context.short(fault)),
        }
    }

    /// A stream is over. One that was ended by design is followed by the next; trouble is waited for, up to a limit.
    async fn cut(&mut self, reason: Option<String>) -> Result<()> {
        self.stream = None;
        if reason.is_none() && self.attached.elapsed() >= STREAM_SHORTEST {
            (self.trouble, self.attempts) = (None, 0);
            return Ok(());
        }
        let since = *self.trouble.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.patience.away {
            let reason = reason.unwrap_or_else(|| String::from("its streams end at once"));
            return Err(self.context.away(reason));
        }
        if since.elapsed() >= TOLD_AFTER {
            self.context.troubled(reason.as_deref().unwrap_or("its streams end at once"));
        }
        let longest = BACKOFF_MAX.min(BACKOFF_FIRST * 2u32.saturating_pow(self.attempts));
        self.attempts += 1;
        // Some of them at random, so that many who were cut at once do not come back at once.
        let part = rand::random_range(0.5..=1.0);
        sleep(longest.mul_f64(part)).await;
        Ok(())
    }

    /// The error with the class and the place that Spark keeps for who asks soon after.
    async fn details(&self, said: Said) -> Error {
        let Some(error_id) = said.error_id.clone() else { return self.of_the_statement_at(said) };
        let mut client = self.context.wire.client.clone();
        let asked = request!(self.context, FetchErrorDetailsRequest { error_id: error_id });
        match self.context.call(client.fetch_error_details(asked)).await {
            Ok(details) => crate::error::from_details(details, said, &self.statement),
            Err(error) => {
                tracing::debug!(operation = %self.id, %error, "the details of an error could not be had");
                self.of_the_statement_at(said)
            }
        }
    }

    fn of_the_statement_at(&self, said: Said) -> Error {
        crate::error::from_details(Default::default(), said, &self.statement)
    }
}
