//! SaslHandshake and SaslAuthenticate: a connection says who it is, by a mechanism that the doors speak.
//!
//! The messages of the mechanism are for whoever embeds the endpoint; here they are only carried. While one is looked at
//! the connection is not read on, so that what follows finds the name. Invariant: after a proof that failed the
//! connection is answered nothing more.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::{ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED, UNSUPPORTED_SASL_MECHANISM};
use crate::kafka::guard::Step;
use crate::kafka::wire::Reader;

pub(super) fn handshake(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let mechanism = reader.required_string()?;
    let Some(doors) = &context.options().doors else { return Err(RequestError::Unnamed) };
    let spoken = doors.mechanisms().into_iter().map(StrBytes::from_static_str).collect();
    let body = SaslHandshakeResponse::default().with_mechanisms(spoken);
    let Some(proof) = doors.begin(&mechanism, context.peer) else {
        return call.ready(&body.with_error_code(UNSUPPORTED_SASL_MECHANISM));
    };
    context.session.begin(proof);
    call.ready(&body)
}

pub(super) async fn authenticate(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let message = reader.bytes()?.unwrap_or_default();
    let refused = |code: i16, message: String| {
        SaslAuthenticateResponse::default()
            .with_error_code(code)
            .with_error_message(Some(StrBytes::from_string(message)))
    };
    let body = match context.session.step(&message).await {
        None => refused(ILLEGAL_SASL_STATE, "SaslHandshake comes before SaslAuthenticate".to_owned()),
        Some(Step::More(answer)) => SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from(answer)),
        Some(Step::Known(rights, answer)) => {
            tracing::debug!(client = rights.name(), peer = %context.peer, "a Kafka client said who it is");
            SaslAuthenticateResponse::default()
                .with_auth_bytes(Bytes::from(answer))
                // Clients of KIP-368 prove themselves anew before that.
                .with_session_lifetime_ms(rights.left_ms().unwrap_or_default())
        }
        Some(Step::Refused(message)) => {
            tracing::warn!(peer = %context.peer, "a Kafka client did not prove its name");
            refused(SASL_AUTHENTICATION_FAILED, message)
        }
    };
    call.ready(&body)
}
