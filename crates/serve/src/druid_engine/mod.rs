//! Publishing to a real Druid: what is sent, how it is asked, and whether what it says is what it was given.
//!
//! `spec` makes a task of a contract, `live` a supervisor, `interval` says which stretches of time it replaces, `count` and `judge` hold Druid's
//! words against our own counts; all of them are pure. `client` is the one way to Druid. Invariant: nothing that leaves
//! here holds Druid's own text, which may quote rows.

mod client;
mod count;
mod interval;
mod judge;
mod live;
mod signature;
mod spec;

pub use client::{Addresses, Cluster, DruidError, Segment, StreamState, SubmitOutcome, Supervised, TaskState};
pub use count::{Counted, Counter, Sum};
pub use interval::{Granularity, Interval, aligned};
pub use judge::{Difference, Expected, Ingested, compare, failure, ingested, question};
pub use live::{Streamed, is_of, is_same};
pub use signature::FileKey;
pub use spec::{Publication, PublishedColumn, columns, time_of};
