//! The engine's errors in our own words.
//!
//! Invariant: no text of the engine passes through here, neither to a client nor to the log, because it may quote a
//! record. Only what the client wrote itself (names, places) and names from schemas are repeated.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::object_store;
use datafusion::parquet::errors::ParquetError;
use vitalake_lake::LakeError;
use vitalake_lake::delta::DeltaError;

use crate::catalogue::nearest;
use crate::error::{Position, QueryError};

/// When an error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before any row was read.
    Planning,
    /// While rows were read.
    Running,
}

/// What to tell the client about an error of the engine. Of a query that the platform itself asks again and again, who asks
/// says that it failed.
pub fn explain(error: &DataFusionError, phase: Phase, query_id: &str, is_repeated: bool) -> QueryError {
    let explained = classify(error, phase, None).unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        tracing::error!(error_id = %id, query_id, cause = causes(error), "a query failed inside the engine");
        if phase == Phase::Planning && matches!(error.find_root(), DataFusionError::Internal(_)) {
            return QueryError::invalid("this form of SQL is not supported; write the query in another form");
        }
        QueryError::Internal { id }
    });
    if matches!(explained, QueryError::Runtime(_)) && !is_repeated {
        tracing::info!(query_id, cause = causes(error), "a query failed on the data that it read");
    }
    explained
}

/// An error with its causes, for the log: what storage, Parquet and our own crates say is said in full; of the engine's
/// own errors, whose texts may quote literals and records, only the kind.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    chain.map(said).collect::<Vec<_>>().join(": ")
}

fn said(error: &(dyn Error + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return engine_kind(error).to_owned();
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return arrow_kind(error).to_owned();
    }
    match error.downcast_ref::<ParquetError>() {
        Some(ParquetError::ArrowError(_)) => return "a Parquet file's columns".to_owned(),
        Some(ParquetError::External(_)) => return "reading a Parquet file".to_owned(),
        Some(error) => return error.to_string(),
        None => {}
    }
    if let Some(error) = error.downcast_ref::<object_store::Error>() {
        return error.to_string();
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        // What an engine wraps into one may be a text of its own.
        return if error.raw_os_error().is_some() { error.to_string() } else { error.kind().to_string() };
    }
    if let Some(error) = error.downcast_ref::<LakeError>() {
        return error.to_string();
    }
    if let Some(error) = error.downcast_ref::<DeltaError>() {
        return error.to_string();
    }
    if let Some(error) = error.downcast_ref::<QueryError>() {
        return error.to_string();
    }
    "an error of another kind".to_owned()
}

fn classify(error: &DataFusionError, phase: Phase, place: Option<Position>) -> Option<QueryError> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let place = diagnostic.span.map(|span| Position {
                start: (span.start.line, span.start.column),
                end: (span.end.line, span.end.column.saturating_sub(1).max(1)),
            });
            classify(inner, phase, place)
        }
        DataFusionError::Context(_, inner) => classify(inner, phase, place),
        DataFusionError::Shared(inner) => classify(inner, phase, place),
        DataFusionError::Collection(errors) => errors.first().and_then(|error| classify(error, phase, place)),
        DataFusionError::External(error) => error
            .downcast_ref::<QueryError>()
            .cloned()
            .or_else(|| error.downcast_ref::<DataFusionError>().and_then(|error| classify(error, phase, place))),
        DataFusionError::SchemaError(error, _) => Some(schema_error(error, place)),
        DataFusionError::ArrowError(error, _) => arrow_error(error, phase),
        DataFusionError::ResourcesExhausted(_) => Some(QueryError::ResourceLimit(
            "the query needs more memory than it may use; filter more rows out, or group by fewer values".to_owned(),
        )),
        DataFusionError::NotImplemented(_) => Some(at("this form of SQL is not supported", place)),
        DataFusionError::Plan(text) => Some(planning(text, place)),
        DataFusionError::SQL(..) => Some(at("the query could not be read", place)),
        // Only rows can tell, and it is the query that must change.
        DataFusionError::Execution(text) if text.contains("more than one row") => {
            Some(at("a subquery that stands for one value gave several rows; aggregate it, or add LIMIT 1", place))
        }
        DataFusionError::Execution(_) if phase == Phase::Planning => {
            Some(at("a constant of the query could not be computed; check its type and form", place))
        }
        DataFusionError::Execution(_) => Some(QueryError::Runtime(
            "a function could not be computed for a value; check the types and forms of its arguments".to_owned(),
        )),
        _ => None,
    }
}

/// The column that a query names and no table has.
pub fn missing_column(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => match &**error {
            SchemaError::FieldNotFound { field, .. } => Some(field.name().to_owned()),
            _ => None,
        },
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => missing_column(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(missing_column),
        _ => None,
    }
}

fn at(message: &str, place: Option<Position>) -> QueryError {
    let message = match place {
        Some(place) => format!("{message} (line [{}], column [{}])", place.start.0, place.start.1),
        None => message.to_owned(),
    };
    QueryError::invalid_at(message, place)
}

fn schema_error(error: &SchemaError, place: Option<Position>) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let near = nearest(field.name(), valid_fields.iter().map(|column| column.name()));
            let found = at(&format!("Column '{}' not found in any table", field.name()), place);
            match found {
                QueryError::Invalid { message, position } => {
                    QueryError::Invalid { message: format!("{message}{near}"), position }
                }
                other => other,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            at(&format!("Column '{}' is ambiguous; write the table's name before it", field.name()), place)
        }
        _ => at("two columns have the same name; give one of them another with AS", place),
    }
}

fn arrow_error(error: &ArrowError, phase: Phase) -> Option<QueryError> {
    Some(match error {
        ArrowError::CastError(_) | ArrowError::ParseError(_) => QueryError::invalid(
            "a value could not be cast to the type that the query asks for; filter such values out, or compare it as text",
        ),
        ArrowError::DivideByZero => QueryError::Runtime("/ by zero".to_owned()),
        ArrowError::ArithmeticOverflow(_) | ArrowError::OffsetOverflowError(_) => {
            QueryError::Runtime("a result is too large for its type; CAST to DOUBLE before computing".to_owned())
        }
        ArrowError::ExternalError(inner) => {
            return inner
                .downcast_ref::<QueryError>()
                .cloned()
                .or_else(|| inner.downcast_ref::<DataFusionError>().and_then(|error| classify(error, phase, None)));
        }
        ArrowError::InvalidArgumentError(text) if text.contains("non-nullable") => QueryError::invalid(
            "a subquery that stands for one value gave no row where one is needed; put MAX or another aggregate in it",
        ),
        ArrowError::InvalidArgumentError(_) if phase == Phase::Planning => {
            QueryError::invalid("an argument of a function is not valid")
        }
        _ => return None,
    })
}

/// A planner's text is looked at only to tell which of our sentences fits.
fn planning(text: &str, place: Option<Position>) -> QueryError {
    let has = |needle: &str| text.contains(needle);
    let message = if has("GROUP BY") {
        "Expression is not being grouped; name it in GROUP BY, or put it in an aggregate"
    } else if has("coerc") || has("comparison") || has("Cannot infer common") || has("incompatible types") {
        "Cannot apply an operator or function to arguments of these types; CAST one of them"
    } else if has("signature") || has("No function matches") || has("arguments") {
        "Invalid number or types of arguments to a function"
    } else if has("not found") && has("able") {
        "Object not found"
    } else if has("subquery") || has("Subquery") {
        "a subquery is used where it is not supported, or gives more than one column or row"
    } else if has("same number of columns") || has("UNION") {
        "the parts of a set operation have different columns"
    } else if has("ORDER BY") {
        "ORDER BY names what is not in the select list"
    } else if has("LIMIT") || has("OFFSET") {
        "LIMIT and OFFSET want whole numbers that are not negative"
    } else {
        "Query could not be planned; check names, types and arguments"
    };
    at(message, place)
}

fn engine_kind(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::ArrowError(..) => "a computation on columns",
        DataFusionError::ParquetError(_) => "a Parquet file",
        DataFusionError::ObjectStore(_) => "storage",
        DataFusionError::IoError(_) => "input/output",
        DataFusionError::Internal(_) => "a mistake of the engine",
        DataFusionError::Execution(_) => "a computation",
        DataFusionError::ExecutionJoin(error) if error.is_panic() => "a task that panicked",
        DataFusionError::ExecutionJoin(_) => "a task that was cancelled",
        DataFusionError::ResourcesExhausted(_) => "memory",
        _ => "the engine",
    }
}

fn arrow_kind(error: &ArrowError) -> &'static str {
    match error {
        ArrowError::CastError(_) => "a cast",
        ArrowError::ParseError(_) => "a value that cannot be parsed",
        ArrowError::ComputeError(_) => "a computation",
        ArrowError::DivideByZero => "a division by zero",
        ArrowError::ArithmeticOverflow(_) => "an overflow",
        ArrowError::MemoryError(_) => "memory",
        ArrowError::SchemaError(_) => "a schema",
        ArrowError::InvalidArgumentError(_) => "an invalid argument",
        ArrowError::ExternalError(_) => "from outside of Arrow",
        _ => "Arrow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_what_storage_said_and_nothing_that_the_engine_quotes() {
        let gone = std::io::Error::from_raw_os_error(2);
        let store = object_store::Error::NotFound { path: "raw/x/part-1.parquet".to_owned(), source: gone.into() };
        let parquet = ParquetError::External(Box::new(store));
        let error = DataFusionError::Context("WHERE name = 'Ada'".to_owned(), Box::new(parquet.into()));
        let said = causes(&error);
        assert!(said.contains("raw/x/part-1.parquet") && said.contains("not found"), "{said}");
        assert!(said.contains("No such file or directory"), "{said}");
        let cast = ArrowError::CastError("Cannot cast string 'Ada' to value of Int64".to_owned());
        for error in [
            error,
            DataFusionError::Execution("Ada".to_owned()),
            DataFusionError::Internal("literal 'Ada'".to_owned()),
            DataFusionError::ArrowError(Box::new(cast), None),
            DataFusionError::External("Ada".into()),
            DataFusionError::IoError(std::io::Error::other("Ada")),
        ] {
            let said = causes(&error);
            assert!(!said.contains("Ada") && !said.is_empty(), "{said}");
        }
    }
}
