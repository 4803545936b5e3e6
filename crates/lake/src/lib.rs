//! The lake: a table is a Delta table and the tail of rows that follows its last commit.

pub mod delta;
pub mod parquet;
pub mod store;
