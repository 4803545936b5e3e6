//! Rows that are too many to go with a statement: sent before it, in parts, and named in it by their hashes.
//!
//! Each part is an Arrow stream, kept by Spark as `cache/<sha-256>` in the session. One invariant: a relation names only
//! parts that Spark said it has whole.

use bytes::Bytes;
use futures::stream;
use sha2::{Digest, Sha256};

use crate::context::{Context, request};
use crate::proto::add_artifacts_request::{ArtifactChunk, Batch, BeginChunkedArtifact, Payload, SingleChunkArtifact};
use crate::proto::relation::RelType;
use crate::proto::{AddArtifactsRequest, ChunkedCachedLocalRelation};
use crate::query::Outgoing;
use crate::{Error, Result};

/// About how large a part is; Spark's own limit for one is larger.
const PART_BYTES: u64 = 8 << 20;
/// The size that gRPC is at its best with; Spark's own clients send this much at once.
const CHUNK_BYTES: usize = 32 << 10;

/// Sends rows to Spark; gives the relation that stands for them.
pub(crate) async fn upload(context: &Context, rows: Outgoing) -> Result<RelType> {
    let mut hashes = Vec::new();
    for part in rows.streams(rows.rows_of(PART_BYTES)) {
        let part = part?;
        let hash: String = Sha256::digest(&part).iter().map(|byte| format!("{byte:02x}")).collect();
        // Two parts with the same bytes are one to Spark.
        if !hashes.contains(&hash) {
            send(context, format!("cache/{hash}"), part).await?;
        }
        hashes.push(hash);
    }
    Ok(RelType::ChunkedCachedLocalRelation(ChunkedCachedLocalRelation { data_hashes: hashes, schema_hash: None }))
}

async fn send(context: &Context, name: String, bytes: Bytes) -> Result<()> {
    // Spark ends an artifact in chunks after its second chunk at the earliest: one that is a single chunk goes otherwise.
    if bytes.len() <= CHUNK_BYTES {
        let data = Some(chunk(bytes));
        let artifacts = vec![SingleChunkArtifact { name, data }];
        let payload = Some(Payload::Batch(Batch { artifacts }));
        return ask(context, vec![request!(context, AddArtifactsRequest { payload: payload })]).await;
    }
    let total_bytes = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let num_chunks = i64::try_from(bytes.len().div_ceil(CHUNK_BYTES)).unwrap_or(i64::MAX);
    let asking = context.clone();
    let requests = (0..bytes.len()).step_by(CHUNK_BYTES).map(move |start| {
        let chunk = chunk(bytes.slice(start..bytes.len().min(start + CHUNK_BYTES)));
        let payload = Some(if start == 0 {
            let initial_chunk = Some(chunk);
            Payload::BeginChunk(BeginChunkedArtifact { name: name.clone(), total_bytes, num_chunks, initial_chunk })
        } else {
            Payload::Chunk(chunk)
        });
        request!(asking, AddArtifactsRequest { payload: payload })
    });
    ask(context, requests.collect()).await
}

fn chunk(data: Bytes) -> ArtifactChunk {
    ArtifactChunk { crc: i64::from(crc32(&data)), data }
}

/// Sends the requests of one artifact, and sees that it came as it was sent.
async fn ask(context: &Context, requests: Vec<AddArtifactsRequest>) -> Result<()> {
    let mut client = context.wire.client.clone();
    let answer = context.call(client.add_artifacts(stream::iter(requests))).await?;
    context.observe(&answer.server_side_session_id)?;
    match answer.artifacts.as_slice() {
        [summary] if summary.is_crc_successful => Ok(()),
        // It came otherwise than it was sent.
        _ => Err(Error::Failed { class: None, sql_state: None }),
    }
}

/// The checksum of zlib and PNG (ISO 3309), a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let crc = crc ^ u32::from(*byte);
        (0..8).fold(crc, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!((crc32(b""), crc32(b"123456789")), (0, 0xCBF4_3926));
    }
}
