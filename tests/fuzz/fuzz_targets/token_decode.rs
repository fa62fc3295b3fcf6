//! A token has one spelling: no bytes make `decode` panic, and what it takes `encode` writes again,
//! byte for byte. The same for the text form, but for one line end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sublet_core::token::{Presentation, UnverifiedToken};

fuzz_target!(|data: &[u8]| {
    if let Ok(token) = UnverifiedToken::decode(data) {
        assert_eq!(token.encode(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        text_form(text);
    }
});

fn text_form(text: &str) {
    let Ok(presentation) = Presentation::from_text(text) else { return };
    let line = text.strip_suffix('\n').unwrap_or(text);
    assert_eq!(presentation.to_text(), line.strip_suffix('\r').unwrap_or(line));
    let _ = presentation.open();
}
