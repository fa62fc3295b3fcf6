//! What a caller shows, as it travels: in HTTP headers and in gRPC metadata. SPEC 5.12.

use serde_json::{Value, json};
use sublet_core::authorize::Credentials;
use sublet_core::base::limits::FURTHER_BYTES_MAX;
use sublet_core::base::text::base64url;
use sublet_core::evidence::proof::proof_text;
use sublet_core::refusal::Refusal;
use sublet_core::token::Presentation;
use sublet_proto::credentials::{from_headers, from_metadata, into_metadata, to_headers};
use sublet_tests::{Fleet, Request, append, key, to_agent};
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;

use crate::tokens::READ;
use crate::{agreed, verdict};

type Parts = Vec<(&'static str, String)>;

const FORMS: [&str; 2] = ["headers", "metadata"];

fn read(form: &str, parts: &[(&str, String)]) -> Result<Credentials, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in parts {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    match form {
        "headers" => from_headers(&headers),
        _ => from_metadata(&MetadataMap::from_headers(headers)),
    }
}

/// A recorded hop and its proof.
fn good() -> Credentials {
    let fleet = Fleet::new();
    let token = append(&fleet.root("planner", READ), &to_agent("reader", READ), "planner").unwrap();
    let request = Request::new(&token, &key("reader"), "fs.read", r#"{"path":"/data/a"}"#);
    Credentials {
        token: Some(request.token),
        receipt: Some(fleet.receipt(&token).encode()),
        proof: request.proof,
        inclusion: None,
    }
}

fn without_receipt() -> Credentials {
    Credentials { receipt: None, ..good() }
}

/// The parts of a form, as an honest caller sends them.
fn parts(form: &str, shown: &Credentials) -> Parts {
    if form == "headers" {
        return to_headers(shown);
    }
    let mut metadata = MetadataMap::new();
    into_metadata(shown, &mut metadata);
    let names = ["sublet-token-bin", "sublet-receipt-bin", "sublet-proof-bin"];
    let headers = metadata.into_headers();
    let part = |name| Some((name, headers.get(name)?.to_str().unwrap().to_owned()));
    names.into_iter().filter_map(part).collect()
}

fn with(mut parts: Parts, name: &'static str, value: impl Into<String>) -> Parts {
    parts.push((name, value.into()));
    parts
}

fn but(parts: Parts, name: &str) -> Parts {
    parts.into_iter().filter(|(part, _)| *part != name).collect()
}

/// What is the same in both forms, and only named otherwise.
fn common(form: &'static str) -> Vec<(&'static str, Parts)> {
    let good = || parts(form, &good());
    let [token, proof, further, other] = match form {
        "headers" => ["sublet-token", "sublet-proof", "sublet-further", "sublet-token-bin"],
        _ => ["sublet-token-bin", "sublet-proof-bin", "sublet-further-bin", "sublet-token"],
    };
    let large = base64url(vec![0; FURTHER_BYTES_MAX + 3]);
    vec![
        ("token, receipt, proof", good()),
        ("without a receipt", parts(form, &without_receipt())),
        ("of the admin, without a token", but(but(good(), token), "sublet-receipt-bin")),
        ("a position, which no tool reads", with(good(), "sublet-position", "1/7")),
        ("a header of another's", with(good(), "x-sublet-token", "AAAA")),
        ("no proof", but(good(), proof)),
        ("an empty proof", with(but(good(), proof), proof, "")),
        ("the token twice", with(good(), token, good()[0].1.clone())),
        ("the proof twice", with(good(), proof, "AAAA")),
        ("no base64", with(but(good(), token), token, "%%")),
        ("the name of the other form", with(good(), other, "AAAA")),
        ("a name that nobody knows", with(good(), "sublet-budget", "AAAA")),
        ("a further part", with(good(), further, base64url(vec![0; FURTHER_BYTES_MAX]))),
        ("a further part that is too large", with(good(), further, large)),
    ]
}

fn of_headers() -> Vec<(&'static str, Parts)> {
    let good = || to_headers(&good());
    let bare = |name: &str| good().into_iter().find(|(part, _)| *part == name).unwrap().1;
    let text = |prefix: &str, name: &str| bare(name).replacen(prefix, "", 1);
    let token = |text: String| with(but(good(), "sublet-token"), "sublet-token", text);
    let proof = |text: String| with(but(good(), "sublet-proof"), "sublet-proof", text);
    let shown = without_receipt();
    vec![
        ("the receipt beside the token", with(good(), "sublet-receipt", "AAAA")),
        ("the receipt as metadata", with(good(), "sublet-receipt-bin", "AAAA")),
        ("a token without its prefix", token(text("sublet1.", "sublet-token"))),
        ("a proof without its prefix", proof(text("sublet1p.", "sublet-proof"))),
        ("a proof where the token is", token(bare("sublet-proof"))),
        ("a token where the proof is", proof(bare("sublet-token"))),
        (
            "a token that is longer than it says",
            token({
                let longer = [1u32.to_be_bytes().as_slice(), &[]].concat();
                format!("sublet1.{}", base64url(longer))
            }),
        ),
        ("padded base64", token(format!("{}=", bare("sublet-token")))),
        ("bytes that are no proof", proof(proof_text(b"no proof"))),
        (
            "the text of a token file",
            token({
                let file = Presentation { token: shown.token.clone().unwrap(), receipt: None };
                file.to_text()
            }),
        ),
    ]
}

// SPEC 5.12.1, 5.12.2.
#[test]
fn presentations() {
    let mut all = Vec::new();
    for form in FORMS {
        let more = if form == "headers" { of_headers() } else { Vec::new() };
        for (name, parts) in common(form).into_iter().chain(more) {
            let outcome = read(form, &parts);
            let part = |(name, value): &(&str, String)| json!([name, value]);
            let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(base64url);
            let shown = outcome.as_ref().ok().map(|shown| {
                json!({
                    "token": bytes(&shown.token), "receipt": bytes(&shown.receipt),
                    "proof": base64url(&shown.proof),
                })
            });
            all.push(json!({
                "name": name, "form": form, "parts": parts.iter().map(part).collect::<Vec<_>>(),
                "verdict": verdict(&outcome), "read": shown,
            }));
        }
        // What an honest caller sends is what its reader has.
        for shown in [good(), without_receipt()] {
            assert_eq!(read(form, &parts(form, &shown)), Ok(shown), "{form}");
        }
    }
    let refused = |name: &str| -> Vec<&Value> {
        all.iter().filter(|one| one["name"] == name).map(|one| &one["verdict"]).collect()
    };
    assert_eq!(refused("a name that nobody knows"), ["bad_part"; 2]);
    assert_eq!(refused("the receipt beside the token"), ["bad_part"]);
    assert_eq!(refused("a further part"), ["bad_part"; 2]);
    assert_eq!(refused("a further part that is too large"), ["part_too_large"; 2]);
    assert_eq!(refused("the token twice"), ["bad_part"; 2]);
    assert_eq!(refused("a position, which no tool reads"), ["granted"; 2]);
    let granted = all.iter().filter(|one| one["verdict"] == "granted").count();
    assert_eq!(granted, 12, "what is granted is counted, so that nothing more is");
    agreed("presentations.json", &all.into());
}

/// A refusal says which part, so that whoever sends it can leave it out.
#[test]
fn a_part_that_is_not_taken_is_named() {
    let detail = |name: &'static str| {
        read("headers", &with(to_headers(&good()), name, "AAAA")).unwrap_err().to_string()
    };
    assert_eq!(detail("sublet-receipt"), "sublet-receipt: the receipt is inside sublet-token");
    assert_eq!(detail("sublet-budget"), "sublet-budget: this reader knows no such part");
    assert!(detail("sublet-further").starts_with("sublet-further: it is reserved"));
}
