//! ApiVersions: what is spoken. A version that is not gets the body of version 0 with error 35, as Kafka gives it.

use futures::future::BoxFuture;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use super::{Call, Context, Outcome, RequestError, SASL, SPOKEN};
use crate::kafka::error::UNSUPPORTED_VERSION;

pub(super) fn begin(context: &Context, call: Call) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    call.ready(&ApiVersionsResponse::default().with_api_keys(spoken(context)))
}

pub(super) fn unsupported(context: &Context, call: Call) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let body = ApiVersionsResponse::default().with_error_code(UNSUPPORTED_VERSION).with_api_keys(spoken(context));
    Call { version: 0, ..call }.ready(&body)
}

fn spoken(context: &Context) -> Vec<ApiVersion> {
    let sasl = if context.options().doors.is_some() { &SASL[..] } else { &[] };
    SPOKEN
        .iter()
        .chain(sasl)
        .map(|(api, min, max)| {
            ApiVersion::default().with_api_key(*api as i16).with_min_version(*min).with_max_version(*max)
        })
        .collect()
}
