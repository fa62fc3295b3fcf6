//! `glob`: a string that matches as a whole, with `*`, `**` and `?`. `name=glob:q3-*.csv`.
//!
//! `*` stands for any run of characters other than `/`, `?` for one of them, `**` for any run of
//! any characters. Every other character stands for itself. For paths use `under`, which handles
//! `..`.

use super::pattern_text::Compiled;
use crate::base::json::Json;
use crate::base::limits;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::{bare_or_quoted, string_from_json, string_from_text};
use crate::capability::tree::{Tree, test};
use crate::capability::words::value;

/// A glob that a whole string must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
    compiled: Compiled,
}

/// One piece of a glob.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(char),
    One,
    Run,
    Any,
}

const ONE: &str = "[^/]";
const RUN: &str = "[^/]*";
const ANY: &str = "(?s:.*)";

impl Glob {
    /// Compiles a glob of at most [`limits::PATTERN_BYTES_MAX`] bytes.
    pub fn new(pattern: &str) -> Result<Self, BadScope> {
        if pattern.len() > limits::PATTERN_BYTES_MAX {
            let max = limits::PATTERN_BYTES_MAX;
            return Err(BadScope(format!("a glob has at most {max} bytes")));
        }
        if pattern.contains("***") {
            return Err(BadScope(format!("{pattern:?}: three stars in a row are not allowed")));
        }
        let mut anchored = String::from(r"\A");
        for piece in pieces(pattern) {
            match piece {
                Piece::Literal(c) => {
                    if c.is_ascii_punctuation() {
                        anchored.push('\\');
                    }
                    anchored.push(c);
                }
                Piece::One => anchored.push_str(ONE),
                Piece::Run => anchored.push_str(RUN),
                Piece::Any => anchored.push_str(ANY),
            }
        }
        anchored.push_str(r"\z");
        Ok(Glob { pattern: pattern.to_owned(), compiled: Compiled::new(anchored)? })
    }
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), pattern.chars().peekable());
    while let Some(c) = rest.next() {
        pieces.push(match c {
            '*' if rest.next_if_eq(&'*').is_some() => Piece::Any,
            '*' => Piece::Run,
            '?' => Piece::One,
            c => Piece::Literal(c),
        });
    }
    pieces
}

/// Returns whether `held` matches everything that `asked` matches, because each piece of `asked`
/// lies within one of `held`. Sound: it may return false although it does. It takes pieces times
/// pieces steps.
fn absorbs(held: &[Piece], asked: &[Piece]) -> bool {
    // reach[i]: the first i pieces of `held` can absorb the pieces of `asked` that were read.
    let empty = |piece: &Piece| matches!(piece, Piece::Run | Piece::Any);
    let close = |reach: &mut Vec<bool>| {
        for (i, piece) in held.iter().enumerate() {
            if reach.get(i) == Some(&true) && empty(piece) {
                reach.iter_mut().skip(i + 1).take(1).for_each(|next| *next = true);
            }
        }
    };
    let mut reach = vec![false; held.len() + 1];
    reach.iter_mut().take(1).for_each(|start| *start = true);
    close(&mut reach);
    for piece in asked {
        let mut next = vec![false; held.len() + 1];
        for (i, by) in held.iter().enumerate().filter(|(i, _)| reach.get(*i) == Some(&true)) {
            let stays = match by {
                Piece::Any => true,
                Piece::Run => !matches!(piece, Piece::Any | Piece::Literal('/')),
                _ => false,
            };
            let moves = match by {
                Piece::One => {
                    matches!(piece, Piece::One | Piece::Literal(_)) && *piece != Piece::Literal('/')
                }
                Piece::Literal(_) => by == piece,
                _ => false,
            };
            let to = if stays { i } else { i + 1 };
            if stays || moves {
                next.iter_mut().skip(to).take(1).for_each(|reached| *reached = true);
            }
        }
        close(&mut next);
        reach = next;
    }
    reach.last() == Some(&true)
}

/// Returns the glob of an anchored pattern that `Glob::new` wrote; `None` for other patterns.
fn from_anchored(mut rest: &str) -> Option<String> {
    let mut pattern = String::new();
    while let Some(c) = rest.chars().next() {
        let (text, used) = if rest.starts_with(ANY) {
            ("**", ANY.len())
        } else if rest.starts_with(RUN) {
            ("*", RUN.len())
        } else if rest.starts_with(ONE) {
            ("?", ONE.len())
        } else {
            let literal = rest.strip_prefix('\\').unwrap_or(rest);
            let c = literal.chars().next().unwrap_or(c);
            let from = rest.len() - literal.len();
            (literal.get(..c.len_utf8())?, from + c.len_utf8())
        };
        pattern.push_str(text);
        rest = rest.get(used..)?;
    }
    Some(pattern)
}

impl Kind for Glob {
    const NAME: &'static str = "glob";

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::Str(text)) = value else { return false };
        text.len() <= limits::MATCHED_BYTES_MAX && self.compiled.is_match(text)
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Short)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![test(view, Binary::Regex, Term::text(self.compiled.anchored()))]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        let Shown::Tests(Family::Short, [Tree::Test(Binary::Regex, literal)]) = shown else {
            return None;
        };
        let inner = literal.as_text()?.strip_prefix(r"\A")?.strip_suffix(r"\z")?;
        let glob = Glob::new(&from_anchored(inner)?).ok()?;
        (glob.compiled.anchored() == literal.as_text()?).then_some(glob) // Else it is a regex.
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.pattern))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Glob::new(&string_from_text(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.pattern.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Glob::new(&string_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<Glob>> Compare<M> for Glob {
    fn covers(&self, child: &M) -> bool {
        child
            .as_kind::<Glob>()
            .is_some_and(|child| absorbs(&pieces(&self.pattern), &pieces(&child.pattern)))
    }
}
