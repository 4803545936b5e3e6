//! Watching it
