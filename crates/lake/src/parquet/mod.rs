//! Parquet files of Delta tables: Arrow batches to a file in the store with its statistics, and back.
//!
//! Encoding is synchronous and streams: a row group at most is held in memory. The files say nothing of Arrow, so that
//! any reader opens them: text is STRING, instants are INT64 microseconds in UTC. Invariant: a file is complete and as
//! durable as the store makes it before its [`ParquetFile`] is handed out; no commit can name a half-written one.

mod encode;
mod read;
mod reader;
mod statistics;
mod write;

pub use encode::{EncodedTail, ParquetEncoder, ParquetOptions};
pub(crate) use read::OpenFile;
pub use read::{dictionary, read_file};
pub(crate) use reader::StoreReader;
pub(crate) use write::{FileWriter, is_ours};
pub use write::{ParquetFile, write_batches, write_file};
