//! Which versions of Spark can be spoken to. Pure.
//!
//! Rows that are too many for one message are sent as Spark has taken them since 4.1. Invariant: what is shown of a version
//! has the characters of one.

const OLDEST: (u64, u64) = (4, 1);

/// Whether a version, such as `4.2.0` or `4.1.0-preview1`, can be spoken to.
pub(crate) fn suffices(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().ok());
    let (Some(Some(major)), minor) = (numbers.next(), numbers.next().flatten()) else { return false };
    (major, minor.unwrap_or(0)) >= OLDEST
}

/// A version as it is shown.
pub(crate) fn shown(version: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let shown: String = version.chars().filter(fits).take(40).collect();
    if shown.is_empty() { String::from("unknown") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("4.2.0", true)]
    #[case("4.1.0-preview1", true)]
    #[case("4.10.1", true)]
    #[case("5.0.0", true)]
    #[case("4.0.2", false)]
    #[case("3.5.7", false)]
    #[case("2.4", false)]
    #[case("", false)]
    #[case("next", false)]
    fn spark_is_asked_from_the_version_on_that_takes_large_inputs(#[case] version: &str, #[case] expected: bool) {
        assert_eq!(suffices(version), expected);
    }

    #[test]
    fn what_is_shown_is_a_version() {
        assert_eq!(
            (shown("3.5.1-amzn_0+b"), shown("<a b>'"), shown("ö")),
            ("3.5.1-amzn_0+b".into(), "ab".into(), "unknown".into())
        );
    }
}
