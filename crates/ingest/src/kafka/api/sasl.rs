//! SaslHandshake and SaslAuthenticate: a connection says its name and its token, as PLAIN (RFC 4616).
//!
//! A proof that fails is answered late and once; the connection is then answered nothing more.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::{ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED, UNSUPPORTED_SASL_MECHANISM};
use crate::kafka::wire::Reader;

const PLAIN: &str = "PLAIN";
/// How long a wrong proof waits for its answer.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);

pub(super) fn handshake(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let mechanism = reader.required_string()?;
    let body = SaslHandshakeResponse::default().with_mechanisms(vec![StrBytes::from_static_str(PLAIN)]);
    if mechanism != PLAIN {
        return call.ready(&body.with_error_code(UNSUPPORTED_SASL_MECHANISM));
    }
    context.session.handshake();
    call.ready(&body)
}

pub(super) fn authenticate(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let proof = reader.bytes()?.unwrap_or_default();
    let refused = |code: i16, message: &'static str| {
        SaslAuthenticateResponse::default()
            .with_error_code(code)
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    if !context.session.awaits_proof() {
        return call.ready(&refused(ILLEGAL_SASL_STATE, "SaslHandshake comes before SaslAuthenticate"));
    }
    let rights = plain(&proof).and_then(|(name, secret)| context.options().doors.as_ref()?.enter(name, secret));
    context.session.prove(rights.clone());
    if let Some(rights) = rights {
        tracing::debug!(client = rights.name(), peer = %context.peer, "a Kafka client said who it is");
        return call.ready(&SaslAuthenticateResponse::default());
    }
    tracing::warn!(peer = %context.peer, "a Kafka client did not prove its name");
    let body = refused(SASL_AUTHENTICATION_FAILED, "the token is not one of this server, or not one of this name");
    let answer = call.answer(&body)?;
    let late = async move {
        tokio::time::sleep(REFUSAL_DELAY).await;
        answer
    };
    Ok(late.boxed())
}

/// `authzid NUL name NUL secret`; acting for another is not known here.
fn plain(proof: &[u8]) -> Option<(&str, &str)> {
    let mut parts = std::str::from_utf8(proof).ok()?.split('\0');
    let (acting_for, name, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !name.is_empty() && !secret.is_empty();
    (is_whole && (acting_for.is_empty() || acting_for == name)).then_some((name, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_read_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!(plain(b"\0ann\0vl_1"), Some(("ann", "vl_1")));
        assert_eq!(plain(b"ann\0ann\0vl_1"), Some(("ann", "vl_1")));
        for wrong in
            [&b""[..], b"ann\0vl_1", b"bob\0ann\0vl_1", b"\0\0vl_1", b"\0ann\0", b"\0ann\0vl_1\0", b"\0\xff\0x"]
        {
            assert_eq!(plain(wrong), None);
        }
    }
}
