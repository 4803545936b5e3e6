//! The way in
pub mod decode;
