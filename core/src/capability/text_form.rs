//! SCOPE text: `fs.read@tool://files path=under:/data limit=range:1..10 *=any hops:2`.
//! docs/FORMATS.
//!
//! Owns: parsing it. Does not own: writing it (`one`, `hop_limits`, `constraint`).

use std::str::FromStr;

use super::bad_scope::BadScope;
use super::constraint::Constraint;
use super::hop_limits::{HopLimits, read_word};
use super::kinds::Any;
use super::one::Capability;
use super::reserved;
use super::scalar::string_from_text;
use super::words::{OTHERS, split};

impl FromStr for Capability {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        // An audience may have brackets but no space, so the head ends at the first space.
        let text = text.trim_start_matches(' ');
        let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words = split(rest, ' ').into_iter().filter(|word| !word.is_empty());
        let (action, audience) = head.split_once('@').ok_or_else(|| {
            BadScope(format!(
                "{head:?} does not begin a scope: action@audience, as in fs.read@tool://files"
            ))
        })?;
        let (mut args, mut open, mut travel) = (Vec::new(), false, HopLimits::default());
        for word in words {
            if read_word(word, &mut travel)? {
                continue;
            }
            reserved::refuse(word.split_once(':').map_or(word, |(word, _)| word))?;
            let (name, constraint) = argument(word)?;
            match (name, &constraint) {
                (OTHERS, Constraint::Any(Any)) => open = true,
                (name, _) if name != OTHERS => args.push((string_from_text(name)?, constraint)),
                _ => {
                    return Err(BadScope("other arguments can only be opened: *=any".into()));
                }
            }
        }
        Capability::new(audience.parse()?, action.parse()?, args, open)?.travelling(travel)
    }
}

fn argument(word: &str) -> Result<(&str, Constraint), BadScope> {
    // A name that is not plain is quoted, and may then have `=` itself.
    let name = split(word, '=').first().copied().unwrap_or_default();
    let constraint = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
    let constraint = constraint.ok_or_else(|| {
        BadScope(format!("{word:?} is no argument: name=kind:value, as in path=under:/data"))
    })?;
    let (kind, value) = match constraint.split_once(':') {
        Some((kind, value)) => (kind, Some(value)),
        None => (constraint, None),
    };
    Ok((name, Constraint::from_text(kind, value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let texts = [
            "fs.read@tool://files path=under:/data",
            "fs.@tool://files/ limit=range:1..1000 mode=one_of:raw,text region=exactly:r",
            "db.query@mcp://db dry=exactly:true n=one_of:1,2 q=prefix:\"a b\" *=any",
            "a.b@t:x x=absent y=exactly:\"5\" z=exactly:5 *=any",
            "a.b@t:x use=exactly:1 use:delegates hops:0",
            "a.b@t:x *=any hops:64",
            "a.b@t:x p=one_of:\"a,b\",c w=exactly:1.5 z=exactly:null",
            "a.b@t:x approve=exactly:true \"approve:2\"=any \"hops:1\"=exactly:1 \"use:x\"=any",
        ];
        for text in texts {
            let capability: Capability = text.parse().unwrap();
            assert_eq!(capability.to_string(), text);
            assert_eq!(Capability::from_json(&capability.to_json()).unwrap(), capability);
        }
    }

    #[test]
    fn bad_texts_say_what_is_wrong() {
        let detail = |text: &str| text.parse::<Capability>().unwrap_err().to_string();
        assert!(detail("fs.read").contains("action@audience"));
        assert!(detail("fs.read@tool://f path").contains("name=kind:value"));
        assert!(
            detail("fs.read@tool://f path=below:/x").contains("no kind of constraint: any, absent")
        );
        assert!(detail("fs.read@tool://f path=under:/x/../y").contains("no base for under"));
        assert!(detail("fs.read@tool://f n=range:5..1").contains("empty"));
        assert!(detail("fs.read@tool://f n=one_of:1,a").contains("mixture"));
        assert!(detail("fs.read@tool://f n=any n=any").contains("twice"));
        assert!(detail("fs.read@tool://f *=absent").contains("only be opened"));
        assert!(detail("fs.read@tool://f n=any:5").contains("no value"));
        assert!(detail("fs.read@tool://f n=exactly").contains("needs a value"));
        assert!(detail("fs.read@tool://f use:holder").contains("only use:delegates"));
        assert!(detail("fs.read@tool://f use:delegates use:delegates").contains("twice"));
        assert!(detail("fs.read@tool://f hops:1 hops:1").contains("twice"));
        assert!(detail("fs.read@tool://f hops:65").contains("at most 64"));
        for bad in ["", "-1", "+1", "01", "1.0", "4294967296"] {
            assert!(detail(&format!("fs.read@tool://f hops:{bad}")).contains("no number of hops"));
        }
    }
}
