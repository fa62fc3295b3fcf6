//! A text with its lines, and what is written into it: pieces at byte offsets, and whose they are.
use std::ops::Range;

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl From<proc_macro2::LineColumn> for Position {
    fn from(at: proc_macro2::LineColumn) -> Self {
        Position { line: at.line, column: at.column + 1 }
    }
}

/// A source text that finds the byte of a position.
pub struct Source<'a> {
    /// The text.
    pub text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    /// Over a text.
    pub fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Source { text, lines: std::iter::once(0).chain(ends).collect() }
    }

    /// The offset of a position.
    pub fn offset(&self, at: Position) -> usize {
        let line = self.lines[at.line - 1];
        let within = self.text[line..].char_indices().nth(at.column - 1);
        within.map_or(self.text.len(), |(offset, _)| line + offset)
    }

    /// The bytes between two positions.
    pub fn range(&self, start: Position, end: Position) -> Range<usize> {
        self.offset(start)..self.offset(end)
    }
}

/// What is written at one place: text, and the mutant whose text it is.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// The number of the mutant that says so; none of what holds it together.
    pub mutant: Option<u32>,
}

impl Piece {
    /// What holds together.
    pub fn glue(text: impl Into<String>) -> Self {
        Piece { text: text.into(), mutant: None }
    }

    /// What a mutant says.
    pub fn of(mutant: u32, text: impl Into<String>) -> Self {
        Piece { text: text.into(), mutant: Some(mutant) }
    }
}

/// What is written around a range of the source, or into it if it is empty.
#[derive(Clone, Debug)]
pub struct Wrap {
    /// The range of the source.
    pub range: Range<usize>,
    /// Of two with one range the lower is the outer.
    pub rank: u8,
    /// What stands before it.
    pub before: Vec<Piece>,
    /// What stands after it.
    pub after: Vec<Piece>,
    /// The mutants that need it.
    pub mutants: Vec<u32>,
}

/// A written text, with what lies where in it.
#[derive(Debug, Default)]
pub struct Written {
    /// The text.
    pub text: String,
    /// The ranges that are a mutant's own words.
    pub words: Vec<(Range<usize>, u32)>,
    /// The ranges with all that was written for some mutants, the source between included.
    pub sites: Vec<(Range<usize>, Vec<u32>)>,
}

impl Written {
    fn put(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let start = self.text.len();
            self.text.push_str(&piece.text);
            if let Some(mutant) = piece.mutant {
                self.words.push((start..self.text.len(), mutant));
            }
        }
    }
}

/// Writes the wraps into the source. They lie within each other or apart.
pub fn write(source: &str, mut wraps: Vec<Wrap>) -> Written {
    wraps.sort_by_key(|wrap| {
        let range = &wrap.range;
        (range.start, !range.is_empty(), std::cmp::Reverse(range.end), wrap.rank)
    });
    let mut written = Written::default();
    let mut open: Vec<(usize, Wrap)> = Vec::new();
    let mut at = 0;
    for wrap in wraps {
        while open.last().is_some_and(|(_, outer)| outer.range.end <= wrap.range.start) {
            close(source, &mut written, &mut open, &mut at);
        }
        written.text.push_str(&source[at..wrap.range.start]);
        at = wrap.range.start;
        let start = written.text.len();
        written.put(&wrap.before);
        open.push((start, wrap));
    }
    while !open.is_empty() {
        close(source, &mut written, &mut open, &mut at);
    }
    written.text.push_str(&source[at..]);
    written
}

fn close(source: &str, written: &mut Written, open: &mut Vec<(usize, Wrap)>, at: &mut usize) {
    let Some((start, wrap)) = open.pop() else { return };
    written.text.push_str(&source[*at..wrap.range.end]);
    *at = wrap.range.end;
    written.put(&wrap.after);
    written.sites.push((start..written.text.len(), wrap.mutants));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(range: Range<usize>, rank: u8, mutant: u32) -> Wrap {
        Wrap {
            range,
            rank,
            before: vec![Piece::of(mutant, format!("<{mutant} "))],
            after: vec![Piece::glue(">")],
            mutants: vec![mutant],
        }
    }

    #[test]
    fn wraps_lie_within_each_other() {
        let wraps = vec![wrap(2..5, 1, 1), wrap(2..5, 0, 2), wrap(4..5, 0, 3), wrap(2..2, 0, 4)];
        let written = write("a bcd e", wraps);
        assert_eq!(written.text, "a <4 ><2 <1 bc<3 d>>> e");
        assert_eq!(written.words[0], (2..5, 4));
        assert_eq!(written.sites.last().unwrap(), &(6..21, vec![2]));
    }

    #[test]
    fn columns_count_characters() {
        let source = Source::new("é=\nab");
        assert_eq!(source.offset(Position { line: 1, column: 2 }), 2);
        assert_eq!(source.offset(Position { line: 2, column: 3 }), 6);
    }
}
