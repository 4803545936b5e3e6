//! Storage: Delta tables and the hot tail
