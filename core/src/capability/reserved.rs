//! Words of a capability that later versions will give a meaning. SPEC 4.11.
//!
//! Owns: the list of them, and the refusal in their name. Does not own: the words that have a meaning
//! (`travel`, `kind`).
//!
//! Invariants: a capability with such a word is refused, in every form: who does not understand a word
//! does not know what it takes away, so it is never read past.

use super::bad_scope::BadScope;

/// Words that are kept for later versions: `approve:` for what somebody must agree to first, `budget:` for
/// what may be spent in all. Also the names of their JSON members and kinds.
pub const RESERVED_WORDS: [&str; 2] = ["approve", "budget"];

/// Refuses a word, a member or a kind of this name, where it is a reserved one.
pub(super) fn refuse(name: &str) -> Result<(), BadScope> {
    match RESERVED_WORDS.contains(&name) {
        false => Ok(()),
        true => Err(BadScope(format!("`{name}:` is reserved and not understood by this version"))),
    }
}

/// Whether a name, as it stands in SCOPE text, begins as such a word does.
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
