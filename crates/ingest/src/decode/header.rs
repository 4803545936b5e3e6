//! The first line of a delivered CSV: which cell fills which column, and what is wrong where none does.
//!
//! Names are compared as they stand; a name that is a column's but for its capitals, spaces and signs is a refusal that
//! shows both, since the column would be null in every row. Invariant: a first line that may be data is in no error.

use vitalake_contract::file_options::{Header, NewColumns};
use vitalake_contract::{Column, Contract};

use super::csv::{Cell, Dialect};
use super::file_form::is_like_json;
use super::refused::DeliveryError;

/// How many cells a line may have.
pub(super) const CELLS_MAX: usize = 16_384;
/// How many names an error shows.
const NAMES_SHOWN_MAX: usize = 20;
/// What stands between the columns of files that are not separated by commas.
const SEPARATORS: [(char, &str); 6] = [
    (',', "commas"),
    (';', "semicolons"),
    ('\t', "tabs"),
    ('|', "vertical bars"),
    (':', "colons"),
    ('^', "circumflexes"),
];

/// For each cell the columns that it fills.
pub(super) type Places = Vec<Vec<u16>>;

/// A file's column name as a contract would have it in CSV.
fn name_of(column: &Column) -> String {
    column.path.join(".")
}

/// The names in a header line.
pub(super) fn names(contract: &Contract, record: &[u8], cells: &[Cell]) -> Result<Vec<String>, DeliveryError> {
    let dataset = || contract.dataset.to_string();
    let text = std::str::from_utf8(record)
        .map_err(|error| DeliveryError::HeaderNotUtf8 { dataset: dataset(), byte: error.valid_up_to() })?;
    if cells.len() > CELLS_MAX {
        return Err(DeliveryError::TooManyColumns { dataset: dataset(), columns_max: CELLS_MAX });
    }
    let dialect = Dialect::of(&contract.files.csv);
    Ok(cells.iter().map(|cell| cell.text(text, dialect).into_owned()).collect())
}

/// Finds each column's cell by its name in the header.
pub(super) fn place(contract: &Contract, header: &[String], line: &[u8]) -> Result<Places, DeliveryError> {
    let dataset = || contract.dataset.to_string();
    let mut places: Places = vec![Vec::new(); header.len()];
    let mut absent = Vec::new();
    for (index, column) in contract.columns.iter().enumerate() {
        let name = name_of(column);
        let mut found = header.iter().enumerate().filter(|(_, n)| **n == name).map(|(position, _)| position);
        match (found.next(), found.next()) {
            (_, Some(_)) => return Err(DeliveryError::ColumnTwice { dataset: dataset(), name }),
            (Some(position), None) => {
                if let (Some(columns), Ok(index)) = (places.get_mut(position), u16::try_from(index)) {
                    columns.push(index);
                }
            }
            (None, _) => absent.push((column, name)),
        }
    }
    let unplaced: Vec<&String> = header.iter().zip(&places).filter(|(_, p)| p.is_empty()).map(|(n, _)| n).collect();
    let alike = |name: &str| unplaced.iter().find(|found| normal(found) == normal(name)).map(|found| (*found).clone());
    let spelled: Vec<(String, String)> =
        absent.iter().filter_map(|(_, name)| alike(name).map(|found| (found, name.clone()))).collect();
    if !spelled.is_empty() {
        return Err(DeliveryError::ColumnSpelling { dataset: dataset(), said: said(&spelled) });
    }
    if places.iter().all(Vec::is_empty) {
        return Err(no_header(contract, line));
    }
    match absent.iter().find(|(column, _)| column.required) {
        Some((column, name)) => Err(DeliveryError::ColumnMissing {
            dataset: dataset(),
            column: column.name.to_string(),
            name: name.clone(),
            nearest: nearest(name, &unplaced).map_or_else(String::new, |near| format!("; the nearest is {near:?}")),
            place: String::new(),
            header: shown(header),
        }),
        None => {
            let new: Vec<String> =
                unplaced.iter().filter(|name| !name.is_empty()).map(|name| (*name).clone()).collect();
            if contract.files.new_columns == NewColumns::Refuse && !new.is_empty() {
                return Err(DeliveryError::NewColumns { dataset: dataset(), names: shown(&new) });
            }
            Ok(places)
        }
    }
}

/// The names of a file without a header line, where the contract says them.
pub(super) fn of_contract(contract: &Contract) -> Option<Vec<String>> {
    match &contract.files.csv.header {
        Header::FirstLine => None,
        Header::Contract => Some(contract.columns.iter().map(name_of).collect()),
        Header::Names(names) => Some(names.clone()),
    }
}

/// Why a line that names no column of the contract is no header.
pub(super) fn no_header(contract: &Contract, line: &[u8]) -> DeliveryError {
    let dataset = contract.dataset.to_string();
    if let Some(separator) = other_separator(contract, line) {
        let own = char::from(contract.files.csv.delimiter);
        let read = SEPARATORS.into_iter().find(|(sign, _)| *sign == own);
        let read = read.map_or_else(|| format!("{own:?}"), |(_, said)| said.to_owned());
        return DeliveryError::Separator { dataset, separator, read };
    }
    if is_like_json(line) {
        return DeliveryError::LooksLikeJson { dataset };
    }
    let names: Vec<String> = contract.columns.iter().map(name_of).collect();
    DeliveryError::NoHeader { dataset, names: shown(&names) }
}

/// What separates the columns of a first line that names none of the contract's with commas between them.
fn other_separator(contract: &Contract, line: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(line).ok()?;
    let own = char::from(contract.files.csv.delimiter);
    let named = |separator: char| {
        let cells = text.split(separator).map(|cell| normal(cell.trim().trim_matches('"')));
        cells.filter(|cell| contract.columns.iter().any(|column| normal(&name_of(column)) == *cell)).count()
    };
    if named(own) > 0 {
        return None;
    }
    let found = SEPARATORS.into_iter().filter(|(separator, _)| *separator != own && text.contains(*separator));
    found
        .map(|(separator, said)| (named(separator), said))
        .filter(|(count, _)| *count > 0)
        .max_by_key(|(n, _)| *n)
        .map(|(_, said)| said)
}

/// A name without what people write differently: capitals, spaces, the signs between words.
fn normal(name: &str) -> String {
    let kept = name.chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.' | '\u{feff}' | '\u{200b}'));
    kept.flat_map(char::to_lowercase).collect()
}

fn said(spelled: &[(String, String)]) -> String {
    let pairs = spelled.iter().take(NAMES_SHOWN_MAX).enumerate();
    let pairs = pairs.map(|(at, (found, name))| match at {
        0 => format!("{found:?} where the contract reads {name:?}"),
        _ => format!("{found:?} where it reads {name:?}"),
    });
    pairs.collect::<Vec<_>>().join(", and ")
}

pub(super) fn shown(names: &[String]) -> String {
    if names.iter().any(|name| name.contains(char::is_control)) {
        return "(one line with control characters: are the line ends right?)".to_owned();
    }
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    let shown = names.iter().take(NAMES_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// The name of the file that is meant, when one is a few letters away.
fn nearest<'a>(name: &str, header: &[&'a String]) -> Option<&'a str> {
    let wanted = normal(name);
    let far = (wanted.chars().count() / 3).max(1);
    let near = header.iter().map(|found| (strsim::damerau_levenshtein(&wanted, &normal(found)), found.as_str()));
    near.filter(|(distance, found)| *distance <= far && !found.is_empty())
        .min_by_key(|(d, _)| *d)
        .map(|(_, found)| found)
}
