//! Every function over extreme values of every type, in batches that are cut differently: nothing fails, and no row's
//! answer depends on the rows beside it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};
use datafusion::common::ScalarValue;
use vitalake_process::functions::{shown, supported};
use vitalake_process::{PreviewError, preview};

const EXPRESSIONS_A_RUN: usize = 60;
const TRIES_A_FUNCTION: usize = 14;

const COLUMNS: [&str; 8] = ["i", "l", "d", "m", "s", "a", "t", "b"];
const CONSTANTS: [&str; 12] = [
    "1",
    "0",
    "'a'",
    "'yyyy-MM-dd'",
    "'$.a'",
    "'a INT'",
    "'[a-z]+'",
    "','",
    "'UTC'",
    "'HOST'",
    "'year'",
    "array(s, 'x')",
];

/// Values with a null as the third.
fn with_a_null<T>(values: [T; 11]) -> Vec<Option<T>> {
    let mut values: Vec<Option<T>> = values.into_iter().map(Some).collect();
    values.insert(2, None);
    values
}

fn extremes() -> RecordBatch {
    let long = "x".repeat(5000);
    let texts = with_a_null([
        "abc",
        "",
        "日本語😀",
        "NaN",
        "99999999999999999999999",
        long.as_str(),
        "{\"a\":[1,{}]}",
        "+999999-01-01",
        "\0\u{7f}%_\\'",
        "-1e400",
        "http://a/b?c=d",
    ]);
    let ints = with_a_null([1, 0, i32::MAX, i32::MIN, -1, 2, 31, 64, 7, 1_000_000, -300]);
    let longs = with_a_null([
        1,
        0,
        i64::MAX,
        i64::MIN,
        -1,
        2,
        63,
        1 << 40,
        7,
        -62_135_596_800_000_001,
        253_402_300_800_000_000,
    ]);
    let doubles = with_a_null([
        1.5,
        0.0,
        f64::MAX,
        f64::MIN,
        f64::NAN,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        -1.0,
        1e18,
    ]);
    let decimals = with_a_null([150, 0, 10_i128.pow(38) - 1, 1 - 10_i128.pow(38), -1, 5, 50, -250, 7, 99, 1]);
    let days = with_a_null([0, -1, i32::MAX, i32::MIN, -719_162, 2_932_896, 19_782, 1, -141_428, 106_752, 59]);
    let flags = with_a_null([true, false, true, false, false, true, true, false, true, true, false]);
    let times = longs.clone();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int32Array::from(ints))),
        ("l", Arc::new(Int64Array::from(longs))),
        ("d", Arc::new(Float64Array::from(doubles))),
        ("m", Arc::new(Decimal128Array::from(decimals).with_precision_and_scale(38, 2).unwrap())),
        ("s", Arc::new(StringViewArray::from(texts))),
        ("a", Arc::new(Date32Array::from(days))),
        ("t", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("b", Arc::new(BooleanArray::from(flags))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

/// A small generator of numbers, so that each run tries the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

fn expressions() -> Vec<String> {
    let mut numbers = Numbers(7);
    let mut made = Vec::new();
    for name in supported() {
        made.extend(COLUMNS.iter().map(|column| format!("{name}({column})")));
        for _ in 0..TRIES_A_FUNCTION {
            let args: Vec<&str> = (0..2 + numbers.below(2))
                .map(|place| {
                    // Patterns, zones and units are seldom first.
                    if place > 0 && numbers.below(2) == 0 {
                        CONSTANTS[numbers.below(CONSTANTS.len())]
                    } else {
                        COLUMNS[numbers.below(COLUMNS.len())]
                    }
                })
                .collect();
            made.push(format!("{name}({})", args.join(", ")));
        }
    }
    for kind in [
        "boolean",
        "tinyint",
        "int",
        "bigint",
        "float",
        "double",
        "decimal(10,2)",
        "decimal(38,20)",
        "string",
        "binary",
        "date",
        "timestamp",
    ] {
        made.extend(COLUMNS.iter().map(|column| format!("CAST({column} AS {kind})")));
    }
    for op in ["+", "-", "*", "/", "%", "div", "=", "<", "<=>", "||", "&"] {
        for left in COLUMNS {
            made.extend(COLUMNS.iter().map(|right| format!("{left} {op} {right}")));
        }
    }
    for column in ["a", "t"] {
        for step in ["1 DAY", "'1' MONTH", "'-9999' YEAR", "'1 02:03:04' DAY TO SECOND"] {
            made.push(format!("{column} + INTERVAL {step}"));
        }
    }
    made.sort();
    made.dedup();
    made
}

/// What expressions give for each row, as text; those that are refused are taken out.
async fn rows_of(exprs: &mut Vec<String>, rows: &RecordBatch) -> Vec<Vec<String>> {
    loop {
        if exprs.is_empty() {
            return Vec::new();
        }
        let lines: Vec<String> = exprs.iter().enumerate().map(|(i, e)| format!("{e} AS c{i}")).collect();
        let text = format!("-- kind: append\nSELECT\n{}\nFROM raw.t", lines.join("\n, "));
        match preview(&text, rows.clone()).await {
            Ok(batches) => {
                let mut made = vec![Vec::new(); exprs.len()];
                for batch in batches {
                    for (column, made) in batch.columns().iter().zip(&mut made) {
                        made.extend(
                            (0..batch.num_rows()).map(|row| shown(&ScalarValue::try_from_array(column, row).unwrap())),
                        );
                    }
                }
                return made;
            }
            Err(PreviewError::Refused(problems)) => {
                let mut refused: Vec<usize> = problems.iter().map(|p| p.line.saturating_sub(3)).collect();
                refused.sort_unstable();
                refused.dedup();
                for index in refused.into_iter().rev() {
                    assert!(index < exprs.len(), "{problems:?}");
                    exprs.remove(index);
                }
            }
            Err(PreviewError::Failed(_)) => return Box::pin(apart(exprs, rows)).await,
        }
    }
}

/// Expression by expression and, where one fails, row by row: only what would be too large may fail, and a pattern of a
/// column, which fails in Spark, too.
async fn apart(exprs: &mut Vec<String>, rows: &RecordBatch) -> Vec<Vec<String>> {
    let mut made = Vec::new();
    let mut kept = Vec::new();
    for expr in exprs.iter() {
        let text = format!("-- kind: append\nSELECT {expr} AS c FROM raw.t");
        let mut values = Vec::new();
        let mut refused = false;
        for row in 0..rows.num_rows() {
            match preview(&text, rows.slice(row, 1)).await {
                Ok(batches) => {
                    let column = batches[0].column(0);
                    values.push(shown(&ScalarValue::try_from_array(column, 0).unwrap()));
                }
                Err(PreviewError::Refused(_)) => refused = true,
                Err(PreviewError::Failed(why)) => {
                    let large = why.contains("larger than the limit") || why.contains("would make more than");
                    let pattern = why.contains("of this row");
                    assert!(large || pattern, "{expr} fails on row {row}: {why}");
                    values.push(if large { "too large" } else { "no pattern" }.to_owned());
                }
            }
        }
        if !refused {
            kept.push(expr.clone());
            made.push(values);
        }
    }
    *exprs = kept;
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_extreme_value_fails_or_changes_its_neighbours() {
    let all = extremes();
    let mut compared = 0;
    for chunk in expressions().chunks(EXPRESSIONS_A_RUN) {
        let mut exprs = chunk.to_vec();
        let whole = rows_of(&mut exprs, &all).await;
        compared += exprs.len();
        for (from, length) in [(0, 1), (1, 4), (5, 7)] {
            let part = rows_of(&mut exprs, &all.slice(from, length)).await;
            for ((expr, whole), part) in exprs.iter().zip(&whole).zip(&part) {
                assert_eq!(&whole[from..from + length], part.as_slice(), "{expr}");
            }
        }
    }
    eprintln!("{compared} expressions compared");
    assert!(compared > 1500, "only {compared} expressions were accepted");
}

/// A text that would be huge fails on its own row; the process lives and the neighbours are there.
#[tokio::test]
async fn a_text_that_would_be_huge_fails_alone() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(StringViewArray::from(vec!["ab", "ab", "ab"]))),
        ("n", Arc::new(Int32Array::from(vec![4, i32::MAX, 5]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let exprs = [
        "lpad(s, n, 'x')",
        "rpad(s, n)",
        "repeat(s, n)",
        "space(n)",
        "size(array_repeat(s, n))",
        "size(sequence(0, n))",
    ];
    let mut exprs = exprs.map(str::to_owned).to_vec();
    let made = rows_of(&mut exprs, &rows).await;
    assert_eq!(made[0], ["xxab", "too large", "xxxab"]);
    assert_eq!(made[1], ["ab  ", "too large", "ab   "]);
    assert_eq!(made[2], ["abababab", "too large", "ababababab"]);
    assert_eq!(made[3], ["    ", "too large", "     "]);
    assert_eq!(made[4], ["4", "too large", "5"]);
    assert_eq!(made[5], ["5", "too large", "6"]);
}

/// A pattern of a column that is none fails on its own row, and so does one that does not fit its values.
#[tokio::test]
async fn a_pattern_of_a_column_fails_alone() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(StringViewArray::from(vec!["a1b2", "a1b2", "a1b2", "a1b2"]))),
        ("p", Arc::new(StringViewArray::from(vec![Some("[0-9]"), Some("["), None, Some("(?=a)")]))),
        ("f", Arc::new(StringViewArray::from(vec![Some("%s!"), Some("%d"), None, Some("%")]))),
        ("w", Arc::new(StringViewArray::from(vec![Some("<$0>"), Some("$9"), None, Some("\\")]))),
        ("l", Arc::new(StringViewArray::from(vec![Some("a%"), Some("a\\x"), None, Some("_")]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let exprs = [
        "s RLIKE p",
        "regexp_replace(s, p, '-')",
        "regexp_replace(s, '[0-9]', w)",
        "regexp_extract(s, p, 0)",
        "size(split(s, p))",
        "format_string(f, s)",
        "s LIKE l",
    ];
    let mut exprs = exprs.map(str::to_owned).to_vec();
    let made = rows_of(&mut exprs, &rows).await;
    assert_eq!(made[0], ["true", "no pattern", "null", "no pattern"]);
    assert_eq!(made[1], ["a-b-", "no pattern", "null", "no pattern"]);
    assert_eq!(made[2], ["a<1>b<2>", "no pattern", "null", "no pattern"]);
    assert_eq!(made[3], ["1", "no pattern", "null", "no pattern"]);
    assert_eq!(made[4], ["3", "no pattern", "-1", "no pattern"]);
    assert_eq!(made[5], ["a1b2!", "no pattern", "null", "no pattern"]);
    assert_eq!(made[6], ["true", "no pattern", "null", "false"]);
}
