use rstest::rstest;
use serde_json::json;

use super::*;

fn asset(kind: AssetKind, body: Json) -> Asset {
    Asset { kind, uuid: uuid::Uuid::nil(), name: "x".into(), path: "x".into(), body }
}

fn told_of(kind: AssetKind, ours: Json, theirs: Json) -> Vec<String> {
    differences(&asset(kind, ours), &asset(kind, theirs)).iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::ids_and_defaults(
    AssetKind::Chart,
    json!({"slice_name": "A", "uuid": "1", "params": {"metric": "m"}, "query_context": "{\"datasource\":{\"id\":1},\"queries\":[{\"row_limit\":1}]}"}),
    json!({"slice_name": "A", "uuid": "2", "cache_timeout": null, "params": {"metric": "m", "datasource": "7__table"},
           "query_context": "{\"datasource\": {\"id\": 7}, \"form_data\": {}, \"queries\": [{\"row_limit\": 1}]}"})
)]
#[case::colours_that_the_page_adds(
    AssetKind::Dashboard,
    json!({"metadata": {"color_scheme": "c"}, "position": {"A": {"meta": {"chartId": 1, "width": 4}}}}),
    json!({"metadata": {"color_scheme": "c", "map_label_colors": {"a": "#fff"}}, "position": {"A": {"meta": {"chartId": 9, "width": 4}}}})
)]
#[case::order_of_columns(
    AssetKind::Dataset,
    json!({"columns": [{"column_name": "a", "extra": {}}, {"column_name": "b", "is_dttm": false}]}),
    json!({"columns": [{"column_name": "b"}, {"column_name": "a", "extra": "{}", "type": null}]})
)]
#[case::a_password(
    AssetKind::Database,
    json!({"sqlalchemy_uri": "druid://u:geheim@h/x"}),
    json!({"sqlalchemy_uri": "druid://u:XXXXXXXXXX@h/x", "allow_file_upload": false})
)]
#[case::options_that_are_written_anew(
    AssetKind::Database,
    json!({"sqlalchemy_uri": "druid+https://h/x?header=true&ssl_verify_cert=/etc/ca%20.pem"}),
    json!({"sqlalchemy_uri": "druid+https://h/x?ssl_verify_cert=%2Fetc%2Fca%20.pem&header=true"})
)]
#[case::charts_that_a_filter_leaves_alone(
    AssetKind::Dashboard,
    json!({"position": {"A": {"meta": {"chartId": 1, "uuid": "a"}}, "B": {"meta": {"chartId": 2, "uuid": "b"}}},
           "metadata": {"native_filter_configuration": [{"scope": {"excluded": [1, 2]}}]}}),
    json!({"position": {"A": {"meta": {"chartId": 40, "uuid": "a"}}, "B": {"meta": {"chartId": 7, "uuid": "b"}}},
           "metadata": {"native_filter_configuration": [{"scope": {"excluded": [7, 40]}}]}})
)]
fn what_is_the_same_is_no_difference(#[case] kind: AssetKind, #[case] ours: Json, #[case] theirs: Json) {
    assert_eq!(told_of(kind, ours, theirs), Vec::<String>::new());
}

#[rstest]
#[case::measure(
    AssetKind::Chart, json!({"params": {"metric": "p95"}, "query_context": "{\"queries\":[1]}"}),
    json!({"params": {"metric": "avg"}, "query_context": "{\"queries\":[2]}"}), "measure: avg → p95"
)]
#[case::query_alone(
    AssetKind::Chart, json!({"query_context": "{\"queries\":[1]}"}), json!({"query_context": "{\"queries\":[2]}"}),
    "query of its data: 2 → 1"
)]
#[case::column_by_hand(
    AssetKind::Dataset, json!({"columns": [{"column_name": "a"}]}),
    json!({"columns": [{"column_name": "a"}, {"column_name": "b"}]}), "column b goes"
)]
#[case::new_measure(
    AssetKind::Dataset, json!({"metrics": [{"metric_name": "m", "expression": "1"}]}), json!({"metrics": []}), "measure m is new"
)]
#[case::expression(
    AssetKind::Dataset, json!({"metrics": [{"metric_name": "m", "expression": "1"}]}),
    json!({"metrics": [{"metric_name": "m", "expression": "2"}]}), "measure m: expression: 2 → 1"
)]
#[case::moved(
    AssetKind::Dashboard, json!({"position": {"A": {"meta": {"width": 4}}}}),
    json!({"position": {"A": {"meta": {"width": 6}}, "B": {}}}), "layout"
)]
#[case::a_chart_that_a_filter_leaves_alone(
    AssetKind::Dashboard,
    json!({"position": {"A": {"meta": {"chartId": 1, "uuid": "a"}}}, "metadata": {"native_filter_configuration": [{"scope": {"excluded": [1]}}]}}),
    json!({"position": {"A": {"meta": {"chartId": 40, "uuid": "a"}}}, "metadata": {"native_filter_configuration": [{"scope": {"excluded": []}}]}}),
    "filters"
)]
#[case::removed_description(AssetKind::Chart, json!({"description": null}), json!({"description": "old"}), "description: old goes")]
fn what_differs_is_told_in_words(
    #[case] kind: AssetKind,
    #[case] ours: Json,
    #[case] theirs: Json,
    #[case] words: &str,
) {
    assert_eq!(told_of(kind, ours, theirs), vec![words.to_owned()]);
}
