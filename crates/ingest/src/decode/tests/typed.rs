//! Parquet and Arrow IPC: values exactly or not at all, the same rows from both, and files that lie.

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

const FORMS: [DeliveryFormat; 2] = [DeliveryFormat::Arrow, DeliveryFormat::Parquet];

fn written(format: DeliveryFormat, batches: &[RecordBatch]) -> Vec<u8> {
    let schema = batches[0].schema();
    if format == DeliveryFormat::Arrow {
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        return writer.into_inner().unwrap();
    }
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn delivered(
    contract: &Arc<Contract>,
    format: DeliveryFormat,
    file: &[u8],
) -> Result<(Vec<Decoded>, DeliveryTotals), DeliveryError> {
    let mut decoder = decode_delivery(Arc::clone(contract), format, file, 7, 1_000);
    let batches = decoder.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((batches, decoder.totals()))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// One column `x` of that type, none of whose values is required.
fn narrow(kind: ColumnType) -> Arc<Contract> {
    contract(&[("x", kind, "x"), ("y", ColumnType::String, "y")], &[])
}

fn zoned() -> ColumnType {
    ColumnType::Timestamp(Some(TimeFormat::compile("dd.MM.yyyy HH:mm", Some(chrono_tz::Europe::Berlin)).unwrap()))
}

#[rstest]
#[case::text(ColumnType::String, Arc::new(StringArray::from(vec![Some("a"), None])), &["a", "null"])]
#[case::dictionary(ColumnType::String, Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("a"), None])), &["a", "null"])]
#[case::identifier(ColumnType::String, Arc::new(Int64Array::from(vec![9_007_199_254_740_993, -1])), &["9007199254740993", "-1"])]
#[case::money_as_text(ColumnType::String, Arc::new(Decimal128Array::from(vec![12_340, -5]).with_precision_and_scale(38, 3).unwrap()), &["12.340", "-0.005"])]
#[case::uuid(ColumnType::String, Arc::new(FixedSizeBinaryArray::try_from_iter([[17_u8; 16]].into_iter()).unwrap()), &["11111111-1111-1111-1111-111111111111"])]
#[case::bytes(ColumnType::String, Arc::new(BinaryArray::from(vec![b"a".as_slice()])), &["a"])]
#[case::day_as_text(ColumnType::String, Arc::new(Date32Array::from(vec![19_782])), &["2024-02-29"])]
#[case::long(ColumnType::Long, Arc::new(Int32Array::from(vec![Some(1), None])), &["1", "null"])]
#[case::unsigned(ColumnType::Long, Arc::new(UInt64Array::from(vec![9_223_372_036_854_775_807])), &["9223372036854775807"])]
#[case::whole_double(ColumnType::Long, Arc::new(Float64Array::from(vec![Some(5.0), None])), &["5", "null"])]
#[case::whole_decimal(ColumnType::Long, Arc::new(Decimal128Array::from(vec![500]).with_precision_and_scale(10, 2).unwrap()), &["5"])]
#[case::int(ColumnType::Int, Arc::new(Int64Array::from(vec![2_147_483_647])), &["2147483647"])]
#[case::double(ColumnType::Double, Arc::new(Decimal128Array::from(vec![1]).with_precision_and_scale(10, 1).unwrap()), &["0.1"])]
#[case::large_decimal(ColumnType::Double, Arc::new(Decimal128Array::from(vec![12_345_678_901_234_567_890]).with_precision_and_scale(38, 2).unwrap()), &["1.2345678901234568e17"])]
#[case::single(ColumnType::Double, Arc::new(Float32Array::from(vec![1.5])), &["1.5"])]
#[case::narrower(ColumnType::Float, Arc::new(Float64Array::from(vec![0.1])), &["0.1"])]
#[case::truth(ColumnType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None])), &["true", "null"])]
#[case::day(ColumnType::Date(None), Arc::new(Date32Array::from(vec![19_782])), &["2024-02-29"])]
#[case::local_midnight(ColumnType::Date(None), Arc::new(TimestampMillisecondArray::from(vec![19_782 * 86_400_000])), &["2024-02-29"])]
#[case::instant(ColumnType::Timestamp(None), Arc::new(TimestampMillisecondArray::from(vec![1_500]).with_timezone("+02:00")), &["1970-01-01T00:00:01.500Z"])]
#[case::local_instant(zoned(), Arc::new(TimestampMicrosecondArray::from(vec![1_719_792_000_000_000])), &["2024-06-30T22:00:00Z"])]
#[case::written_instant(zoned(), Arc::new(StringArray::from(vec!["01.07.2024 00:00"])), &["2024-06-30T22:00:00Z"])]
#[case::time(ColumnType::Time(None), Arc::new(Time64MicrosecondArray::from(vec![86_399_500_000])), &["23:59:59.500"])]
#[case::json_text(ColumnType::Json, Arc::new(StringArray::from(vec!["{\"a\":[1]}"])), &["{\"a\":[1]}"])]
fn a_value_that_fits_is_taken_exactly(#[case] kind: ColumnType, #[case] array: ArrayRef, #[case] values: &[&str]) {
    let batch = batch(vec![("x", array)]);
    for format in FORMS {
        let (decoded, totals) =
            delivered(&narrow(kind.clone()), format, &written(format, std::slice::from_ref(&batch))).unwrap();
        assert_eq!(column(&decoded[0].rows, "x"), values, "{format:?}");
        assert_eq!(column(&decoded[0].rows, "_rescued"), vec!["null"; values.len()]);
        assert_eq!(totals.misfits, []);
    }
}

#[rstest]
#[case::text_is_no_number(ColumnType::Long, Arc::new(StringArray::from(vec!["5"])), "{\"x\":\"5\"}")]
#[case::number_is_no_truth(ColumnType::Boolean, Arc::new(Int32Array::from(vec![1])), "{\"x\":1}")]
#[case::fraction(ColumnType::Long, Arc::new(Float64Array::from(vec![5.5])), "{\"x\":5.5}")]
#[case::too_large(ColumnType::Long, Arc::new(Float64Array::from(vec![9_223_372_036_854_775_808.0])), "{\"x\":9.223372036854776e18}")]
#[case::too_wide(ColumnType::Int, Arc::new(Int64Array::from(vec![2_147_483_648])), "{\"x\":2147483648}")]
#[case::not_finite(ColumnType::Double, Arc::new(Float64Array::from(vec![f64::NAN])), "{\"x\":\"NaN\"}")]
#[case::real_text(ColumnType::String, Arc::new(Float64Array::from(vec![0.1])), "{\"x\":0.1}")]
#[case::bytes(ColumnType::String, Arc::new(BinaryArray::from(vec![b"\xff".as_slice()])), "{\"x\":\"/w==\"}")]
#[case::no_zone(ColumnType::Timestamp(None), Arc::new(TimestampMicrosecondArray::from(vec![0])), "{\"x\":\"1970-01-01T00:00:00\"}")]
#[case::no_midnight(ColumnType::Date(None), Arc::new(TimestampMicrosecondArray::from(vec![1])), "{\"x\":\"1970-01-01T00:00:00.000001\"}")]
#[case::no_object(ColumnType::Json, Arc::new(StringArray::from(vec!["a"])), "{\"x\":\"a\"}")]
fn a_value_that_does_not_fit_is_null_and_rescued(
    #[case] kind: ColumnType,
    #[case] array: ArrayRef,
    #[case] rescued: &str,
) {
    let batch = batch(vec![("x", array)]);
    for format in FORMS {
        let (decoded, totals) =
            delivered(&narrow(kind.clone()), format, &written(format, std::slice::from_ref(&batch))).unwrap();
        assert_eq!(column(&decoded[0].rows, "x"), ["null"], "{format:?}");
        assert_eq!(column(&decoded[0].rows, "_rescued"), [rescued], "{format:?}");
        assert_eq!(totals.misfits[0].values, 1);
    }
}

/// Rows with structures, a list and fields that the contract does not name.
fn nested() -> RecordBatch {
    let hr: ArrayRef = Arc::new(Int64Array::from(vec![Some(60), Some(61), None]));
    let extra: ArrayRef = Arc::new(StringArray::from(vec![Some("e"), None, None]));
    let vitals = StructArray::from(vec![
        (Arc::new(Field::new("hr", DataType::Int64, true)), hr),
        (Arc::new(Field::new("extra", DataType::Utf8, true)), extra),
    ]);
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a\"b"), None]);
    tags.append_value([None::<&str>; 0]);
    tags.append_null();
    batch(vec![
        ("tags", Arc::new(tags.finish())),
        ("id", Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]))),
        ("vitals", Arc::new(vitals)),
        ("mood", Arc::new(Int32Array::from(vec![None, Some(3), Some(4)]))),
    ])
}

#[test]
fn nested_fields_are_found_by_their_path_and_what_nobody_names_is_rescued_in_its_shape() {
    let contract = wide();
    for format in FORMS {
        let (decoded, totals) = delivered(&contract, format, &written(format, &[nested()])).unwrap();
        let rows = &decoded[0].rows;
        assert_eq!(column(rows, "id"), ["a", "b"]);
        assert_eq!(column(rows, "hr"), ["60.0", "61.0"]);
        assert_eq!(column(rows, "tags"), ["[\"a\\\"b\",null]", "[]"]);
        assert_eq!(column(rows, "_rescued"), ["{\"vitals\":{\"extra\":\"e\"}}", "{\"mood\":3}"]);
        assert_eq!(column(rows, "_offset"), ["0", "1"]);
        assert_eq!(column(rows, "_topic"), ["feed/readings", "feed/readings"]);
        let rejects = &decoded[0].rejects;
        assert_eq!(column(rejects, "_rule"), ["id.required"]);
        assert_eq!(column(rejects, "_offset"), ["2"]);
        assert_eq!(raws(rejects), [Some(b"{\"vitals\":{\"hr\":null,\"extra\":null},\"mood\":4}".to_vec())]);
        assert_eq!((totals.records, totals.rows, totals.rejects), (3, 2, 1));
        assert_eq!(totals.unnamed, ["mood"]);
    }
}

#[test]
fn rejects_of_typed_rows_come_back_as_the_values_that_they_were() {
    let seen = TimeFormat::compile("dd.MM.yyyy HH:mm", Some(chrono_tz::Europe::Berlin)).unwrap();
    let columns = [
        ("id", ColumnType::String, "id"),
        ("seen", ColumnType::Timestamp(Some(seen)), "seen"),
        ("amount", ColumnType::String, "amount"),
        ("day", ColumnType::Date(None), "day"),
        ("more", ColumnType::Json, "more"),
        ("n", ColumnType::Long, "n"),
    ];
    let file = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![7, 8]))),
        ("seen", Arc::new(TimestampMicrosecondArray::from(vec![1_719_792_000_000_000; 2]))),
        ("amount", Arc::new(Decimal128Array::from(vec![1_250; 2]).with_precision_and_scale(9, 2).unwrap())),
        ("day", Arc::new(Date32Array::from(vec![19_782; 2]))),
        ("more", Arc::new(StringArray::from(vec!["{\"a\": \"ü\"}"; 2]))),
        ("n", Arc::new(Int32Array::from(vec![-1; 2]))),
    ]);
    let strict = contract(&columns, &[(5, Check::Minimum(Bound::Whole(0)), Severity::Error)]);
    let (decoded, _) = delivered(&strict, DeliveryFormat::Parquet, &written(DeliveryFormat::Parquet, &[file])).unwrap();
    assert_eq!((decoded[0].rows.num_rows(), decoded[0].rejects.num_rows()), (0, 2));
    let again = Redecoder::new(contract(&columns, &[]).into()).redecode(&decoded[0].rejects).unwrap();
    let rows = &again.rows[0];
    for (name, value) in [
        ("id", "7"),
        ("seen", "2024-06-30T22:00:00Z"),
        ("amount", "12.50"),
        ("day", "2024-02-29"),
        ("more", "{\"a\": \"ü\"}"),
        ("n", "-1"),
        ("_rescued", "null"),
        ("_headers", "null"),
    ] {
        assert_eq!(column(rows, name)[0], value, "{name}");
    }
}

#[test]
fn many_batches_keep_their_positions_and_no_batch_is_larger_than_others() {
    let ids = |from: i64, count: i64| {
        let ids: StringArray = (from..from + count).map(|id| Some(id.to_string())).collect();
        batch(vec![("id", Arc::new(ids) as ArrayRef)])
    };
    for format in FORMS {
        let file = written(format, &[ids(0, 70_000), ids(70_000, 10), ids(70_010, 5)]);
        let (decoded, totals) = delivered(&wide(), format, &file).unwrap();
        assert!(decoded.iter().all(|decoded| decoded.rows.num_rows() <= 65_536));
        let offsets: Vec<String> = decoded.iter().flat_map(|decoded| column(&decoded.rows, "_offset")).collect();
        let ids: Vec<String> = decoded.iter().flat_map(|decoded| column(&decoded.rows, "id")).collect();
        assert_eq!(offsets, ids);
        assert_eq!((totals.records, totals.bytes), (70_015, file.len() as u64));
    }
}

#[test]
fn arrow_files_and_compressed_streams_are_read_too() {
    let rows = nested();
    let mut writer = FileWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    let file = writer.into_inner().unwrap();
    assert_eq!(delivered(&wide(), DeliveryFormat::Arrow, &file).unwrap().1.records, 3);
    if let Ok(options) = IpcWriteOptions::default().try_with_compression(Some(arrow_ipc::CompressionType::LZ4_FRAME)) {
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &rows.schema(), options).unwrap();
        if writer.write(&rows).is_ok() {
            let file = writer.into_inner().unwrap();
            assert_eq!(delivered(&wide(), DeliveryFormat::Arrow, &file).unwrap().1.records, 3);
        }
    }
}

#[rstest]
#[case::missing(vec![("steps", Arc::new(Int64Array::from(vec![1])) as ArrayRef)], "no column \"id\", which the contract requires for id")]
#[case::spelled(vec![("ID", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)], "the column \"ID\" where the contract reads \"id\"")]
#[case::nothing(vec![("q", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)], "no record of the delivery of readings has any of the contract's fields")]
fn a_file_without_the_contracts_columns_is_refused(#[case] columns: Vec<(&str, ArrayRef)>, #[case] says: &str) {
    let rows = batch(columns);
    for (format, rows) in FORMS.into_iter().flat_map(|form| [(form, rows.clone()), (form, rows.slice(0, 0))]) {
        let error = delivered(&wide(), format, &written(format, &[rows])).unwrap_err().to_string();
        assert!(error.contains(says), "{format:?}: {error}");
    }
}

#[rstest]
#[case::empty(DeliveryFormat::Parquet, |_: &[u8]| Vec::new(), "there is none: the file is cut off or empty")]
#[case::cut(DeliveryFormat::Parquet, |file: &[u8]| file[..file.len() - 9].to_vec(), "the file is cut off, write it to its end")]
#[case::csv(DeliveryFormat::Parquet, |_: &[u8]| b"id,steps\na,1\nb,2\n".to_vec(), "the file is cut off")]
#[case::footer_larger(DeliveryFormat::Parquet, |file: &[u8]| with(file, 8, &[255; 4]), "said to be larger than the file")]
#[case::encrypted(DeliveryFormat::Parquet, |file: &[u8]| with(file, 4, b"PARE"), "it is encrypted")]
#[case::no_thrift(DeliveryFormat::Parquet, |file: &[u8]| with(file, 20, &[0xfc; 12]), "in its footer")]
#[case::arrow_cut(DeliveryFormat::Arrow, |file: &[u8]| file[..file.len() - 8].to_vec(), "cut off before its end mark")]
#[case::arrow_empty(DeliveryFormat::Arrow, |_: &[u8]| Vec::new(), "cut off before its end mark")]
#[case::arrow_csv(DeliveryFormat::Arrow, |_: &[u8]| b"id,steps\na,1\nb,2\n".to_vec(), "it does not begin as one")]
#[case::arrow_head(DeliveryFormat::Arrow, |file: &[u8]| { let mut file = file.to_vec(); file[4..8].fill(0x7f); file }, "head is larger than 16 MiB")]
#[case::arrow_end_alone(DeliveryFormat::Arrow, |_: &[u8]| b"\xff\xff\xff\xff\0\0\0\0".to_vec(), "ends before its schema")]
fn a_typed_file_that_lies_is_refused_whole(
    #[case] format: DeliveryFormat,
    #[case] change: fn(&[u8]) -> Vec<u8>,
    #[case] says: &str,
) {
    let file = change(&written(format, &[nested()]));
    let error = delivered(&wide(), format, &file).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

/// A file with other bytes so many before its end.
fn with(file: &[u8], before_end: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let at = file.len() - before_end;
    for (place, byte) in file[at..].iter_mut().zip(bytes) {
        *place = *byte;
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn changed_bytes_are_an_error_or_rows_and_never_a_panic(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), parquet in any::<bool>()) {
        let format = if parquet { DeliveryFormat::Parquet } else { DeliveryFormat::Arrow };
        let mut file = written(format, &[nested()]);
        for (place, byte) in places {
            let at = place.index(file.len());
            file[at] = byte;
        }
        let _ = delivered(&wide(), format, &file);
    }

    #[test]
    fn a_changed_footer_is_an_error_or_rows_and_never_a_panic_or_much_memory(places in proptest::collection::vec((0_usize..900, any::<u8>()), 1..6)) {
        let mut file = written(DeliveryFormat::Parquet, &[nested()]);
        for (before_end, byte) in places {
            let at = file.len().saturating_sub(9 + before_end);
            file[at] = byte;
        }
        let _ = delivered(&wide(), DeliveryFormat::Parquet, &file);
    }

    #[test]
    fn a_typed_file_that_is_cut_anywhere_is_never_taken_for_whole(cut in any::<prop::sample::Index>(), parquet in any::<bool>()) {
        let format = if parquet { DeliveryFormat::Parquet } else { DeliveryFormat::Arrow };
        let file = written(format, &[nested()]);
        prop_assert!(delivered(&wide(), format, &file[..cut.index(file.len())]).is_err());
    }
}
