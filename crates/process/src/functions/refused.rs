//! Spark's functions that a model may not call, each with what to write instead.
//!
//! A part of the table of functions. Invariant: a name stands here or in the table, never in both.

/// What to write instead of a function of Spark.
pub(crate) fn help(name: &str) -> Option<&'static str> {
    let found = GROUPS.iter().find(|(names, _)| names.split(' ').any(|n| n == name));
    found.map(|(_, help)| *help)
}

/// The names with their reasons, for the page that lists them.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(|(names, help)| names.split(' ').map(move |name| (name, *help)))
}

/// What is said of an aggregate that no roll-up merges.
pub(crate) const MERGED: &str = "use count, sum, min, max or avg";

const GROUPS: &[(&str, &str)] = &[
    (
        "now current_timestamp current_date curdate localtimestamp current_time rand randn random uuid shuffle randstr uniform monotonically_increasing_id spark_partition_id input_file_name current_user user session_user current_database current_schema current_catalog version input_file_block_length input_file_block_start current_path",
        "it gives another result each time; use a column of the input, such as _ingested_at",
    ),
    ("current_timezone", "the zone is UTC; write 'UTC'"),
    (
        "explode explode_outer posexplode posexplode_outer inline inline_outer stack json_tuple",
        "a row cannot become many; write get_json_object or element_at for each column",
    ),
    (
        "transform filter exists forall aggregate reduce zip_with map_filter map_zip_with transform_keys transform_values",
        "functions with an arrow are not known here; use array_contains, array_max or array_position",
    ),
    ("to_number try_to_number", "write CAST(replace(x, ',', '') AS DECIMAL(18, 2))"),
    ("sentences", "use split(x, ' ')"),
    (
        "aes_encrypt aes_decrypt try_aes_decrypt",
        "keys do not belong into a model; encrypt before the data is delivered",
    ),
    ("java_method reflect try_reflect", "a model runs no code"),
    ("assert_true raise_error", "a stream must not stop; write the condition as a rule of the contract"),
    (
        "to_timestamp_ntz to_timestamp_ltz make_timestamp_ntz make_timestamp_ltz try_make_timestamp_ntz try_make_timestamp_ltz",
        "use to_timestamp or make_timestamp; a timestamp is an instant here",
    ),
    ("convert_timezone", "use from_utc_timestamp(t, 'Europe/Berlin') or to_utc_timestamp"),
    (
        "make_interval make_dt_interval make_ym_interval try_make_interval",
        "add a constant, as in t + INTERVAL '1' DAY, or use date_add, add_months, timestampadd",
    ),
    ("session_window window window_time", "group by date_trunc('HOUR', t)"),
    ("from_csv schema_of_csv to_csv", "use split(x, ',')[0]"),
    ("schema_of_json", "write the schema out, as in from_json(x, 'a INT')"),
    (
        "from_xml to_xml schema_of_xml xpath xpath_string xpath_int xpath_double xpath_boolean xpath_float xpath_long xpath_number xpath_short",
        "XML is not known here; convert it before it is delivered",
    ),
    (
        "parse_json try_parse_json variant_get try_variant_get is_variant_null to_variant_object schema_of_variant",
        "VARIANT is not known here; use get_json_object",
    ),
    (
        "hll_sketch_agg hll_union approx_count_distinct approx_percentile percentile_approx percentile median mode stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp skewness kurtosis collect_list collect_set first last any_value first_value last_value max_by min_by bool_and bool_or every some any count_if listagg string_agg",
        MERGED,
    ),
    ("typeof", "write the name of the type"),
    ("validate_utf8", "use try_validate_utf8: a stream must not stop"),
    (
        "time_diff time_trunc make_time to_time try_to_time time_from_micros time_from_millis time_from_seconds time_to_micros time_to_millis time_to_seconds time_bucket",
        "the type TIME is not known here; keep it as text",
    ),
];
