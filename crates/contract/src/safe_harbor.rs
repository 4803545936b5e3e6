//! De-identification by the Safe Harbor method: the eighteen identifiers, and what becomes of a column of each.
//!
//! The list is that of 45 CFR 164.514(b)(2)(i). What a column holds is said by its tag `safe-harbor:WORD`. Pure. Invariant: a
//! column of which nobody has said what it holds is not kept, unless its type can hold none of the eighteen.

use crate::contract::{Column, ColumnType};

/// One of the eighteen: its letter in the rule, its word in tags, and what it is.
pub type Identifier = (char, &'static str, &'static str);

/// All of them.
pub const IDENTIFIERS: [Identifier; 18] = [
    ('A', "name", "names"),
    ('B', "geography", "geographic subdivisions smaller than a state"),
    ('C', "date", "elements of dates but the year, and ages over 89"),
    ('D', "phone", "telephone numbers"),
    ('E', "fax", "fax numbers"),
    ('F', "email", "email addresses"),
    ('G', "ssn", "social security numbers"),
    ('H', "record", "medical record numbers"),
    ('I', "health-plan", "health plan beneficiary numbers"),
    ('J', "account", "account numbers"),
    ('K', "licence", "certificate and license numbers"),
    ('L', "vehicle", "vehicle identifiers and serial numbers, license plates"),
    ('M', "device", "device identifiers and serial numbers"),
    ('N', "url", "web addresses"),
    ('O', "ip", "IP addresses"),
    ('P', "biometric", "biometric identifiers"),
    ('Q', "photo", "full-face photographs and comparable images"),
    ('R', "other", "any other unique identifying number, characteristic or code"),
];

/// What the tags of a column begin with.
pub const TAG: &str = "safe-harbor:";
/// Words of tags that are none of the eighteen by themselves.
pub const OTHER_WORDS: [&str; 4] = ["none", "age", "zip", "birth"];

/// What becomes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It stays as it is: somebody has said that it is none of the eighteen, or it cannot be.
    Kept,
    /// The year alone stays.
    Year,
    /// An age over 89 becomes 90.
    AgeTo90,
    /// Three digits of a ZIP code stay, `000` where 20,000 people or fewer share them.
    FirstThree,
    /// It is not there.
    Dropped,
}

/// What a column is, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The letter of the identifier; none where it is none.
    pub letter: Option<char>,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Why.
    pub reason: &'static str,
}

/// Judges a column by the word of its tag.
#[must_use]
pub fn judge(column: &Column, word: Option<&str>) -> Judgement {
    let of = |letter: char, treatment, reason| Judgement { letter: Some(letter), treatment, reason };
    let (is_time, is_number) = (
        matches!(column.kind, ColumnType::Date(_) | ColumnType::Timestamp(_)),
        matches!(column.kind, ColumnType::Long | ColumnType::Int | ColumnType::Double | ColumnType::Float),
    );
    match word {
        Some("none") if is_time => of('C', Treatment::Year, "a date is one whatever its tag says"),
        Some("none") => Judgement { letter: None, treatment: Treatment::Kept, reason: "its tag says that it is none" },
        Some("age") if is_number => of('C', Treatment::AgeTo90, "ages over 89 become 90"),
        Some("zip") if matches!(column.kind, ColumnType::String) => {
            of('B', Treatment::FirstThree, "three digits, or 000")
        }
        Some("date") if is_time => of('C', Treatment::Year, "the year alone"),
        Some("birth") => of('C', Treatment::Dropped, "a year of birth tells an age over 89: give the age, tagged age"),
        Some(word) => {
            let letter = IDENTIFIERS.iter().find(|(_, known, _)| *known == word).map_or('R', |(letter, ..)| *letter);
            of(letter, Treatment::Dropped, "an identifier")
        }
        None if is_time => of('C', Treatment::Year, "a date: the year alone"),
        None if matches!(column.kind, ColumnType::Boolean) => {
            Judgement { letter: None, treatment: Treatment::Kept, reason: "true or false identifies nobody" }
        }
        None if is_number && column.unit.is_some() => {
            Judgement { letter: None, treatment: Treatment::Kept, reason: "a measurement in a unit" }
        }
        None => of('R', Treatment::Dropped, "nobody has said what it holds: tag it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_spoken_of_is_not_kept() {
        let measured = Column { unit: Some("bpm".to_owned()), ..Column::new("bpm", ColumnType::Long) };
        for (column, word, treatment) in [
            (Column::new("note", ColumnType::String), None, Treatment::Dropped),
            (Column::new("number", ColumnType::Long), None, Treatment::Dropped),
            (Column::new("more", ColumnType::Json), None, Treatment::Dropped),
            (Column::new("seen", ColumnType::Timestamp(None)), None, Treatment::Year),
            (Column::new("seen", ColumnType::Timestamp(None)), Some("none"), Treatment::Year),
            (Column::new("seen", ColumnType::String), Some("date"), Treatment::Dropped),
            (Column::new("born", ColumnType::Date(None)), Some("birth"), Treatment::Dropped),
            (Column::new("age", ColumnType::Int), Some("age"), Treatment::AgeTo90),
            (Column::new("zip", ColumnType::String), Some("zip"), Treatment::FirstThree),
            (Column::new("ward", ColumnType::String), Some("none"), Treatment::Kept),
            (Column::new("who", ColumnType::String), Some("something"), Treatment::Dropped),
            (Column::new("alive", ColumnType::Boolean), None, Treatment::Kept),
            (measured, None, Treatment::Kept),
        ] {
            assert_eq!(judge(&column, word).treatment, treatment, "{} {word:?}", column.name);
        }
    }

    #[test]
    fn there_are_eighteen_and_each_is_dropped_where_nothing_else_is_said_of_it() {
        let letters: String = IDENTIFIERS.iter().map(|(letter, ..)| letter).collect();
        assert_eq!(letters, "ABCDEFGHIJKLMNOPQR");
        for (letter, word, _) in IDENTIFIERS {
            let judged = judge(&Column::new("x", ColumnType::String), Some(word));
            assert_eq!((judged.letter, judged.treatment), (Some(letter), Treatment::Dropped));
        }
    }
}
