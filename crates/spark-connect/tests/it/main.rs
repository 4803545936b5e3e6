//! The client against a double of Spark that ends, loses and cuts as the real one does, and against a real Spark 4.2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod double;
mod faults;
mod gone;
mod live;
