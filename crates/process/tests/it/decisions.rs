//! Where a model's answer is not Spark's by decision, with the reason.

/// What an expression holds, and why its answer is another.
const DECISIONS: &[(&str, &str)] = &[
    ("'12:34'", "a time without a day is taken for today's by Spark, and would be another each day; here it is null"),
    ("'９'", "digits of other scripts are no number here; Spark takes them in casts to DECIMAL alone"),
    (
        "get_json_object('{\"a\":\"x\",\"a\":\"y\"}'",
        "a field that stands twice has its last value; Spark takes the first",
    ),
    ("get_json_object('{\"a\":1}x'", "what follows a JSON text makes it none; Spark reads as far as it needs"),
    ("get_json_object('{\\'a\\':1}'", "a JSON text has double quotes; Spark reads single ones, too"),
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
