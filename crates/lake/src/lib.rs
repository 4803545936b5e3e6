//! Storage: Delta tables and the hot tail

pub mod delta;
pub mod parquet;
