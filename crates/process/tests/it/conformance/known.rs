//! Where an answer here is another than Spark's by decision, with the reason; docs/spark-functions.md says the same to whoever
//! writes a model.
//!
//! Invariant: a difference that is listed was seen, or the suite fails.

use std::collections::BTreeSet;

use crate::decisions::decided;

/// What an expression over columns holds, and why its answer is another.
const KNOWN: &[(&str, &str)] = &[
    ("AS FLOAT) AS STRING)", JAVA_17),
    (
        "timestamp(m)",
        "Spark rounds to 34 digits before the number of microseconds wraps, which means nothing either way",
    ),
    ("(s, 'x*'", HALVES),
    ("(s,'')", HALVES),
    ("(s, '', '-')", HALVES),
    ("(s, 'a*', '-')", HALVES),
    ("(s, 'b*', '-')", HALVES),
];
const JAVA_17: &str = "Java 17 prints more digits than are needed to read the number again; Java 19 does not";
const HALVES: &str = "a match of nothing between the halves of a character beyond U+FFFF, which are no characters here";

/// For which rows Spark fails, by its error class, and what is given here: there such a row goes to quarantine.
const FAILS_THERE: &[(&str, &str)] = &[
    ("NULL_MAP_KEY", "a map with a null for a key is null here"),
    ("DUPLICATED_MAP_KEY", "a map with a key twice is null here"),
    ("INVALID_INDEX_OF_ZERO", "the element at nought is null here"),
    (
        "INVALID_PARAMETER_VALUE",
        "a slice from nought, or of less than nothing, and a bit that is not there are null here",
    ),
    ("CONVERSION_INVALID_INPUT", "a text that is no hex, base64 or number is null here"),
    ("INVALID_TIMEZONE", "a zone that is none gives null here"),
    ("DATETIME_OVERFLOW", "a time beyond the calendar is null here"),
    ("ARITHMETIC_OVERFLOW", "a date beyond the calendar is null here"),
    ("NUMERIC_VALUE_OUT_OF_RANGE.WITHOUT_SUGGESTION", "a decimal with 38 digits is negated here"),
    ("MALFORMED_CHARACTER_CODING", "bytes that are no text are replaced here"),
    ("no class", "what Java throws at a value is null here"),
    ("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "a value that is no text is taken as its text here"),
    ("Spark's answer cannot be read", "bytes that are no text, and fields of one name, cannot be sent as Arrow"),
];

/// The known differences that were met.
#[derive(Default)]
pub struct Known {
    met: BTreeSet<&'static str>,
    count: usize,
}

impl Known {
    /// Whether an expression that differs may; it is noted.
    pub fn is(&mut self, expr: &str) -> bool {
        let known = KNOWN.iter().find(|(part, _)| expr.contains(part));
        self.met.extend(known.map(|(part, _)| *part));
        let is_known = known.is_some() || decided(expr).is_some();
        self.count += usize::from(is_known);
        is_known
    }

    /// Whether Spark may fail so where a value is given here; it is noted.
    pub fn fails(&mut self, class: &str) -> bool {
        let known = FAILS_THERE.iter().find(|(name, _)| class.starts_with(name));
        self.met.extend(known.map(|(name, _)| *name));
        known.is_some()
    }

    /// How many expressions differed so.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Those that nothing differed by.
    pub fn gone(&self) -> Vec<&'static str> {
        KNOWN.iter().chain(FAILS_THERE).map(|(part, _)| *part).filter(|part| !self.met.contains(part)).collect()
    }
}
