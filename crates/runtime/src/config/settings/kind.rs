//! What a setting is: its key, its type with the place that takes it, and its words for people.
//!
//! Invariant: a type has the place in [`Config`] with it, so that no setting is read and kept nowhere.

use std::net::SocketAddr;

use crate::config::Config;

/// A setting's type, with the place in [`Config`] that takes it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text, not empty.
    Text(fn(&mut Config, String)),
    /// A whole number within bounds, both included.
    Integer {
        /// The unit, for the reference page.
        unit: &'static str,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// Where it goes.
        set: fn(&mut Config, u64),
    },
    /// `true` or `false`.
    Boolean(fn(&mut Config, bool)),
    /// `IP:PORT`.
    Address(fn(&mut Config, SocketAddr)),
    /// `http://HOST[:PORT][/PATH]`, or the same by https; kept without a slash at its end.
    PublicUrl(fn(&mut Config, String)),
    /// `HOST:PORT[,HOST:PORT…]`.
    Brokers(fn(&mut Config, String)),
    /// One of some words; the number is the word's place among them.
    OneOf(&'static [&'static str], fn(&mut Config, usize)),
    /// Text of a form of its own; the function takes it, or says what it must be.
    Form {
        /// The form, for the reference page.
        form: &'static str,
        /// Where it goes.
        set: fn(&mut Config, &str) -> Result<(), &'static str>,
    },
    /// A map that is kept as it is.
    Map(fn(&mut Config, String, serde_json::Value)),
    /// The receivers of alerts.
    Receivers,
    /// Roles and clients.
    Access,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key, with dots.
    pub key: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default in words.
    pub default: &'static str,
    /// What it is for.
    pub description: &'static str,
}
