//! The way in
