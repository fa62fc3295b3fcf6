//! Policies: C2SP's example, texts that are none, and notes compared with one.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;
use crate::cosignature::message;

const ORIGIN: &str = "acme.example/sublet";

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn log(seed: u8) -> CheckpointKey {
    CheckpointKey::new(ORIGIN, signing(seed).verifying_key().as_bytes()).unwrap()
}

fn witness(seed: u8) -> WitnessKey {
    let name = format!("witness.example/w{seed}");
    WitnessKey::new(&name, signing(seed).verifying_key().as_bytes()).unwrap()
}

/// C2SP's example: two of three, one of three, both.
fn example() -> String {
    let mut text = format!("# of three and three\nlog {}\n\n", log(1));
    for (name, seed) in [("X1", 11), ("X2", 12), ("X3", 13), ("Y1", 21), ("Y2", 22), ("Y3", 23)] {
        text += &format!(" witness\t{name}  {} https://{name}.example/\n", witness(seed));
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn enough(policy: &Policy, by: &[&str]) -> bool {
    policy.enough(&by.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn the_quorum_is_what_the_groups_say() {
    let policy = Policy::parse(&example()).unwrap();
    assert_eq!(policy.witnesses().count(), 6);
    for (by, is) in [
        (&["X1", "X2", "Y3"][..], true),
        (&["X1", "X2", "X3", "Y1", "Y2", "Y3"], true),
        (&["X1", "Y1", "Y2", "Y3"], false),
        (&["X1", "X2", "X3"], false),
        (&[], false),
        (&["X-and-Y-not", "Y1"], false),
    ] {
        assert_eq!(enough(&policy, by), is, "{by:?}");
    }
    assert!(enough(&Policy::parse("quorum none\n").unwrap(), &[]));
    let one = Policy::parse(&format!("witness w {}\nquorum w", witness(3))).unwrap();
    assert!(enough(&one, &["w"]) && !enough(&one, &[]));
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    let (one, two) = (witness(1), witness(2));
    for (text, line, detail) in [
        (String::new(), 1, "no quorum"),
        ("quorum w".into(), 1, "not defined before"),
        ("quorum none\nquorum none".into(), 2, "already"),
        (format!("witness w {one}\nwitness w {two}\nquorum w"), 2, "taken"),
        (format!("witness none {one}\nquorum none"), 1, "taken"),
        (format!("witness a {one}\nwitness b {one}\nquorum a"), 2, "this key"),
        (format!("witness a {}\nquorum a", log(1)), 1, "no key of a witness"),
        (format!("log {one}\nquorum none"), 1, "no key of a log"),
        (format!("log {0}\nlog {0}\nquorum none", log(1)), 2, "this key"),
        (format!("witness a {one}x\nquorum a"), 1, "no key"),
        (format!("witness a {one}\ngroup g 2 a\nquorum g"), 2, "2 of 1"),
        (format!("witness a {one}\ngroup g 0 a\nquorum g"), 2, "0 of 1"),
        (format!("witness a {one}\ngroup g any\nquorum g"), 2, "1 of 0"),
        (format!("witness a {one}\ngroup g many a\nquorum g"), 2, "no number"),
        (format!("witness a {one}\ngroup g all a a\nquorum g"), 2, "member already"),
        (format!("witness a {one}\ngroup g any a\ngroup h any a g\nquorum h"), 3, "member already"),
        (format!("group g any a\nwitness a {one}\nquorum g"), 1, "not defined before"),
        (format!("witness a {one}\r\nquorum a"), 1, "control"),
        (format!("witnesses a {one}\nquorum a"), 1, "expected"),
        ("quorum".into(), 1, "expected"),
        ("#".repeat(POLICY_BYTES_MAX + 1), 1, "bytes"),
    ] {
        let bad = Policy::parse(&text).unwrap_err();
        assert!(bad.line == line && bad.detail.contains(detail), "{text:?}: {bad}");
    }
}

fn head() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 7, root: [7; 32] }
}

/// Returns the checkpoint, signed by a log and cosigned by witnesses.
fn note(of: &Checkpoint, by: u8, witnesses: &[u8]) -> Vec<u8> {
    let signature = signing(by).sign(of.text().as_bytes()).to_bytes();
    let mut note = of.signed(&log(by), &signature).unwrap();
    for seed in witnesses {
        let signature = signing(*seed).sign(message(of, 1_700_000_000).as_bytes()).to_bytes();
        note.extend(witness(*seed).line(1_700_000_000, &signature).unwrap().into_bytes());
    }
    note
}

#[test]
fn a_note_meets_a_policy_by_the_witnesses_that_cosigned_it() {
    let policy = Policy::parse(&example()).unwrap();
    let open = |note: &[u8]| policy.open(note, &[log(1), log(2)]);
    let full = open(&note(&head(), 1, &[11, 13, 22])).unwrap();
    assert_eq!((full.head, full.by.len(), full.enough), (head(), 3, true));
    let few = open(&note(&head(), 1, &[11, 99, 22])).unwrap();
    assert_eq!(
        (few.by.len(), few.enough),
        (2, false),
        "a witness that is not known does not count"
    );
    let twice = [note(&head(), 1, &[11, 11, 22])].concat();
    assert!(!open(&twice).unwrap().enough, "nor does one twice");
    assert_eq!(open(&note(&head(), 2, &[11, 12, 22])), Err(BadCheckpoint::Unsigned), "another log");
    assert_eq!(
        policy.open(&note(&head(), 1, &[11, 12, 22]), &[log(2)]),
        Err(BadCheckpoint::Unsigned)
    );
}

#[test]
fn a_cosignature_of_another_head_or_time_spoils_the_note() {
    let policy = Policy::parse(&example()).unwrap();
    let signed = note(&head(), 1, &[]);
    let other = Checkpoint { size: 8, ..head() };
    let of_other = signing(11).sign(message(&other, 5).as_bytes()).to_bytes();
    let of_head = signing(11).sign(message(&head(), 5).as_bytes()).to_bytes();
    let plain = signing(11).sign(head().text().as_bytes()).to_bytes();
    let lines = [
        (witness(11).line(5, &of_head), true),
        (witness(11).line(6, &of_head), false),
        (witness(11).line(5, &of_other), false),
        (witness(11).line(5, &plain), false),
        (witness(11).line(5, &of_head[..63]), false),
    ];
    for (number, (line, good)) in lines.into_iter().enumerate() {
        let note = [signed.clone(), line.unwrap().into_bytes()].concat();
        assert_eq!(policy.open(&note, &[log(1)]).is_ok(), good, "line {number}");
    }
}

#[test]
fn the_key_of_a_witness_has_one_text() {
    let text = witness(11).to_string();
    assert_eq!(text.parse(), Ok(witness(11)));
    for wrong in [text.replace("+", " "), format!("{text}="), log(11).to_string()] {
        assert!(wrong.parse::<WitnessKey>().is_err(), "{wrong}");
    }
}

#[test]
fn a_witness_has_the_name_that_it_was_given() {
    let key = signing(1).verifying_key();
    let witness = WitnessKey::new("witness.example/w", key.as_bytes()).unwrap();
    assert_eq!(
        (witness.name(), witness.public()),
        ("witness.example/w", key.as_bytes().as_slice())
    );
}

#[test]
fn a_policy_has_its_bounds() {
    let padded = |bytes: usize| format!("#{}\nquorum none\n", "x".repeat(bytes - 14));
    assert_eq!(padded(100).len(), 100);
    assert!(Policy::parse(&padded(POLICY_BYTES_MAX)).is_ok());
    assert!(Policy::parse(&padded(POLICY_BYTES_MAX + 1)).is_err());
    let witnesses = |count: usize| {
        let mut text = String::new();
        for at in 0..count {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&at.to_be_bytes());
            let key = SigningKey::from_bytes(&seed).verifying_key();
            let key = WitnessKey::new(&format!("w{at}"), key.as_bytes()).unwrap();
            text += &format!("witness W{at} {key}\n");
        }
        Policy::parse(&(text + "quorum none\n")).map(|_| ())
    };
    assert_eq!(witnesses(NAMES_MAX), Ok(()));
    assert!(witnesses(NAMES_MAX + 1).unwrap_err().to_string().contains("over 256"));
}

#[test]
fn a_cosignature_names_its_key_as_c2sp_says() {
    use sha2::{Digest as _, Sha256};
    let (name, key) = ("witness.example/w", signing(1).verifying_key());
    let hash =
        Sha256::new_with_prefix(name).chain_update([b'\n', 0x04]).chain_update(key.as_bytes());
    let first: [u8; 4] = hash.finalize()[..4].try_into().unwrap();
    let witness = WitnessKey::new(name, key.as_bytes()).unwrap();
    assert_eq!(signed_note::Verifier::key_id(&witness), u32::from_be_bytes(first));
}
