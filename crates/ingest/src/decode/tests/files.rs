//! The forms in which operational files come: signs, encodings, headers, packings, rows within documents; and bad ones.

use std::io::Write as _;

use encoding_rs::{Encoding, SHIFT_JIS, UTF_16LE, WINDOWS_1252};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use rstest::rstest;
use vitalake_contract::file_options::{CsvOptions, FileOptions, Header, NewColumns, RowsPath, Trailer};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn stays(files: FileOptions) -> Arc<Contract> {
    let day = TimeFormat::compile("dd.MM.yyyy", None).unwrap();
    let mut made = contract(
        &[
            ("id", ColumnType::String, "Id"),
            ("cost", ColumnType::Double, "Cost"),
            ("days", ColumnType::Long, "Days"),
            ("on", ColumnType::Date(Some(day)), "On"),
        ],
        &[(0, Check::Required, Severity::Error)],
    );
    Arc::make_mut(&mut made).files = files;
    made
}

fn csv(options: CsvOptions) -> FileOptions {
    FileOptions { csv: options, ..FileOptions::default() }
}

fn plain() -> CsvOptions {
    CsvOptions::default()
}

fn deliver(contract: &Arc<Contract>, format: DeliveryFormat, file: &[u8]) -> Result<Vec<Decoded>, DeliveryError> {
    decode_delivery(Arc::clone(contract), format, file, 7, 1_000).collect()
}

/// The rows as `id|cost|days|on`, and the rejects' bytes.
fn read(files: FileOptions, format: DeliveryFormat, file: &[u8]) -> (Vec<String>, Vec<String>) {
    let batches = deliver(&stays(files), format, file).unwrap();
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    for batch in &batches {
        let columns = ["id", "cost", "days", "on"].map(|name| column(&batch.rows, name));
        rows.extend((0..batch.rows.num_rows()).map(|row| columns.each_ref().map(|c| c[row].clone()).join("|")));
        rejects.extend(raws(&batch.rejects).into_iter().map(|raw| String::from_utf8(raw.unwrap()).unwrap()));
    }
    (rows, rejects)
}

/// Records, and what a trailer says where that is another count.
fn trailed(file: &[u8]) -> Result<(u64, Option<(u64, u64)>), String> {
    let options = CsvOptions { trailer: Trailer::parse("TRL,{rows}"), ..plain() };
    let mut decoder = decode_delivery(stays(csv(options)), DeliveryFormat::Csv, file, 7, 1_000);
    for batch in decoder.by_ref() {
        batch.map_err(|error| error.to_string())?;
    }
    Ok((decoder.totals().records, decoder.totals().not_as_trailed))
}

#[rstest]
#[case::it_comes_out(b"Id,Days\na,1\nb,x\n,3\nTRL,3\n", (3, None))]
#[case::without_a_line_end(b"Id,Days\r\n\"a\n\",1\r\nTRL,0001", (1, None))]
#[case::blank_lines_after_it(b"Id,Days\na,1\n\nTRL,1\n\n\n", (1, None))]
#[case::no_rows(b"Id,Days\nTRL,0\n", (0, None))]
#[case::a_row_is_missing(b"Id,Days\na,1\nTRL,2\n", (1, Some((1, 2))))]
fn a_trailer_is_counted_against_and_not_loaded(#[case] file: &[u8], #[case] read: (u64, Option<(u64, u64)>)) {
    assert_eq!(trailed(file), Ok(read));
}

#[rstest]
#[case::cut_off(b"Id,Days\na,1\nb,2\n")]
#[case::cut_within_it(b"Id,Days\na,1\nTRL,")]
#[case::more_after_it(b"Id,Days\na,1\nTRL,1\nb,2\n")]
fn a_file_that_does_not_end_with_its_trailer_is_refused(#[case] file: &[u8]) {
    let error = trailed(file).unwrap_err();
    assert!(error.contains("does not end with the trailer that its contract says, \"TRL,{rows}\""), "{error}");
}

#[test]
fn each_file_of_an_archive_has_its_trailer() {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("a.csv", "Id,Days\na,1\nTRL,1\n"), ("b.csv", "Id,Days\nb,1\nc,1\nTRL,3\n")] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    assert_eq!(trailed(&zip), Ok((3, Some((2, 3)))));
}

fn refused(files: FileOptions, format: DeliveryFormat, file: &[u8]) -> String {
    deliver(&stays(files), format, file).unwrap_err().to_string()
}

#[rstest]
#[case::semicolons_and_commas(
    CsvOptions { delimiter: b';', decimal: ',', thousands: Some('.'), ..plain() },
    b"Id;Cost;Days;On\na;1.234,5;1.000;28.02.2024\nb;-0,5;+7;\n",
    &["a|1234.5|1000|2024-02-28", "b|-0.5|7|null"]
)]
#[case::tabs_without_quotes(
    CsvOptions { delimiter: b'\t', quote: None, ..plain() },
    b"Id\tDays\n\"a\t1\nb\"\t2\n",
    &["\"a|null|1|null", "b\"|null|2|null"]
)]
#[case::single_quotes_and_bars(
    CsvOptions { delimiter: b'|', quote: Some(b'\''), ..plain() },
    b"Id|Days\n'a|''b'|1\n",
    &["a|'b|null|1|null"]
)]
#[case::escapes(
    CsvOptions { escape: Some(b'\\'), ..plain() },
    b"Id,Days\n\"a\\\"b\\\\,\",1\n\"c\n\",2\n",
    &["a\"b\\,|null|1|null", "c\n|null|2|null"]
)]
#[case::null_words(
    CsvOptions { null_words: vec!["NULL".to_owned(), "n/a".to_owned()], ..plain() },
    b"Id,Cost,Days\na,NULL,\"n/a\"\n",
    &["a|null|null|null"]
)]
#[case::by_the_contracts_order(
    CsvOptions { header: Header::Contract, ..plain() },
    b"a,1.5,2,01.03.2024\n",
    &["a|1.5|2|2024-03-01"]
)]
#[case::by_names(
    CsvOptions { header: Header::Names(vec!["Days".to_owned(), "Other".to_owned(), "Id".to_owned()]), ..plain() },
    b"2,x,a\n",
    &["a|null|2|null"]
)]
#[case::lines_around(
    CsvOptions { skip_top: 2, skip_bottom: 1, comment: Some(b'#'), ..plain() },
    b"Report of \"today\n\n# made by hand\nId,Days\r\na,1\r\n# between\r\nb,2\r\nTotal: 2 \"rows\r\n\r\n",
    &["a|null|1|null", "b|null|2|null"]
)]
#[case::nothing_but_the_bottom(
    CsvOptions { skip_bottom: 1, ..plain() },
    b"Id,Days\na,1\nb,2",
    &["a|null|1|null"]
)]
#[case::windows(
    CsvOptions { encoding: Some(WINDOWS_1252), ..plain() },
    b"Id,Days\nM\xfcller \x80,1\n",
    &["Müller €|null|1|null"]
)]
#[case::japanese(
    CsvOptions { encoding: Some(SHIFT_JIS), ..plain() },
    b"Id,Days\n\x83\x5c,1\n",
    &["ソ|null|1|null"]
)]
#[case::utf16_by_its_mark(plain(), b"\xff\xfeI\0d\0,\0D\0a\0y\0s\0\n\0\xe4\0,\x001\0\n\0", &["ä|null|1|null"])]
#[case::utf16_big(plain(), b"\xfe\xff\0I\0d\0\r\0\n\0\xe4", &["ä|null|null|null"])]
#[case::utf16_as_said(
    CsvOptions { encoding: Some(UTF_16LE), ..plain() },
    b"I\0d\0\n\0\xe4\0\n\0",
    &["ä|null|null|null"]
)]
#[case::utf8_by_its_mark_whatever_is_said(
    CsvOptions { encoding: Some(WINDOWS_1252), ..plain() },
    "\u{feff}Id\nä\n".as_bytes(),
    &["ä|null|null|null"]
)]
fn a_csv_is_read_as_its_contract_says(#[case] options: CsvOptions, #[case] file: &[u8], #[case] rows: &[&str]) {
    assert_eq!(
        read(csv(options), DeliveryFormat::Csv, file),
        (rows.iter().map(|row| (*row).to_owned()).collect(), vec![])
    );
}

#[rstest]
#[case::groups_of_three(CsvOptions { delimiter: b';', decimal: ',', thousands: Some('.'), ..plain() }, b"Id;Cost\na;1.23\n")]
#[case::a_point_is_none(CsvOptions { delimiter: b';', decimal: ',', ..plain() }, b"Id;Cost\na;1.5\n")]
#[case::two_fractions(CsvOptions { delimiter: b';', decimal: ',', ..plain() }, b"Id;Cost\na;1,5,5\n")]
#[case::first_group(CsvOptions { delimiter: b';', thousands: Some(','), ..plain() }, b"Id;Cost\na;1234,567\n")]
fn a_number_whose_marks_stand_wrong_is_none(#[case] options: CsvOptions, #[case] file: &[u8]) {
    let batches = deliver(&stays(csv(options)), DeliveryFormat::Csv, file).unwrap();
    assert_eq!(column(&batches[0].rows, "cost"), ["null"]);
    assert!(column(&batches[0].rows, "_rescued")[0].starts_with("{\"Cost\":"));
}

#[rstest]
#[case::header_again(b"Id,Days\na,1\nId,Days\nb,2\n", "Id,Days")]
#[case::total(b"Id,Days\na,1\nb,2\nTotal: 2 rows\n", "Total: 2 rows")]
#[case::mixed_encodings("Id,Days\na,1\nb,2\n\u{fc},3,4\n".as_bytes(), "\u{fc},3,4")]
fn a_line_that_is_no_row_is_a_reject(#[case] file: &[u8], #[case] reject: &str) {
    let (rows, rejects) = read(FileOptions::default(), DeliveryFormat::Csv, file);
    assert_eq!(
        (rows, rejects),
        (vec!["a|null|1|null".to_owned(), "b|null|2|null".to_owned()], vec![reject.to_owned()])
    );
}

#[rstest]
#[case::undecodable(CsvOptions { encoding: Some(WINDOWS_1252), ..plain() }, b"Id\na\nb\x81\n", "is not windows-1252 at line")]
#[case::half_a_sign(CsvOptions { encoding: Some(SHIFT_JIS), ..plain() }, b"Id\na\n\x83", "is not Shift_JIS at line 3")]
#[case::half_a_pair(plain(), b"\xff\xfeI\0d\0\n\0\x00\xd8\n\0", "is not UTF-16LE at line")]
#[case::other_delimiter(CsvOptions { delimiter: b';', ..plain() }, b"Id,Days\na,1\n", "has commas between its columns and semicolons are read")]
#[case::fewer_names(CsvOptions { header: Header::Names(vec!["Days".to_owned()]), ..plain() }, b"1\n", "has no column \"Id\"")]
#[case::missing_after_a_top(CsvOptions { skip_top: 2, ..plain() }, b"of\ntoday\nDays\n1\n", "has no column \"Id\", which the contract requires for id; its header, line 3 of the file, is: Days")]
#[case::only_top(CsvOptions { skip_top: 9, ..plain() }, b"Id\na\n", "has no header line")]
fn a_csv_that_is_none_of_its_contract_is_refused(#[case] options: CsvOptions, #[case] file: &[u8], #[case] says: &str) {
    let error = refused(csv(options), DeliveryFormat::Csv, file);
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_new_column_refuses_the_file_where_the_contract_says_so() {
    let files = FileOptions { new_columns: NewColumns::Refuse, ..FileOptions::default() };
    let error = refused(files, DeliveryFormat::Csv, b"Id,Mood\na,1\n");
    assert!(error.contains("columns that its contract does not name") && error.contains("Mood"), "{error}");
}

#[test]
fn rejects_of_a_file_without_a_header_come_back() {
    let options = CsvOptions { delimiter: b';', header: Header::Contract, decimal: ',', ..plain() };
    let strict = {
        let mut strict = stays(csv(options));
        let rule = RowRule {
            name: "cost.minimum".to_owned(),
            column: Some(1),
            check: Check::Minimum(Bound::Real(10.0)),
            severity: Severity::Error,
        };
        Arc::make_mut(&mut strict).row_rules.push(rule);
        strict
    };
    let decoded = deliver(&strict, DeliveryFormat::Csv, b"a;1,5;;\n").unwrap();
    let mut mild = Contract::clone(&strict);
    mild.row_rules.clear();
    let again = Redecoder::new(Arc::new(mild).into()).redecode(&decoded[0].rejects).unwrap();
    assert_eq!(column(&again.rows[0], "cost"), ["1.5"]);
}

fn within(path: &str) -> FileOptions {
    FileOptions { rows_path: Some(RowsPath::parse(path).unwrap()), ..FileOptions::default() }
}

#[rstest]
#[case::entries("$.entry[*]", "{\"n\":{\"entry\":[1]},\"entry\": [ {\"Id\":\"a\"} , {\"Id\":\"b\"}], \"z\":[]}")]
#[case::resources(
    "$.entry[*].resource",
    "{\"entry\":[{\"x\":1,\"resource\":{\"Id\":\"a\"}},{\"resource\" : {\"Id\":\"b\"},\"y\":{}}]}"
)]
#[case::several_documents(
    "$.entry[*]",
    "{\"entry\":[{\"Id\":\"a\"}]}\n{\"entry\":[]}\n{\"entry\":null}{\"entry\":[{\"Id\":\"b\"}]}\n"
)]
#[case::deep(
    "$.a.b[*].c.d",
    "{\"a\":{\"q\":\"]}\",\"b\":[{\"c\":{\"d\":{\"Id\":\"a\"}}},{\"c\":{\"d\":{\"Id\":\"b\"}}}]}}"
)]
#[case::the_document("$[*].r", "[{\"r\":{\"Id\":\"a\"}},{\"r\":{\"Id\":\"b\"}}]")]
#[case::escaped_name("$.entry[*]", "{\"\\u0065ntry\":[{\"Id\":\"a\"},{\"Id\":\"b\"}]}")]
fn rows_stand_where_the_path_leads(#[case] path: &str, #[case] file: &str) {
    let (rows, rejects) = read(within(path), DeliveryFormat::Ndjson, file.as_bytes());
    assert_eq!(rows, ["a|null|null|null", "b|null|null|null"]);
    assert_eq!(rejects, Vec::<String>::new());
}

#[test]
fn an_element_without_a_row_is_a_reject() {
    let file = b"{\"entry\":[{\"resource\":{\"Id\":\"a\"}},{\"other\":1},7]}";
    let (rows, rejects) = read(within("$.entry[*].resource"), DeliveryFormat::Ndjson, file);
    assert_eq!((rows.len(), rejects), (1, vec!["{\"other\":1}".to_owned(), "7".to_owned()]));
}

#[rstest]
#[case::elsewhere("{\"rows\":[{\"Id\":\"a\"}]}", "has no array at $.entry[*]")]
#[case::no_array("{\"entry\":{}}", "line 1, byte 9 of the file: an array was expected")]
#[case::no_object("[]", "an object was expected, as the contract's rowsPath says")]
#[case::cut("{\"entry\":[{\"Id\":\"a\"}", "the file ends within its document")]
#[case::cut_after("{\"entry\":[{\"Id\":\"a\"}],\"x\":", "the file ends within its document")]
#[case::empty("", "has no array at $.entry[*]")]
fn a_document_without_the_way_is_refused(#[case] file: &str, #[case] says: &str) {
    let error = refused(within("$.entry[*]"), DeliveryFormat::Ndjson, file.as_bytes());
    assert!(error.contains(says), "{error}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const TWO: &[u8] = b"Id,Days\na,1\nb,2\n";

#[rstest]
#[case::gzip(DeliveryFormat::Csv, gzip(TWO))]
#[case::gzip_of_two_members(DeliveryFormat::Csv, [gzip(b"Id,Days\na,"), gzip(b"1\nb,2\n")].concat())]
#[case::zstandard(DeliveryFormat::Csv, zstd::encode_all(TWO, 1).unwrap())]
#[case::zstandard_of_two_frames(DeliveryFormat::Csv, [zstd::encode_all(&TWO[..9], 1).unwrap(), zstd::encode_all(&TWO[9..], 1).unwrap()].concat())]
#[case::zip(DeliveryFormat::Csv, zipped(&[("x/export.txt", TWO)]))]
#[case::zip_by_its_names(DeliveryFormat::Zip, zipped(&[("1.csv", b"Id,Days\na,1\n"), ("__MACOSX/._1.csv", b"\0"), ("2.csv", b"Days,Id\n2,b\n")]))]
#[case::zip_of_two_forms(DeliveryFormat::Zip, zipped(&[("1.csv", b"Id,Days\na,1\n"), ("2.json", b"{\"Id\":\"b\",\"Days\":2}")]))]
fn a_packed_file_is_what_is_in_it(#[case] format: DeliveryFormat, #[case] file: Vec<u8>) {
    let decoded = deliver(&stays(FileOptions::default()), format, &file).unwrap();
    let all = |name: &str| decoded.iter().flat_map(|batch| column(&batch.rows, name)).collect::<Vec<_>>();
    assert_eq!((all("id"), all("days")), (vec!["a".to_owned(), "b".to_owned()], vec!["1".to_owned(), "2".to_owned()]));
    assert_eq!(all("_offset"), ["0", "1"]);
}

#[rstest]
#[case::gzip_cut({ let file = gzip(TWO); file[..file.len() - 5].to_vec() }, "packed with gzip and cannot be unpacked past byte 16 of its content: it is cut off")]
#[case::gzip_damaged({ let mut file = gzip(TWO); let at = file.len() - 6; file[at] ^= 1; file }, "it is damaged")]
#[case::gzip_and_more([gzip(TWO), b"garbage".to_vec()].concat(), "packed with gzip")]
#[case::gzip_twice(gzip(&gzip(TWO)), "is compressed with gzip twice")]
#[case::zstandard_cut({ let file = zstd::encode_all(TWO, 1).unwrap(); file[..file.len() - 3].to_vec() }, "packed with Zstandard")]
#[case::zip_cut({ let file = zipped(&[("a.csv", TWO)]); file[..file.len() - 30].to_vec() }, "its index is not there: it is cut off")]
#[case::zip_of_nothing(zipped(&[("a.csv", b"")]), "a.csv of the archive: the delivery of readings has no header line")]
#[case::zip_climbs(zipped(&[("../../a.csv", TWO)]), "a name that leads out of its folder")]
#[case::zip_from_the_root(zipped(&[("/etc/a.csv", TWO)]), "a name that leads out of its folder")]
#[case::workbook(zipped(&[("[Content_Types].xml", b"<x/>")]), "it is a workbook")]
#[case::nothing(zipped(&[]), "there is no file in it")]
#[case::second_file(zipped(&[("a.csv", TWO), ("b.csv", b"Id,Days\n\"c,3\n")]), "b.csv of the archive: the delivery of readings opens a quote in the record at line 2")]
#[case::tar({ let mut file = vec![b'a'; 600]; file[257..262].copy_from_slice(b"ustar"); file }, "is a tar archive")]
fn a_packing_that_is_broken_refuses_the_file(#[case] file: Vec<u8>, #[case] says: &str) {
    let error = refused(FileOptions::default(), DeliveryFormat::Csv, &file);
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_file_of_an_archive_whose_checksum_is_wrong_refuses_it() {
    let file = zipped(&[("a.csv", TWO)]);
    // The checksum stands in the file's own head and in the index: 16 bytes into an entry of it.
    let at = file.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 16;
    let mut wrong = file.clone();
    wrong[at] ^= 0xff;
    let error = refused(FileOptions::default(), DeliveryFormat::Csv, &wrong);
    assert!(error.contains("a.csv of the archive") && error.contains("checksum does not come out"), "{error}");
}

#[test]
fn an_archive_of_ten_thousand_files_is_refused_before_they_are_looked_at() {
    let names: Vec<String> = (0..10_000).map(|name| format!("{name}.csv")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), TWO)).collect();
    let error = refused(FileOptions::default(), DeliveryFormat::Zip, &zipped(&files));
    assert!(error.contains("more than 1000 files"), "{error}");
}

#[test]
fn an_encrypted_archive_is_refused() {
    let mut file = zipped(&[("a.csv", TWO)]);
    for (mark, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = file.windows(4).position(|window| window == mark).unwrap();
        file[at + flags] |= 1;
    }
    let error = refused(FileOptions::default(), DeliveryFormat::Csv, &file);
    assert!(error.contains("it is encrypted"), "{error}");
}

#[rstest]
#[case::gzip(false)]
#[case::zip(true)]
fn a_bomb_is_refused_before_it_is_unpacked(#[case] archive: bool) {
    let line = [b"a".repeat(1 << 20), b",1\n".to_vec()].concat();
    let mut packed = GzEncoder::new(Vec::new(), Compression::new(9));
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("a.csv", SimpleFileOptions::default().compression_level(Some(9))).unwrap();
    for part in std::iter::once(b"Id,Days\n".as_slice()).chain(std::iter::repeat_n(line.as_slice(), 80)) {
        if archive { writer.write_all(part).unwrap() } else { packed.write_all(part).unwrap() }
    }
    let file = if archive { writer.finish().unwrap().into_inner() } else { packed.finish().unwrap() };
    let error = decode_delivery(stays(FileOptions::default()), DeliveryFormat::Csv, file.as_slice(), 1, 0)
        .find_map(Result::err)
        .unwrap()
        .to_string();
    assert!(error.contains("more than 400 times as large"), "{error}");
}

/// Gives the same bytes again and again, as a file that never ends.
struct Endless(&'static [u8], usize);

impl std::io::Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        for place in into.iter_mut() {
            *place = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        assert!(self.1 < 64 << 20, "more was read than one record may have");
        Ok(into.len())
    }
}

#[rstest]
#[case::csv(DeliveryFormat::Csv, plain(), b"a,", "line 1 of more than 16777216 bytes")]
#[case::csv_quoted(DeliveryFormat::Csv, plain(), b"\"a", "line 1 of more than 16777216 bytes")]
#[case::top(DeliveryFormat::Csv, CsvOptions { skip_top: 1, ..plain() }, b"x", "line 1 of more than 16777216 bytes")]
#[case::bottom(DeliveryFormat::Csv, CsvOptions { skip_bottom: 2, ..plain() }, b"x", "line 1 of more than 16777216 bytes")]
#[case::json(DeliveryFormat::Ndjson, plain(), b"{\"a\":", "of more than 16777216 bytes")]
fn a_line_without_an_end_is_refused_in_bounded_memory(
    #[case] format: DeliveryFormat,
    #[case] options: CsvOptions,
    #[case] bytes: &'static [u8],
    #[case] says: &str,
) {
    let contract = stays(csv(options));
    let error = decode_delivery(contract, format, Endless(bytes, 0), 1, 0).find_map(Result::err).unwrap().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn ten_thousand_columns_are_rescued_and_a_large_field_is_refused_with_its_line() {
    let names: Vec<String> = (0..10_000).map(|name| format!("c{name}")).collect();
    let file = format!("Id,{}\na,{}\n", names.join(","), vec!["1"; 10_000].join(","));
    let (rows, _) = read(FileOptions::default(), DeliveryFormat::Csv, file.as_bytes());
    assert_eq!(rows, ["a|null|null|null"]);
    let file = format!("Id,Days\nb,1\n\"{}\",1\n", "x".repeat(100 << 20));
    let error = decode_delivery(stays(FileOptions::default()), DeliveryFormat::Csv, file.as_bytes(), 1, 0)
        .find_map(Result::err)
        .unwrap();
    assert!(error.to_string().contains("a record at line 3 of more than 16777216 bytes"), "{error}");
}

fn encodings() -> impl Strategy<Value = Option<&'static Encoding>> {
    prop_oneof![Just(None), Just(Some(WINDOWS_1252)), Just(Some(UTF_16LE)), Just(Some(SHIFT_JIS))]
}

proptest! {
    #[test]
    fn any_bytes_in_any_form_are_rows_rejects_or_an_error(
        file in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b';'), Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(b'#')], 0..200),
        encoding in encodings(), escape in any::<bool>(), quote in any::<bool>(), header in any::<bool>(), top in 0_u32..3, bottom in 0_u32..3,
    ) {
        let options = CsvOptions {
            delimiter: b';',
            quote: quote.then_some(b'"'),
            escape: escape.then_some(b'\\'),
            encoding,
            header: if header { Header::FirstLine } else { Header::Contract },
            decimal: ',',
            thousands: Some('.'),
            comment: Some(b'#'),
            skip_top: top,
            skip_bottom: bottom,
            ..plain()
        };
        let _ = deliver(&stays(csv(options)), DeliveryFormat::Csv, &file);
        let _ = deliver(&stays(within("$.entry[*].r")), DeliveryFormat::Ndjson, &file);
        for mark in [b"\x1f\x8b\x08\0".as_slice(), b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"{\"entry\":["] {
            let _ = deliver(&stays(within("$.entry[*].r")), DeliveryFormat::Ndjson, &[mark, &file].concat());
        }
    }

    #[test]
    fn cells_come_back_as_they_were_written_in_any_form(
        cells in proptest::collection::vec("[ -~\n\réß]{1,12}", 1..20),
        escape in any::<bool>(), delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b'|')], utf16 in any::<bool>(),
    ) {
        let options = CsvOptions { delimiter, escape: escape.then_some(b'\\'), ..plain() };
        let mut file = format!("Id{}Days\r\n", char::from(delimiter));
        for cell in &cells {
            let cell = if escape { cell.replace('\\', "\\\\").replace('"', "\\\"") } else { cell.replace('"', "\"\"") };
            file.push_str(&format!("\"{cell}\"{}1\r\n", char::from(delimiter)));
        }
        let bytes = if utf16 {
            [0xff, 0xfe].into_iter().chain(file.encode_utf16().flat_map(u16::to_le_bytes)).collect()
        } else {
            file.into_bytes()
        };
        let batches = deliver(&stays(csv(options)), DeliveryFormat::Csv, &bytes).unwrap();
        prop_assert_eq!(&column(&batches[0].rows, "id"), &cells);
    }

    #[test]
    fn a_packed_file_that_is_cut_anywhere_is_never_taken_for_whole(cut in any::<prop::sample::Index>(), form in 0_usize..3) {
        let file = [gzip(TWO), zstd::encode_all(TWO, 1).unwrap(), zipped(&[("a.csv", TWO)])][form].clone();
        // What is too short to be told from text is refused as text.
        prop_assert!(deliver(&stays(FileOptions::default()), DeliveryFormat::Csv, &file[..cut.index(file.len())]).is_err());
    }
}
