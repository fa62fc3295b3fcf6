//! `regex`: a string that matches as a whole. `id=regex:"INV-[0-9]{6}"`.
//!
//! The pattern is parsed alone, then anchored, so no `)` or `|` in it affects the anchors. Only
//! syntax that every Biscuit library reads alike is accepted: no `\w`, `\d` or other escape of a
//! letter or digit, no flags, no sets inside sets. Matching takes time linear in the text. A regex
//! covers only the same regex, and values that match.

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

/// A regular expression that a whole string must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regex {
    pattern: String,
    compiled: Compiled,
}

impl Regex {
    /// Compiles a pattern of at most [`limits::PATTERN_BYTES_MAX`] bytes in portable syntax.
    pub fn new(pattern: &str) -> Result<Self, BadScope> {
        if pattern.len() > limits::PATTERN_BYTES_MAX {
            let max = limits::PATTERN_BYTES_MAX;
            return Err(BadScope(format!("a regex has at most {max} bytes")));
        }
        if let Some(what) = not_portable(pattern) {
            return Err(BadScope(format!("{pattern:?}: not all libraries read {what} alike")));
        }
        Compiled::new(pattern.to_owned())?; // Alone: what only parses between anchors is refused.
        let compiled = Compiled::new(format!(r"\A(?:{pattern})\z"))?;
        Ok(Regex { pattern: pattern.to_owned(), compiled })
    }
}

/// Returns which part of the pattern another library may read differently; `None` when none.
fn not_portable(pattern: &str) -> Option<&'static str> {
    let (mut escaped, mut in_set) = (false, false);
    let mut rest = pattern.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        match c {
            _ if escaped => {
                escaped = false;
                if c.is_alphanumeric() || !c.is_ascii() {
                    return Some("an escape of a letter or digit");
                }
            }
            '\\' => escaped = true,
            '[' if in_set => return Some("a set inside a set"),
            '&' | '-' | '~' if in_set && before == c => return Some("an operation on sets"),
            '[' => in_set = true,
            ']' => in_set = false,
            '(' if !in_set && rest.peek() == Some(&'?') => {
                let mut ahead = rest.clone().skip(1);
                if ahead.next() != Some(':') {
                    return Some("a flag, name or look-around");
                }
            }
            _ => {}
        }
        before = c;
    }
    None
}

impl Kind for Regex {
    const NAME: &'static str = "regex";

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
        Regex::new(inner.strip_prefix("(?:")?.strip_suffix(')')?).ok()
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.pattern))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Regex::new(&string_from_text(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.pattern.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Regex::new(&string_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<Regex>> Compare<M> for Regex {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<Regex>().is_some_and(|child| child == self)
    }
}
