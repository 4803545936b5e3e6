//! Who may see what of a dataset, as its contract says it: classes of columns, masks, readers and row filters.
//!
//! Compiled from ODCS' `classification` and `roles` with two custom properties; `vitalake-serve` enforces it. Invariant:
//! what is not understood counts as the strictest, and a row filter cannot fail on any row.

use std::sync::Arc;

use crate::contract::ColumnType;

/// How much harm a column's values do in the wrong hands; each class includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Classification {
    /// Anybody may know it.
    Public,
    /// For whoever works here: where a contract is silent.
    #[default]
    Internal,
    /// For whoever needs it.
    Confidential,
    /// It names or may name a person.
    Restricted,
}

/// Words that contracts have for classes, in any case; the first of each is its own name.
const CLASSIFICATIONS: [(&str, Classification); 14] = [
    ("public", Classification::Public),
    ("open", Classification::Public),
    ("internal", Classification::Internal),
    ("general", Classification::Internal),
    ("private", Classification::Internal),
    ("confidential", Classification::Confidential),
    ("sensitive", Classification::Confidential),
    ("restricted", Classification::Restricted),
    ("secret", Classification::Restricted),
    ("highly confidential", Classification::Restricted),
    ("pii", Classification::Restricted),
    ("phi", Classification::Restricted),
    ("identifier", Classification::Restricted),
    ("pseudonym", Classification::Restricted),
];

impl Classification {
    /// The class that a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let word = word.trim();
        CLASSIFICATIONS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)).map(|(_, class)| *class)
    }

    /// Every word that [`Classification::named`] knows.
    pub fn words() -> impl Iterator<Item = &'static str> {
        CLASSIFICATIONS.iter().map(|(word, _)| *word)
    }

    /// Its own name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
}

/// Columns that hold a record, or parts of it, as it came: no contract says what is in them.
pub const RECORD_COLUMNS: [&str; 4] = ["_raw", "_rescued", "_key", "_headers"];
/// Columns that say where a row's record is among the others.
const PLACE_COLUMNS: [&str; 2] = ["_partition", "_offset"];
/// Columns that say when and by what way a record came.
const ARRIVAL_COLUMNS: [&str; 5] = ["_topic", "_timestamp", "_ingested_at", "_business_date", "_published"];

/// What a column of a table tells that its contract does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// A record as it came.
    Record,
    /// Where it is among the others: who does not see all of them would count those that are hidden.
    Place,
    /// When and by what way it came, and nothing of what it says.
    Arrival,
    /// What was made of the contract's columns, as a roll-up's parts and the times of an upsert's versions are.
    Made,
    /// Nobody knows.
    Unknown,
}

impl Unnamed {
    /// What a column of this name tells.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            _ if RECORD_COLUMNS.contains(&name) => Self::Record,
            _ if PLACE_COLUMNS.contains(&name) => Self::Place,
            _ if ARRIVAL_COLUMNS.contains(&name) => Self::Arrival,
            _ if name.starts_with('_') => Self::Made,
            _ => Self::Unknown,
        }
    }

    /// Its class, beside columns of the contract with these classes.
    #[must_use]
    pub fn class(self, of_columns: impl Iterator<Item = Classification>) -> Classification {
        match self {
            Self::Record | Self::Unknown => Classification::Restricted,
            Self::Place | Self::Arrival => Classification::Internal,
            Self::Made => of_columns.max().unwrap_or_default(),
        }
    }
}

/// What stands in the place of a value that a reader may not see. It has the value's type, and null stays null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mask {
    /// Nothing of it: `***` for texts, null for all else.
    Redact,
    /// The first day of the year of a date or timestamp.
    Year,
    /// The first three characters of a postal code; `000` where fewer than 20,000 people share them (45 CFR 164.514(b)).
    FirstThree,
    /// The lower end of the step of this width that a number lies in.
    Bucket(f64),
    /// HMAC-SHA256 of a text under the platform's key, the first 128 bits as hex digits: equal values stay equal.
    Hash,
}

impl Mask {
    /// The mask that a text means.
    ///
    /// # Errors
    /// Says what may be written.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bucket = || text.strip_prefix("bucket(")?.strip_suffix(')')?.trim().parse::<f64>().ok();
        match text {
            "redact" => Ok(Self::Redact),
            "year" => Ok(Self::Year),
            "first3" => Ok(Self::FirstThree),
            "hash" | "hmac-sha256" => Ok(Self::Hash),
            _ => bucket()
                .filter(|width| width.is_finite() && *width > 0.0)
                .map(Self::Bucket)
                .ok_or("write redact, year, first3, bucket(WIDTH) or hash"),
        }
    }

    /// Whether it can mask values of a type.
    #[must_use]
    pub fn fits(self, kind: &ColumnType) -> bool {
        match self {
            Self::Redact => true,
            Self::Year => matches!(kind, ColumnType::Date(_) | ColumnType::Timestamp(_)),
            Self::FirstThree | Self::Hash => matches!(kind, ColumnType::String),
            // A step of one would show each whole number as it is.
            Self::Bucket(width) => match kind {
                ColumnType::Long | ColumnType::Int => width >= 2.0 && width.fract() == 0.0 && width < 1e9,
                ColumnType::Double | ColumnType::Float => true,
                _ => false,
            },
        }
    }

    /// What it is called.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Year => "year",
            Self::FirstThree => "first3",
            Self::Bucket(_) => "bucket",
            Self::Hash => "hash",
        }
    }
}

/// A role that a contract lets in.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader {
    /// The role's name, as `access.roles` of the project has it.
    pub role: String,
    /// Which rows it sees; all where there is none.
    pub rows: Option<Predicate>,
    /// The same as it is written.
    pub written: Option<String>,
}

/// A condition on the columns of one row that cannot fail: columns are compared with constants alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// All hold.
    All(Vec<Self>),
    /// One holds.
    Any(Vec<Self>),
    /// It does not hold; of what is unknown neither it nor its opposite holds.
    Not(Box<Self>),
    /// A column of type boolean is true.
    IsTrue(usize),
    /// A column is null.
    IsNull(usize),
    /// A column compared with a constant of its type.
    Compare(usize, Comparison, Constant),
    /// A column is one of these.
    OneOf(usize, Vec<Constant>),
}

impl Predicate {
    /// The same about other columns; none where one of them has no counterpart.
    #[must_use]
    pub fn about(&self, column: &impl Fn(usize) -> Option<usize>) -> Option<Self> {
        let all = |parts: &[Self]| parts.iter().map(|part| part.about(column)).collect::<Option<Vec<_>>>();
        Some(match self {
            Self::All(parts) => Self::All(all(parts)?),
            Self::Any(parts) => Self::Any(all(parts)?),
            Self::Not(part) => Self::Not(Box::new(part.about(column)?)),
            Self::IsTrue(index) => Self::IsTrue(column(*index)?),
            Self::IsNull(index) => Self::IsNull(column(*index)?),
            Self::Compare(index, comparison, constant) => Self::Compare(column(*index)?, *comparison, constant.clone()),
            Self::OneOf(index, constants) => Self::OneOf(column(*index)?, constants.clone()),
        })
    }

    /// Whether every row that it lets through the other lets through too, as far as that can be seen: all that the other
    /// asks for, it asks for.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let parts = |predicate: &Self| match predicate {
            Self::All(parts) => parts.clone(),
            one => vec![one.clone()],
        };
        let own = parts(self);
        parts(other).iter().all(|part| own.contains(part))
    }

    /// The columns that it asks for, indices into the contract's.
    #[must_use]
    pub fn columns(&self) -> Vec<usize> {
        let mut columns = match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::columns).collect(),
            Self::Not(part) => part.columns(),
            Self::IsTrue(column) | Self::IsNull(column) | Self::Compare(column, ..) | Self::OneOf(column, _) => {
                vec![*column]
            }
        };
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A constant of a row filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Text.
    Text(Arc<str>),
    /// A whole number; days since 1970 for dates, microseconds for timestamps.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// True or false.
    Boolean(bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_tools_mean_a_class_and_unknown_ones_none() {
        assert_eq!(Classification::named("PHI"), Some(Classification::Restricted));
        assert_eq!(Classification::named(" internal "), Some(Classification::Internal));
        assert_eq!(Classification::named("top"), None);
        assert!(Classification::Public < Classification::Restricted);
    }

    #[test]
    fn masks_are_read_and_know_what_they_fit() {
        assert_eq!(Mask::parse("bucket(5)"), Ok(Mask::Bucket(5.0)));
        for wrong in ["bucket(0)", "bucket(-1)", "bucket(NaN)", "bucket(inf)", "bucket", "Hash", ""] {
            assert!(Mask::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Mask::Year.fits(&ColumnType::Date(None)) && !Mask::Year.fits(&ColumnType::String));
        assert!(!Mask::Bucket(1.0).fits(&ColumnType::Int) && !Mask::Bucket(2.5).fits(&ColumnType::Long));
        assert!(!Mask::Hash.fits(&ColumnType::Long) && Mask::Bucket(5.0).fits(&ColumnType::Int));
    }
}
