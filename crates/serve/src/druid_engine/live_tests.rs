//! The supervisor of a raw dataset, as it is sent.

#![allow(clippy::unwrap_used)]

use vitalake_contract::compile::compile;
use vitalake_contract::{DatasetName, Layer};

use super::*;

const CONTRACT: &str = "
apiVersion: v3.1.0
kind: DataContract
id: 0b321436-ecdd-5620-a041-be02992e21b9
name: readings
version: 1.0.0
status: active
schema:
  - name: readings
    physicalType: table
    properties:
      - {name: device, logicalType: string, required: true}
      - {name: at, logicalType: timestamp, required: true}
      - {name: pulse, logicalType: integer, customProperties: [{property: path, value: $.vitals.pulse}]}
      - {name: worn, logicalType: boolean}
      - {name: context, logicalType: object}
customProperties:
  - {property: topic, value: wearable-readings}
";

fn contract(text: &str) -> Contract {
    compile("x.yaml", text.as_bytes(), Layer::Raw, &DatasetName::new("readings").unwrap()).contract.unwrap()
}

fn specification(text: &str, properties: &BTreeMap<String, Value>) -> Result<Value, String> {
    let contract = contract(text);
    let streamed = Streamed {
        contract: &contract,
        table: "0b32",
        datasource: "readings_live",
        bootstrap: "broker:9092",
        properties,
        days: 7,
    };
    streamed.specification()
}

#[test]
fn a_supervisor_is_made_of_the_contract() {
    let specification = specification(CONTRACT, &BTreeMap::new()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&specification).unwrap());
}

#[test]
fn a_supervisor_is_known_again_and_whether_its_contract_has_changed() {
    let none = BTreeMap::new();
    let first = specification(CONTRACT, &none).unwrap();
    let made_of = first.pointer("/context/vitalake").unwrap();
    assert!(is_of(made_of, "0b32") && is_same(made_of, &specification(CONTRACT, &none).unwrap()));
    assert!(!is_of(made_of, "another") && !is_of(&Value::Null, "0b32") && !is_same(&Value::Null, &first));
    let secured = BTreeMap::from([("security.protocol".to_owned(), json!("SASL_SSL"))]);
    for other in [
        specification(&CONTRACT.replace("name: pulse", "name: heart_rate"), &none),
        specification(&CONTRACT.replace("value: wearable-readings", "value: readings-2"), &none),
        specification(CONTRACT, &secured),
    ] {
        assert!(!is_same(made_of, &other.unwrap()));
    }
}

#[test]
fn without_a_column_of_time_it_is_the_record_s_own() {
    let text = CONTRACT.replace("name: at, logicalType: timestamp, required: true", "name: at, logicalType: string");
    let specification = specification(&text, &BTreeMap::new()).unwrap();
    let column = specification.pointer("/spec/dataSchema/timestampSpec/column").unwrap();
    assert_eq!(column, specification.pointer("/spec/ioConfig/inputFormat/timestampColumnName").unwrap());
}

#[test]
fn what_druid_cannot_read_as_we_do_is_refused_in_words() {
    let with = |format: &str| {
        let options = format!("name: at, logicalType: timestamp, logicalTypeOptions: {{{format}}}, required: true");
        specification(&CONTRACT.replace("name: at, logicalType: timestamp, required: true", &options), &BTreeMap::new())
    };
    let ours = with("format: 'dd.MM.yyyy HH:mm:ss', defaultTimezone: Etc/UTC").unwrap();
    assert_eq!(ours.pointer("/spec/dataSchema/timestampSpec/format").unwrap(), "dd.MM.yyyy HH:mm:ss");
    for format in ["format: 'yyyy-MM-dd HH:mm XXX'", "format: 'yyyy-MM-dd HH:mm', defaultTimezone: Europe/Berlin"] {
        let refused = with(format).unwrap_err();
        assert!(refused.contains("column at"), "{refused}");
    }
    let feed = CONTRACT.replace("{property: topic, value: wearable-readings}", "{property: source, value: feed}");
    assert!(specification(&feed, &BTreeMap::new()).unwrap_err().contains("no topic"));
}
