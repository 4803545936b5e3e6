//! Errors in Druid's form: pydruid and Superset read `error`, `errorMessage` and `errorClass`, newer clients the rest.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::error::{Position, QueryError};

/// The HTTP status and the body of an error.
pub fn render(error: &QueryError) -> (StatusCode, Value) {
    let message = error.to_string();
    match error {
        QueryError::Invalid { position, .. } => (StatusCode::BAD_REQUEST, invalid(&message, *position)),
        QueryError::Context(_) => (
            StatusCode::BAD_REQUEST,
            legacy(
                "Query context parse failed",
                "org.apache.druid.query.BadQueryContextException",
                "INVALID_INPUT",
                &message,
            ),
        ),
        QueryError::ResourceLimit(_) => (
            StatusCode::BAD_REQUEST,
            legacy(
                "Resource limit exceeded",
                "org.apache.druid.query.ResourceLimitExceededException",
                "INVALID_INPUT",
                &message,
            ),
        ),
        QueryError::Capacity(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            legacy(
                "Query capacity exceeded",
                "org.apache.druid.query.QueryCapacityExceededException",
                "CAPACITY_EXCEEDED",
                &message,
            ),
        ),
        QueryError::Timeout { .. } => (
            StatusCode::GATEWAY_TIMEOUT,
            legacy("Query timeout", "org.apache.druid.query.QueryTimeoutException", "TIMEOUT", &message),
        ),
        QueryError::Cancelled => (
            StatusCode::INTERNAL_SERVER_ERROR,
            legacy("Query cancelled", "java.util.concurrent.CancellationException", "CANCELED", &message),
        ),
        QueryError::Runtime(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            legacy("Unknown exception", "java.lang.RuntimeException", "RUNTIME_FAILURE", &message),
        ),
        QueryError::NotReady(_) | QueryError::NotOpen(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            legacy("Service unavailable", "org.apache.druid.java.util.common.ISE", "RUNTIME_FAILURE", &message),
        ),
        QueryError::Internal { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            legacy("Unknown exception", "java.lang.RuntimeException", "RUNTIME_FAILURE", &message),
        ),
    }
}

fn invalid(message: &str, position: Option<Position>) -> Value {
    let mut context = json!({"sourceType": "sql"});
    if let (Some(position), Some(context)) = (position, context.as_object_mut()) {
        for (key, number) in [
            ("line", position.start.0),
            ("column", position.start.1),
            ("endLine", position.end.0),
            ("endColumn", position.end.1),
        ] {
            context.insert(key.to_owned(), number.to_string().into());
        }
    }
    json!({
        "error": "druidException",
        "errorCode": "invalidInput",
        "persona": "USER",
        "category": "INVALID_INPUT",
        "errorMessage": message,
        "context": context,
    })
}

fn legacy(error: &str, class: &str, category: &str, message: &str) -> Value {
    json!({
        "error": error,
        "errorClass": class,
        "host": "localhost",
        "errorCode": "legacyQueryException",
        "persona": "OPERATOR",
        "category": category,
        "errorMessage": message,
        "context": {"host": "localhost", "errorClass": class, "legacyErrorCode": error},
    })
}
