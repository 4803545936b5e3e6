//! What a user sees.

use vitalake_contract::Layer;
use vitalake_contract::diagnostic::render;
use vitalake_contract::odcs::lint;

use crate::findings::compile_as;
use crate::shared::contract;

fn broken() -> String {
    contract(
        "domian: health\ntenant: 7\nslaProperties: [{property: retention, value: 5, unit: m}]",
        "      - name: heart_rate
        logicalType: integr
        requird: true
      - name: device
        logicalType: string
      - name: at
        logicalType: timestamp
        logicalTypeOptions: {format: yyyy-MM-dd HH:mm:ss}
        quality:
          - {metric: nullValues}",
        "    quality:
      - {metric: duplicateValues, mustBe: 0, arguments: {properties: [devise, at]}}",
    )
}

#[test]
fn a_contract_with_many_mistakes() {
    insta::assert_snapshot!(render(&compile_as(Layer::Raw, &broken()).diagnostics, false));
}

#[test]
fn the_same_in_colour() {
    let found = compile_as(Layer::Raw, &broken()).diagnostics;
    insta::assert_snapshot!(render(&found[..1], true).replace('\u{1b}', "ESC"));
}

#[test]
fn the_standards_own_verdict() {
    insta::assert_snapshot!(render(&lint("broken.yaml", &broken()), false));
}

#[test]
fn a_tab() {
    insta::assert_snapshot!(render(&lint("tab.yaml", "kind: DataContract\nschema:\n\t- name: a\n"), false));
}
