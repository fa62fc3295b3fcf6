//! Each kind of constraint as its one line in the documentation says it, written again from there
//! and without any of our code: slow, plain, and over serde_json values. The other half of a
//! comparison; nothing here is used by the project.

use serde_json::Value;

/// Whether the constraint in JSON long form allows this value, or absence.
pub(crate) fn admits(constraint: &Value, value: Option<&Value>) -> bool {
    let (kind, is) = constraint.as_object().unwrap().iter().next().unwrap();
    let parts = || is.as_array().unwrap();
    match (kind.as_str(), value) {
        ("any", _) => true,
        ("absent", value) => value.is_none(),
        (_, None) => false,
        ("all_of", _) => parts().iter().all(|part| admits(part, value)),
        ("any_of", _) => parts().iter().any(|part| admits(part, value)),
        ("not", _) => sees(is, value) && !admits(is, value),
        ("exactly", Some(value)) => same(is, value),
        ("one_of", Some(value)) => parts().iter().any(|one| same(one, value)),
        ("not_one_of", Some(value)) => {
            kind_of(&parts()[0]) == kind_of(value) && !parts().iter().any(|one| same(one, value))
        }
        ("range", Some(value)) => value.as_i64().is_some_and(|n| between(is, n * 1_000_000)),
        ("decimal", Some(value)) => millionths(value).is_some_and(|n| between(is, n)),
        ("max_length", Some(value)) => {
            length(value).is_some_and(|length| length <= is.as_u64().unwrap() as usize)
        }
        ("contains_all", Some(value)) => {
            list_like(value, &parts()[0]).is_some_and(|list| parts().iter().all(|p| has(list, p)))
        }
        ("subset_of", Some(value)) => {
            list_like(value, &parts()[0]).is_some_and(|list| list.iter().all(|v| has(parts(), v)))
        }
        (kind, Some(value)) => {
            value.as_str().is_some_and(|text| admits_text(kind, is.as_str().unwrap(), text))
        }
    }
}

fn admits_text(kind: &str, is: &str, text: &str) -> bool {
    match kind {
        "prefix" => text.starts_with(is),
        "glob" => matches(&is.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>()),
        "regex" => regex(is, text),
        "under" => path(text).is_some_and(|at| {
            let base = path(is).unwrap();
            at.len() >= base.len() && at[..base.len()] == base
        }),
        "url" => url(text).is_some_and(|at| {
            let plain = is.replace("://*.", "://");
            let (wild, base) = (plain != is, url(&plain).unwrap());
            let host = match wild {
                true => {
                    at.1.strip_suffix(&base.1)
                        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                false => at.1 == base.1,
            };
            let below = at.3.len() >= base.3.len() && at.3[..base.3.len()] == base.3;
            at.0 == base.0 && host && at.2 == base.2 && below
        }),
        "cidr" => bits(text).is_some_and(|at| {
            let (network, length) = is.split_once('/').unwrap();
            let length: usize = length.parse().unwrap();
            bits(network).unwrap()[..=length] == at[..at.len().min(length + 1)]
        }),
        other => panic!("the model does not know {other}"),
    }
}

/// What `not` asks of a value first: that it is of the kind that the constraint looks at.
fn sees(constraint: &Value, value: Option<&Value>) -> bool {
    let Some(value) = value else { return false };
    let (kind, is) = constraint.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "all_of" | "any_of" | "not" => {
            let part = if kind == "not" { is } else { &is[0] };
            sees(part, Some(value))
        }
        "exactly" => kind_of(is) == kind_of(value),
        "one_of" | "not_one_of" => kind_of(&is[0]) == kind_of(value),
        "range" => value.is_i64(),
        "decimal" => millionths(value).is_some(),
        "max_length" => length(value).is_some(),
        "contains_all" | "subset_of" => list_like(value, &is[0]).is_some(),
        "under" => value.as_str().is_some_and(|text| path(text).is_some()),
        "url" => value.as_str().is_some_and(|text| url(text).is_some()),
        "cidr" => value.as_str().is_some_and(|text| bits(text).is_some()),
        // No value of the universe is long enough to have no pattern.
        _ => value.is_string(),
    }
}

/// Null, boolean, integer, decimal, string, list, object: types do not mix.
fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(n) if n.is_i64() => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    kind_of(a) == kind_of(b) && a == b
}

fn has(list: &[Value], value: &Value) -> bool {
    list.iter().any(|one| same(one, value))
}

fn millionths(value: &Value) -> Option<i64> {
    match value.as_i64() {
        Some(whole) => Some(whole * 1_000_000),
        None => value.as_f64().map(|number| (number * 1e6).round() as i64),
    }
}

fn between(bounds: &Value, millionths_of: i64) -> bool {
    let bound = |name: &str| bounds.get(name).and_then(millionths);
    bound("min").is_none_or(|min| min <= millionths_of)
        && bound("max").is_none_or(|max| millionths_of <= max)
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.len()),
        Value::Array(items) => Some(items.len()),
        _ => None,
    }
}

/// The list, if it holds nothing but what is of one type with `like`.
fn list_like<'v>(value: &'v Value, like: &Value) -> Option<&'v [Value]> {
    let list = value.as_array()?;
    list.iter().all(|one| kind_of(one) == kind_of(like)).then_some(list)
}

/// The segments of a file's path that has one reading: of a path as in a URL, written in the normal form
/// in which no letter stands for another, and with no dot at the end of a name.
fn path(text: &str) -> Option<Vec<&str>> {
    let normal = icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let segments = url_path(text)?;
    (normal == text && !segments.iter().any(|s| s.ends_with('.'))).then_some(segments)
}

/// The segments of a path that every server resolves alike.
fn url_path(text: &str) -> Option<Vec<&str>> {
    let rest = text.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let segments: Vec<&str> = rest.split('/').collect();
    let plain =
        |c: char| c.is_alphanumeric() || c == ' ' || (c.is_ascii_graphic() && !"%\\".contains(c));
    let fine = |s: &&str| {
        let name = &s[..s.find(';').unwrap_or(s.len())];
        !["", ".", ".."].contains(&name.trim_end()) && s.trim() == *s && s.chars().all(plain)
    };
    segments.iter().all(fine).then_some(segments)
}

/// Scheme, host, port and path of a URL that has one reading; its query is left out.
fn url(text: &str) -> Option<(String, String, u16, Vec<&str>)> {
    let (scheme, rest) = text.split_once("://")?;
    let lower = |c: char| c.is_ascii_lowercase();
    if scheme.is_empty() || !scheme.chars().all(lower) {
        return None;
    }
    let (rest, _) = rest.split_once('?').unwrap_or((rest, ""));
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path_text) = rest.split_at(at);
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (
            authority,
            match scheme {
                "http" => 80,
                "https" => 443,
                _ => return None,
            },
        ),
    };
    let name = |c: char| lower(c) || c.is_ascii_digit() || c == '-' || c == '.';
    if host.is_empty() || !host.chars().all(name) || text.contains('#') {
        return None;
    }
    let path_text = path_text.strip_suffix('/').unwrap_or(path_text);
    let segments = if path_text.is_empty() { Vec::new() } else { url_path(path_text)? };
    Some((scheme.to_owned(), host.to_owned(), port, segments))
}

/// The family and the bits of an address that is written in its one canonical way.
fn bits(text: &str) -> Option<Vec<u8>> {
    let address: std::net::IpAddr = text.parse().ok()?;
    let octets = match address {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() => v6.octets().to_vec(),
        std::net::IpAddr::V6(_) => return None,
    };
    let bit = |octet: &u8| (0..8).rev().map(move |at| octet >> at & 1).collect::<Vec<_>>();
    let family = if octets.len() == 4 { 4 } else { 6 };
    (address.to_string() == text)
        .then(|| [family].into_iter().chain(octets.iter().flat_map(bit)).collect())
}

/// `**` anything, `*` anything but a slash, `?` one that is no slash.
fn matches(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', '*', rest @ ..] => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        ['*', rest @ ..] => (0..=text.len())
            .take_while(|at| !text[..*at].contains(&'/'))
            .any(|at| matches(rest, &text[at..])),
        ['?', rest @ ..] => text.first().is_some_and(|c| *c != '/') && matches(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && matches(rest, &text[1..]),
    }
}

/// The few regular expressions of the universe, by hand.
fn regex(pattern: &str, text: &str) -> bool {
    match pattern {
        "q[0-9]" => {
            text.len() == 2 && text.starts_with('q') && text.ends_with(|c: char| c.is_ascii_digit())
        }
        "q3|x" => text == "q3" || text == "x",
        "[^/]*" => !text.contains('/'),
        other => panic!("the model does not know {other}"),
    }
}
