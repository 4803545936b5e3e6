//! A rule on rows as a rule about a set: how many rows break it.
//!
//! For datasets whose rows are never final, such as groups of a rollup: there a row cannot be set aside, and a gate looks at
//! all of them. Invariant: a row that keeps the rule where rows are checked is not counted here.

use chrono::{DateTime, Days, NaiveDate, SecondsFormat};

use crate::compile::sql::{column_name, quoted};
use crate::contract::{Column, ColumnType, Contract};
use crate::rule::{Bound, Check, Measure, Must, RowRule, SetRule};

impl Contract {
    /// The contract with its rules on rows as rules about sets.
    #[must_use]
    pub fn with_rules_about_sets(&self) -> Self {
        let mut contract = self.clone();
        let rules = std::mem::take(&mut contract.row_rules);
        let about_sets = rules.iter().filter_map(|rule| rule.about_a_set(&self.columns));
        contract.set_rules.splice(0..0, about_sets);
        contract
    }
}

impl RowRule {
    /// The rule that no row of a set breaks this one; none when its column is none of these.
    #[must_use]
    pub fn about_a_set(&self, columns: &[Column]) -> Option<SetRule> {
        let broken = match &self.check {
            Check::NotSql(predicate) => predicate.clone(),
            check => of_column(check, columns.get(self.column?)?)?,
        };
        let measure = Measure::Sql(format!("SELECT COUNT(*) FROM {{object}} WHERE {broken}"));
        Some(SetRule { name: self.name.clone(), measure, must: Must::Be(0.0), severity: self.severity, schedule: None })
    }
}

/// The condition under which a column's value breaks a check.
fn of_column(check: &Check, column: &Column) -> Option<String> {
    let name = column_name(&column.name);
    let bound = |bound: &Bound| literal(*bound, &column.kind);
    Some(match check {
        Check::Required => format!("{name} IS NULL"),
        Check::MinLength(least) => format!("char_length({name}) < {least}"),
        Check::MaxLength(most) => format!("char_length({name}) > {most}"),
        Check::Pattern(pattern) => format!("NOT regexp_like({name}, {})", quoted(pattern.as_str())),
        Check::OneOf(allowed) => format!("{name} NOT IN ({})", listed(allowed, &column.kind)),
        Check::Minimum(least) => format!("{name} < {}", bound(least)?),
        Check::Maximum(most) => format!("{name} > {}", bound(most)?),
        Check::ExclusiveMinimum(least) => format!("{name} <= {}", bound(least)?),
        Check::ExclusiveMaximum(most) => format!("{name} >= {}", bound(most)?),
        Check::MultipleOf(step) => {
            let ratio = format!("(CAST({name} AS DOUBLE) / {step})");
            format!("abs({ratio} - round({ratio})) > 1e-9 * greatest(abs({ratio}), 1.0)")
        }
        Check::NotSql(_) => return None,
    })
}

/// Allowed values as their column compares them.
fn listed(allowed: &[String], kind: &ColumnType) -> String {
    let is_bare = |text: &str| match kind {
        ColumnType::Long | ColumnType::Int | ColumnType::Double | ColumnType::Float => text.parse::<f64>().is_ok(),
        ColumnType::Boolean => matches!(text, "true" | "false"),
        _ => false,
    };
    let bare = matches!(
        kind,
        ColumnType::Long | ColumnType::Int | ColumnType::Double | ColumnType::Float | ColumnType::Boolean
    );
    let texts = allowed.iter().filter(|text| !bare || is_bare(text));
    let texts: Vec<String> = texts.map(|text| if bare { text.clone() } else { quoted(text) }).collect();
    // Of no values that the column could have, none is allowed.
    if texts.is_empty() { "NULLIF(1, 1)".to_owned() } else { texts.join(", ") }
}

fn literal(bound: Bound, kind: &ColumnType) -> Option<String> {
    let value = match bound {
        Bound::Real(value) => return Some(format!("{value:?}")),
        Bound::Whole(value) => value,
    };
    Some(match kind {
        ColumnType::Date(_) => {
            let (epoch, distance) = (NaiveDate::default(), Days::new(value.unsigned_abs()));
            let day = if value < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
            format!("DATE '{}'", day?)
        }
        ColumnType::Timestamp(_) => {
            let at = DateTime::from_timestamp_micros(value)?;
            format!("CAST('{}' AS TIMESTAMP)", at.to_rfc3339_opts(SecondsFormat::Micros, true))
        }
        _ => value.to_string(),
    })
}
