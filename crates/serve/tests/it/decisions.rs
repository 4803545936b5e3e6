//! Where our answer differs from Druid's by decision, and why. Each is a fault of Druid's, or a choice that docs/sql.md
//! states.

/// Why a query's answer may be another than Druid's; none when it may not.
pub fn decision(query: &str) -> Option<&'static str> {
    DECISIONS.iter().find(|(parts, _)| parts.iter().all(|part| query.contains(part))).map(|(_, why)| *why)
}

const MULTI: &str = "there are no multi-value strings: such a column is its text";
const EMPTY: &str = "an empty text is a value; Druid's sketches leave it out";
const PADDED: &str = "no spaces are added; Druid fills up a constant CHAR while it plans, and no column";
const HALF: &str = "half of a character that has two UTF-16 units is no text";
const LARGEST: &str = "the largest BIGINT stays what it is; Druid makes a negative number of it";
const REPEATED: &str = "a time in the hour that the clock shows twice is its first; Druid loses which while it plans";
const ISO_YEAR: &str = "ISOYEAR is the year of the ISO week; Druid gives the calendar's year";
const PATHS: &str = "paths come in the document's order and lead into arrays; Druid's order is that of a hash table";
const BEFORE_1970: &str = "a time before 1970 is floored downwards; Druid gives a start after the time";
const NAN: &str = "NaN equals NaN, as in GROUP BY; Druid has it so there and not between two columns";
const FLOATS: &str =
    "what is computed of a FLOAT and a whole number is a FLOAT; Druid keeps the digits of a DOUBLE in between";
const NO_COUNT: &str = "a sum with NULL is NULL; Druid gives a value";

/// Parts that the query's text has, and the reason.
const DECISIONS: &[(&[&str], &str)] = &[
    (&["mv"], MULTI),
    (&["MV_"], MULTI),
    (&["ANY_VALUE(l)"], "any value will do"),
    (&["APPROX_QUANTILE_DS(n, 0.5) FROM vitals"], "quantiles lie between two values; Druid gives the lower one"),
    (&["APPROX_COUNT_DISTINCT_DS_HLL("], EMPTY),
    (&["APPROX_COUNT_DISTINCT_DS_THETA("], EMPTY),
    (&["COUNT(DISTINCT s)"], EMPTY),
    (&["COUNT(DISTINCT dev)"], EMPTY),
    (&["COUNT(DISTINCT note)"], EMPTY),
    (&["COUNT(DISTINCT n), COUNT(DISTINCT g)"], "text is ordered by its code points; Druid has é before a"),
    (&["U&'\\+01F600'"], "text is ordered by its code points; Druid compares UTF-16 units"),
    (&["a.s, b.s FROM tiny a, tiny b"], "text is ordered by its code points; Druid has ü before a"),
    (&["SELECT LEAST('', 'x')"], PADDED),
    (&["SELECT SUBSTRING('"], PADDED),
    (&["SELECT SUBSTR('"], PADDED),
    (&["SUBSTRING(a, b, c)", "'日本😀x', 3, 1"], HALF),
    (&["SUBSTR(a, b, c)", "'日本😀x', 3, 1"], HALF),
    (&["SELECT CAST('a' AS CHAR(2))"], PADDED),
    (
        &["SELECT CAST(-7 AS BOOLEAN)"],
        "a negative number is true, as Druid has it of columns; its planner takes the constant for false",
    ),
    (&["CAST(CAST(0.1 AS FLOAT) AS DOUBLE)"], "a FLOAT made DOUBLE shows its digits, as Druid has it of columns"),
    (&["'20240310'"], "a year past 262143 is no time"),
    (&["WHERE d = 0"], "minus zero equals zero"),
    (&["FROM vitals GROUP BY x"], "minus zero equals zero; Druid makes two groups of them"),
    (&["FROM vitals WHERE f = x"], NAN),
    (&["x IN (f, 10)"], NAN),
    (&["x >= f"], "NaN is above all numbers; Druid has it so for > and not for >="),
    (&["CAST(f * 3 AS VARCHAR)"], FLOATS),
    (&["f * 3 > 0.3"], FLOATS),
    (&["SUM(f * 3)"], FLOATS),
    (&["'2024-10-27 02:00:00'", "vitals"], REPEATED),
    (&["TIME_FORMAT(__time, 'ZZ Z') FROM vitals"], REPEATED),
    (&["FROM vitals WHERE x = f"], NAN),
    (&["FROM vitals WHERE x <> f"], NAN),
    (&["x IS DISTINCT FROM f"], NAN),
    (&["CASE x WHEN 1.5 THEN 'a' WHEN f"], NAN),
    (&["NULLIF(x, f)"], NAN),
    (&["ISOYEAR"], ISO_YEAR),
    (&["CEIL(a TO HOUR)"], REPEATED),
    (&["TIME_CEIL(a, 'PT1H')"], REPEATED),
    (&["TIMESTAMPADD(HOUR, b, a)", "2024-10-27"], REPEATED),
    (&["TIME_PARSE(a, 'yyyy-MM-dd HH:mm:ss'", "2024-10-27"], REPEATED),
    (&["GROUPING SETS ((g), ())", "n > 1000"], "the empty grouping set has a row, also over no rows"),
    (&["JSON_PATHS("], PATHS),
    (&["JSON_VALUE('{"], "text that holds JSON is read; Druid takes it for no JSON"),
    (&["$[''a.b'']"], "a quoted name in a path may hold a point"),
    (&["1e400"], "a number that no DOUBLE holds is no JSON"),
    (&["FLOOR(9223372036854775807)"], LARGEST),
    (&["CEIL(9223372036854775807)"], LARGEST),
    (&["TRUNCATE(9223372036854775807"], LARGEST),
    (&["TRUNCATE(a, b)", "9223372036854775807"], LARGEST),
    (&["INFORMATION_SCHEMA.SCHEMATA"], "our schemas are listed too"),
    (&["TIME_CEIL(a, 'PT24H')"], BEFORE_1970),
    (&["TIME_CEIL(a, 'PT36H')"], BEFORE_1970),
    (&["TIME_FLOOR(a, 'PT36H')"], BEFORE_1970),
    (&["TIME_FLOOR(__time, 'PT24H')", "vitals"], BEFORE_1970),
    (
        &["'PT6H', NULL, 'Asia/Kathmandu'"],
        "hours are counted from the local midnight of 1970; Druid does so, too, and then sets the minutes of a zone that has \
         another offset since to nought, but not for a time that is the start of six hours",
    ),
    (&["TIMESTAMPADD(MONTH, b, a)", "CAST(NULL AS INTEGER)"], NO_COUNT),
    (&["TIMESTAMPADD(YEAR, b, a)", "CAST(NULL AS INTEGER)"], NO_COUNT),
    (&["TIMESTAMPDIFF(QUARTER", "CAST(NULL AS"], NO_COUNT),
    (&["LAG(l, 1, 0)"], "LAG gives its default where there is no row before; Druid leaves it out"),
    (&["LAG(n, 1, 0)"], "LAG gives its default where there is no row before; Druid leaves it out"),
];
