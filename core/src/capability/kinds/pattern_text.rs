//! Compiled regular expressions of `regex` and `glob`.

use std::fmt;

use crate::base::limits;
use crate::capability::bad_scope::BadScope;

/// An anchored pattern and its automaton. Two values are equal if their patterns are.
#[derive(Clone)]
pub(crate) struct Compiled {
    anchored: String,
    regex: regex::Regex,
}

impl Compiled {
    /// Compiles an anchored pattern. Its automaton may have at most [`limits::REGEX_BYTES_MAX`]
    /// bytes.
    pub(super) fn new(anchored: String) -> Result<Self, BadScope> {
        let built = regex::RegexBuilder::new(&anchored)
            .size_limit(limits::REGEX_BYTES_MAX)
            .dfa_size_limit(limits::REGEX_BYTES_MAX)
            .nest_limit(limits::REGEX_NESTING_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Compiled { anchored, regex }),
            Err(_) => Err(BadScope(format!("{anchored:?} is no pattern, or too large a one"))),
        }
    }

    pub(super) fn anchored(&self) -> &str {
        &self.anchored
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.anchored == other.anchored
    }
}
impl Eq for Compiled {}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.anchored)
    }
}
