//! Java's regular expressions, as Spark has them, in the syntax of our engine; what it cannot do is refused.
//!
//! Used by the functions of `regex`. Invariant: a pattern that is accepted finds what Java's would.

use regex::{Captures, Regex, RegexBuilder};

use crate::functions::bind::Refusal;

/// Ends of lines, which Java's `.` does not match and before the last of which `$` does.
const LINE_ENDS: &str = "\\n\\r\\x{85}\\x{2028}\\x{2029}";
/// What a compiled pattern may take; one that takes more is refused.
const COMPILED_BYTES_MAX: usize = 1 << 22;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Whether the last group is the end of the line before the end, which belongs to no match.
    ends: bool,
}

/// One match: its whole and its groups, as places in the text.
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    groups: Vec<Option<(usize, usize)>>,
}

impl Found {
    /// A group's text; nought is the whole match.
    pub(crate) fn group<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        if index == 0 {
            return text.get(self.start..self.end);
        }
        let (start, end) = (*self.groups.get(index)?)?;
        text.get(start..end)
    }
}

impl Pattern {
    /// Compiles a pattern of Java's.
    pub(crate) fn new(java: &str) -> Result<Self, Refusal> {
        let (translated, ends) = Translation::of(java)?;
        let regex = RegexBuilder::new(&translated).size_limit(COMPILED_BYTES_MAX).build();
        let regex = regex.map_err(|_| refused("cannot be read", "mend it, or write it with simpler parts"))?;
        Ok(Self { regex, ends })
    }

    /// How many groups the pattern has, without the whole.
    pub(crate) fn groups(&self) -> usize {
        self.regex.captures_len() - 1 - usize::from(self.ends)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The first match at or after a place.
    pub(crate) fn find_at(&self, text: &str, at: usize) -> Option<Found> {
        let captures = self.regex.captures_at(text, at)?;
        Some(self.found(&captures))
    }

    fn found(&self, captures: &Captures<'_>) -> Found {
        let place = |i: usize| captures.get(i).map(|m| (m.start(), m.end()));
        let groups: Vec<Option<(usize, usize)>> = (0..captures.len()).map(place).collect();
        let (start, mut end) = groups.first().copied().flatten().unwrap_or((0, 0));
        if self.ends
            && let Some(Some((line_end, _))) = groups.last()
        {
            end = *line_end;
        }
        Found { start, end, groups }
    }

    /// All matches, one after the other as Java finds them: an empty one may follow right after another.
    pub(crate) fn find_all(&self, text: &str, mut each: impl FnMut(&Found) -> bool) {
        let mut at = 0;
        while at <= text.len() {
            let Some(found) = self.find_at(text, at) else { return };
            if !each(&found) {
                return;
            }
            at = if found.end > found.start {
                found.end
            } else {
                match text.get(found.end..).and_then(|rest| rest.chars().next()) {
                    Some(next) => found.end + next.len_utf8(),
                    None => return,
                }
            };
        }
    }
}

fn refused(what: &str, help: &str) -> Refusal {
    Refusal::new(format!("this regular expression {what}"), help)
}

/// A pattern that is being translated.
struct Translation<'a> {
    rest: &'a str,
    made: String,
    ends: bool,
    /// Whether what was read last is a quantifier.
    quantified: bool,
}

impl<'a> Translation<'a> {
    fn of(java: &'a str) -> Result<(String, bool), Refusal> {
        let mut this = Translation { rest: java, made: String::new(), ends: false, quantified: false };
        if java.contains("(?i") && !java.is_ascii() {
            return Err(refused("ignores the case of letters outside of ASCII, which Java does not", "use lower(x)"));
        }
        while let Some(character) = this.next() {
            this.one(character)?;
        }
        Ok((this.made, this.ends))
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
        Some(character)
    }

    fn one(&mut self, character: char) -> Result<(), Refusal> {
        let made = match character {
            '\\' => self.escape(false),
            '[' => self.class(),
            '.' => {
                self.made.push_str(&format!("[^{LINE_ENDS}]"));
                Ok(())
            }
            '$' => self.end(),
            '(' if self.rest.starts_with('?') => self.group(),
            '+' | '*' if self.quantified => {
                Err(refused("has a possessive quantifier, such as *+", "write it without the second +"))
            }
            '?' if self.quantified => {
                // The lazy form of the quantifier before it.
                self.made.push('?');
                self.quantified = false;
                return Ok(());
            }
            '*' | '+' | '?' => {
                self.made.push(character);
                self.quantified = true;
                return Ok(());
            }
            '{' => return self.counted(),
            other => {
                self.made.push(other);
                Ok(())
            }
        };
        self.quantified = false;
        made
    }

    /// `{2}`, `{2,}`, `{2,3}`.
    fn counted(&mut self) -> Result<(), Refusal> {
        let end = self.rest.find('}').unwrap_or(self.rest.len());
        let inner = self.rest.get(..end).unwrap_or_default();
        let known = inner.starts_with(|c: char| c.is_ascii_digit())
            && inner.chars().all(|c| c.is_ascii_digit() || c == ',')
            && end < self.rest.len();
        if !known {
            return Err(refused("has a { that counts nothing", "write \\\\{ for the character"));
        }
        self.made.push_str(&format!("{{{inner}}}"));
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.quantified = true;
        Ok(())
    }

    /// `$` is before a line end that ends the text, too.
    fn end(&mut self) -> Result<(), Refusal> {
        if !self.rest.is_empty() {
            return Err(refused("has a $ that is not at its end", "write [$] for the character"));
        }
        self.ends = true;
        self.made.push_str("((?:\\r\\n|[\\n\\r\\x{85}\\x{2028}\\x{2029}])?)\\z");
        Ok(())
    }

    fn group(&mut self) -> Result<(), Refusal> {
        let unknown = ["?=", "?!", "?<=", "?<!", "?>"];
        if unknown.iter().any(|u| self.rest.starts_with(u)) {
            return Err(refused("looks ahead or behind", "write it without (?=, (?!, (?<=, (?<! and (?>"));
        }
        if self.rest.starts_with("?<") || self.rest.starts_with("?:") {
            self.made.push('(');
            return Ok(());
        }
        let flags: String = self.rest.chars().skip(1).take_while(|c| *c != ')' && *c != ':').collect();
        if flags != "i" {
            return Err(refused("has flags other than (?i)", "write it without them"));
        }
        self.made.push('(');
        Ok(())
    }

    /// An escape, in a class or outside of one.
    fn escape(&mut self, in_class: bool) -> Result<(), Refusal> {
        let Some(character) = self.next() else {
            return Err(refused("ends with a backslash", "write two for the character"));
        };
        let made = match (character, in_class) {
            ('d', false) => "[0-9]",
            ('D', false) => "[^0-9]",
            ('w', false) => "[a-zA-Z0-9_]",
            ('W', false) => "[^a-zA-Z0-9_]",
            ('s', false) => "[ \\t\\n\\x0B\\f\\r]",
            ('S', false) => "[^ \\t\\n\\x0B\\f\\r]",
            ('d', true) => "0-9",
            ('w', true) => "a-zA-Z0-9_",
            ('s', true) => " \\t\\n\\x0B\\f\\r",
            ('D', true) => "[^0-9]",
            ('W', true) => "[^a-zA-Z0-9_]",
            ('S', true) => "[^ \\t\\n\\x0B\\f\\r]",
            ('b', false) => "\\b",
            ('B', false) => "\\B",
            ('A', false) => "\\A",
            ('z', false) => "\\z",
            ('t', _) => "\\t",
            ('n', _) => "\\n",
            ('r', _) => "\\r",
            ('f', _) => "\\f",
            ('p' | 'P', _) => return self.property(character),
            ('x' | 'u', _) => {
                self.made.push('\\');
                self.made.push(character);
                return Ok(());
            }
            (c, _) if c.is_ascii_alphanumeric() => {
                return Err(refused("has an escape that is not known here", "write it with a character class"));
            }
            (c, _) => {
                // Java's escape of any other character is the character; here some of them mean something.
                if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
                    self.made.push('\\');
                }
                self.made.push(c);
                return Ok(());
            }
        };
        self.made.push_str(made);
        Ok(())
    }

    fn property(&mut self, character: char) -> Result<(), Refusal> {
        let known = ["{L}", "{Lu}", "{Ll}", "{N}", "{Nd}", "{P}", "{S}", "{Z}", "{M}"];
        let ascii = [
            ("{Alpha}", "a-zA-Z"),
            ("{Digit}", "0-9"),
            ("{Alnum}", "a-zA-Z0-9"),
            ("{Upper}", "A-Z"),
            ("{Lower}", "a-z"),
        ];
        if let Some(name) = known.iter().find(|k| self.rest.starts_with(**k)) {
            self.made.push('\\');
            self.made.push(character);
            self.made.push_str(name);
            self.rest = self.rest.get(name.len()..).unwrap_or_default();
            return Ok(());
        }
        if let Some((name, class)) = ascii.iter().find(|(k, _)| self.rest.starts_with(k)) {
            let negated = if character == 'P' { "^" } else { "" };
            self.made.push_str(&format!("[{negated}{class}]"));
            self.rest = self.rest.get(name.len()..).unwrap_or_default();
            return Ok(());
        }
        Err(refused("has a property of characters that is not known here", "write \\\\p{L}, \\\\p{N} or a class"))
    }

    /// A class in brackets, with its unions and intersections.
    fn class(&mut self) -> Result<(), Refusal> {
        self.made.push('[');
        if self.rest.starts_with('^') {
            self.next();
            self.made.push('^');
        }
        if self.rest.starts_with(']') {
            return Err(refused("has a class that begins with ]", "write \\\\] for the character"));
        }
        while let Some(character) = self.next() {
            match character {
                ']' => {
                    self.made.push(']');
                    return Ok(());
                }
                '[' => self.class()?,
                '\\' => self.escape(true)?,
                '&' if self.rest.starts_with('&') => {
                    self.next();
                    self.made.push_str("&&");
                }
                // Two of them are a difference here, and two characters in Java.
                '-' if self.rest.starts_with('-') || self.made.ends_with('-') => self.made.push_str("\\-"),
                '~' | '&' | ':' => {
                    self.made.push('\\');
                    self.made.push(character);
                }
                other => self.made.push(other),
            }
        }
        Err(refused("has a class that is not closed", "write ] after it"))
    }
}
