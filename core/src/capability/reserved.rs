//! Words of a capability that later versions will define. SPEC 4.11.
//!
//! Owns: the list of them, and their refusal. Does not own: the defined words (`hop_limits`,
//! `kind`).
//!
//! Invariants: a capability with a reserved word is refused in every form. A reader that does not
//! understand a word does not know what it restricts, so it must not ignore it.

use super::bad_scope::BadScope;

/// Words that are reserved for later versions: `approve:` for what somebody must approve first,
/// `budget:` for what may be spent in total. They are reserved as names of JSON members and kinds
/// too.
pub const RESERVED_WORDS: [&str; 2] = ["approve", "budget"];

/// Refuses a word, member or kind with a reserved name.
pub(super) fn refuse(name: &str) -> Result<(), BadScope> {
    match RESERVED_WORDS.contains(&name) {
        false => Ok(()),
        true => Err(BadScope(format!("`{name}:` is reserved and not understood by this version"))),
    }
}

/// Returns whether a name in SCOPE text begins like a reserved word.
pub(super) fn begins(name: &str) -> bool {
    name.split_once(':').is_some_and(|(word, _)| RESERVED_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::RESERVED_WORDS;
    use crate::capability::Capability;

    // SPEC 4.11.
    #[test]
    fn a_reserved_word_is_refused_by_its_name_in_every_form() {
        for word in RESERVED_WORDS {
            let said = format!("`{word}:` is reserved and not understood by this version");
            let json = |args: &str, more: &str| {
                let json = format!(r#"{{"action":"a","audience":"t:x","args":{args}{more}}}"#);
                Capability::from_json(json.as_bytes())
            };
            for made in [
                format!("a@t:x {word}:5").parse(),
                format!("a@t:x p={word}:5").parse(),
                json("{}", &format!(r#","{word}":5"#)),
                json(&format!(r#"{{"p":{{"{word}":5}}}}"#), ""),
            ] {
                let refused = made.unwrap_err().0;
                assert!(refused.ends_with(&said), "{refused}");
            }
        }
    }
}
