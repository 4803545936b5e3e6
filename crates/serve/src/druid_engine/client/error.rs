//! Why Druid could not be asked, in words of ours.
//!
//! Invariant: of what Druid writes only the names of its own types are repeated, where they are plain.

use serde_json::Value;
use thiserror::Error;
use vitalake_runtime::error::{Class, Classified, Retry};

use super::{ANSWER_MAX, Part};

/// The first version of Druid that publications are sent to.
const VERSION_MIN: u32 = 28;

/// Why Druid could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DruidError {
    /// Nobody answered.
    #[error("Druid's {part} does not answer: {reason}")]
    Away {
        /// Which part.
        part: &'static str,
        /// What kind of failure.
        reason: String,
    },
    /// The user or password is wrong, or may not do that.
    #[error("Druid's {part} refuses the user of engines.druid.user ({status}): see to the password and its rights")]
    Refused {
        /// Which part.
        part: &'static str,
        /// Its status.
        status: u16,
    },
    /// It is too old, or an extension is not loaded.
    #[error(
        "this Druid does not know `{what}`, it knows {known}: load the extension that has it (druid-parquet-extensions for parquet), or take a newer Druid"
    )]
    Lacks {
        /// What a specification names.
        what: String,
        /// What it knows in its place.
        known: String,
    },
    /// It is older than what is sent to it.
    #[error("this Druid is version {version}: what is sent to it needs {least} or later")]
    TooOld {
        /// Its version.
        version: String,
        /// The first version that will do.
        least: u32,
    },
    /// It does not take what was sent.
    #[error("Druid's {part} does not take {attempt} ({status}); its own log says why")]
    Rejected {
        /// Which part.
        part: &'static str,
        /// What was asked.
        attempt: &'static str,
        /// Its status.
        status: u16,
    },
    /// It answered what nobody can read.
    #[error("the answer of Druid's {part} to {attempt} is not Druid's: see that the address leads there")]
    Unreadable {
        /// Which part.
        part: &'static str,
        /// What was asked.
        attempt: &'static str,
    },
}

impl Classified for DruidError {
    fn class(&self) -> Class {
        match self {
            Self::Away { .. } => Class::External,
            Self::Refused { .. }
            | Self::Lacks { .. }
            | Self::TooOld { .. }
            | Self::Rejected { .. }
            | Self::Unreadable { .. } => Class::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Away { .. } => Retry::Later,
            Self::Refused { .. }
            | Self::Lacks { .. }
            | Self::TooOld { .. }
            | Self::Rejected { .. }
            | Self::Unreadable { .. } => Retry::Never,
        }
    }
}

pub(super) fn away(part: Part, reason: String) -> DruidError {
    DruidError::Away { part: part.name(), reason }
}

/// What a cluster says that it knows in place of what a specification names: words of its own classes.
pub(super) fn lacks(answer: &Value) -> Option<DruidError> {
    let text = answer.to_string();
    let (_, after) = text.split_once("type id '")?;
    let (what, _) = after.split_once('\'')?;
    let (_, after) = text.split_once("known type ids = [")?;
    let (known, _) = after.split_once(']')?;
    let is_plain =
        |text: &str| text.len() < 400 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-, .".contains(c));
    (is_plain(what) && is_plain(known)).then(|| DruidError::Lacks { what: what.to_owned(), known: known.to_owned() })
}

/// The refusal of a cluster that is too old. A version that is no number of Druid's own is taken as it is.
pub(super) fn too_old(version: &str) -> Option<DruidError> {
    let major = version.split('.').next()?.parse::<u32>().ok()?;
    let is_plain = version.len() < 40 && version.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
    (major < VERSION_MIN && is_plain).then(|| DruidError::TooOld { version: version.to_owned(), least: VERSION_MIN })
}

/// The kind of a failure, without the address that an error's own words may have.
pub(super) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", ANSWER_MAX.as_secs()),
        ureq::Error::HostNotFound => "its host is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection came about".to_owned(),
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate is not trusted".to_owned(),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "its address is none".to_owned(),
        _ => "it does not speak HTTP as it should".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_old_cluster_lacks_is_named_and_nothing_else_of_its_words() {
        let said = "Please make sure to load all the necessary extensions and jars with type 'parquet' on 'druid/overlord' \
                    service. Could not resolve type id 'parquet' as a subtype of `org.apache.druid.data.input.InputFormat` known \
                    type ids = [csv, json, tsv] (for POJO property 'inputFormat')";
        let found = lacks(&json!({"error": said})).map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with("this Druid does not know `parquet`, it knows csv, json, tsv"), "{found}");
        assert_eq!(lacks(&json!({"error": "Cannot construct instance of `X`, problem: patient-7"})), None);
    }

    #[test]
    fn a_cluster_is_too_old_by_its_own_number() {
        for old in ["0.23.0", "27.0.0", "27.0.0-SNAPSHOT"] {
            assert!(too_old(old).is_some_and(|error| error.to_string().contains(old)), "{old}");
        }
        for new in ["28.0.0", "33.0.0", "2024.01.1-iap", "", "custom"] {
            assert_eq!(too_old(new), None, "{new}");
        }
    }
}
