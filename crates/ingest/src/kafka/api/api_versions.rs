//! ApiVersions: what is spoken. A version that is not gets the body of version 0 with error 35, as Kafka gives it.

use futures::future::BoxFuture;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use super::{Call, Outcome, RequestError, SPOKEN};
use crate::kafka::error::UNSUPPORTED_VERSION;

pub(super) fn begin(call: Call) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    call.ready(&ApiVersionsResponse::default().with_api_keys(spoken()))
}

pub(super) fn unsupported(call: Call) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let body = ApiVersionsResponse::default().with_error_code(UNSUPPORTED_VERSION).with_api_keys(spoken());
    Call { version: 0, ..call }.ready(&body)
}

fn spoken() -> Vec<ApiVersion> {
    SPOKEN
        .iter()
        .map(|(api, min, max)| {
            ApiVersion::default().with_api_key(*api as i16).with_min_version(*min).with_max_version(*max)
        })
        .collect()
}
