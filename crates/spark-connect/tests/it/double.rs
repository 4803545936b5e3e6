//! A double of Spark in this process: one result for every statement, given through streams that break as a test says.
//!
//! It keeps the real one's rules of sessions and operations: a stream goes on after the response that it is asked to go on
//! after, and what was released, or lost in a restart, is not known any more. One invariant: every call is written down
//! before it is answered.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use vitalake_spark_connect::proto::config_request::operation::OpType;
use vitalake_spark_connect::proto::interrupt_request::Interrupt;
use vitalake_spark_connect::proto::release_execute_request::Release;
use vitalake_spark_connect::proto::spark_connect_service_server::{SparkConnectService, SparkConnectServiceServer};
use vitalake_spark_connect::proto::*;

/// What happens to one stream; without a fault it goes to its end.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The request does not arrive.
    Unarrived(Status),
    /// The request arrives and is answered with a status.
    Refused(Status),
    /// The request arrives and is not answered.
    Unanswered,
    /// The stream ends after so many responses.
    EndAfter(usize),
    /// The stream fails after so many responses.
    FailAfter(usize, Status),
    /// The stream says nothing more after so many responses.
    SilentAfter(usize),
}

/// A call that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Config { session: String, settings: Vec<(String, String)> },
    Execute { session: String, operation: String },
    Reattach { operation: String, last: Option<String> },
    Release { operation: String, until: Option<String> },
    Interrupt { operation: String },
    Details { error: String },
    Close { session: String },
    Version,
    Artifacts,
}

#[derive(Default)]
struct State {
    results: Vec<ExecutePlanResponse>,
    faults: VecDeque<Fault>,
    always: Option<Fault>,
    details: FetchErrorDetailsResponse,
    token: Option<String>,
    deaf: bool,
    version: Option<String>,
    holds_artifacts: bool,
    lives: u32,
    /// Which session of its own stands for which of a client's.
    sessions: HashMap<String, String>,
    /// Whether an operation was released.
    operations: HashMap<String, bool>,
}

/// A Spark that is none.
pub(crate) struct Double {
    pub(crate) port: u16,
    spark: Spark,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Spark {
    state: Arc<Mutex<State>>,
    calls: watch::Sender<Vec<Call>>,
}

impl Double {
    /// Begins to listen; each statement will have these responses.
    pub(crate) async fn start(mut results: Vec<ExecutePlanResponse>) -> Self {
        for (index, response) in results.iter_mut().enumerate() {
            response.response_id = format!("r{index}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { results, ..State::default() }));
        let spark = Spark { state, calls: watch::Sender::new(Vec::new()) };
        let service = SparkConnectServiceServer::new(spark.clone());
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { port, spark, server }
    }

    /// What happens to the next streams, one after the other.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.spark.state.lock().unwrap().faults.extend(faults);
    }

    /// What happens to all streams after those.
    pub(crate) fn always(&self, fault: Fault) {
        self.spark.state.lock().unwrap().always = Some(fault);
    }

    /// What is said when an error's details are asked for.
    pub(crate) fn details(&self, details: FetchErrorDetailsResponse) {
        self.spark.state.lock().unwrap().details = details;
    }

    /// Lets in only who has this token.
    pub(crate) fn asks_for_token(&self, token: &str) {
        self.spark.state.lock().unwrap().token = Some(token.to_owned());
    }

    /// What happened to all streams happens no longer.
    pub(crate) fn mend(&self) {
        self.spark.state.lock().unwrap().always = None;
    }

    /// Takes what is sent before a statement and never says so.
    pub(crate) fn hold_artifacts(&self) {
        self.spark.state.lock().unwrap().holds_artifacts = true;
    }

    /// Says that it is of this version.
    pub(crate) fn is_of(&self, version: &str) {
        self.spark.state.lock().unwrap().version = Some(version.to_owned());
    }

    /// Answers no short call any more.
    pub(crate) fn deafen(&self) {
        self.spark.state.lock().unwrap().deaf = true;
    }

    /// Forgets all sessions and operations, as a process that begins anew does.
    pub(crate) fn restart(&self) {
        let mut state = self.spark.state.lock().unwrap();
        state.sessions.clear();
        state.operations.clear();
        state.lives += 1;
    }

    /// The calls until now.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.spark.calls.borrow().clone()
    }

    /// Waits until the calls are as they should be.
    pub(crate) async fn until(&self, holds: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut calls = self.spark.calls.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(120), calls.wait_for(|calls| holds(calls))).await;
        waited.unwrap_or_else(|_| panic!("these calls alone came: {:?}", self.calls())).unwrap().clone()
    }
}

impl std::ops::Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Spark {
    fn note(&self, call: Call) {
        self.calls.send_modify(|calls| calls.push(call));
    }

    /// The session that stands for a client's; one that the client has seen before must be the same.
    fn session(&self, session: &str, observed: Option<&String>) -> Result<String, Status> {
        let mut state = self.state.lock().unwrap();
        let lives = state.lives;
        let known = state.sessions.entry(session.to_owned()).or_insert_with(|| format!("{session}/{lives}"));
        match observed {
            Some(observed) if observed != known => Err(handle("SESSION_CHANGED")),
            _ => Ok(known.clone()),
        }
    }

    fn admit(&self, headers: &tonic::metadata::MetadataMap) -> Result<(), Status> {
        let header = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let token = self.state.lock().unwrap().token.clone();
        match token.is_some_and(|token| header != Some(format!("Bearer {token}"))) {
            true => Err(Status::unauthenticated(format!("not with {header:?}"))),
            false => Ok(()),
        }
    }

    async fn short<T>(&self, answer: T) -> Result<Response<T>, Status> {
        if self.state.lock().unwrap().deaf {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(answer))
    }

    /// A stream of an operation's responses from one on, as the next fault lets it be.
    async fn stream(&self, fault: Option<Fault>, from: usize, server_side: String) -> Answer {
        let responses =
            self.state.lock().unwrap().results.clone().into_iter().skip(from).map(move |response| {
                Ok(ExecutePlanResponse { server_side_session_id: server_side.clone(), ..response })
            });
        let responses = stream::iter(responses.collect::<Vec<_>>());
        let stream: Responses = match fault {
            None => Box::pin(responses),
            Some(Fault::Unarrived(status) | Fault::Refused(status)) => return Err(status),
            Some(Fault::Unanswered) => std::future::pending().await,
            Some(Fault::EndAfter(count)) => Box::pin(responses.take(count)),
            Some(Fault::FailAfter(count, status)) => Box::pin(responses.take(count).chain(stream::iter([Err(status)]))),
            Some(Fault::SilentAfter(count)) => Box::pin(responses.take(count).chain(stream::pending())),
        };
        Ok(Response::new(stream))
    }

    fn next_fault(&self) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state.faults.pop_front().or_else(|| state.always.clone())
    }
}

type Responses = Pin<Box<dyn Stream<Item = Result<ExecutePlanResponse, Status>> + Send>>;
type Answer = Result<Response<Responses>, Status>;
type Short<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SparkConnectService for Spark {
    type ExecutePlanStream = Responses;
    type ReattachExecuteStream = Responses;

    async fn execute_plan(&self, request: Request<ExecutePlanRequest>) -> Answer {
        let asked = request.into_inner();
        let operation = asked.operation_id.clone().unwrap();
        self.note(Call::Execute { session: asked.session_id.clone(), operation: operation.clone() });
        let fault = self.next_fault();
        if let Some(Fault::Unarrived(status)) = fault {
            return Err(status);
        }
        let server_side = self.session(&asked.session_id, asked.client_observed_server_side_session_id.as_ref())?;
        if *self.state.lock().unwrap().operations.entry(operation).or_insert(false) {
            return Err(handle("OPERATION_ABANDONED"));
        }
        self.stream(fault, 0, server_side).await
    }

    async fn reattach_execute(&self, request: Request<ReattachExecuteRequest>) -> Answer {
        let asked = request.into_inner();
        let (operation, last) = (asked.operation_id, asked.last_response_id);
        self.note(Call::Reattach { operation: operation.clone(), last: last.clone() });
        let fault = self.next_fault();
        let server_side = {
            let state = self.state.lock().unwrap();
            if state.operations.get(&operation) == Some(&true) {
                return Err(handle("OPERATION_ABANDONED"));
            }
            let session = state.sessions.get(&asked.session_id).ok_or_else(|| handle("SESSION_NOT_FOUND"))?;
            state.operations.get(&operation).ok_or_else(|| handle("OPERATION_NOT_FOUND"))?;
            session.clone()
        };
        let from = last.map_or(0, |last| last.trim_start_matches('r').parse::<usize>().unwrap() + 1);
        self.stream(fault, from, server_side).await
    }

    async fn release_execute(&self, request: Request<ReleaseExecuteRequest>) -> Short<ReleaseExecuteResponse> {
        let asked = request.into_inner();
        let until = match asked.release.unwrap() {
            Release::ReleaseUntil(until) => Some(until.response_id),
            Release::ReleaseAll(_) => None,
        };
        if until.is_none() {
            self.state.lock().unwrap().operations.insert(asked.operation_id.clone(), true);
        }
        self.note(Call::Release { operation: asked.operation_id, until });
        self.short(ReleaseExecuteResponse::default()).await
    }

    async fn config(&self, request: Request<ConfigRequest>) -> Short<ConfigResponse> {
        self.admit(request.metadata())?;
        let asked = request.into_inner();
        let settings = match asked.operation.unwrap().op_type.unwrap() {
            OpType::Set(set) => set.pairs.into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect(),
            other => panic!("{other:?}"),
        };
        self.note(Call::Config { session: asked.session_id.clone(), settings });
        let server_side_session_id =
            self.session(&asked.session_id, asked.client_observed_server_side_session_id.as_ref())?;
        self.short(ConfigResponse { server_side_session_id, ..ConfigResponse::default() }).await
    }

    async fn interrupt(&self, request: Request<InterruptRequest>) -> Short<InterruptResponse> {
        match request.into_inner().interrupt.unwrap() {
            Interrupt::OperationId(operation) => self.note(Call::Interrupt { operation }),
            other => panic!("{other:?}"),
        }
        self.short(InterruptResponse::default()).await
    }

    async fn fetch_error_details(
        &self,
        request: Request<FetchErrorDetailsRequest>,
    ) -> Short<FetchErrorDetailsResponse> {
        self.note(Call::Details { error: request.into_inner().error_id });
        let details = self.state.lock().unwrap().details.clone();
        self.short(details).await
    }

    async fn release_session(&self, request: Request<ReleaseSessionRequest>) -> Short<ReleaseSessionResponse> {
        self.note(Call::Close { session: request.into_inner().session_id });
        self.short(ReleaseSessionResponse::default()).await
    }

    async fn analyze_plan(&self, request: Request<AnalyzePlanRequest>) -> Short<AnalyzePlanResponse> {
        use analyze_plan_response::{Result as Told, SparkVersion};
        self.admit(request.metadata())?;
        let asked = request.into_inner();
        self.note(Call::Version);
        let server_side_session_id =
            self.session(&asked.session_id, asked.client_observed_server_side_session_id.as_ref())?;
        let version = self.state.lock().unwrap().version.clone().unwrap_or_else(|| String::from("4.2.0"));
        let result = Some(Told::SparkVersion(SparkVersion { version }));
        self.short(AnalyzePlanResponse { server_side_session_id, result, ..AnalyzePlanResponse::default() }).await
    }

    /// As Spark takes them: one that is a chunk alone and is not said to be is never whole.
    async fn add_artifacts(&self, request: Request<Streaming<AddArtifactsRequest>>) -> Short<AddArtifactsResponse> {
        use add_artifacts_request::Payload;
        use add_artifacts_response::ArtifactSummary;
        self.note(Call::Artifacts);
        if self.state.lock().unwrap().holds_artifacts {
            std::future::pending::<()>().await;
        }
        let (mut requests, mut session, mut artifacts) = (request.into_inner(), String::new(), Vec::new());
        let mut whole = |name: String| artifacts.push(ArtifactSummary { name, is_crc_successful: true });
        let mut chunked: Option<(String, i64)> = None;
        while let Some(asked) = requests.message().await? {
            session = asked.session_id;
            match (asked.payload.unwrap(), chunked.take()) {
                (Payload::Batch(batch), None) => batch.artifacts.into_iter().for_each(|single| whole(single.name)),
                (Payload::BeginChunk(begin), None) => chunked = Some((begin.name, begin.num_chunks - 1)),
                (Payload::Chunk(_), Some((name, 1))) => whole(name),
                (Payload::Chunk(_), Some((name, left))) => chunked = Some((name, left - 1)),
                (payload, _) => panic!("{payload:?}"),
            }
        }
        if chunked.is_some() {
            return Err(spark_status("requirement failed", &[]));
        }
        let server_side_session_id = self.session(&session, None)?;
        self.short(AddArtifactsResponse { session_id: session, server_side_session_id, artifacts }).await
    }

    async fn artifact_status(&self, _: Request<ArtifactStatusesRequest>) -> Short<ArtifactStatusesResponse> {
        Err(Status::unimplemented(""))
    }

    async fn clone_session(&self, _: Request<CloneSessionRequest>) -> Short<CloneSessionResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Short<GetStatusResponse> {
        Err(Status::unimplemented(""))
    }
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// A status as Spark makes it of an error.
pub(crate) fn spark_status(message: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let info = ErrorInfo { domain: String::from("org.apache.spark"), metadata };
    let any = prost_types::Any {
        type_url: String::from("type.googleapis.com/google.rpc.ErrorInfo"),
        value: info.encode_to_vec(),
    };
    let details = Bytes::from(RpcStatus { details: vec![any] }.encode_to_vec());
    Status::with_details(tonic::Code::Internal, message, details)
}

/// What Spark says of a session or operation that is not there.
pub(crate) fn handle(kind: &str) -> Status {
    let class = format!("INVALID_HANDLE.{kind}");
    spark_status(&format!("[{class}] The handle 1234 is invalid."), &[("errorClass", &class), ("sqlState", "HY000")])
}
