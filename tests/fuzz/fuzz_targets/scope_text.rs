//! A capability means the same in every form: what SCOPE text or the JSON long form says reads
//! back equal from both forms, is written in one way, and covers itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sublet_core::capability::{Capability, Scope};

fuzz_target!(|data: &[u8]| {
    let from_text = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
    for capability in [from_text, Capability::from_json(data).ok()].into_iter().flatten() {
        holds(&capability);
    }
});

fn holds(capability: &Capability) {
    let text = capability.to_string();
    let read = text.parse::<Capability>();
    assert_eq!(read.as_ref(), Ok(capability), "{text}");
    let json = capability.to_json();
    let read = Capability::from_json(&json);
    assert_eq!(read.as_ref(), Ok(capability), "{}", String::from_utf8_lossy(&json));
    let scope = Scope::new(vec![capability.clone()]).unwrap();
    assert_eq!(scope.covers(&scope), Ok(()), "{text}");
}
