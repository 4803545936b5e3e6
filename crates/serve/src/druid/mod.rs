//! Druid's SQL over HTTP: what a request says, how an answer is written, what an error looks like.

pub mod dialect;
pub mod error;
pub mod explanation;
pub mod information_schema;
pub mod request;
pub mod result;
pub mod time_column;
pub mod types;
pub mod value;
