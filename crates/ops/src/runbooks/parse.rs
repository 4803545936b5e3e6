//! A runbook's Markdown, cut into prose and SQL blocks with their places.
//!
//! A block is a fence whose first word is `sql`. Invariant: the prose and the blocks together are the text, in its order.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

use super::Origin;

/// SQL blocks of one runbook.
const BLOCKS_MAX: usize = 20;

/// A runbook, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runbook {
    /// Its name, as alerts and addresses have it.
    pub name: String,
    /// Its first heading, else its name.
    pub title: String,
    /// Whose it is.
    pub origin: Origin,
    /// Prose and SQL, in order.
    pub pieces: Vec<Piece>,
    /// What cannot be as it is, whatever the tables are.
    pub problems: Vec<RunbookProblem>,
}

/// A stretch of a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Markdown.
    Prose(String),
    /// A query that shows evidence.
    Sql(Block),
}

/// A SQL block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The query.
    pub sql: String,
    /// The line of its first character in the file, from one.
    pub line: usize,
}

/// What is wrong with a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunbookProblem {
    /// The line, from one.
    pub line: usize,
    /// The column, from one.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Runbook {
    /// Reads a runbook. Any text is one; what is wrong with it is among its problems.
    #[must_use]
    pub fn parse(name: &str, origin: Origin, text: &str) -> Self {
        let mut reader = Reader { text, pieces: Vec::new(), prose_from: 0, title: String::new() };
        reader.read();
        let title = if reader.title.trim().is_empty() { name.to_owned() } else { reader.title.trim().to_owned() };
        let mut runbook = Self { name: name.to_owned(), title, origin, pieces: reader.pieces, problems: Vec::new() };
        runbook.problems = runbook.count_problem().into_iter().collect();
        runbook
    }

    /// Its SQL blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Sql(block) => Some(block),
            Piece::Prose(_) => None,
        })
    }

    fn count_problem(&self) -> Option<RunbookProblem> {
        let first_too_many = self.blocks().nth(BLOCKS_MAX)?;
        Some(RunbookProblem {
            line: first_too_many.line,
            column: 1,
            message: format!("the runbook has more than {BLOCKS_MAX} SQL blocks"),
            help: "split it: nobody reads so much at night".to_owned(),
        })
    }
}

/// The reading of one text.
struct Reader<'a> {
    text: &'a str,
    pieces: Vec<Piece>,
    /// Where the prose begins that is not yet among the pieces.
    prose_from: usize,
    title: String,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut sql: Option<(String, usize)> = None;
        let mut in_title = false;
        for (event, range) in Parser::new(self.text).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if is_sql(&info) => {
                    self.prose_up_to(range.start);
                    sql = Some((String::new(), self.line_of(range.start) + 1));
                }
                Event::End(TagEnd::CodeBlock) => {
                    if let Some((sql, line)) = sql.take() {
                        self.pieces.push(Piece::Sql(Block { sql: sql.trim_end().to_owned(), line }));
                        self.prose_from = range.end;
                    }
                }
                Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => in_title = self.title.is_empty(),
                Event::End(TagEnd::Heading(_)) => in_title = false,
                Event::Text(text) | Event::Code(text) => match &mut sql {
                    Some((sql, _)) => sql.push_str(&text),
                    None if in_title => self.title.push_str(&text),
                    None => {}
                },
                _ => {}
            }
        }
        self.prose_up_to(self.text.len());
    }

    fn prose_up_to(&mut self, end: usize) {
        let prose = self.text.get(self.prose_from..end).unwrap_or_default();
        if !prose.trim().is_empty() {
            self.pieces.push(Piece::Prose(prose.trim_matches('\n').to_owned()));
        }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

fn is_sql(info: &str) -> bool {
    info.split(|c: char| c.is_whitespace() || c == ',').next().is_some_and(|word| word.eq_ignore_ascii_case("sql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The *daily* steps `held`\n\nFew.\n\n```sql\nSELECT 1\nFROM x\n```\n\nThen\n\n1. look:\n\n   ~~~SQL\n   SELECT 2\n   ~~~\n\n```sh\nls\n```\n";

    #[test]
    fn prose_and_blocks_come_in_order_with_the_blocks_lines() {
        let runbook = Runbook::parse("held", Origin::Project, TEXT);
        assert_eq!(runbook.title, "The daily steps held");
        let blocks: Vec<(&str, usize)> = runbook.blocks().map(|block| (block.sql.as_str(), block.line)).collect();
        assert_eq!(blocks, [("SELECT 1\nFROM x", 6), ("SELECT 2", 15)]);
        let prose: Vec<&Piece> = runbook.pieces.iter().filter(|piece| matches!(piece, Piece::Prose(_))).collect();
        assert_eq!(prose.len(), 3, "{prose:?}");
        assert!(matches!(prose.last(), Some(Piece::Prose(text)) if text.contains("```sh")), "other fences stay prose");
    }

    #[test]
    fn any_text_is_a_runbook() {
        for text in ["", "```sql", "```sql\nSELECT 1", "\u{0}", "> ```sql\n> SELECT 1", "# \n\n#"] {
            let runbook = Runbook::parse("name", Origin::Project, text);
            assert_eq!((runbook.title.as_str(), runbook.problems.len()), ("name", 0), "{text:?}");
        }
    }

    #[test]
    fn more_blocks_than_anybody_reads_are_a_problem() {
        let text = "```sql\nSELECT 1\n```\n".repeat(BLOCKS_MAX + 1);
        let problems = Runbook::parse("long", Origin::Project, &text).problems;
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [3 * BLOCKS_MAX + 2]);
    }
}
