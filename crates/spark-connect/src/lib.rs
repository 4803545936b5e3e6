//! A client of Spark Connect 4: the published protos and the channel; it knows nothing of datasets, models or contracts.

/// The protocol's messages and its client, made from `proto/` at build time.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod proto {
    tonic::include_proto!("spark.connect");
}
