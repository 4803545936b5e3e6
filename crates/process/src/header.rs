//! The header of a model file: the comment lines before its SELECT.
//!
//! Pure. Invariant: a line of the form `-- word: value` there is either understood or a problem.

use crate::model::{EngineName, Kind};
use crate::problem::{ModelProblem, Place, nearest};

const KEYS: [&str; 6] = ["kind", "time", "key", "sequence", "deleted", "engine"];
/// The kinds of models, as a header names them.
const KINDS: [(&str, Kind); 4] =
    [("append", Kind::Append), ("rollup", Kind::Rollup), ("upsert", Kind::Upsert), ("full", Kind::Full)];

/// What the header says.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) kind: Option<Kind>,
    pub(crate) time: Option<String>,
    /// The columns of an upsert's key.
    pub(crate) key: Vec<String>,
    /// The columns by which an upsert's rows are ordered.
    pub(crate) sequence: Vec<String>,
    /// The column that marks an upsert's deletes.
    pub(crate) deleted: Option<String>,
    /// What runs it.
    pub(crate) engine: Option<EngineName>,
}

/// Reads the header; what is wrong is added to the problems.
pub(crate) fn parse(text: &str, problems: &mut Vec<ModelProblem>) -> Header {
    let mut found = Header::default();
    let mut kind_line = None;
    let mut seen: Vec<&str> = Vec::new();
    let mut time_place = Place::new(1, 1);
    let mut of_upsert = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continue;
        }
        let Some(comment) = trimmed.strip_prefix("--") else { break };
        let Some((key, value)) = comment.split_once(':').map(|(k, v)| (k.trim(), v.trim())) else { continue };
        if key.is_empty() || key.contains(char::is_whitespace) {
            continue;
        }
        let column = 1 + line.find(key).map_or(0, |byte| line.get(..byte).map_or(0, |t| t.chars().count()));
        let place = Place::new(index + 1, column);
        if seen.contains(&key) {
            problems.push(ModelProblem::at(
                place,
                format!("the header has {key:?} twice"),
                "keep one of the two lines",
            ));
            continue;
        }
        seen.push(key);
        match key {
            "kind" => {
                kind_line = Some(place);
                found.kind = kind(value, place, problems);
            }
            "engine" => found.engine = engine(value, place, problems),
            "time" => {
                time_place = place;
                found.time = Some(value.to_lowercase());
            }
            "key" | "sequence" | "deleted" => {
                let names = names(key, value, place, problems);
                match key {
                    "key" => found.key = names,
                    "sequence" => found.sequence = names,
                    _ => found.deleted = one_name(names, place, problems),
                }
                of_upsert.push((place, key.to_owned()));
            }
            other => problems.push(unknown(other, place)),
        }
    }
    match (found.kind, kind_line) {
        (None, None) => problems.push(ModelProblem::at(
            Place::new(1, 1),
            "the model does not say its kind",
            "begin the file with `-- kind: append`, `rollup`, `upsert` or `full`",
        )),
        (Some(kind), Some(place)) => consistent(kind, place, &found, time_place, &of_upsert, problems),
        _ => {}
    }
    found
}

/// The names of a list with commas, in lower case.
fn names(key: &str, value: &str, place: Place, problems: &mut Vec<ModelProblem>) -> Vec<String> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().trim_matches('`').to_lowercase()).collect();
    let again = names.iter().enumerate().any(|(index, name)| names.iter().take(index).any(|before| before == name));
    if names.iter().any(String::is_empty) || again {
        let message = format!("{key:?} is no list of columns");
        problems.push(ModelProblem::at(place, message, format!("write `-- {key}: COLUMN, COLUMN`, each column once")));
        return Vec::new();
    }
    names
}

fn one_name(names: Vec<String>, place: Place, problems: &mut Vec<ModelProblem>) -> Option<String> {
    if names.len() > 1 {
        let help = "write `-- deleted: COLUMN` with one column that is true for a delete";
        problems.push(ModelProblem::at(place, "\"deleted\" names several columns", help));
    }
    names.into_iter().next()
}

fn kind(value: &str, place: Place, problems: &mut Vec<ModelProblem>) -> Option<Kind> {
    let found = KINDS.iter().find(|(name, _)| *name == value).map(|(_, kind)| *kind);
    if found.is_none() {
        let near = nearest(value, KINDS.iter().map(|(name, _)| *name));
        let help = near.map_or_else(
            || "the kinds are append, rollup, upsert and full".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        problems.push(ModelProblem::at(place, format!("{value:?} is not a kind of model"), help));
    }
    found
}

fn engine(value: &str, place: Place, problems: &mut Vec<ModelProblem>) -> Option<EngineName> {
    let found = EngineName::ALL.into_iter().find(|engine| engine.as_str() == value);
    if found.is_none() {
        let near = nearest(value, EngineName::ALL.into_iter().map(EngineName::as_str));
        let help = near.map_or_else(
            || "the engines are datafusion and spark".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        problems.push(ModelProblem::at(place, format!("{value:?} is no engine that runs models"), help));
    }
    found
}

fn unknown(key: &str, place: Place) -> ModelProblem {
    let help = nearest(key, KEYS.into_iter()).map_or_else(
        || {
            "the keys are kind, time, key, sequence, deleted and engine; other comments stand without a colon, or after SELECT"
                .to_owned()
        },
        |near| format!("did you mean {near:?}?"),
    );
    ModelProblem::at(place, format!("{key:?} is not a key of a model's header"), help)
}

fn consistent(
    kind: Kind,
    place: Place,
    header: &Header,
    time_place: Place,
    of_upsert: &[(Place, String)],
    problems: &mut Vec<ModelProblem>,
) {
    match (kind, &header.time) {
        (Kind::Rollup, None) => problems.push(ModelProblem::at(
            place,
            "a rollup does not say its time column",
            "add `-- time: COLUMN`, the output column that holds the time bucket",
        )),
        (Kind::Rollup, Some(time)) if time.is_empty() => {
            problems.push(ModelProblem::at(time_place, "the time column has no name", "write `-- time: COLUMN`"));
        }
        (Kind::Append | Kind::Upsert | Kind::Full, Some(_)) => problems.push(ModelProblem::at(
            time_place,
            format!("a model of kind {:?} has no time column", kind.as_str()),
            "remove the line, or make it `-- kind: rollup`",
        )),
        _ => {}
    }
    if kind == Kind::Upsert {
        if header.key.is_empty() && of_upsert.iter().all(|(_, key)| key != "key") {
            let help = "add `-- key: COLUMN, COLUMN`, the contract's primary key";
            problems.push(ModelProblem::at(place, "an upsert model does not say its key", help));
        }
        return;
    }
    for (place, key) in of_upsert {
        problems.push(ModelProblem::at(
            *place,
            format!("{key:?} belongs to models of kind \"upsert\""),
            "remove the line, or make it `-- kind: upsert`",
        ));
    }
}
