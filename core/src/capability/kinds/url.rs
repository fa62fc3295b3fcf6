//! `url`: an absolute URL on this host, with its path at or below this one.
//! `to=url:https://api.acme.example/v1`, `to=url:https://*.acme.example`.
//!
//! Scheme, host and port are compared exactly; `*.` stands for one or more labels. Only a URL that
//! every parser reads alike is admitted: lower-case scheme and host, no user info, no `%` or `\`
//! before the query, no fragment, no dot segments, also none before a `;` (`/..;/`), no host that
//! is a disguised address. The query is not constrained.

use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::{bare_or_quoted, string_from_json, string_from_text, text};
use crate::capability::tree::{Tree, test};
use crate::capability::url_parts::{default_port, normal, split};
use crate::capability::words::value;

/// What a wildcard matches in the regular expression of a Biscuit library.
const LABELS: &str = "[a-z0-9.-]+";

/// The URLs under a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    written: String,
    scheme: String,
    /// Whether the host may have further labels before `rest`.
    wildcard: bool,
    /// The host or its end, the port and the path, with a slash at the end.
    rest: String,
}

impl Url {
    /// Parses a base: `scheme://host[:port][/path]`, the host optionally after `*.`.
    pub fn new(written: &str) -> Result<Self, BadScope> {
        let bad = || {
            BadScope(format!(
                "{written:?} is no base for url: scheme://host[:port][/path] in lower case, as in https://api.acme.example/v1"
            ))
        };
        let (scheme, rest) = written.split_once("://").ok_or_else(bad)?;
        let wildcard = rest.starts_with("*.");
        let plain = format!("{scheme}://{}", rest.strip_prefix("*.").unwrap_or(rest));
        let parts = split(&plain).filter(|_| !written.contains('?')).ok_or_else(bad)?;
        if parts.written() != plain {
            return Err(bad());
        }
        let before = if wildcard { "." } else { "" };
        let rest = format!("{before}{}", parts.normal_rest());
        Ok(Url { written: written.to_owned(), scheme: scheme.to_owned(), wildcard, rest })
    }

    /// Returns whether it is rendered as a pattern.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    fn contains(&self, normal: &str) -> bool {
        let rest = normal.strip_prefix(&self.scheme).and_then(|r| r.strip_prefix("://"));
        rest.is_some_and(|rest| {
            if !self.wildcard {
                return rest.starts_with(&self.rest);
            }
            let (host, behind) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            let (end, path) = self.rest.split_at(self.rest.find(':').unwrap_or(self.rest.len()));
            host.len() > end.len() && host.ends_with(end) && behind.starts_with(path)
        })
    }

    fn prefix(&self) -> String {
        format!("{}://{}", self.scheme, self.rest)
    }

    fn pattern(&self) -> String {
        let escaped = self.rest.chars().flat_map(|c| {
            let escape = c.is_ascii_punctuation().then_some('\\');
            escape.into_iter().chain([c])
        });
        format!(r"\A{}://{LABELS}{}", self.scheme, escaped.collect::<String>())
    }

    /// Returns the base with this prefix or pattern as its rendering; `None` when there is none.
    fn lifted(scheme: &str, wildcard: &str, rest: &str) -> Option<Self> {
        let rest = rest.strip_suffix('/')?;
        let (host, behind) = rest.split_once(':')?;
        let (port, path) = match behind.split_once('/') {
            Some((port, path)) => (port, format!("/{path}")),
            None => (behind, String::new()),
        };
        let port = if default_port(scheme) == port.parse().ok() { "" } else { port };
        let colon = if port.is_empty() { "" } else { ":" };
        Url::new(&format!("{scheme}://{wildcard}{host}{colon}{port}{path}")).ok()
    }
}

impl Kind for Url {
    const NAME: &'static str = "url";

    fn check(&self) -> Result<(), BadScope> {
        text(&self.written).map(|_| ())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::Str(text)) = value else { return false };
        normal(text).is_some_and(|normal| self.contains(&normal))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Url)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![if self.wildcard {
            test(view, Binary::Regex, Term::text(self.pattern()))
        } else {
            test(view, Binary::Prefix, Term::text(self.prefix()))
        }]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(Family::Url, [Tree::Test(Binary::Prefix, literal)]) => {
                let (scheme, rest) = literal.as_text()?.split_once("://")?;
                Url::lifted(scheme, "", rest)
            }
            Shown::Tests(Family::Url, [Tree::Test(Binary::Regex, literal)]) => {
                let (scheme, rest) = literal.as_text()?.strip_prefix(r"\A")?.split_once("://")?;
                let rest = rest.strip_prefix(LABELS)?.replace('\\', "");
                Url::lifted(scheme, "*.", rest.strip_prefix('.')?)
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.written))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Url::new(&string_from_text(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.written.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Url::new(&string_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<Url>> Compare<M> for Url {
    fn covers(&self, child: &M) -> bool {
        let Some(child) = child.as_kind::<Url>() else { return false };
        if child.wildcard {
            // Hosts with the child's ending have the parent's ending if the child's ending has it.
            self.wildcard && self.contains(&format!("{}://x{}", child.scheme, child.rest))
        } else {
            self.contains(&child.prefix())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(base: &str, url: &str) -> bool {
        Url::new(base).unwrap().admits(Some(&Json::Str(url.into())))
    }

    #[test]
    fn host_port_and_path_are_compared_as_they_are_meant() {
        let base = "https://api.acme.example/v1";
        for good in ["/v1", "/v1/", "/v1/users?q=%2e#".trim_end_matches('#'), "/v1/a/b", "/v1/Inc."]
        {
            assert!(admits(base, &format!("https://api.acme.example{good}")), "{good}");
        }
        assert!(admits(base, "https://api.acme.example:443/v1/x"));
        let bad = [
            "https://api.acme.example/v2",
            "https://api.acme.example/v10",
            "https://api.acme.example/v1/../v2",
            "https://api.acme.example/v1/..;/v2",
            "https://api.acme.example/v1/..;x=1/v2",
            "https://api.acme.example/v1/.;/v2",
            "https://api.acme.example/v1/;x/v2",
            "https://api.acme.example/v1/%2e%2e/v2",
            "https://api.acme.example:444/v1",
            "http://api.acme.example/v1",
            "https://api.acme.example@evil.example/v1",
            "https://evil.example/https://api.acme.example/v1",
            "https://api.acme.example.evil.example/v1",
            "https://API.acme.example/v1",
            "https://api.acme.example\\@evil.example/v1",
            "https://api.acme.example./v1",
            "https://api.acme.example/v1#x",
            "https://api.acme.example:0443/v1",
            "//api.acme.example/v1",
        ];
        for bad in bad {
            assert!(!admits(base, bad), "{bad}");
        }
    }

    #[test]
    fn a_wildcard_is_whole_labels_before_the_dot() {
        let base = "https://*.acme.example";
        assert!(
            admits(base, "https://a.acme.example/x") && admits(base, "https://a.b.acme.example")
        );
        assert!(
            !admits(base, "https://acme.example/x") && !admits(base, "https://evilacme.example")
        );
    }
}
