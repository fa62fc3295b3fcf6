//! Making tokens. Only this file signs blocks. SPEC sections 2 and 3.
//!
//! Owns: block 0, appending a hop, and the stock form. Does not own: whether the broker grants
//! (`decide`), where keys are kept (`base::sign`).
//!
//! Invariants: a holder signs only what is built here, and only under a token whose last holder has
//! the signing key; an appended hop was checked to be narrower, by the code that the broker runs; a
//! stock token is sealed only after attenuation to one action for at most a minute.

use std::sync::Arc;

use crate::base::id::{AgentId, HelperPath, UnixMillis};
use crate::base::key::PublicKey;
use crate::base::limits;
use crate::base::sign::Signer;
use crate::biscuit::block::{BadBlock, Block, Role};
use crate::biscuit::datalog::Symbols;
use crate::capability::{Pattern, Scope, Step, check_patterns};
use crate::refusal::{Deny, Malformed, Refusal};
use crate::token::narrow;
use crate::token::verify::VerifiedToken;
use crate::token::{BadToken, SignedBlock, UnverifiedToken, signed_bytes};
use crate::trust::bundle::KeyId;

/// The longest life of a stock token, in seconds. It is sealed, and so a bearer token.
pub const STOCK_SECONDS_MAX: i64 = 60;

/// The recipient of a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// An enrolled agent.
    Agent {
        /// The agent's SPIFFE id.
        id: AgentId,
        /// The agent's current key.
        key: PublicKey,
    },
    /// A helper that the holder spawns.
    Helper {
        /// The last label of the helper's path, of the form `[a-z0-9-]{1,63}`.
        label: String,
        /// The helper's fresh key.
        key: PublicKey,
    },
    /// The holder itself, with unchanged name and key. It attenuates the token for its own next
    /// use.
    Oneself,
}

/// The content of a new hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The recipient.
    pub to: Recipient,
    /// The capabilities of the hop. The parent must cover all of them.
    pub scope: Scope,
    /// The lifetime of the hop from now, in seconds.
    pub ttl_seconds: i64,
    /// The greatest number of hops of the chain, counted from the root; `None` keeps the parent's
    /// bound.
    pub hops_max: Option<u32>,
    /// The greatest number of hops that no receipt covers; `None` keeps the parent's bound.
    pub offline_hops_max: Option<u32>,
}

/// Signs block 0 with a root key. `holder_key` is the key of the agent that the block names. A
/// block whose role is [`Role::Hop`] is refused.
pub fn root(
    block: Block,
    holder_key: &PublicKey,
    root_key: KeyId,
    signer: &dyn Signer,
) -> Result<VerifiedToken, Refusal> {
    if matches!(block.role, Role::Hop) {
        return Err(Deny::Forbidden("a hop cannot be block 0").into());
    }
    let signed = sign(block, holder_key, None, Symbols::default(), signer)?;
    let token = UnverifiedToken { root_key, blocks: vec![Arc::new(signed)] };
    Ok(VerifiedToken::of_own_root(token, signer.public_key().clone()))
}

/// Appends a hop, offline. The block is the same as that of an online delegation.
///
/// `signer` must have the key of the token's holder. A hop that is not narrower than its parent is
/// refused.
///
/// ```
/// use sublet_core::base::sign::Signer;
/// use sublet_core::capability::Scope;
/// use sublet_core::token::mint::{Hop, Recipient, append};
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
/// # use world::{NOW, delegation, key};
///
/// let (parent, planner, helper) = (delegation(), key(10), key(11));
/// let mut hop = Hop {
///     to: Recipient::Helper { label: "scout".into(), key: helper.public_key().clone() },
///     scope: Scope::from_texts(&["fs.read@tool://files path=under:/data/q3"])?,
///     ttl_seconds: 300,
///     hops_max: None,
///     offline_hops_max: None,
/// };
/// let child = append(&parent, &hop, NOW, &planner)?;
/// assert_eq!(child.holder().to_string(), "spiffe://acme.example/agent/planner#scout");
///
/// hop.scope = Scope::from_texts(&["fs.read@tool://files path=under:/"])?; // wider
/// assert_eq!(append(&parent, &hop, NOW, &planner).unwrap_err().code(), "scope_exceeds_parent");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn append(
    parent: &VerifiedToken,
    hop: &Hop,
    now: UnixMillis,
    signer: &dyn Signer,
) -> Result<VerifiedToken, Refusal> {
    if signer.public_key() != parent.holder_key() {
        let caller = format!("the holder of key {}", signer.public_key().thumbprint());
        return Err(Deny::NotTheHolder { holder: parent.holder().to_string(), caller }.into());
    }
    let (block, key) = draft(parent, hop, now)?;
    let symbols = parent.unverified().symbols();
    let signed = sign(block, &key, Some(parent.last().signature()), symbols, signer)?;
    let longer = parent.with_own_block(signed);
    let bytes = longer.encode().len();
    if bytes > limits::TOKEN_BYTES_MAX {
        return Err(Malformed::from(BadToken::TooLarge(bytes)).into());
    }
    Ok(longer)
}

/// Returns the block that [`append`] would sign, and its next key. A hop that is not narrower than
/// its parent is refused.
pub fn draft(
    parent: &VerifiedToken,
    hop: &Hop,
    now: UnixMillis,
) -> Result<(Block, PublicKey), Refusal> {
    let last = parent.last();
    let (agent, helper, key) = recipient(last, &hop.to)?;
    let held = last.block();
    if hop.ttl_seconds <= 0 {
        return Err(Deny::EmptyWindow.into());
    }
    let block = Block {
        role: Role::Hop,
        agent,
        helper,
        not_after: now.seconds().saturating_add(hop.ttl_seconds),
        hops_max: hop.hops_max.unwrap_or(held.hops_max),
        offline_hops_max: hop.offline_hops_max.unwrap_or(held.offline_hops_max),
        scope: Some(hop.scope.clone()),
    };
    let position = parent.signed_blocks().len().saturating_sub(1);
    if position >= limits::HOPS_MAX as usize {
        return Err(Malformed::from(BadToken::TooManyHops(position.saturating_add(1))).into());
    }
    narrow::check(held, &block, position)?;
    let patterns = crate::token::patterns(parent.signed_blocks()) + hop.scope.patterns();
    check_patterns(patterns, limits::TOKEN_PATTERNS_MAX, "token").map_err(Malformed::from)?;
    Ok((block, key))
}

/// Cuts a hop to what the parent's holder may delegate. Returns the cut hop, and in words what was
/// cut. Refused when nothing is left.
pub fn clamp(
    parent: &VerifiedToken,
    hop: &Hop,
    now: UnixMillis,
) -> Result<(Hop, Vec<String>), Refusal> {
    let held = parent.last().block();
    let (agent, ..) = recipient(parent.last(), &hop.to)?;
    let Some(scope) = &held.scope else {
        return Err(Deny::Forbidden("an identity token cannot be delegated").into());
    };
    let step = Step { hop: parent.depth().saturating_add(1), to_another: agent != held.agent };
    let clamped = scope.clamp(&hop.scope, step);
    let left = |left: &[String]| match left {
        [] => "nothing of it is held".to_owned(),
        some => format!("only {}", some.join(" and ")),
    };
    let mut cut: Vec<String> =
        clamped.cut.iter().map(|(asked, some)| format!("{asked}: {}", left(some))).collect();
    let ttl_max = held.not_after.saturating_sub(now.seconds());
    if hop.ttl_seconds > ttl_max {
        cut.push(format!("{} s: only the {ttl_max} s that are left", hop.ttl_seconds));
    }
    if let Some(hops) = hop.hops_max.filter(|hops| *hops > held.hops_max) {
        cut.push(format!("{hops} hops: only {}", held.hops_max));
    }
    let Some(scope) = clamped.scope else {
        // The first capability that was asked for tells what is exceeded.
        let exceeds = scope.covers_after(&hop.scope, step).err();
        let hop = usize::try_from(parent.depth()).unwrap_or(usize::MAX);
        let none = Deny::OutOfRange("nothing is left of what was asked for");
        return Err(exceeds.map_or(none, |exceeds| Deny::ScopeExceeds { exceeds, hop }).into());
    };
    let clamped = Hop {
        to: hop.to.clone(),
        scope,
        ttl_seconds: hop.ttl_seconds.min(ttl_max),
        hops_max: hop.hops_max.map(|hops| hops.min(held.hops_max)),
        offline_hops_max: hop.offline_hops_max.map(|hops| hops.min(held.offline_hops_max)),
    };
    Ok((clamped, cut))
}

fn recipient(
    last: &SignedBlock,
    to: &Recipient,
) -> Result<(AgentId, Option<HelperPath>, PublicKey), Refusal> {
    let held = last.block();
    match to {
        Recipient::Agent { id, key } => Ok((id.clone(), None, key.clone())),
        Recipient::Helper { label, key } => {
            let path = HelperPath::child(held.helper.as_ref(), label).map_err(Malformed::from)?;
            Ok((held.agent.clone(), Some(path), key.clone()))
        }
        Recipient::Oneself => {
            Ok((held.agent.clone(), held.helper.clone(), last.next_key().clone()))
        }
    }
}

fn sign(
    block: Block,
    next_key: &PublicKey,
    previous: Option<&[u8]>,
    symbols: Symbols<'_>,
    signer: &dyn Signer,
) -> Result<SignedBlock, Refusal> {
    let bad = |bad| Malformed::from(BadToken::Block(usize::from(previous.is_some()), bad));
    block.check_limits().map_err(bad)?;
    let payload = {
        let mut symbols = symbols;
        block.lower(&mut symbols)
    };
    if payload.len() > limits::BLOCK_BYTES_MAX {
        return Err(bad(BadBlock::TooLarge(payload.len())).into());
    }
    let message = signed_bytes(&payload, next_key, previous);
    let signature = signer.sign(&message).map_err(crate::refusal::Fault::from)?;
    Ok(SignedBlock { payload, next_key: next_key.clone(), signature, block })
}

/// Makes the stock form: a sealed Biscuit for a verifier that knows only Biscuit. SPEC 2.12.
///
/// The holder attenuates the token for itself to one exact audience and one exact action, for at
/// most [`STOCK_SECONDS_MAX`] seconds, and seals it. A sealed token is a bearer token; therefore
/// its scope is this narrow.
pub fn stock(
    token: &VerifiedToken,
    scope: &Scope,
    ttl_seconds: i64,
    now: UnixMillis,
    signer: &dyn Signer,
) -> Result<Vec<u8>, Refusal> {
    if !(1..=STOCK_SECONDS_MAX).contains(&ttl_seconds) {
        return Err(Deny::OutOfRange("a stock token lives 1 to 60 seconds").into());
    }
    let first = scope.capabilities().first();
    let exact = |pattern: &Pattern| matches!(pattern, Pattern::Exact(_));
    let one = |c: &crate::capability::Capability| {
        exact(c.audience().pattern())
            && exact(c.action().pattern())
            && first.is_some_and(|f| f.audience() == c.audience() && f.action() == c.action())
    };
    if !scope.capabilities().iter().all(one) {
        return Err(
            Deny::OutOfRange("a stock token must have one exact audience and action").into()
        );
    }
    let hop = Hop {
        to: Recipient::Oneself,
        scope: scope.clone(),
        ttl_seconds,
        hops_max: None,
        offline_hops_max: None,
    };
    let narrowed = append(token, &hop, now, signer)?;
    Ok(seal(&narrowed, signer)?)
}

/// Returns the token with Biscuit's seal over the last block (Biscuit specification, "Sealed
/// token").
fn seal(token: &VerifiedToken, signer: &dyn Signer) -> Result<Vec<u8>, crate::refusal::Fault> {
    let last = token.last();
    let mut message = last.payload().to_vec();
    message.extend_from_slice(&u32::from(last.next_key().algorithm().number()).to_le_bytes());
    message.extend_from_slice(last.next_key().bytes());
    message.extend_from_slice(last.signature());
    let signature = signer.sign(&message)?;
    Ok(token.unverified().encode_with(Some(&signature)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::sign::SecretKey;
    use crate::biscuit::block::tests::{grant, of_bytes};
    use crate::refusal::Unauthenticated;
    use crate::trust::bundle::{KeyState, KeyUse, TrustBundle, TrustedKey};

    const NOW: UnixMillis = UnixMillis(1_000_000_000);

    fn key(seed: u8) -> SecretKey {
        SecretKey::ed25519_from_seed([seed; 32])
    }

    fn bundle() -> TrustBundle {
        let trusted = |use_, id, seed| TrustedKey {
            use_,
            id: KeyId(id),
            alg: "ed25519".into(),
            public: key(seed).public_key().clone(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(i64::MAX),
            state: KeyState::Active,
        };
        let keys = vec![trusted(KeyUse::Delegation, 1, 1), trusted(KeyUse::Bundle, 2, 2)];
        TrustBundle::new(
            "acme.example".parse().unwrap(),
            1,
            UnixMillis(0),
            UnixMillis(i64::MAX),
            keys,
        )
        .unwrap()
    }

    fn issued() -> VerifiedToken {
        let block = grant(&["fs.@tool://files path=under:/data"]);
        root(block, key(10).public_key(), KeyId(1), &key(1)).unwrap()
    }

    fn hop(label: &str, holder: u8, scope: &str) -> Hop {
        Hop {
            to: Recipient::Helper { label: label.into(), key: key(holder).public_key().clone() },
            scope: Scope::from_texts(&[scope]).unwrap(),
            ttl_seconds: 60,
            hops_max: None,
            offline_hops_max: None,
        }
    }

    fn verify(bytes: &[u8]) -> Result<VerifiedToken, Unauthenticated> {
        VerifiedToken::verify(UnverifiedToken::decode(bytes).unwrap(), &bundle())
    }

    #[test]
    fn a_chain_verifies_and_its_ids_are_the_same_on_both_sides() {
        let child = append(
            &issued(),
            &hop("scout", 11, "fs.read@tool://files path=under:/data/q3"),
            NOW,
            &key(10),
        );
        let child = child.unwrap();
        let seen = verify(&child.encode()).unwrap();
        assert_eq!(seen, child);
        assert_eq!(seen.delegation(), issued().id());
        assert_eq!(seen.holder().to_string(), "spiffe://acme.example/agent/planner#scout");
        assert_eq!(seen.holder_key(), key(11).public_key());
    }

    // SPEC 2.9, 3.5.
    #[test]
    fn only_the_holder_appends_and_only_narrower() {
        let narrow = hop("scout", 11, "fs.read@tool://files path=under:/data/q3");
        let thief = append(&issued(), &narrow, NOW, &key(66));
        assert_eq!(thief.unwrap_err().code(), "not_the_holder");
        let wider = append(
            &issued(),
            &hop("scout", 11, "fs.read@tool://files path=under:/"),
            NOW,
            &key(10),
        );
        let refusal = wider.unwrap_err();
        assert_eq!(refusal.code(), "scope_exceeds_parent");
        assert!(refusal.to_string().contains("under:/data or less"), "{refusal}");
        let longer = Hop { ttl_seconds: 100_000, ..narrow };
        let refusal = append(&issued(), &longer, NOW, &key(10)).unwrap_err();
        assert_eq!(refusal.code(), "outlives_parent");
    }

    #[test]
    fn a_block_cannot_be_moved_to_a_wider_token_of_the_same_holder() {
        let other = root(
            grant(&["fs.@tool://files path=under:/"]),
            key(10).public_key(),
            KeyId(1),
            &key(1),
        );
        let other = other.unwrap();
        let child = append(
            &issued(),
            &hop("scout", 11, "fs.read@tool://files path=under:/data"),
            NOW,
            &key(10),
        );
        let child = child.unwrap();
        let spliced = other.with_own_block(child.last().clone());
        let bytes = spliced.encode();
        // Its symbols no longer fit; were they to, the signature before it is another.
        match UnverifiedToken::decode(&bytes) {
            Err(_) => {}
            Ok(token) => {
                let verdict = VerifiedToken::verify(token, &bundle());
                assert_eq!(verdict, Err(Unauthenticated::Signature { block: 1 }));
            }
        }
    }

    #[test]
    fn stock_biscuit_takes_the_stock_form_and_no_other_key() {
        let scope = Scope::from_texts(&["fs.read@tool://files path=under:/data/q3"]).unwrap();
        let sealed = stock(&issued(), &scope, 30, NOW, &key(10)).unwrap();
        let stock_key = |seed: u8| {
            biscuit_auth::PublicKey::from_bytes(
                key(seed).public_key().bytes(),
                biscuit_auth::Algorithm::Ed25519,
            )
            .unwrap()
        };
        assert!(biscuit_auth::Biscuit::from(&sealed, stock_key(1)).is_ok());
        assert!(biscuit_auth::Biscuit::from(&sealed, stock_key(9)).is_err());
        assert_eq!(UnverifiedToken::decode(&sealed), Err(BadToken::Sealed));
        let wide = Scope::from_texts(&["fs.@tool://files path=under:/data/q3"]).unwrap();
        assert!(stock(&issued(), &wide, 30, NOW, &key(10)).is_err());
        assert!(stock(&issued(), &scope, 61, NOW, &key(10)).is_err());
        assert!(
            seal(&issued(), &key(66))
                .is_ok_and(|s| biscuit_auth::Biscuit::from(&s, stock_key(1)).is_err())
        );
    }

    /// Returns a hop to the holder itself with these further constraints.
    fn onward(parent: &VerifiedToken, args: &str) -> Result<VerifiedToken, Refusal> {
        let hop = Hop {
            to: Recipient::Oneself,
            scope: Scope::from_texts(&[format!("fs.@tool://files *=any {args}")]).unwrap(),
            ttl_seconds: 60,
            hops_max: None,
            offline_hops_max: None,
        };
        append(parent, &hop, NOW, &key(10))
    }

    /// Returns a chain of this many hops, all of one holder.
    pub(crate) fn chain(hops: u32) -> VerifiedToken {
        let max = limits::HOPS_MAX;
        let block =
            Block { hops_max: max, offline_hops_max: max, ..grant(&["fs.@tool://files *=any"]) };
        let first = root(block, key(10).public_key(), KeyId(1), &key(1)).unwrap();
        (0..hops).fold(first, |token, _| onward(&token, "").unwrap())
    }

    /// Returns whether a chain may have exactly this many bytes.
    pub(crate) fn grown_to(bytes: usize) -> Result<VerifiedToken, Refusal> {
        let (mut token, mut letters) = (chain(0), 950);
        let prefix = |letters: usize| format!("p=prefix:{}", "x".repeat(letters));
        while bytes - token.encode().len() > 1_300 {
            token = onward(&token, &prefix(letters)).unwrap();
            letters += 1;
        }
        let last = |more: usize| {
            let args = format!("{} q=prefix:{}", prefix(letters - 1), "y".repeat(more));
            onward(&token, &args)
        };
        let more = 200 + bytes - last(200).unwrap().encode().len();
        let grown = last(more)?;
        assert_eq!(grown.encode().len(), bytes);
        Ok(grown)
    }

    #[test]
    fn a_token_may_grow_to_its_bound_and_no_further() {
        let max = limits::TOKEN_BYTES_MAX;
        assert!(grown_to(max).is_ok());
        let further = grown_to(max + 1).unwrap_err();
        assert_eq!(further, Malformed::from(BadToken::TooLarge(max + 1)).into());
    }

    #[test]
    fn a_block_is_signed_up_to_its_bound() {
        let sign = |bytes| root(of_bytes(bytes), key(10).public_key(), KeyId(1), &key(1));
        assert!(sign(limits::BLOCK_BYTES_MAX).is_ok());
        assert_eq!(sign(limits::BLOCK_BYTES_MAX + 1).unwrap_err().code(), "block_too_large");
    }

    // SPEC 4.9.3.
    #[test]
    fn what_is_for_delegates_is_cut_to_that_for_a_helper_and_not_for_another_agent() {
        let block = grant(&["fs.read@tool://files use:delegates"]);
        let held = root(block, key(10).public_key(), KeyId(1), &key(1)).unwrap();
        let asked = hop("scout", 11, "fs.read@tool://files");
        let id = "spiffe://acme.example/agent/writer".parse().unwrap();
        let to = Recipient::Agent { id, key: key(12).public_key().clone() };
        let (kept, cut) = clamp(&held, &Hop { to, ..asked.clone() }, NOW).unwrap();
        assert_eq!((kept.scope, cut.len()), (asked.scope.clone(), 0));
        let (kept, cut) = clamp(&held, &asked, NOW).unwrap();
        assert_eq!(kept.scope.capabilities()[0].to_string(), "fs.read@tool://files use:delegates");
        assert_eq!(cut.len(), 1);
    }

    // SPEC 2.12.
    #[test]
    fn a_stock_token_is_good_for_one_action_of_one_audience() {
        let seal = |scope: &[&str]| {
            let scope = Scope::from_texts(scope).unwrap();
            stock(&issued(), &scope, 60, NOW, &key(10)).map_err(|refusal| refusal.code())
        };
        let read = "fs.read@tool://files path=under:/data/a";
        assert!(seal(&[read, "fs.read@tool://files path=under:/data/b"]).is_ok());
        for other in ["fs.write@tool://files path=under:/data", "fs.read@tool://mail"] {
            assert_eq!(seal(&[read, other]), Err("value_out_of_range"), "{other}");
        }
    }
}
