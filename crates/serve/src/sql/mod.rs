//! From a client's text to a tree that the planner takes: parse, then rewrite Druid's forms, and read the engine's errors.

pub mod fault;
pub mod interval;
pub mod meaning;
pub mod parse;
pub mod refused;
pub mod rewrite;
mod rewrite_call;
pub mod rewrite_function;
pub mod size;
pub mod tokens;
