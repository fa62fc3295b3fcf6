//! The words of SCOPE text: where a word ends, and the value after `kind:`. docs/FORMATS.

use super::bad_scope::BadScope;
use super::scalar::Scalar;
use crate::base::json::Json;

/// The name that stands for every argument that is not named.
pub(super) const OTHERS: &str = "*";

/// Splits at a separator outside JSON strings and brackets.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut words, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut depth) = (false, false, 0u32);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            _ if c == separator && !quoted && depth == 0 => {
                words.extend(text.get(start..at));
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    words.extend(text.get(start..));
    words
}

/// Refuses a value after a kind that has none.
pub(super) fn no_value(kind: &str, value: Option<&str>) -> Result<(), BadScope> {
    match value {
        None => Ok(()),
        Some(value) => Err(BadScope(format!("{kind} has no value, {value:?} was given"))),
    }
}

/// Returns the value after a kind that needs one; a missing one is an error.
pub(super) fn value<'a>(kind: &str, value: Option<&'a str>) -> Result<&'a str, BadScope> {
    value.ok_or_else(|| BadScope(format!("{kind} needs a value: {kind}:VALUE")))
}

/// Parses the values of a list in SCOPE text: separated by commas, or a JSON array.
pub(super) fn list(kind: &str, text: Option<&str>) -> Result<Vec<Scalar>, BadScope> {
    let text = value(kind, text)?;
    if text.starts_with('[') {
        return list_from_json(kind, &json(text)?);
    }
    split(text, ',').iter().map(|word| Scalar::from_text(word)).collect()
}

/// Parses the values of a JSON array.
pub(super) fn list_from_json(kind: &str, value: &Json) -> Result<Vec<Scalar>, BadScope> {
    let Json::List(items) = value else { return Err(BadScope(format!("{kind} takes a list"))) };
    items.iter().map(Scalar::from_json).collect()
}

/// Parses JSON in SCOPE text.
pub(super) fn json(text: &str) -> Result<Json, BadScope> {
    let parsed = Json::parse_canonicalised(text.as_bytes());
    parsed.map(|(json, _)| json).map_err(|bad| BadScope(format!("{text:?} is no JSON: {bad}")))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_separator_in_a_string_or_in_brackets_splits_nothing() {
        for (text, words) in [
            ("a b", ["a", "b"]),
            (r"a\ b", [r"a\", "b"]),
            (r#""a\" b" c"#, [r#""a\" b""#, "c"]),
            ("[a b] c", ["[a b]", "c"]),
            ("{a [b] c} d", ["{a [b] c}", "d"]),
            (r#"["]" a] b"#, [r#"["]" a]"#, "b"]),
            (r#""[" b"#, [r#""[""#, "b"]),
            ("] b", ["]", "b"]),
        ] {
            assert_eq!(split(text, ' '), words, "{text}");
        }
    }
}
