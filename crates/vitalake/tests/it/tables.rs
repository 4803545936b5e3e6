//! Answers as a person reads them.

use serde_json::json;
use vitalake::client::Answer;
use vitalake::output::Style;
use vitalake::table::{draw, thousands};

#[test]
fn numbers_stand_right_text_left_and_null_is_not_empty_text() {
    let answer = Answer {
        names: vec!["patient_id".into(), "readings".into(), "note".into()],
        types: vec!["VARCHAR".into(), "BIGINT".into(), "VARCHAR".into()],
        rows: vec![
            vec![json!("pat-0001"), json!(7), json!(null)],
            vec![json!("pat-0002"), json!(12_345), json!("")],
            vec![json!("Zoë 東京"), json!(null), json!("two\nlines \u{1b}[31mred")],
            vec![json!("long"), json!(1), json!("x".repeat(200))],
        ],
    };
    insta::assert_snapshot!(draw(&answer, Style::plain()));
}

#[test]
fn an_answer_without_rows_still_names_its_columns() {
    let answer = Answer { names: vec!["n".into()], types: vec!["BIGINT".into()], rows: vec![] };
    assert_eq!(draw(&answer, Style::plain()), " n\n───\n");
}

#[test]
fn thousands_are_apart() {
    assert_eq!([0, 999, 1_000, 1_325_580].map(thousands), ["0", "999", "1,000", "1,325,580"]);
}
