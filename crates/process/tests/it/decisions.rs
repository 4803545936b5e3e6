//! Where a model's answer is not Spark's by decision, with the reason.

/// What an expression holds, and why its answer is another.
const DECISIONS: &[(&str, &str)] = &[
    ("'12:34'", "a time without a day is taken for today's by Spark, and would be another each day; here it is null"),
    ("'９'", "digits of other scripts are no number here; Spark takes them in casts to DECIMAL alone"),
    ("'T10:00:00'", "a time without a day is taken for today's by Spark; here it is null"),
    (
        "CAST(99999999999999999999999999999999999999 AS timestamp)",
        "Spark rounds to 34 digits before the number of microseconds wraps, which means nothing either way",
    ),
    ("CAST(CAST(-3e18 AS FLOAT) AS STRING)", "Java 17 prints more digits than are needed to read the number again"),
];

/// Why an expression's answer may differ.
pub fn decided(expr: &str) -> Option<&'static str> {
    DECISIONS.iter().find(|(part, _)| expr.contains(part)).map(|(_, why)| *why)
}
