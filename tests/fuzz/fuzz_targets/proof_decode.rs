//! Call proofs and receipts have one spelling: what `decode` and `from_text` take is written again
//! byte for byte (but for one newline behind the text), and reads back as the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sublet_core::evidence::proof::CallProof;
use sublet_core::evidence::receipt::Receipt;

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = CallProof::decode(data) {
        assert_eq!(proof.encode(), data);
        assert_eq!(CallProof::from_text(&proof.to_text()), Ok(proof));
    }
    if let Ok(receipt) = Receipt::decode(data) {
        assert_eq!(receipt.encode(), data);
    }
    let text = std::str::from_utf8(data).unwrap_or_default();
    if let Ok(proof) = CallProof::from_text(text) {
        assert_eq!(proof.to_text(), text.strip_suffix('\n').unwrap_or(text));
        assert_eq!(CallProof::decode(&proof.encode()), Ok(proof));
    }
});
