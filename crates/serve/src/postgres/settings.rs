//! What a session's `SET` and `SHOW` know: settings of PostgreSQL's that clients send, and no option of the engine.
//!
//! Invariant: a value that is taken is either kept and shown again, or is the one that holds anyway; what would have to
//! change an answer and does not is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::refusal::Refusal;

/// The version whose words are spoken.
pub const VERSION: &str = "15.0";
/// The one database.
pub const DATABASE: &str = "vitalake";
/// The setting that says for which purpose a session asks.
pub const PURPOSE: &str = "vitalake.purpose";
/// Where tables are looked for that are named without a schema.
const SEARCH_PATH: &str = "serving";

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Any value: it changes nothing here.
    Any,
    /// One of these, all of which mean what holds anyway; in small letters.
    Only(&'static [&'static str]),
    /// Nothing: it is shown alone.
    Nothing,
    /// Milliseconds, or a number with a unit.
    Time,
    /// Schemas.
    Schemas,
}

const ON: Takes = Takes::Only(&["on", "true", "yes", "1"]);

/// Names, defaults, and what they take.
const SETTINGS: &[(&str, &str, Takes)] = &[
    ("application_name", "", Takes::Any),
    ("block_size", "8192", Takes::Nothing),
    ("bytea_output", "hex", Takes::Only(&["hex"])),
    ("check_function_bodies", "on", Takes::Any),
    ("client_encoding", "UTF8", Takes::Only(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", "notice", Takes::Any),
    ("datestyle", "ISO, MDY", Takes::Only(&["iso", "iso, mdy", "iso, dmy", "iso, ymd"])),
    ("default_tablespace", "", Takes::Any),
    ("default_transaction_deferrable", "off", Takes::Any),
    ("default_transaction_isolation", "read committed", Takes::Any),
    ("default_transaction_read_only", "on", ON),
    ("escape_string_warning", "on", Takes::Any),
    ("extra_float_digits", "1", Takes::Any),
    ("idle_in_transaction_session_timeout", "0", Takes::Any),
    ("idle_session_timeout", "0", Takes::Any),
    ("in_hot_standby", "off", Takes::Nothing),
    ("integer_datetimes", "on", Takes::Nothing),
    ("intervalstyle", "postgres", Takes::Only(&["postgres"])),
    ("is_superuser", "off", Takes::Nothing),
    ("jit", "off", Takes::Any),
    ("lc_collate", "C", Takes::Nothing),
    ("lc_ctype", "C", Takes::Nothing),
    ("lc_messages", "C", Takes::Any),
    ("lc_monetary", "C", Takes::Any),
    ("lc_numeric", "C", Takes::Any),
    ("lc_time", "C", Takes::Any),
    ("lock_timeout", "0", Takes::Any),
    ("max_identifier_length", "63", Takes::Nothing),
    ("max_index_keys", "32", Takes::Nothing),
    ("quote_all_identifiers", "off", Takes::Any),
    ("row_security", "on", Takes::Any),
    ("search_path", SEARCH_PATH, Takes::Schemas),
    ("server_encoding", "UTF8", Takes::Nothing),
    ("server_version", VERSION, Takes::Nothing),
    ("server_version_num", "150000", Takes::Nothing),
    ("ssl", "off", Takes::Nothing),
    ("standard_conforming_strings", "on", ON),
    ("statement_timeout", "0", Takes::Time),
    ("synchronize_seqscans", "on", Takes::Any),
    ("timezone", "UTC", Takes::Only(&["utc", "gmt", "etc/utc", "z", "zulu", "0", "+00", "+00:00", "00", "utc0"])),
    ("transaction_isolation", "read committed", Takes::Any),
    ("transaction_read_only", "on", ON),
    (PURPOSE, "", Takes::Any),
    ("xmloption", "content", Takes::Any),
];

/// What a session has said, with its name. Shared with the session's dialect.
#[derive(Debug)]
pub struct Settings {
    user: String,
    values: Mutex<BTreeMap<&'static str, String>>,
    cursors: Mutex<Vec<String>>,
}

impl Settings {
    /// The settings of a session that begins.
    pub fn new(user: &str) -> Self {
        Self { user: user.to_owned(), values: Mutex::default(), cursors: Mutex::default() }
    }

    /// Who asks.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Sets a setting, or its default.
    ///
    /// # Errors
    /// When there is no such setting, or it does not take the value.
    pub fn set(&self, name: &str, value: Option<&[String]>) -> Result<&'static str, Refusal> {
        let (known, _, takes) = find(name)?;
        let Some(value) = value else {
            self.values.lock().remove(known);
            return Ok(known);
        };
        let said = value.join(", ");
        match takes {
            Takes::Any => {}
            Takes::Only(fine) if fine.contains(&said.to_lowercase().trim_matches(['"', '\''])) => return Ok(known),
            Takes::Only(_) => {
                let holds = self.get(known).unwrap_or_default();
                return Err(Refusal::new("22023", format!("{known} is {holds} here and has no other value")));
            }
            Takes::Nothing => return Err(Refusal::new("55P02", format!("{known} cannot be changed"))),
            Takes::Time => drop(milliseconds(&said).ok_or_else(|| not_taken(known))?),
            // What a client says as one text, such as in the options of its connection, is a list too.
            Takes::Schemas if said.len() > 1000 => return Err(not_taken(known)),
            Takes::Schemas => {}
        }
        self.values.lock().insert(known, said);
        Ok(known)
    }

    /// A setting's value.
    pub fn get(&self, name: &str) -> Option<String> {
        let (known, default, _) = find(name).ok()?;
        Some(self.values.lock().get(known).cloned().unwrap_or_else(|| default.to_owned()))
    }

    /// All settings with their values.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        SETTINGS
            .iter()
            .map(|(name, default, _)| (*name, self.get(name).unwrap_or_else(|| (*default).to_owned())))
            .collect()
    }

    /// Everything as at the beginning.
    pub fn reset(&self) {
        self.values.lock().clear();
    }

    /// Schemas in which a table without one is looked for.
    pub fn search_path(&self) -> Vec<String> {
        let said = self.get("search_path").unwrap_or_default();
        let names = said.split(',').map(|name| name.trim().trim_matches('"').to_owned());
        names.filter(|name| !name.is_empty() && name != "$user").collect()
    }

    /// How long a statement may run.
    pub fn timeout(&self) -> Option<Duration> {
        let said = self.get("statement_timeout")?;
        milliseconds(&said).filter(|time| *time > 0).map(Duration::from_millis)
    }

    /// Names of the cursors that are open.
    pub fn cursors(&self) -> Vec<String> {
        self.cursors.lock().clone()
    }

    /// Says which cursors are open.
    pub fn has_cursors(&self, names: Vec<String>) {
        *self.cursors.lock() = names;
    }
}

/// A setting's name as PostgreSQL writes it.
pub fn spelt(name: &str) -> &str {
    match name {
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        "timezone" => "TimeZone",
        other => other,
    }
}

fn find(name: &str) -> Result<(&'static str, &'static str, Takes), Refusal> {
    let name = name.to_ascii_lowercase();
    let found = SETTINGS.iter().find(|(known, ..)| *known == name).copied();
    found.ok_or_else(|| Refusal::new("42704", format!("unrecognized configuration parameter \"{name}\"")))
}

fn not_taken(name: &str) -> Refusal {
    Refusal::new("22023", format!("{name} does not take that value"))
}

/// A time as PostgreSQL writes it: milliseconds, or a number with a unit.
fn milliseconds(said: &str) -> Option<u64> {
    let said = said.trim();
    let at = said.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(said.len());
    let (digits, unit) = said.split_at(at);
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn said(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn settings_are_taken_kept_and_refused() {
        let settings = Settings::new("ann");
        for (name, value, fine) in [
            ("client_encoding", "UTF8", true),
            ("client_encoding", "'utf-8'", true),
            ("client_encoding", "LATIN1", false),
            ("DateStyle", "ISO", true),
            ("DateStyle", "German", false),
            ("TimeZone", "Etc/UTC", true),
            ("TimeZone", "Europe/Berlin", false),
            ("application_name", "x", true),
            ("server_version", "99", false),
            ("statement_timeout", "2s", true),
            ("statement_timeout", "soon", false),
            ("datafusion.execution.target_partitions", "1", false),
            ("role", "steward", false),
        ] {
            assert_eq!(settings.set(name, Some(&said(&[value]))).is_ok(), fine, "{name} {value}");
        }
        assert_eq!(settings.timeout(), Some(Duration::from_secs(2)));
        assert_eq!(settings.search_path(), ["serving"]);
        settings.set("search_path", Some(&said(&["curated", "raw"]))).unwrap();
        assert_eq!(settings.search_path(), ["curated", "raw"]);
        settings.reset();
        assert_eq!((settings.timeout(), settings.search_path()), (None, said(&["serving"])));
    }
}
