//! Which tools and which actions: exactly one, or all with a prefix. SPEC 4.1, 4.2.
//!
//! A prefix ends in its separator, `/` for audiences and `.` for actions. So `fs.` does not match
//! `fsadmin`, and no exact text looks like a prefix.

use std::fmt;
use std::str::FromStr;

use super::bad_scope::BadScope;
use crate::base::limits;

/// One text, or every text with a prefix that ends in the separator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Exactly this text.
    Exact(String),
    /// Every text with this prefix.
    Prefix(String),
}

impl Pattern {
    fn new(text: String, separator: char) -> Self {
        if text.ends_with(separator) { Pattern::Prefix(text) } else { Pattern::Exact(text) }
    }

    fn admits(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(exact) => text == exact,
            Pattern::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }

    fn covers(&self, child: &Pattern) -> bool {
        match (self, child) {
            (Pattern::Exact(parent), Pattern::Exact(child)) => parent == child,
            (Pattern::Exact(_), Pattern::Prefix(_)) => false,
            (Pattern::Prefix(parent), Pattern::Exact(child) | Pattern::Prefix(child)) => {
                child.starts_with(parent)
            }
        }
    }

    fn text(&self) -> &str {
        match self {
            Pattern::Exact(text) | Pattern::Prefix(text) => text,
        }
    }
}

macro_rules! pattern {
    ($name:ident, $separator:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Pattern);

        impl $name {
            /// Returns whether the pattern matches the text.
            pub fn admits(&self, text: &str) -> bool {
                self.0.admits(text)
            }

            /// Returns whether the pattern matches everything that `child` matches.
            pub fn covers(&self, child: &Self) -> bool {
                self.0.covers(&child.0)
            }

            /// Returns the text as it is written; a prefix has its separator.
            pub fn as_str(&self) -> &str {
                self.0.text()
            }

            /// Returns the pattern.
            pub fn pattern(&self) -> &Pattern {
                &self.0
            }

            /// Returns whether the text is exact, as that of a call must be: it is valid here and
            /// no prefix.
            pub(crate) fn is_exact(text: &str) -> bool {
                !text.ends_with($separator) && check(text).is_ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = BadScope;

            fn from_str(text: &str) -> Result<Self, BadScope> {
                check(text)?;
                Ok($name(Pattern::new(text.to_owned(), $separator)))
            }
        }
    };
}

mod audience {
    use super::*;

    pattern!(Audience, '/', "The tools of a capability: a URI, or a prefix that ends in `/`.");

    fn check(text: &str) -> Result<(), BadScope> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
        let fine = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        if scheme_ok && fine && text.len() <= limits::TEXT_BYTES_MAX {
            Ok(())
        } else {
            Err(BadScope(format!(
                "{text:?} is no audience: a URI such as tool://files, or a prefix ending in /"
            )))
        }
    }
}

mod action {
    use super::*;

    pattern!(
        Action,
        '.',
        "The actions of a capability: a dotted name, or a prefix that ends in `.`."
    );

    fn check(text: &str) -> Result<(), BadScope> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
        let fine = !text.is_empty()
            && !text.starts_with('.')
            && !text.contains("..")
            && text.bytes().all(ok);
        if fine && text.len() <= limits::TEXT_BYTES_MAX {
            Ok(())
        } else {
            Err(BadScope(format!(
                "{text:?} is no action: a dotted name such as fs.read, or a prefix ending in ."
            )))
        }
    }
}

pub use action::Action;
pub use audience::Audience;

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 4.1, 4.2.
    #[test]
    fn a_prefix_ends_in_its_separator() {
        let fs: Action = "fs.".parse().unwrap();
        assert!(fs.admits("fs.read") && !fs.admits("fsadmin.read") && !fs.admits("fs"));
        let read: Action = "fs.read".parse().unwrap();
        assert!(fs.covers(&read) && !read.covers(&fs));
    }

    #[test]
    fn a_call_names_one_and_no_prefix() {
        assert!(Action::is_exact("fs.read") && Audience::is_exact("tool://files"));
        for action in ["fs.", ".", "", "fs..read", ".fs", "fs read", "fs.%2e"] {
            assert!(!Action::is_exact(action), "{action}");
        }
        for audience in ["tool://files/", "tool://", "files", "tool://a b", ""] {
            assert!(!Audience::is_exact(audience), "{audience}");
        }
    }

    // SPEC 4.1, 4.2.
    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["", ".", "fs..read", "fs read", "é"] {
            assert!(bad.parse::<Action>().is_err(), "{bad}");
        }
        for bad in ["", "files", "://x", "tool://a b", "TOOL://x"] {
            assert!(bad.parse::<Audience>().is_err(), "{bad}");
        }
    }
}
