//! Functions of Druid's that are not here, each with what to write instead.
//!
//! Used where a query names a function that no session has. Invariant: a name that stands here is no function of ours.

/// What to write instead of a function of Druid's; nothing for a name that is not known.
pub fn instead(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let found = GROUPS.iter().find(|(names, _)| {
        names.split(' ').any(|known| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => known == name,
        })
    });
    found.map(|(_, help)| *help)
}

const GROUPS: &[(&str, &str)] = &[
    ("STRING_TO_MV", "there are no multi-value strings; use STRING_TO_ARRAY"),
    (
        "MV_LENGTH MV_CONTAINS MV_OVERLAP MV_OFFSET MV_ORDINAL MV_OFFSET_OF MV_ORDINAL_OF MV_APPEND MV_PREPEND MV_CONCAT MV_SLICE MV_TO_STRING",
        "there are no multi-value strings; use the function of that name that begins with ARRAY_",
    ),
    (
        "MV_* ARRAY_TO_MV",
        "there are no multi-value strings; keep the values in an ARRAY, and use ARRAY_CONTAINS or UNNEST",
    ),
    (
        "DS_HLL HLL_SKETCH_* APPROX_COUNT_DISTINCT_DS_HLL_*",
        "sketches are no values here; use APPROX_COUNT_DISTINCT_DS_HLL(x), or COUNT(DISTINCT x)",
    ),
    (
        "DS_THETA THETA_SKETCH_*",
        "sketches are no values here; use APPROX_COUNT_DISTINCT_DS_THETA(x), or COUNT(DISTINCT x)",
    ),
    (
        "DS_QUANTILES_SKETCH DS_GET_QUANTILE DS_GET_QUANTILES DS_RANK DS_CDF DS_HISTOGRAM DS_QUANTILE_SUMMARY",
        "sketches are no values here; use APPROX_QUANTILE_DS(x, 0.5) for each quantile, or COUNT(*) FILTER (WHERE x < 3) for a share",
    ),
    ("DS_TUPLE_DOUBLES* ARRAY_OF_DOUBLES_*", "sketches are no values here; use COUNT(DISTINCT x) and SUM(y)"),
    ("TDIGEST_* APPROX_QUANTILE_FIXED_BUCKETS", "sketches are no values here; use APPROX_QUANTILE_DS(x, 0.5)"),
    ("BLOOM_FILTER BLOOM_FILTER_TEST", "there are no Bloom filters; use IN, or a join"),
    ("JSON_QUERY_ARRAY", "use JSON_QUERY for the array as JSON, or JSON_VALUE(js, '$.a' RETURNING VARCHAR ARRAY)"),
    ("LOOKUP", "there are no lookups; join the table that holds the names"),
    ("EARLIEST_AGG LATEST_AGG", "use EARLIEST or LATEST"),
    ("ARRAY_QUANTILE SPECTATOR_COUNT SPECTATOR_PERCENTILE", "use APPROX_QUANTILE_DS(x, 0.5)"),
    (
        "COMPLEX_DECODE_BASE64 DECODE_BASE64_COMPLEX",
        "there are no complex types; keep what was aggregated in columns of its own",
    ),
    ("EXTERN EXTERNAL", "files are delivered to a dataset, by POST /api/v1/deliveries/{dataset}"),
    ("INITCAP", "use UPPER(SUBSTRING(x, 1, 1)) || LOWER(SUBSTRING(x, 2))"),
    ("UNIX_TIMESTAMP TO_UNIXTIME", "use TIMESTAMP_TO_MILLIS(t) / 1000"),
    ("FROM_UNIXTIME TO_TIMESTAMP", "use MILLIS_TO_TIMESTAMP(x * 1000), or TIME_PARSE for text"),
    ("DATE_FORMAT TO_CHAR", "use TIME_FORMAT(t, 'yyyy-MM-dd')"),
    ("DATEDIFF DATE_DIFF", "use TIMESTAMPDIFF(DAY, a, b)"),
    ("DATEADD DATE_ADD", "use TIMESTAMPADD(DAY, 1, t), or t + INTERVAL '1' DAY"),
    ("SPLIT_PART SPLIT", "use STRING_TO_ARRAY(x, ',') and ARRAY_ORDINAL"),
    ("IF IFF", "use CASE WHEN … THEN … ELSE … END"),
    ("PERCENTILE_CONT MEDIAN", "use APPROX_QUANTILE_DS(x, 0.5)"),
    ("MAX_BY ARG_MAX", "use LATEST_BY(x, t) for a time"),
    ("MIN_BY ARG_MIN", "use EARLIEST_BY(x, t) for a time"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("mv_length", Some("ARRAY_"))]
    #[case("MV_FILTER_ONLY", Some("ARRAY_CONTAINS"))]
    #[case("DS_HLL", Some("APPROX_COUNT_DISTINCT_DS_HLL"))]
    #[case("hll_sketch_estimate", Some("COUNT(DISTINCT"))]
    #[case("nosuch", None)]
    #[case("MV", None)]
    fn a_function_that_is_not_here_has_another(#[case] name: &str, #[case] part: Option<&str>) {
        match (instead(name), part) {
            (Some(help), Some(part)) => assert!(help.contains(part), "{name}: {help}"),
            (found, part) => assert_eq!(found, part, "{name}"),
        }
    }
}
