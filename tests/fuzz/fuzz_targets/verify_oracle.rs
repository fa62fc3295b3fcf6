//! What `decode` and `verify` take is authentic, and a stock Biscuit library agrees.
//!
//! A valid chain of one to four blocks is drawn from the input. Changed without its keys, it is
//! refused, unless what is left is byte for byte the chain or a prefix of it. Its last block
//! changed and signed again, as its maker could, is refused, or else stock biscuit-auth reads the
//! sealed form and its Datalog engine decides calls as our blocks do.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use sublet_core::trust::bundle::KeyUse;
use sublet_core::evidence::call::Call;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::universe::{Chain, Dice, call_near, chain};
use sublet_tests::{Fleet, NOW, curve_key, key, raw};

#[path = "../../biscuit_oracle/oracle.rs"]
mod oracle;

static FLEET: LazyLock<Fleet> = LazyLock::new(Fleet::new);
static ROOT: LazyLock<SecretKey> = LazyLock::new(|| Fleet::signer(KeyUse::Delegation));

static HOLDERS: LazyLock<Vec<SecretKey>> = LazyLock::new(|| {
    let labels = (0..4).map(|depth| format!("helper-{depth}"));
    let helpers = labels.flat_map(|label| [key(&label), curve_key(&label)]);
    std::iter::once(key("planner")).chain(helpers).collect()
});

/// A change of bytes; positions wrap.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Change {
    Set(u16, u8),
    Flip(u16, u8),
    Insert(u16, u8),
    Remove(u16, u8),
    Repeat(u16, u8),
    Cut(u16),
}

fuzz_target!(|data: &[u8]| {
    let _ = check(Unstructured::new(data));
});

fn check(mut u: Unstructured) -> Result<()> {
    let (outside, inside) = (changes(&mut u)?, changes(&mut u)?);
    let mut dice = Dice::new(u.take_rest().iter().copied().map(u16::from).collect());
    let chain = chain(&FLEET, &mut dice);
    let bytes = chain.token.encode();
    assert_eq!(FLEET.verify(&bytes).as_ref(), Ok(&chain.token));
    stock_agrees(&chain.token, &mut dice);
    changed_without_keys(&chain, changed(bytes, &outside));
    if let Ok(token) = FLEET.verify(&signed_again(&chain.token, &inside)) {
        stock_agrees(&token, &mut dice);
    }
    Ok(())
}

fn changes(u: &mut Unstructured) -> Result<Vec<Change>> {
    (0..u.int_in_range(0..=3)?).map(|_| u.arbitrary()).collect()
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        apply(*change, &mut bytes);
    }
    bytes
}

fn apply(change: Change, bytes: &mut Vec<u8>) {
    let length = bytes.len();
    let at = |at: u16| usize::from(at) % length.max(1);
    let part = |from: u16, count: u8| at(from)..length.min(at(from) + usize::from(count));
    match change {
        _ if length == 0 => {}
        Change::Set(to, value) => bytes[at(to)] = value,
        Change::Flip(to, bit) => bytes[at(to)] ^= 1 << (bit % 8),
        Change::Insert(to, value) => bytes.insert(at(to), value),
        Change::Remove(from, count) => drop(bytes.drain(part(from, count))),
        Change::Repeat(from, count) => bytes.extend_from_within(part(from, count)),
        Change::Cut(to) => bytes.truncate(at(to)),
    }
}

fn changed_without_keys(chain: &Chain, bytes: Vec<u8>) {
    if let Ok(token) = FLEET.verify(&bytes) {
        let prefix = chain.token.prefix(token.signed_blocks().len() - 1);
        let prefix = prefix.map(|prefix| prefix.encode());
        assert_eq!(prefix, Some(bytes), "neither the chain nor a prefix of it");
    }
}

/// The chain with its last payload changed, signed by who made the last block.
fn signed_again(token: &VerifiedToken, changes: &[Change]) -> Vec<u8> {
    let last = token.last();
    let payload = changed(last.payload().to_vec(), changes);
    match token.signed_blocks().len() {
        1 => {
            let mut envelope = raw::open(&token.encode());
            envelope.authority = raw::signed_v1(payload, last.next_key(), None, &*ROOT);
            raw::bytes(&envelope)
        }
        more => {
            let parent = token.prefix(more - 2).unwrap();
            raw::with_payload(&parent, payload, last.next_key(), holder(&parent))
        }
    }
}

/// The private key of a chain's last holder, which `universe` makes of its name.
fn holder(token: &VerifiedToken) -> &'static SecretKey {
    HOLDERS.iter().find(|key| key.public_key() == token.holder_key()).unwrap()
}

fn stock_agrees(token: &VerifiedToken, dice: &mut Dice) {
    let sealed = raw::seal(raw::open(&token.encode()), holder(token));
    let biscuit = oracle::read(&sealed, &ROOT).unwrap();
    for signed in token.signed_blocks() {
        let call = call_near(signed.block().scope.as_ref().unwrap(), dice);
        let unrecorded = u32::try_from(dice.below(5)).unwrap();
        let theirs = oracle::allows(&biscuit, &call, NOW, &token.facts(unrecorded));
        assert_eq!(theirs, ours(token, &call, unrecorded), "{call:?} under {token:?}");
    }
}

/// The verdict of each block, as SPEC section 3 has it in one line each.
fn ours(token: &VerifiedToken, call: &Call, unrecorded: u32) -> bool {
    token.signed_blocks().iter().all(|signed| {
        let block = signed.block();
        block.is_good_at(NOW.seconds())
            && token.depth() <= block.hops_max
            && unrecorded <= block.offline_hops_max
            && block.scope.as_ref().unwrap().admits(call, token.chain_position(block))
    })
}
