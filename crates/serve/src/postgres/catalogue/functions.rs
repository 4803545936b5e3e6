//! PostgreSQL's functions over the catalogue: names of types, whether a table is found without its schema, what a
//! session may do, and many whose answer is always the same here.
//!
//! Invariant: what they tell of tables is told of those that the session may see.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Offset as _, TimeZone as _};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{oid, types};
use crate::error::QueryError;
use crate::pinned::Pinned;
use crate::postgres::settings::Settings;

/// What a function gives.
#[derive(Debug, Clone)]
enum Gives {
    /// The same whatever is asked.
    Always(ScalarValue),
    /// A text for a number; nothing for one that is not known.
    Text(fn(&Known, i64, Option<i64>) -> Option<String>),
    /// Whether something holds of a number.
    Truth(fn(&Known, i64) -> bool),
    /// A text of a text.
    Quoted(fn(&str) -> String),
    /// A pattern of LIKE with a backslash in the place of the sign that keeps the next one as it is.
    Pattern,
    /// A setting's value by its name.
    Setting,
    /// The number of what has a name.
    Number(fn(&Known, &str) -> Option<u32>),
    /// A moment in a zone: the local time of one that has a zone, the moment of a local time.
    Zoned,
}

/// What the functions know of a session.
#[derive(Debug)]
struct Known {
    user: String,
    /// Schemas and names of tables by their numbers; looked for when a function asks.
    tables: HashMap<i64, (String, String)>,
    path: Vec<String>,
    settings: HashMap<&'static str, String>,
}

/// A function.
struct Function {
    name: &'static str,
    gives: Gives,
    known: Arc<Known>,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Functions that give NULL here: there is nothing that they could tell of.
const NOTHING: &[&str] = &[
    "age",
    "col_description",
    "obj_description",
    "pg_advisory_unlock_all",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_partition_constraintdef",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_get_viewdef",
    "pg_tablespace_location",
    "shobj_description",
];

/// Functions that are true: what the session sees it may read.
const TRUE: &[&str] = &[
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "has_type_privilege",
    "pg_collation_is_visible",
    "pg_function_is_visible",
    "pg_has_role",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_type_is_visible",
];

/// Functions that are false.
const FALSE: &[&str] = &[
    "has_sequence_privilege",
    "has_tablespace_privilege",
    "pg_is_other_temp_schema",
    "pg_relation_is_publishable",
    "pg_statistics_obj_is_visible",
];

/// Functions that are zero: sizes and counts that nobody keeps.
const ZERO: &[&str] = &[
    "pg_database_size",
    "pg_indexes_size",
    "pg_relation_is_updatable",
    "pg_relation_size",
    "pg_stat_get_numscans",
    "pg_table_size",
    "pg_total_relation_size",
    "txid_current",
];

/// Whether a function gives a size or a count.
pub fn counts(name: &str) -> bool {
    ZERO.contains(&name)
}

/// The functions of a session that sees those tables.
pub fn all(pinned: &Arc<dyn Pinned>, settings: &Settings) -> Vec<Arc<ScalarUDF>> {
    let own = pinned.table_names().into_iter();
    let own = own.map(|(schema, name)| (i64::from(oid::of_table(&schema, &name)), (schema, name)));
    let system = super::columns::all().iter();
    let system = system.map(|table| (i64::from(table.oid), (table.schema.to_owned(), table.name.to_owned())));
    let tables = own.chain(system);
    let known = Arc::new(Known {
        user: settings.user().to_owned(),
        tables: tables.collect(),
        path: settings.search_path(),
        settings: settings.all().into_iter().collect(),
    });
    let always = |value: ScalarValue| move |name: &&'static str| (*name, Gives::Always(value.clone()));
    let functions = NOTHING
        .iter()
        .map(always(ScalarValue::Utf8(None)))
        .chain(TRUE.iter().map(always(ScalarValue::Boolean(Some(true)))))
        .chain(FALSE.iter().map(always(ScalarValue::Boolean(Some(false)))))
        .chain(ZERO.iter().map(always(ScalarValue::Int64(Some(0)))))
        .chain([
            ("__array_lower", Gives::Always(ScalarValue::Int64(Some(1)))),
            ("__like_pattern", Gives::Pattern),
            ("__relation_name", Gives::Text(relation_name)),
            ("__schema_name", Gives::Text(|_, number, _| schema_name(number).map(str::to_owned))),
            ("current_setting", Gives::Setting),
            ("format_type", Gives::Text(|_, number, _| Some(types::shown(u32::try_from(number).ok()?)))),
            ("pg_encoding_to_char", Gives::Text(|_, number, _| (number == 6).then(|| "UTF8".to_owned()))),
            ("pg_get_userbyid", Gives::Text(|known, _, _| Some(known.user.clone()))),
            ("pg_size_pretty", Gives::Text(|_, number, _| Some(format!("{number} bytes")))),
            ("pg_table_is_visible", Gives::Truth(is_visible)),
            ("quote_ident", Gives::Quoted(quoted_name)),
            ("quote_literal", Gives::Quoted(|text| format!("'{}'", text.replace('\'', "''")))),
            ("timezone", Gives::Zoned),
            ("__relation_number", Gives::Number(table_number)),
            ("to_regclass", Gives::Number(table_number)),
            ("to_regtype", Gives::Number(|_, name| types::by_name(name).map(|known| known.oid))),
        ]);
    let function = |(name, gives)| {
        let signature = Signature::variadic_any(Volatility::Stable);
        let signature = if matches!(gives, Gives::Always(_)) {
            Signature::one_of(
                vec![
                    datafusion::logical_expr::TypeSignature::VariadicAny,
                    datafusion::logical_expr::TypeSignature::Nullary,
                ],
                Volatility::Stable,
            )
        } else {
            signature
        };
        Arc::new(ScalarUDF::from(Function { name, gives, known: Arc::clone(&known), signature }))
    };
    functions.map(function).collect()
}

fn schema_name(number: i64) -> Option<&'static str> {
    oid::schema(u32::try_from(number).ok()?)
}

/// A table's name, with its schema where it is not found without.
fn relation_name(known: &Known, number: i64, _: Option<i64>) -> Option<String> {
    let Some((schema, name)) = known.tables.get(&number) else { return Some(number.to_string()) };
    let name = quoted_name(name);
    Some(if is_visible(known, number) { name } else { format!("{schema}.{name}") })
}

/// The number of a table by its name, with or without a schema, or by the number itself.
fn table_number(known: &Known, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let plain = name.replace('"', "");
    let found = |schema: &str, name: &str| {
        let number = oid::of_table(schema, name);
        known.tables.contains_key(&i64::from(number)).then_some(number)
    };
    if let Some((schema, name)) = plain.split_once('.') {
        return found(schema, name);
    }
    let mut path = std::iter::once(super::PG_CATALOG).chain(known.path.iter().map(String::as_str));
    path.find_map(|schema| found(schema, &plain))
}

/// Whether a table is found under its name alone.
fn is_visible(known: &Known, number: i64) -> bool {
    let Some((schema, name)) = known.tables.get(&number) else { return false };
    let mut path = std::iter::once(super::PG_CATALOG).chain(known.path.iter().map(String::as_str));
    path.find(|schema| known.tables.contains_key(&i64::from(oid::of_table(schema, name)))) == Some(schema.as_str())
}

fn quoted_name(name: &str) -> String {
    let plain = name.starts_with(|sign: char| sign.is_ascii_lowercase() || sign == '_')
        && name.chars().all(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A pattern under the backslash, of one under another sign or none.
fn like_pattern(pattern: &str, sign: &str) -> String {
    let mut written = String::new();
    let mut signs = pattern.chars();
    while let Some(next) = signs.next() {
        if sign.starts_with(next) {
            written.push('\\');
            written.extend(signs.next());
        } else if next == '\\' {
            written.push_str("\\\\");
        } else {
            written.push(next);
        }
    }
    written
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let micro = TimeUnit::Microsecond;
        Ok(match (&self.gives, types) {
            (Gives::Always(value), _) => value.data_type(),
            (Gives::Text(_) | Gives::Quoted(_) | Gives::Pattern | Gives::Setting, _) => DataType::Utf8,
            (Gives::Truth(_), _) => DataType::Boolean,
            (Gives::Number(_), _) => DataType::UInt32,
            (Gives::Zoned, [_, DataType::Timestamp(_, Some(_))]) => DataType::Timestamp(micro, None),
            (Gives::Zoned, [_, _]) => DataType::Timestamp(micro, Some("UTC".into())),
            (Gives::Zoned, _) => return plan_err!("wrong number of arguments"),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow::datatypes::FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(arrow::datatypes::Field::new(self.name, self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Gives::Always(value) = &self.gives {
            return Ok(ColumnarValue::Scalar(value.clone()));
        }
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [first, rest @ ..] = arrays.as_slice() else { return plan_err!("wrong number of arguments") };
        let array: ArrayRef = match &self.gives {
            Gives::Zoned => match rest {
                [times] => zoned(first, times)?,
                _ => return plan_err!("wrong number of arguments"),
            },
            Gives::Quoted(quote) => {
                let texts = cast(first, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>();
                Arc::new(texts.iter().map(|text| text.map(quote)).collect::<StringArray>())
            }
            Gives::Pattern => {
                let [signs] = rest else { return plan_err!("wrong number of arguments") };
                let (patterns, signs) = (cast(first, &DataType::Utf8)?, cast(signs, &DataType::Utf8)?);
                let both = patterns.as_string::<i32>().iter().zip(signs.as_string::<i32>());
                let patterns = both.map(|(pattern, sign)| Some(like_pattern(pattern?, sign?)));
                Arc::new(patterns.collect::<StringArray>())
            }
            Gives::Setting => {
                let names = cast(first, &DataType::Utf8)?;
                let value = |name: Option<&str>| self.known.settings.get(name?.to_lowercase().as_str()).cloned();
                Arc::new(names.as_string::<i32>().iter().map(value).collect::<StringArray>())
            }
            Gives::Text(of) => {
                let (numbers, seconds) = (integers(first)?, rest.first().map(integers).transpose()?);
                let second = |row: usize| {
                    seconds.as_ref().filter(|seconds| seconds.is_valid(row)).map(|seconds| seconds.value(row))
                };
                let text = |(row, number): (usize, Option<i64>)| of(&self.known, number?, second(row));
                Arc::new(numbers.iter().enumerate().map(text).collect::<StringArray>())
            }
            Gives::Number(of) => {
                let names = cast(first, &DataType::Utf8)?;
                let number = |name: Option<&str>| name.and_then(|name| of(&self.known, name));
                Arc::new(names.as_string::<i32>().iter().map(number).collect::<UInt32Array>())
            }
            Gives::Truth(of) => {
                let truth = |number: Option<i64>| number.map(|number| of(&self.known, number));
                Arc::new(integers(first)?.iter().map(truth).collect::<BooleanArray>())
            }
            Gives::Always(_) => return plan_err!("a function has no value"),
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn integers(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// `times AT TIME ZONE zones`.
fn zoned(zones: &ArrayRef, times: &ArrayRef) -> Result<ArrayRef> {
    let zones = cast(zones, &DataType::Utf8)?;
    let zones = zones.as_string::<i32>();
    let micro = TimeUnit::Microsecond;
    let has_zone = matches!(times.data_type(), DataType::Timestamp(_, Some(_)));
    let kind = DataType::Timestamp(micro, has_zone.then(|| "UTC".into()));
    let times = cast(times, &kind)?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    if zones.iter().flatten().any(|zone| zone.parse::<chrono_tz::Tz>().is_err()) {
        let message = "the time zone is not known: use a name such as Europe/Berlin".to_owned();
        return Err(DataFusionError::External(Box::new(QueryError::invalid(message))));
    }
    let shift = |row: usize| {
        if zones.is_null(row) || times.is_null(row) {
            return None;
        }
        let zone: chrono_tz::Tz = zones.value(row).parse().ok()?;
        let moment = DateTime::from_timestamp_micros(times.value(row))?.naive_utc();
        if has_zone {
            let local = i64::from(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc());
            return times.value(row).checked_add(local * 1_000_000);
        }
        zone.from_local_datetime(&moment).earliest().map(|moment| moment.timestamp_micros())
    };
    let shifted: TimestampMicrosecondArray = (0..times.len()).map(shift).collect();
    Ok(if has_zone { Arc::new(shifted) } else { Arc::new(shifted.with_timezone("UTC")) })
}
