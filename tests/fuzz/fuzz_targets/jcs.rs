//! JSON has one meaning and one spelling: canonical bytes read back as the same value and are
//! written as the same bytes; what we take another reader takes too, and reads the same, before
//! and after it was made canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sublet_core::base::json::Json;

fuzz_target!(|data: &[u8]| {
    let Ok((value, canonical)) = Json::parse_canonicalised(data) else { return };
    assert_eq!(value.canonical(), canonical);
    assert_eq!(Json::parse(&canonical).as_ref(), Ok(&value));
    assert_eq!(Json::parse_canonicalised(&canonical), Ok((value, canonical.clone())));
    let theirs: Value = serde_json::from_slice(data).unwrap();
    assert!(same(&theirs, &serde_json::from_slice(&canonical).unwrap()), "{theirs}");
    number(data, &canonical);
});

/// Equal, where 1 and 1.0 are one number.
fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => one.as_f64() == two.as_f64(),
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            let member = |(key, value)| two.get(key).is_some_and(|other| same(value, other));
            one.len() == two.len() && one.iter().all(member)
        }
        (one, two) => one == two,
    }
}

/// A number alone is the double that a correctly rounding reader, which serde_json is not, makes of
/// either spelling.
fn number(data: &[u8], canonical: &[u8]) {
    let read = |bytes| std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
    if let (Some(one), Some(two)) = (read(data), read(canonical)) {
        let (one, two): (f64, f64) = (one, two);
        assert_eq!(one, two);
    }
}
