//! A JDK pattern becomes a list of items to read, its letters and their counts checked.
//!
//! Invariant: an item reads at most 19 digits, and optional sections nest no deeper than [`NESTED_MAX`].

const NESTED_MAX: usize = 8;

/// One thing to read from the text.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Exactly these bytes.
    Literal(Box<[u8]>),
    /// Digits for a field, and how many of those that follow belong to the fields after it.
    Number { letter: u8, least: usize, most: usize, reserved: usize },
    /// Two digits of a year of this century.
    ShortYear,
    /// So many digits of a second's fraction.
    Fraction(usize),
    /// AM or PM.
    HalfDay,
    /// A month's name.
    Month { short: bool },
    /// A weekday's name.
    Weekday { short: bool },
    /// An offset from UTC.
    Offset(OffsetForm),
    /// A zone's id or name.
    Zone,
    /// A part that may be absent.
    Optional(Vec<Item>),
}

/// How an offset is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetForm {
    /// Whether UTC may be written `Z`, and is not written as zeros only.
    pub(super) zulu: bool,
    /// Whether a colon stands between hours, minutes and seconds.
    pub(super) colon: bool,
    /// Whether minutes must be there.
    pub(super) minutes: bool,
    /// Whether seconds may be there.
    pub(super) seconds: bool,
}

impl Item {
    /// Whether it always gives a zone.
    pub(super) fn is_zone(&self) -> bool {
        matches!(self, Self::Offset(_) | Self::Zone)
    }

    /// Whether the condition holds for it or for an item within it.
    pub(super) fn any(&self, condition: &dyn Fn(&Item) -> bool) -> bool {
        match self {
            Self::Optional(items) => items.iter().any(|item| item.any(condition)),
            item => condition(item),
        }
    }

    /// Whether it stands for one of the pattern letters.
    pub(super) fn is_one_of(&self, letters: &str) -> bool {
        let letter = match self {
            Self::Number { letter, .. } => char::from(*letter),
            Self::ShortYear => 'u',
            Self::Month { .. } => 'M',
            Self::HalfDay => 'a',
            _ => return false,
        };
        letters.contains(letter)
    }

    fn fixed_digits(&self) -> Option<usize> {
        match self {
            Self::Number { least, most, .. } if least == most => Some(*least),
            Self::ShortYear => Some(2),
            Self::Fraction(digits) => Some(*digits),
            _ => None,
        }
    }
}

/// Reads a whole pattern.
pub(super) fn items(pattern: &str) -> Result<Vec<Item>, String> {
    let mut rest = pattern;
    let items = section(&mut rest, 0)?;
    let within = |letters: &str| items.iter().any(|item| item.any(&|item| item.is_one_of(letters)));
    if within("hK") && !within("a") {
        return Err("h and K are hours of half a day and need a (AM or PM); write H for 0 to 23".to_owned());
    }
    if items.is_empty() {
        return Err("the pattern is empty; write one such as yyyy-MM-dd HH:mm:ss".to_owned());
    }
    Ok(items)
}

fn section(rest: &mut &str, nested: usize) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while let Some(first) = rest.chars().next() {
        let count = rest.chars().take_while(|&c| c == first).count();
        let mut taken = first.len_utf8();
        match first {
            'a'..='z' | 'A'..='Z' => {
                items.push(letters(first, count)?);
                taken = count;
            }
            '\'' => {
                let (text, length) = quoted(rest)?;
                items.push(Item::Literal(text.into_bytes().into()));
                taken = length;
            }
            '[' if nested == NESTED_MAX => return Err(format!("optional sections nest deeper than {NESTED_MAX}")),
            '[' => {
                *rest = rest.get(1..).unwrap_or("");
                items.push(Item::Optional(section(rest, nested + 1)?));
                continue;
            }
            ']' if nested == 0 => return Err("a ] without its [ before it".to_owned()),
            ']' => {
                *rest = rest.get(1..).unwrap_or("");
                reserve(&mut items);
                return Ok(items);
            }
            '{' | '}' | '#' => return Err(format!("{first} is reserved in patterns; write '{first}' in quotes")),
            other => items.push(Item::Literal(other.to_string().into_bytes().into())),
        }
        *rest = rest.get(taken..).unwrap_or("");
    }
    reserve(&mut items);
    Ok(items)
}

/// Text in quotes, `''` being a quote itself; its length in the pattern.
fn quoted(rest: &str) -> Result<(String, usize), String> {
    if rest.starts_with("''") {
        return Ok(("'".to_owned(), 2));
    }
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '\'' {
            text.push(character);
        } else if characters.next_if(|&(_, next)| next == '\'').is_some() {
            text.push('\'');
        } else {
            return Ok((text, at + 1));
        }
    }
    Err("a quote ' that never closes".to_owned())
}

/// A number of variable width leaves the digits of the fixed ones that follow it at once, so `yMMdd` reads `20160412`.
fn reserve(items: &mut [Item]) {
    let mut following = 0;
    for item in items.iter_mut().rev() {
        if let Item::Number { least, most, reserved, .. } = item
            && least != most
        {
            *reserved = following;
            following = 0;
            continue;
        }
        following = item.fixed_digits().map_or(0, |digits| following + digits);
    }
}

fn letters(letter: char, count: usize) -> Result<Item, String> {
    let number = |least: usize, most: usize| Ok(Item::Number { letter: letter as u8, least, most, reserved: 0 });
    let offset = |zulu, colon, minutes, seconds| Ok(Item::Offset(OffsetForm { zulu, colon, minutes, seconds }));
    match (letter, count) {
        ('y' | 'u', 2) => Ok(Item::ShortYear),
        ('y' | 'u', 1 | 3) => number(count, 9),
        ('y' | 'u', 4..=9) | ('M' | 'L' | 'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's', 2) => match letter {
            'L' => letters('M', 2),
            _ => number(count, count),
        },
        ('L', 1) => letters('M', 1),
        ('M' | 'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's', 1) => number(1, 9),
        ('n', 1..=9) => number(count, 9),
        ('D', 1..=3) => number(count, 3),
        ('S', 1..=9) => Ok(Item::Fraction(count)),
        ('M' | 'L', 3 | 4) => Ok(Item::Month { short: count == 3 }),
        ('E', 1..=4) => Ok(Item::Weekday { short: count < 4 }),
        ('a', 1) => Ok(Item::HalfDay),
        ('X' | 'x', 1) => offset(letter == 'X', false, false, false),
        ('X' | 'x', 2) => offset(letter == 'X', false, true, false),
        ('X' | 'x', 3) => offset(letter == 'X', true, true, false),
        ('X' | 'x', 4) => offset(letter == 'X', false, true, true),
        ('X' | 'x', 5) => offset(letter == 'X', true, true, true),
        ('Z', 1..=3) => offset(false, false, true, false),
        ('Z', 5) => offset(true, true, true, true),
        ('V', 2) | ('z', 1..=4) => Ok(Item::Zone),
        ('V', _) => Err("a zone's id is written VV".to_owned()),
        ('Y', _) => Err("Y is the year of week dates; write y for the year".to_owned()),
        ('A' | 'B' | 'c' | 'e' | 'F' | 'g' | 'G' | 'N' | 'O' | 'p' | 'q' | 'Q' | 'v' | 'w' | 'W' | 'Z', _) => {
            Err(format!(
                "the pattern letter {letter} is not supported here; write the date with y, M and d, the time with H, m and s"
            ))
        }
        (
            'y' | 'u' | 'M' | 'L' | 'd' | 'D' | 'H' | 'h' | 'k' | 'K' | 'm' | 's' | 'n' | 'S' | 'E' | 'a' | 'X' | 'x'
            | 'z',
            _,
        ) => Err(format!("too many pattern letters: {letter} stands {count} times")),
        _ => Err(format!("{letter} is no pattern letter; write '{letter}' in quotes if it stands in the text")),
    }
}
