//! FindCoordinator: no groups yet, and no transactions. Groups are "not available" rather than unknown, because
//! librdkafka takes LZ4 for supported only where this request is.

use futures::future::BoxFuture;
use kafka_protocol::messages::FindCoordinatorResponse;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::protocol::StrBytes;

use super::{Call, Outcome, RequestError};
use crate::kafka::error::{COORDINATOR_NOT_AVAILABLE, TRANSACTIONAL_ID_AUTHORIZATION_FAILED};
use crate::kafka::wire::Reader;

const TRANSACTION: i8 = 1;

pub(super) fn begin(call: Call, reader: &mut Reader) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let single = if call.version <= 3 { Some(reader.required_string()?) } else { None };
    let key_type = if call.version >= 1 { reader.i8()? } else { 0 };
    let keys = if call.version >= 4 { reader.required_list(1, Reader::required_string)? } else { Vec::new() };
    let (code, message) = match key_type {
        TRANSACTION => (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not supported"),
        _ => (COORDINATOR_NOT_AVAILABLE, "consumer groups are not supported yet: assign partitions instead"),
    };
    let message = Some(StrBytes::from_static_str(message));
    let mut body = FindCoordinatorResponse::default();
    if single.is_some() {
        body = body.with_error_code(code).with_node_id((-1).into()).with_port(-1);
        if call.version >= 1 {
            body = body.with_error_message(message);
        }
    } else {
        let coordinator = |key| {
            Coordinator::default()
                .with_key(StrBytes::from_string(key))
                .with_node_id((-1).into())
                .with_port(-1)
                .with_error_code(code)
                .with_error_message(message.clone())
        };
        body = body.with_coordinators(keys.into_iter().map(coordinator).collect());
    }
    call.ready(&body)
}
