//! The SQL of `quality`: counts that stand for metrics, and the one form of query that is a rule on a row.
//!
//! Text only; the lake plans and runs it. `{object}` stands for the dataset until then.

use std::sync::LazyLock;

use regex::Regex;

use crate::rule::Measure;

/// Counts the rows for which the predicate is true, or their share in percent.
pub(super) fn count(predicate: &str, percent: bool) -> Measure {
    Measure::Sql(if percent {
        format!(
            "SELECT COALESCE(100.0 * SUM(CASE WHEN {predicate} THEN 1 ELSE 0 END) / NULLIF(COUNT(*), 0), 0) FROM {{object}}"
        )
    } else {
        format!("SELECT COUNT(*) FROM {{object}} WHERE {predicate}")
    })
}

/// A text as a literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn sql_list(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// The predicate of `SELECT COUNT(*) FROM {object} WHERE p`, when p looks at one row alone.
pub(super) fn row_predicate(query: &str) -> Option<String> {
    static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?is)^select\s+count\s*\(\s*(?:\*|1)\s*\)\s+from\s+\{object\}\s+where\s+(.+)$").ok()
    });
    let predicate = FORM.as_ref()?.captures(query)?.get(1)?.as_str().trim();
    let words = words_outside_quotes(predicate)?;
    let of_a_set = ["select", "group", "having", "union", "intersect", "except", "order", "limit", "over", "join"];
    let plain = !words.iter().any(|word| of_a_set.contains(&word.as_str()));
    (plain && !predicate.contains("{object}")).then(|| predicate.to_owned())
}

/// The words of a text of SQL that stand outside of quotes; nothing when a quote does not close or a comment begins.
fn words_outside_quotes(sql: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut previous = ' ';
    for character in sql.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"' | '`') => quote = Some(character),
            None if matches!((previous, character), ('-', '-') | ('/', '*')) || character == ';' => {
                return None;
            }
            None if character.is_alphanumeric() || character == '_' => {
                if let Some(word) = words.last_mut() {
                    word.extend(character.to_lowercase());
                }
            }
            None => words.push(String::new()),
        }
        previous = character;
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("SELECT COUNT(*) FROM {object} WHERE a < b", Some("a < b"))]
    #[case("select count( * )\nfrom {object}\nwhere a IS NULL", Some("a IS NULL"))]
    #[case("SELECT COUNT(*) FROM {object} WHERE note = 'group by; --'", Some("note = 'group by; --'"))]
    #[case("SELECT COUNT(*) FROM {object}", None)]
    #[case("SELECT COUNT(*) FROM {object} WHERE a > (SELECT AVG(a) FROM {object})", None)]
    #[case("SELECT COUNT(*) FROM {object} WHERE a = 1 GROUP BY b", None)]
    #[case("SELECT COUNT(*) FROM {object} WHERE a = 1 -- always", None)]
    #[case("SELECT COUNT(*) FROM {object} WHERE a = 'open", None)]
    #[case("SELECT COUNT(DISTINCT a) FROM {object} WHERE a = 1", None)]
    #[case("SELECT COUNT(*) FROM other WHERE a = 1", None)]
    fn the_form_that_is_a_row_rule(#[case] query: &str, #[case] predicate: Option<&str>) {
        assert_eq!(row_predicate(query).as_deref(), predicate);
    }
}
