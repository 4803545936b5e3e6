//! What a gRPC status of Spark means for the one who waits: `Status` in, `Fault` out. Pure.
//!
//! Spark puts a `google.rpc.Status` with an `ErrorInfo` into the trailer `grpc-status-details-bin`; what stands before it
//! (a proxy, the network) does not. One invariant: of the texts only error classes, SQL states and positions are kept.

use prost::Message;
use tonic::{Code, Status};

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: std::collections::HashMap<String, String>,
}

/// What a status means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The stream or the connection broke: attach again, for a while.
    Cut(String),
    /// The operation is not known there.
    OperationUnknown,
    /// The operation was there and has been given up.
    OperationGone,
    /// The session is not known there, or is another's.
    SessionGone,
    /// We are not let in.
    Refused(&'static str),
    /// The service, or the call, is not there.
    NotSpark,
    /// More was sent than is taken.
    TooLarge,
    /// Spark ran into an error; what it says by itself.
    Error(Said),
}

/// What Spark's error says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Under which its details can be asked for.
    pub(crate) error_id: Option<String>,
    /// Its class, when it has one.
    pub(crate) class: Option<String>,
    /// Its SQL state.
    pub(crate) sql_state: Option<String>,
    /// The line, from 1, and column, from 0, that a parser's message ends with.
    pub(crate) line: Option<(usize, usize)>,
}

/// What a status means.
pub(crate) fn fault(status: &Status) -> Fault {
    let info = error_info(status);
    if info.is_none() && std::error::Error::source(status).is_some() {
        return Fault::Cut(words(status));
    }
    let class = class(status, info.as_ref());
    match class.as_deref() {
        Some("INVALID_CURSOR.DISCONNECTED") => return Fault::Cut(String::from("another stream took its place")),
        Some("INVALID_HANDLE.OPERATION_NOT_FOUND") => return Fault::OperationUnknown,
        Some(class) if class.starts_with("INVALID_HANDLE.OPERATION") || class.starts_with("INVALID_CURSOR") => {
            return Fault::OperationGone;
        }
        Some(class) if class.starts_with("INVALID_HANDLE") => return Fault::SessionGone,
        _ => {}
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => Fault::Cut(format!("{:?}", status.code())),
        Code::Cancelled if info.is_none() => Fault::Cut(String::from("Cancelled")),
        Code::Unauthenticated => Fault::Refused("Unauthenticated"),
        Code::PermissionDenied => Fault::Refused("PermissionDenied"),
        Code::Unimplemented if info.is_none() => Fault::NotSpark,
        Code::ResourceExhausted | Code::OutOfRange if info.is_none() => Fault::TooLarge,
        _ => Fault::Error(said(status, info, class)),
    }
}

/// Whether an error is of the statement, and would be the same the next time, rather than of Spark or its storage.
pub(crate) fn is_of_the_statement(class: Option<&str>, sql_state: Option<&str>) -> bool {
    // Files that are missing or torn are not the statement's fault, although their SQL states say syntax or data.
    const OF_STORAGE: [&str; 4] = ["PATH_NOT_FOUND", "FAILED_READ_FILE", "DELTA_", "CANNOT_READ_FILE"];
    let of_storage = class.is_some_and(|class| OF_STORAGE.iter().any(|prefix| class.starts_with(prefix)));
    let by_state = sql_state
        .and_then(|state| state.get(..2))
        .is_some_and(|state| matches!(state, "07" | "0A" | "21" | "22" | "23" | "42" | "54"));
    by_state && !of_storage
}

/// A class is upper-case words, points and underscores; anything else may be a value.
pub(crate) fn as_class(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= 200
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.'));
    fits.then(|| text.to_owned())
}

/// A SQL state is five upper-case letters or digits.
pub(crate) fn as_sql_state(text: &str) -> Option<String> {
    let fits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    fits.then(|| text.to_owned())
}

fn said(status: &Status, info: Option<ErrorInfo>, class: Option<String>) -> Said {
    let line = line(status.message());
    let Some(info) = info else { return Said { class, line, ..Said::default() } };
    Said {
        error_id: info.metadata.get("errorId").cloned(),
        sql_state: info.metadata.get("sqlState").and_then(|text| as_sql_state(text)),
        class,
        line,
    }
}

fn class(status: &Status, info: Option<&ErrorInfo>) -> Option<String> {
    let told = info.and_then(|info| info.metadata.get("errorClass")).and_then(|text| as_class(text));
    // Only the protocol's own are taken from a message: what else begins with a bracket may be a value.
    let of_the_protocol = |class: &String| class.starts_with("INVALID_HANDLE.") || class.starts_with("INVALID_CURSOR.");
    told.or_else(|| as_class(status.message().strip_prefix('[')?.split_once(']')?.0).filter(of_the_protocol))
}

fn error_info(status: &Status) -> Option<ErrorInfo> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))?;
    ErrorInfo::decode(info.value.as_slice()).ok().filter(|info| info.domain == "org.apache.spark")
}

/// `(line 2, pos 14)` of a parser's message.
pub(crate) fn line(message: &str) -> Option<(usize, usize)> {
    let (line, rest) = message.split_once("(line ")?.1.split_once(", pos ")?;
    Some((line.parse().ok()?, rest.split_once(')')?.0.parse().ok()?))
}

/// The causes of a fault that arose here, in words: nothing of it comes from Spark.
fn words(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut last = String::new();
    while let Some(error) = cause {
        last = error.to_string();
        cause = error.source();
    }
    last
}
