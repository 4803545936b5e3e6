//! A client of Spark Connect 4: statements in, Arrow out. It knows nothing of datasets, models or contracts.
//!
//! `endpoint` says where Spark is, `session` holds one session of it, `query` makes a plan of a statement and its inputs,
//! `operation` runs a plan to its end through streams that the server cuts by design, `answer` gives the rows. One
//! invariant: an operation has ended only when Spark says `result_complete`; the end of a stream says nothing.

mod answer;
mod artifacts;
mod context;
mod endpoint;
mod error;
mod operation;
mod query;
mod rows;
mod running;
mod session;
mod types;
mod verdict;
mod version;

/// The protocol's messages, its client and (for tests) its server, made from `proto/` at build time.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod proto {
    tonic::include_proto!("spark.connect");
}

pub use answer::{Answer, Progress};
pub use endpoint::Endpoint;
pub use error::Error;
pub use query::{Input, Query, Source};
pub use session::{Options, Session};

/// What this crate gives.
pub type Result<T> = std::result::Result<T, Error>;
