//! Who asks, in which session: what every request carries, and the short calls that have one answer.
//!
//! One invariant: once Spark has said which session of its own answers ours, each request names it, so that a Spark that
//! began anew says so instead of quietly running us without our settings.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use crate::endpoint::Client;
use crate::proto::config_request::{Operation as ConfigOperation, Set, operation::OpType};
use crate::proto::interrupt_request::{Interrupt, InterruptType};
use crate::proto::release_execute_request::{Release, ReleaseAll, ReleaseUntil};
use crate::proto::{self, UserContext};
use crate::verdict::{self, Fault, Said};
use crate::{Error, Result};

/// Who asks whom.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) client: Client,
    pub(crate) endpoint: String,
    pub(crate) user_id: String,
    pub(crate) user_agent: String,
    /// How long a short call may take.
    pub(crate) call_max: Duration,
    /// Why Spark does not answer what is asked again and again; nothing while it does.
    pub(crate) trouble: Arc<watch::Sender<Option<String>>>,
}

/// One session of Spark's, as long as it lives there.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) wire: Wire,
    session_id: String,
    observed: Arc<Mutex<Option<String>>>,
    lost: Arc<AtomicBool>,
}

/// Makes a request of the fields that all have, and those that are named.
macro_rules! request {
    ($context:expr, $kind:ident { $($field:ident: $value:expr),* $(,)? }) => {
        crate::proto::$kind {
            session_id: $context.session_id().to_owned(),
            client_observed_server_side_session_id: $context.observed(),
            user_context: Some($context.user()),
            client_type: Some($context.wire.user_agent.clone()),
            $($field: $value,)*
        }
    };
}
pub(crate) use request;

impl Context {
    /// A session that Spark does not know yet; the first request makes it.
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, session_id: Uuid::new_v4().to_string(), observed: Arc::default(), lost: Arc::default() }
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }

    pub(crate) fn observed(&self) -> Option<String> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn user(&self) -> UserContext {
        UserContext {
            user_id: self.wire.user_id.clone(),
            user_name: self.wire.user_id.clone(),
            ..UserContext::default()
        }
    }

    /// Keeps which session of Spark's answered; another than before is a loss.
    pub(crate) fn observe(&self, server_side_session_id: &str) -> Result<()> {
        if server_side_session_id.is_empty() {
            return Ok(());
        }
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        match observed.as_deref() {
            Some(known) if known != server_side_session_id => Err(self.lost()),
            Some(_) => Ok(()),
            None => {
                *observed = Some(server_side_session_id.to_owned());
                Ok(())
            }
        }
    }

    /// Sets the session's settings.
    pub(crate) async fn configure(&self, settings: &[(String, String)]) -> Result<()> {
        let pairs =
            settings.iter().map(|(key, value)| proto::KeyValue { key: key.clone(), value: Some(value.clone()) });
        let set = Set { pairs: pairs.collect(), silent: None };
        let operation = Some(ConfigOperation { op_type: Some(OpType::Set(set)) });
        let mut client = self.wire.client.clone();
        let answer = self.call(client.config(request!(self, ConfigRequest { operation: operation }))).await?;
        self.observe(&answer.server_side_session_id)
    }

    /// Spark's version, `4.2.0`.
    pub(crate) async fn version(&self) -> Result<String> {
        use proto::{analyze_plan_request as ask, analyze_plan_response as told};
        let analyze = Some(ask::Analyze::SparkVersion(ask::SparkVersion {}));
        let mut client = self.wire.client.clone();
        let answer = self.call(client.analyze_plan(request!(self, AnalyzePlanRequest { analyze: analyze }))).await?;
        self.observe(&answer.server_side_session_id)?;
        match answer.result {
            Some(told::Result::SparkVersion(version)) => Ok(version.version),
            _ => Err(self.protocol("it does not say its version")),
        }
    }

    /// Stops what runs: one operation, or all that have a tag. What has ended already is no error.
    pub(crate) async fn interrupt(&self, kind: InterruptType, what: Interrupt) -> Result<usize> {
        let (interrupt_type, interrupt) = (kind.into(), Some(what));
        let mut client = self.wire.client.clone();
        let asked = request!(self, InterruptRequest { interrupt_type: interrupt_type, interrupt: interrupt });
        Ok(self.call(client.interrupt(asked)).await?.interrupted_ids.len())
    }

    /// Lets Spark forget what it keeps of an operation: up to a response, or all.
    pub(crate) async fn release(&self, operation_id: &str, until: Option<String>) -> Result<()> {
        let release = Some(match until {
            Some(response_id) => Release::ReleaseUntil(ReleaseUntil { response_id }),
            None => Release::ReleaseAll(ReleaseAll {}),
        });
        let mut client = self.wire.client.clone();
        let asked = request!(self, ReleaseExecuteRequest { operation_id: operation_id.to_owned(), release: release });
        self.call(client.release_execute(asked)).await.map(drop)
    }

    /// Ends the session there, and with it what it keeps.
    pub(crate) async fn close(&self) -> Result<()> {
        let asked = proto::ReleaseSessionRequest {
            session_id: self.session_id.clone(),
            user_context: Some(self.user()),
            client_type: Some(self.wire.user_agent.clone()),
            allow_reconnect: false,
        };
        let mut client = self.wire.client.clone();
        self.call(client.release_session(asked)).await.map(drop)
    }

    /// Waits for one answer, for a while.
    pub(crate) async fn call<T>(
        &self,
        answer: impl Future<Output = std::result::Result<tonic::Response<T>, Status>>,
    ) -> Result<T> {
        match tokio::time::timeout(self.wire.call_max, answer).await {
            Ok(Ok(answer)) => {
                self.answers();
                Ok(answer.into_inner())
            }
            Ok(Err(status)) => Err(self.short(verdict::fault(&status))),
            Err(_) => Err(self.away(format!("no answer within {:?}", self.wire.call_max))),
        }
    }

    /// A fault as an error, without asking for details.
    pub(crate) fn short(&self, fault: Fault) -> Error {
        match fault {
            Fault::Cut(reason) => self.away(reason),
            Fault::OperationUnknown | Fault::OperationGone | Fault::SessionGone => self.lost(),
            Fault::Refused(status) => Error::Refused { endpoint: self.wire.endpoint.clone(), status },
            Fault::NotSpark => self.protocol("it does not know the call"),
            Fault::TooLarge => self.protocol("it does not take messages of this size"),
            Fault::Error(Said { class, sql_state, .. }) => {
                if verdict::is_of_the_statement(class.as_deref(), sql_state.as_deref()) {
                    Error::Statement { class, sql_state, place: None }
                } else {
                    Error::Failed { class, sql_state }
                }
            }
        }
    }

    /// Spark has answered.
    pub(crate) fn answers(&self) {
        self.wire.trouble.send_if_modified(|trouble| trouble.take().is_some());
    }

    /// Spark does not answer, and is asked again.
    pub(crate) fn troubled(&self, reason: &str) {
        self.wire.trouble.send_replace(Some(self.away(reason.to_owned()).to_string()));
    }

    pub(crate) fn away(&self, reason: String) -> Error {
        Error::Away { endpoint: self.wire.endpoint.clone(), reason }
    }

    /// Whether an answer has said that Spark does not know the session, or what ran in it, any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> Error {
        self.lost.store(true, Ordering::Relaxed);
        Error::SessionLost { endpoint: self.wire.endpoint.clone() }
    }

    pub(crate) fn protocol(&self, reason: &'static str) -> Error {
        Error::Protocol { endpoint: self.wire.endpoint.clone(), reason }
    }
}
