//! Writes the seeds again, where a format has changed: `cargo run --example seeds` in this folder.

use std::fs;
use std::path::Path;

use sublet_core::base::bytes::sha256;
use sublet_core::token::Presentation;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::universe::{Dice, chain};
use sublet_tests::{Fleet, Request, append, curve_key, key, scope, to_helper, to_self};

const READ: &str = "fs.read@tool://files path=under:/data";
const SCOPES: [&str; 4] = [
    READ,
    "fs.@tool://files/ limit=range:1..1000 mode=one_of:raw,text region=exactly:r",
    "db.query@mcp://db dry=exactly:true n=one_of:1,2 q=prefix:\"a b\" *=any",
    "a.b@t:x \"a=b\"=absent p=one_of:\"a,b\",c w=exactly:1.5 y=exactly:\"5\" z=exactly:null *=any",
];
/// Brackets in an audience once swallowed the arguments behind it.
const BRACKETS: &str = r#"{"action":"a.b","args":{"n":{"exactly":1}},"audience":"t:{["}"#;
/// The last was once read one double beside the nearest.
const JSONS: [&str; 6] = [
    r#"{"b":[1,-2.5,1e3,"x"],"a":{"":null,"é":true}}"#,
    r#"{"€":"\r","1":"😀","\ud83d\ude00":"דּ"}"#,
    "-0.000001",
    "9007199254740991",
    r#""\b\f\n\r\t\"\\\/""#,
    "90074717515.985095805",
];

fn main() {
    tokens();
    proofs();
    for (at, text) in SCOPES.iter().enumerate() {
        let capability = &scope(&[text]).capabilities()[0].clone();
        write("scope_text", &format!("text-{at}"), capability.to_string().as_bytes());
        write("scope_text", &format!("json-{at}"), &capability.to_json());
    }
    write("scope_text", "json-brackets", BRACKETS.as_bytes());
    for (at, text) in JSONS.iter().enumerate() {
        write("jcs", &at.to_string(), text.as_bytes());
    }
    for at in 0..4u8 {
        write("verify_oracle", &at.to_string(), &noise(at, 12));
        write("covers_model", &at.to_string(), &noise(at, 4));
    }
}

fn tokens() {
    for hops in 0..4u8 {
        let numbers = noise(hops, 20).into_iter().map(u16::from);
        let chain = chain(&Fleet::new(), &mut Dice::new(numbers.collect()));
        write("token_decode", &format!("drawn-{hops}"), &chain.token.encode());
    }
    let token = helper();
    let receipt = Fleet::new().receipt(&token).encode();
    let text = Presentation { token: token.encode(), receipt: Some(receipt) }.to_text();
    write("token_decode", "identity", &Fleet::new().identity("planner").encode());
    write("token_decode", "text", text.as_bytes());
}

fn helper() -> VerifiedToken {
    let root = Fleet::new().root("planner", &[READ]);
    let child = append(&root, &to_helper("scout", &[READ]), "planner").unwrap();
    append(&child, &to_self(&[READ]), "scout").unwrap()
}

fn proofs() {
    let token = helper();
    let request = Request::new(&token, &key("scout"), "fs.read", r#"{"path":"/data/a"}"#);
    let by_curve = Request::new(&token, &curve_key("scout"), "fs.read", "{}");
    let proof = sublet_core::evidence::proof::CallProof::decode(&request.proof).unwrap();
    write("proof_decode", "ed25519", &request.proof);
    write("proof_decode", "secp256r1", &by_curve.proof);
    write("proof_decode", "text", proof.to_text().as_bytes());
    write("proof_decode", "receipt", &Fleet::new().receipt(&token).encode());
}

/// Bytes of no meaning, the same each time.
fn noise(seed: u8, blocks: u8) -> Vec<u8> {
    (0..blocks).flat_map(|block| sha256(&[seed, block])).collect()
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}
