//! FindCoordinator: this broker, for a group; nobody, for a transaction.
//!
//! There are no consumer groups here, and no request of theirs is advertised. A client that has found its coordinator
//! asks it to join or to commit, sees that it cannot, and says so at once (`Required feature not supported by broker`,
//! `The node does not support JOIN_GROUP`). With no coordinator it would look for one for ever. librdkafka takes LZ4 for
//! supported only where this request is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use kafka_protocol::messages::FindCoordinatorResponse;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::protocol::StrBytes;

use super::{Call, Context, NODE_ID, Outcome, RequestError};
use crate::kafka::error::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
use crate::kafka::wire::Reader;

const TRANSACTION: i8 = 1;

pub(super) fn begin(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let single = if call.version <= 3 { Some(reader.required_string()?) } else { None };
    let key_type = if call.version >= 1 { reader.i8()? } else { 0 };
    let keys = if call.version >= 4 { reader.required_list(1, Reader::required_string)? } else { Vec::new() };
    let keys = single.clone().into_iter().chain(keys);
    let coordinators: Vec<Coordinator> = match key_type {
        TRANSACTION => keys.map(refused).collect(),
        _ => {
            if !context.told_of_groups.swap(true, Ordering::Relaxed) {
                let peer = context.peer;
                tracing::info!(%peer, "a consumer asks for its group: there are no consumer groups here; let it assign partitions itself and keep its offsets");
            }
            keys.map(|key| here(context, key)).collect()
        }
    };
    let mut body = FindCoordinatorResponse::default();
    match (single, coordinators.as_slice()) {
        (Some(_), [one]) => {
            body = body
                .with_error_code(one.error_code)
                .with_node_id(one.node_id)
                .with_host(one.host.clone())
                .with_port(one.port);
            if call.version >= 1 {
                body = body.with_error_message(one.error_message.clone());
            }
        }
        _ => body = body.with_coordinators(coordinators),
    }
    call.ready(&body)
}

fn here(context: &Context, key: String) -> Coordinator {
    Coordinator::default()
        .with_key(StrBytes::from_string(key))
        .with_node_id(NODE_ID)
        .with_host(context.host())
        .with_port(context.port())
}

fn refused(key: String) -> Coordinator {
    Coordinator::default()
        .with_key(StrBytes::from_string(key))
        .with_node_id((-1).into())
        .with_port(-1)
        .with_error_code(TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        .with_error_message(Some(StrBytes::from_static_str("transactions are not supported")))
}
