//! The reference page of all settings.
//!
//! Invariant: it is made from the list alone, so that it says what the parser takes.

use super::SETTINGS;

const REFERENCE_HEAD: &str = "\
# Configuration

The settings of a project's `vitalake.yaml`. This page is made from the list in `crates/runtime/src/config/settings.rs`;
`UPDATE_DOCS=1 cargo test -p vitalake-runtime` writes it again.

A value is taken from the first of these that gives one:

1. a flag (`--data`, `--kafka`, `--http`),
2. the environment variable of the setting,
3. `vitalake.yaml`,
4. the default.

`${NAME}` inside a value of the file stands for the environment variable `NAME`, so that a secret need not be written
there; `$${NAME}` stands for the text `${NAME}`. A key that is not in this list is an error. A map's variable is a JSON object,
whose names stand above the same names of the file.

| setting | type | default | environment variable | what it is |
|---|---|---|---|---|
";

/// The reference page of all settings (docs/configuration.md).
pub fn reference_markdown() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    for setting in SETTINGS {
        let variable = setting.environment_variable().map_or("none".to_string(), |name| format!("`{name}`"));
        let row = format!(
            "| `{}` | {} | {} | {} | {} |\n",
            setting.key,
            setting.type_name(),
            setting.default,
            variable,
            setting.description
        );
        page.push_str(&row);
    }
    page
}
