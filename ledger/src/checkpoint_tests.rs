//! Checkpoints against C2SP's examples and against tlog_tiles.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;

const ORIGIN: &str = "acme.example/sublet";

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn key(name: &str, seed: u8) -> CheckpointKey {
    CheckpointKey::new(name, signing(seed).verifying_key().as_bytes()).unwrap()
}

fn head() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 20_852_163, root: [0xab; 32] }
}

fn signed(head: &Checkpoint, key_name: &str, seed: u8) -> Vec<u8> {
    let signature = signing(seed).sign(head.text().as_bytes()).to_bytes();
    head.signed(&key(key_name, seed), &signature).unwrap()
}

#[test]
fn a_head_opens_under_its_key_alone() {
    let bytes = signed(&head(), ORIGIN, 1);
    assert_eq!(Checkpoint::open(&bytes, &[key(ORIGIN, 1)]), Ok(head()));
    assert_eq!(Checkpoint::open(&bytes, &[key("other", 2), key(ORIGIN, 1)]), Ok(head()));
    assert_eq!(Checkpoint::open(&bytes, &[]), Err(BadCheckpoint::Unsigned));
    assert_eq!(Checkpoint::open(&bytes, &[key(ORIGIN, 2)]), Err(BadCheckpoint::Unsigned));
    assert_eq!(Checkpoint::open(&bytes, &[key("other", 1)]), Err(BadCheckpoint::Unsigned));
}

#[test]
fn a_key_signs_heads_of_its_own_log_only() {
    let other = Checkpoint { origin: "evil.example/sublet".into(), ..head() };
    let bytes = signed(&other, ORIGIN, 1);
    assert_eq!(Checkpoint::open(&bytes, &[key(ORIGIN, 1)]), Err(BadCheckpoint::Origin));
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = signed(&head(), ORIGIN, 1);
    let keys = [key(ORIGIN, 1)];
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Checkpoint::open(&changed, &keys).is_err(), "byte {at} bit {bit}");
        }
    }
    for cut in 0..bytes.len() {
        assert!(Checkpoint::open(&bytes[..cut], &keys).is_err(), "cut at {cut}");
    }
    let longer = [bytes.as_slice(), b"\n"].concat();
    assert!(Checkpoint::open(&longer, &keys).is_err());
    let large = [bytes.as_slice(), &vec![b'a'; CHECKPOINT_BYTES_MAX]].concat();
    assert_eq!(Checkpoint::open(&large, &keys), Err(BadCheckpoint::Note));
}

#[test]
fn a_head_is_read_up_to_its_bound() {
    let bytes = signed(&head(), ORIGIN, 1);
    // The signature of a key that nobody here knows, under a name of some length.
    let of_length = |length: usize| {
        let line = |name: &str| format!("— {name} {}\n", STANDARD.encode([7; 68]));
        let name = "n".repeat(length - bytes.len() - line("").len());
        [bytes.as_slice(), line(&name).as_bytes()].concat()
    };
    let opened = |length| Checkpoint::open(&of_length(length), &[key(ORIGIN, 1)]);
    assert_eq!(opened(CHECKPOINT_BYTES_MAX), Ok(head()));
    for longer in 1..4 {
        assert_eq!(opened(CHECKPOINT_BYTES_MAX + longer), Err(BadCheckpoint::Note));
    }
}

#[test]
fn a_text_has_one_spelling() {
    let root = STANDARD.encode([0u8; 32]);
    assert!(Checkpoint::from_text(&format!("log\n0\n{root}\n")).is_ok());
    for text in [
        format!("log\n0\n{root}"),
        format!("log\n00\n{root}\n"),
        format!("log\n+1\n{root}\n"),
        format!("log\n-1\n{root}\n"),
        format!("log\n0\n{root}\n\n"),
        format!("log\n0\n{root}\nextension\n"),
        format!("\n0\n{root}\n"),
        format!("a log\n0\n{root}\n"),
        format!("a+log\n0\n{root}\n"),
        format!("log\n18446744073709551616\n{root}\n"),
        format!("log\n0\n{}\n", root.trim_end_matches('=')),
        format!("log\n0\n{}\n", STANDARD.encode([0u8; 31])),
        "log\n0\n\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(Checkpoint::from_text(&text), Err(BadCheckpoint::Text), "{text:?}");
    }
}

#[test]
fn another_library_writes_the_same_text() {
    let theirs =
        tlog_tiles::Checkpoint::new(ORIGIN, head().size, tlog_tiles::Hash(head().root), "");
    assert_eq!(theirs.unwrap().to_bytes(), head().text().into_bytes());
    let theirs = tlog_tiles::Checkpoint::from_bytes(head().text().as_bytes()).unwrap();
    assert_eq!(
        (theirs.origin(), theirs.size(), theirs.hash().0),
        (ORIGIN, head().size, head().root)
    );
}

/// The example of C2SP's signed-note, of the key of Go's sumdb documentation.
#[test]
fn the_published_key_and_note_are_read() {
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: CheckpointKey = text.parse().unwrap();
    assert_eq!(
        (key.name(), key.id(), key.to_string().as_str()),
        ("PeterNeumann", 0xc74f20a3, text)
    );
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    // Signed by the key, and no head of a log.
    assert_eq!(
        Checkpoint::open(note.as_bytes(), std::slice::from_ref(&key)),
        Err(BadCheckpoint::Text)
    );
    let changed = note.replace("problem is", "solution is");
    assert_eq!(Checkpoint::open(changed.as_bytes(), &[key]), Err(BadCheckpoint::Signature));
}

#[test]
fn what_is_no_key_is_refused() {
    for text in [
        "",
        "name",
        "name+00000000+AQ==",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(text.parse::<CheckpointKey>().is_err(), "{text:?}");
    }
    assert_eq!(CheckpointKey::new("name", &[1; 31]), None);
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(CheckpointKey::new("name", &weak), None);
}

#[test]
fn a_key_gives_its_bytes() {
    assert_eq!(key(ORIGIN, 1).public(), signing(1).verifying_key().as_bytes());
}
