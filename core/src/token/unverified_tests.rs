use super::*;
use crate::token::mint::tests::{chain, grown_to};

/// Returns the decoded chain with further blocks that are not decoded yet.
fn longer(of: &UnverifiedToken, more: &[&[u8]]) -> UnverifiedToken {
    let mut token = of.clone();
    for payload in more {
        let last = token.blocks.last().unwrap();
        let block = SignedBlock { payload: payload.to_vec(), ..SignedBlock::clone(last) };
        token.blocks.push(Arc::new(block));
    }
    token
}

fn read(hops: u32) -> UnverifiedToken {
    UnverifiedToken::decode(&chain(hops).encode()).unwrap()
}

#[test]
fn a_token_says_who_issued_it_and_what_its_blocks_are() {
    let token = read(2);
    assert_eq!(token.issuer().unwrap().as_str(), "spiffe://acme.example/sublet");
    assert_eq!(token.blocks().len(), 3);
}

#[test]
fn a_token_is_read_up_to_its_bound() {
    let max = limits::TOKEN_BYTES_MAX;
    let bytes = grown_to(max).unwrap().encode();
    let token = UnverifiedToken::decode(&bytes).unwrap();
    assert_eq!(token.encode(), bytes);
    let larger = longer(&token, &[b"x"]).encode();
    assert_eq!(UnverifiedToken::decode(&larger), Err(BadToken::TooLarge(larger.len())));
}

#[test]
fn a_longer_token_is_read_as_if_it_were_read_anew() {
    let (known, two) = (read(1), read(3));
    let read = UnverifiedToken::decode_longer(&two.encode(), &known).unwrap();
    assert_eq!(read, Ok(two.clone()));
    assert!(UnverifiedToken::decode_longer(&known.encode(), &two).is_none());
    // What is not understood is named by its place in the whole.
    let bad = longer(&self::read(2), &[b"x"]).encode();
    let bad = UnverifiedToken::decode_longer(&bad, &known).unwrap();
    assert!(matches!(bad, Err(BadToken::Block(3, _))), "{bad:?}");
}

#[test]
fn a_longer_token_has_as_many_hops_as_any() {
    let max = limits::HOPS_MAX;
    let known = read(max - 1);
    let last = chain(max).encode();
    assert!(UnverifiedToken::decode_longer(&last, &known).unwrap().is_ok());
    let more = longer(&known, &[b"x", b"x"]).encode();
    let refused = UnverifiedToken::decode_longer(&more, &known).unwrap();
    assert_eq!(refused, Err(BadToken::TooManyHops(max as usize + 1)));
}

#[test]
fn a_token_is_put_together_from_its_recorded_blocks() {
    let token = read(2);
    let recorded: Vec<BlockPayload> =
        token.blocks().iter().map(|block| BlockPayload::from(&**block)).collect();
    assert_eq!(UnverifiedToken::assemble(token.root_key(), &recorded), Ok(token.clone()));
    let headless = UnverifiedToken::assemble(token.root_key(), &recorded[1..]);
    assert!(matches!(headless, Err(BadToken::Block(0, _))), "{headless:?}");
}

#[test]
fn every_prefix_of_an_open_token_has_a_name() {
    let named = |token: &UnverifiedToken| prefix_digests(&token.encode()).unwrap();
    let (one, two) = (named(&read(1)), named(&read(2)));
    assert_eq!((one.len(), two.len()), (2, 3));
    assert_eq!(one, two[..2]);
    let mut bytes = read(1).encode();
    bytes.pop();
    bytes.push(1);
    assert_eq!(prefix_digests(&bytes), None, "it does not end as an open token does");
}

#[test]
fn prefixes_are_named_up_to_the_bounds_of_a_token() {
    let max = limits::HOPS_MAX as usize;
    let deepest = read(limits::HOPS_MAX);
    assert_eq!(prefix_digests(&deepest.encode()).unwrap().len(), max + 1);
    assert_eq!(prefix_digests(&longer(&deepest, &[b"x"]).encode()), None);
    let largest = grown_to(limits::TOKEN_BYTES_MAX).unwrap();
    assert!(prefix_digests(&largest.encode()).is_some());
    assert_eq!(prefix_digests(&longer(largest.unverified(), &[b"x"]).encode()), None);
}
