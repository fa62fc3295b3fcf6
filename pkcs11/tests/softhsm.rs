//! Against SoftHSM (Debian: softhsm2): keys of both kinds, by the module as it is.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sublet_core::base::key::Algorithm;
use sublet_core::base::sign::Signer as _;
use sublet_pkcs11::{Token, Uri};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token of its own in this directory. SoftHSM reads its configuration once a process, so each case is a
/// process: this test again.
fn token(home: &Path, without: &str) -> Command {
    let tokens = home.join("tokens");
    fs::create_dir_all(&tokens).unwrap();
    let config = format!("directories.tokendir = {}\n{without}", tokens.display());
    fs::write(home.join("softhsm2.conf"), config).unwrap();
    fs::write(home.join("pin"), "123456\n").unwrap();
    fs::set_permissions(home.join("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let args =
        ["--init-token", "--free", "--label", "sublet", "--pin", "123456", "--so-pin", "12345678"];
    let config = home.join("softhsm2.conf");
    let made = Command::new("softhsm2-util").args(args).env("SOFTHSM2_CONF", &config).output();
    assert!(made.unwrap().status.success(), "softhsm2-util");
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.env("SOFTHSM2_CONF", config).env("SUBLET_HSM_HOME", home);
    again
}

fn home() -> Option<PathBuf> {
    std::env::var_os("SUBLET_HSM_HOME").map(PathBuf::from)
}

fn uri(home: &Path) -> Uri {
    let pin = home.join("pin");
    format!("pkcs11:token=sublet?module-path={MODULE}&pin-source={}", pin.display())
        .parse()
        .unwrap()
}

fn runs(case: &str, without: &str) {
    let place = tempfile::tempdir().unwrap();
    let done =
        token(place.path(), without).args([case, "--exact", "--nocapture"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

fn signs_with(algorithm: Algorithm, home: &Path) {
    let token = Token::open(&uri(home)).unwrap();
    assert_eq!(token.algorithm().unwrap(), algorithm);
    let key = token.make("sublet test delegation").unwrap();
    assert_eq!(key.public_key().algorithm(), algorithm);
    // Many: the point of secp256r1 may be high or low, its numbers short or long.
    for number in 0..64u32 {
        let message = number.to_be_bytes();
        let signed = key.sign(&message).unwrap();
        assert!(key.public_key().verify(&message, &signed));
        assert!(!key.public_key().verify(b"another", &signed));
    }
    // Found again, by its public half and by its label, through another login.
    let again = Token::open(&uri(home)).unwrap();
    let found = again.find(key.public_key()).unwrap().unwrap();
    assert!(key.public_key().verify(b"m", &found.sign(b"m").unwrap()));
    assert!(again.labelled("another").unwrap().is_none());
    let labelled = again.labelled("sublet test delegation").unwrap().unwrap();
    assert_eq!(labelled.public_key(), key.public_key());
    // Two of one label are not told apart; one that is destroyed is gone for everybody.
    let other = token.make("sublet test delegation").unwrap();
    let refusal = again.labelled("sublet test delegation").err().unwrap().to_string();
    assert!(refusal.contains("2 keys"), "{refusal}");
    token.destroy(other.public_key()).unwrap();
    assert!(again.find(other.public_key()).unwrap().is_none());
    let refusal = other.sign(b"m").unwrap_err().to_string();
    assert!(refusal.contains("not here any more"), "{refusal}");
    assert!(key.sign(b"m").is_ok(), "and nothing else is");
}

/// The token forgets that this process is logged in, as it does when it is taken out or restarted.
fn log_out() {
    let module = cryptoki::context::Pkcs11::new(MODULE).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    module.open_ro_session(slot).unwrap().logout().unwrap();
}

#[test]
fn a_session_that_was_lost_is_opened_anew_and_a_pin_that_was_refused_is_not_shown_again() {
    let case =
        "a_session_that_was_lost_is_opened_anew_and_a_pin_that_was_refused_is_not_shown_again";
    let Some(home) = home() else { return runs(case, "") };
    let token = Token::open(&uri(&home)).unwrap();
    let key = token.make("sublet test").unwrap();
    log_out();
    assert!(key.sign(b"m").is_ok());
    log_out();
    fs::write(home.join("pin"), "654321\n").unwrap();
    let detail = |why: &str| {
        let refusal = key.sign(b"m").unwrap_err().to_string();
        assert!(refusal.contains(why), "{refusal}");
    };
    detail("Login: PinIncorrect");
    // Tokens lock themselves after a few of these.
    detail("has refused it");
    detail("has refused it");
    fs::write(home.join("pin"), "123456\n").unwrap();
    assert!(key.sign(b"m").is_ok());
}

#[test]
fn ed25519_where_it_is_offered() {
    match home() {
        Some(home) => signs_with(Algorithm::Ed25519, &home),
        None => runs("ed25519_where_it_is_offered", ""),
    }
}

#[test]
fn secp256r1_where_it_is_not() {
    match home() {
        Some(home) => signs_with(Algorithm::Secp256r1, &home),
        None => runs(
            "secp256r1_where_it_is_not",
            "slots.mechanisms = -CKM_EDDSA,CKM_EC_EDWARDS_KEY_PAIR_GEN\n",
        ),
    }
}

#[test]
fn wrong_tokens_modules_and_pins_are_told() {
    let Some(home) = home() else { return runs("wrong_tokens_modules_and_pins_are_told", "") };
    let refusal = |uri: &str| {
        let pin = home.join("pin");
        let uri = uri.replace("PIN", &pin.display().to_string()).replace("MODULE", MODULE);
        Token::open(&uri.parse().unwrap()).err().unwrap().to_string()
    };
    let said = refusal("pkcs11:token=other?module-path=MODULE&pin-source=PIN");
    assert!(said.contains("no token is labelled \"other\""), "{said}");
    let said = refusal("pkcs11:token=sublet?module-path=/none.so&pin-source=PIN");
    assert!(said.contains("the module /none.so"), "{said}");
    let said = refusal("pkcs11:token=sublet?module-path=MODULE&pin-source=/none");
    assert!(said.contains("the PIN in /none"), "{said}");
    fs::write(home.join("pin"), "654321\n").unwrap();
    let said = refusal("pkcs11:token=sublet?module-path=MODULE&pin-source=PIN");
    assert!(said.contains("Login: PinIncorrect"), "{said}");
    fs::set_permissions(home.join("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = refusal("pkcs11:token=sublet?module-path=MODULE&pin-source=PIN");
    assert!(said.contains("others may read it"), "{said}");
}
