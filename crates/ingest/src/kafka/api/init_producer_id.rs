//! InitProducerId: a random 63-bit id, so that no two producers ever share one, whatever a crash forgot.

use futures::future::BoxFuture;
use kafka_protocol::messages::InitProducerIdResponse;
use uuid::Uuid;

use super::{Call, Outcome, RequestError};
use crate::kafka::error::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
use crate::kafka::wire::Reader;

pub(super) fn begin(call: Call, reader: &mut Reader) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let body = if reader.string()?.is_some() {
        InitProducerIdResponse::default()
            .with_error_code(TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    } else {
        InitProducerIdResponse::default().with_producer_id(random_id().into()).with_producer_epoch(0)
    };
    call.ready(&body)
}

/// A UUIDv4 has fixed bits in each half; both halves together leave 63 that are random.
fn random_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    i64::try_from((high ^ low.rotate_left(32)) >> 1).unwrap_or(0)
}
