//! The middle: models
