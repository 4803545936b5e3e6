//! Files made to hurt: whatever the bytes, an answer in short time, never a panic.

use std::fmt::Write as _;

use proptest::prelude::*;
use rstest::rstest;
use vitalake_contract::diagnostic::render;
use vitalake_contract::odcs::{DIAGNOSTICS_MAX, lint, lint_bytes};
use vitalake_contract::{DatasetName, Layer, compile::compile};

use crate::shared::contract;

fn alias_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        writeln!(text, "a{level}: &a{level} [{}]", before.trim_end_matches(", ")).unwrap();
    }
    text
}

fn alias_ladder() -> String {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..200 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    text
}

#[rstest]
#[case::empty(b"".to_vec(), "empty-file")]
#[case::comment(b"# nothing\n".to_vec(), "empty-file")]
#[case::not_utf8(b"kind: DataContract\nname: \xff\xfe\n".to_vec(), "not-utf8")]
#[case::tab(b"kind: DataContract\nschema:\n\t- name: a\n".to_vec(), "yaml")]
#[case::open_quote(b"kind: \"DataContract\n".to_vec(), "yaml")]
#[case::open_bracket(b"kind: [a, b\n".to_vec(), "yaml")]
#[case::unknown_anchor(b"kind: *nobody\n".to_vec(), "yaml")]
#[case::own_anchor(b"a: &a [*a]\n".to_vec(), "yaml")]
#[case::two_documents(b"kind: a\n---\nkind: b\n".to_vec(), "several-documents")]
#[case::merge(b"a: &a {x: 1}\nb:\n  <<: *a\n".to_vec(), "merge-key")]
#[case::list_as_key(b"[a, b]: c\n".to_vec(), "yaml")]
#[case::scalar(b"just text\n".to_vec(), "wrong-type")]
#[case::deep_block("- ".repeat(100_000).into_bytes(), "nested-too-deep")]
#[case::deep_flow("[".repeat(100_000).into_bytes(), "nested-too-deep")]
#[case::deep_maps("{a: ".repeat(100_000).into_bytes(), "nested-too-deep")]
#[case::bomb(alias_bomb().into_bytes(), "too-many-values")]
#[case::ladder(alias_ladder().into_bytes(), "nested-too-deep")]
#[case::wide(format!("a: [{}]", "1,".repeat(300_000)).into_bytes(), "too-many-values")]
#[case::large(vec![b' '; 2_000_000], "file-too-large")]
fn a_clear_answer(#[case] bytes: Vec<u8>, #[case] code: &str) {
    let found = lint_bytes("hostile.yaml", &bytes);
    assert_eq!(found.first().map(|d| d.code), Some(code), "{}", render(&found, false));
    assert!(found.iter().all(|d| d.help.is_some() || d.code == "wrong-type"), "{}", render(&found, false));
}

#[test]
fn findings_are_limited() {
    let mut text = String::new();
    for key in 0..5000 {
        writeln!(text, "k{key}: x").unwrap();
    }
    assert!(lint("many.yaml", &text).len() <= DIAGNOSTICS_MAX);
}

fn compile_any(bytes: &[u8]) {
    let _ = render(&lint_bytes("any.yaml", bytes), true);
    for layer in [Layer::Raw, Layer::Curated, Layer::Serving] {
        let _ = compile("any.yaml", bytes, layer, &DatasetName::new("readings").unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        compile_any(&bytes);
    }

    #[test]
    fn any_yaml_like_text(text in "[-a-c:?*&!|>'\"{}\\[\\], #%@`~<=\\n\\t.0-9\u{e4}\u{feff}]{0,200}") {
        compile_any(text.as_bytes());
    }

    /// A good contract with a piece of it replaced by something else.
    #[test]
    fn any_change_of_a_good_contract(at in 0usize..2000, length in 0usize..40, piece in "[-a-z:*&'\"{}\\[\\], \\n0-9.]{0,20}") {
        let good = contract(
            "customProperties: [{property: partitions, value: 4}]\nslaProperties: [{property: freshness, value: 15, unit: min}]",
            "      - {name: a, logicalType: integer, primaryKey: true, primaryKeyPosition: 1, logicalTypeOptions: {minimum: 1, maximum: 5}}
      - {name: t, logicalType: timestamp, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss', defaultTimezone: Etc/UTC}}",
            "    quality: [{type: sql, mustBe: 0, query: 'SELECT COUNT(*) FROM {object} WHERE a < 0'}, {metric: rowCount, mustBeBetween: [1, 2]}]",
        );
        let start = at % good.len();
        let end = (start + length).min(good.len());
        let changed = [&good[..start], piece.as_str(), &good[end..]].concat();
        compile_any(changed.as_bytes());
    }
}
