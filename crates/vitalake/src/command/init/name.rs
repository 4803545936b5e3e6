//! Names for datasets and columns out of the names of files and fields, and which names are better not written down.
//!
//! Invariant: what is given here is a legal name, whatever it is made from.

/// The longest name that is made.
const NAME_CHARS_MAX: usize = 60;

/// A dataset's name out of a file's: `hourlySteps_merged.csv` is `hourly_steps_merged`.
pub(in crate::command) fn dataset(file_name: &str) -> String {
    let stem = file_name.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let name = snake(stem);
    if name.is_empty() { "sample".to_owned() } else { with_letter(name, "d_") }
}

/// A project's name out of a folder's.
pub(super) fn project(folder: &str) -> String {
    let name = snake(folder).replace('_', "-");
    if name.is_empty() { "lake".to_owned() } else { name }
}

/// A column's name out of the fields on the way to it, unlike those that are taken.
pub(in crate::command) fn column(path: &[String], taken: &[String]) -> String {
    let joined = snake(&path.join("_"));
    let name = if joined.is_empty() { "field".to_owned() } else { with_letter(joined, "c_") };
    let free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or(name.clone())
}

/// Whether a contract's `path` can say this field's name.
pub(in crate::command) fn is_path(step: &str) -> bool {
    !step.is_empty() && !step.contains(['[', ']', '*', '\'', '"', '$']) && !step.contains(char::is_control)
}

/// Whether a name is more likely a value: an id, a number, a day, an address. Names of that kind are keys of a map, or
/// the first line of a file without a header, and are not written into a contract.
pub(super) fn is_like_a_value(name: &str) -> bool {
    let digits = name.chars().filter(char::is_ascii_digit).count();
    let letters = name.chars().filter(|c| c.is_alphabetic()).count();
    let longest_digits = name.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    let hexadecimal = name.len() >= 16 && name.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    name.chars().count() > 64
        || name.contains('@')
        || longest_digits >= 5
        || digits > letters
        || (hexadecimal && digits > 0)
}

/// Whether a column of this name identifies something, so that its digits are no quantity.
pub(super) fn is_identifier(name: &str) -> bool {
    let snake = snake(name);
    let last = snake.rsplit('_').next().unwrap_or_default();
    let whole = [
        "id", "ids", "uuid", "guid", "key", "code", "zip", "zipcode", "postcode", "phone", "ssn", "npi", "mrn", "ean",
        "imei",
    ];
    whole.contains(&last)
        || snake.ends_with("postal_code")
        || snake.ends_with("phone_number")
        || snake.ends_with("account_number")
}

/// Letters in lower case, digits and single underscores; a capital after a small letter begins a word.
fn snake(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    let mut before = '_';
    while let Some(character) = characters.next() {
        let begins_word = character.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && characters.peek().is_some_and(char::is_ascii_lowercase)));
        if begins_word && !name.ends_with('_') {
            name.push('_');
        }
        match character {
            letter if letter.is_ascii_alphanumeric() => name.push(letter.to_ascii_lowercase()),
            '%' => name.push_str("_percent"),
            _ if !name.ends_with('_') => name.push('_'),
            _ => {}
        }
        before = character;
    }
    let trimmed = name.trim_matches('_');
    trimmed.chars().take(NAME_CHARS_MAX).collect::<String>().trim_end_matches('_').to_owned()
}

/// A name that begins with a letter, and that YAML does not read as something else than a text.
fn with_letter(name: String, prefix: &str) -> String {
    let is_text = name.starts_with(|c: char| c.is_ascii_lowercase()) && !["null", "true", "false"].contains(&&*name);
    if is_text { name } else { format!("{prefix}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("hourlySteps_merged.csv", "hourly_steps_merged")]
    #[case("Patient.000.ndjson", "patient")]
    #[case("2016-04 export.csv", "d_2016_04_export")]
    #[case("..", "sample")]
    #[case("null.csv", "d_null")]
    #[case("Größe.csv", "gr_e")]
    fn a_dataset_is_named_after_its_file(#[case] file: &str, #[case] name: &str) {
        assert_eq!(dataset(file), name);
        assert!(vitalake_contract::DatasetName::new(name).is_ok());
    }

    #[rstest::rstest]
    #[case(&["StepTotal"], "step_total")]
    #[case(&["vitals", "HRAvg"], "vitals_hr_avg")]
    #[case(&["Glucose Value (mg/dL)"], "glucose_value_mg_d_l")]
    #[case(&["_id"], "id")]
    #[case(&["2nd reading"], "c_2nd_reading")]
    #[case(&["taken"], "taken_2")]
    #[case(&["True"], "c_true")]
    #[case(&["(%)"], "percent")]
    fn a_column_is_named_after_its_fields(#[case] path: &[&str], #[case] name: &str) {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        assert_eq!(column(&path, &["taken".to_owned()]), name);
    }

    #[test]
    fn keys_that_are_values_are_told_from_names() {
        for value in [
            "2016-05-01",
            "12345678",
            "p-000123",
            "a@b.example",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "7",
            "M12",
            "03/04",
        ] {
            assert!(is_like_a_value(value), "{value}");
        }
        for name in [
            "Id",
            "spo2",
            "heart_rate_5s",
            "address1",
            "PM2.5",
            "Glucose Value (mg/dL)",
            "HbA1c",
            "valueQuantity",
            "q1",
        ] {
            assert!(!is_like_a_value(name), "{name}");
        }
    }
}
