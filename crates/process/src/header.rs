//! The header of a model file: the comment lines before its SELECT.
//!
//! Pure. Invariant: a line of the form `-- word: value` there is either understood or a problem.

use crate::model::Kind;
use crate::problem::{ModelProblem, Place, nearest};

const KEYS: [&str; 4] = ["kind", "time", "key", "sequence"];

/// What the header says.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) kind: Option<Kind>,
    pub(crate) time: Option<String>,
}

/// Reads the header; what is wrong is added to the problems.
pub(crate) fn parse(text: &str, problems: &mut Vec<ModelProblem>) -> Header {
    let mut found = Header::default();
    let mut kind_line = None;
    let mut seen: Vec<&str> = Vec::new();
    let mut time_place = Place::new(1, 1);
    let mut key_place = None;
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
            "time" => {
                time_place = place;
                found.time = Some(value.to_lowercase());
            }
            "key" | "sequence" => key_place = Some((place, key.to_owned())),
            other => problems.push(unknown(other, place)),
        }
    }
    match (found.kind, kind_line) {
        (None, None) => problems.push(ModelProblem::at(
            Place::new(1, 1),
            "the model does not say its kind",
            "begin the file with `-- kind: append` or `-- kind: rollup`",
        )),
        (Some(kind), Some(place)) => consistent(kind, place, &found, time_place, key_place, problems),
        _ => {}
    }
    found
}

fn kind(value: &str, place: Place, problems: &mut Vec<ModelProblem>) -> Option<Kind> {
    match value {
        "append" => return Some(Kind::Append),
        "rollup" => return Some(Kind::Rollup),
        "upsert" | "full" => problems.push(ModelProblem::at(
            place,
            format!("models of kind {value:?} are not supported yet"),
            "use append (each new row gives rows) or rollup (one row per group and time bucket)",
        )),
        other => problems.push(ModelProblem::at(
            place,
            format!("{other:?} is not a kind of model"),
            nearest(other, ["append", "rollup"].into_iter())
                .map_or_else(|| "the kinds are append and rollup".to_owned(), |near| format!("did you mean {near:?}?")),
        )),
    }
    None
}

fn unknown(key: &str, place: Place) -> ModelProblem {
    let help = nearest(key, KEYS.into_iter()).map_or_else(
        || {
            "the keys are kind, time, key and sequence; other comments stand without a colon, or after SELECT"
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
    key_place: Option<(Place, String)>,
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
        (Kind::Append, Some(_)) => problems.push(ModelProblem::at(
            time_place,
            "an append model has no time column",
            "remove the line, or make it `-- kind: rollup`",
        )),
        _ => {}
    }
    if let Some((place, key)) = key_place {
        problems.push(ModelProblem::at(
            place,
            format!("{key:?} belongs to models of kind \"upsert\", which are not supported yet"),
            "remove the line; rows are de-duplicated by the contract's primary key",
        ));
    }
}
