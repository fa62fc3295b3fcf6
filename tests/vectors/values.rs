//! What a value is seen as, and the canonical bytes of arguments.

use serde_json::{Value, json};
use sublet_core::biscuit::datalog::{Predicate, Term};
use sublet_core::evidence::call::{Arguments, Call, ChainFacts, facts};
use sublet_tests::NOW;

use crate::{agreed, bytes};

/// As JSON text: paths, URLs and addresses that have one reading, and those that look as if.
const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "5",
    "1.5",
    "1.0",
    "1e3",
    "-0",
    "9007199254740991",
    r#""""#,
    r#""q3""#,
    r#""5""#,
    r#""/""#,
    r#""/data""#,
    r#""/data/q3 report.txt""#,
    r#""/données""#,
    r#""/data/""#,
    r#""//data""#,
    r#""/data/..""#,
    r#""/data/../etc""#,
    r#""/data/./x""#,
    r#""/data/%2e%2e""#,
    r#""/data\\x""#,
    r#""/a\u0000b""#,
    r#""/a\nb""#,
    r#""/data\u2215x""#,
    r#""/data/\u2024\u2024/x""#,
    r#""/data/ x""#,
    r#""/data/..;/etc""#,
    r#""/data/..;x=1/etc""#,
    r#""/data/.;/x""#,
    r#""/data/;x/etc""#,
    r#""/data/.. ;/etc""#,
    r#""/data/a;b""#,
    r#""/data/secret.""#,
    r#""/data/secret./x""#,
    r#""/data/.git""#,
    r#""/data/\u00e9""#,
    r#""/data/e\u0301""#,
    r#""/data/\ud55c""#,
    r#""/data/\u1112\u1161\u11ab""#,
    r#""/data/\u017fecret""#,
    r#""/data/\uff53ecret""#,
    r#""/data/\u212a""#,
    r#""/data/SECRET""#,
    r#""https://api.acme.example""#,
    r#""https://api.acme.example/""#,
    r#""https://api.acme.example:443/v1""#,
    r#""https://api.acme.example:8443/v1?q=%2f#no""#,
    r#""https://api.acme.example/v1?q=%2f""#,
    r#""https://api.acme.example/v1/../x""#,
    r#""https://api.acme.example/v1/..;/x""#,
    r#""https://api.acme.example/v1/.;x=1/x""#,
    r#""https://api.acme.example/v1/;x""#,
    r#""https://api.acme.example/v1/a;b/Inc.""#,
    r#""https://API.acme.example""#,
    r#""HTTPS://api.acme.example""#,
    r#""https://user@api.acme.example""#,
    r#""https://api.acme.example@evil.example""#,
    r#""https://api.acme.example\\@evil.example""#,
    r#""https://api.acme.example%2f.evil""#,
    r#""https://0x7f.1""#,
    r#""https://127.0.0.1""#,
    r#""https://127.1""#,
    r#""https://[::1]/""#,
    r#""https://2130706433""#,
    r#""https://аpi.acme.example""#,
    r#""10.1.2.3""#,
    r#""10.1.2""#,
    r#""010.1.2.3""#,
    r#""0x0a.1.2.3""#,
    r#""167838211""#,
    r#""::1""#,
    r#""0:0:0:0:0:0:0:1""#,
    r#""2001:db8::1""#,
    r#""2001:DB8::1""#,
    r#""::ffff:10.1.2.3""#,
    r#""::ffff:a01:203""#,
    r#""64:ff9b::a01:203""#,
    r#""fe80::1%eth0""#,
    "[]",
    r#"["a","b"]"#,
    "[1,2]",
    r#"[1,"a"]"#,
    "[1.5]",
    "[null]",
    "{}",
];

/// Arguments as they come in: what is hashed, or why not.
const ARGUMENTS: &[&str] = &[
    "{}",
    r#"{"b":1,"a":2}"#,
    r#"{ "a" : [ 1 , 2 ] }"#,
    r#"{"a":1.0}"#,
    r#"{"a":1.50}"#,
    r#"{"a":1e2}"#,
    r#"{"a":-0}"#,
    r#"{"a":0.000001}"#,
    r#"{"a":9007199254740991}"#,
    r#"{"a":-9007199254740991}"#,
    r#"{"a":"\u00e9\n\u0001\"\\/"}"#,
    r#"{"€":1,"\r":2,"דּ":3,"1":4,"😀":5,"\u0080":6,"ö":7}"#,
    r#"{"a":{"b":1}}"#,
    r#"{"a/b":1}"#,
    r#"{"a~1b":1}"#,
    r#"{"a":{},"b":[]}"#,
    r#"{"":1}"#,
    r#"{"a":true,"b":null}"#,
    "",
    "[1]",
    "1",
    r#"{"a":1}x"#,
    r#"{"a":1,"a":2}"#,
    r#"{"a":1,"\u0061":2}"#,
    r#"{"a":9007199254740992}"#,
    r#"{"a":1e400}"#,
    r#"{"a":0.0000001}"#,
    r#"{"a":1234567890.1234567}"#,
    r#"{"a":"\ud800"}"#,
    r#"{"a":01}"#,
    r#"{"a":+1}"#,
    r#"{"a":.5}"#,
    r#"{"a":NaN}"#,
    r#"{'a':1}"#,
    r#"{"a":1,}"#,
    "{\"a\":\"\t\"}",
];

fn shown(term: &Term<'_>) -> Value {
    match term {
        Term::String(text) => json!({"string": text}),
        Term::Integer(number) => json!({"integer": number}),
        Term::Bool(value) => json!({"bool": value}),
        Term::Set(terms) => json!({"set": terms.iter().map(shown).collect::<Vec<_>>()}),
        other => panic!("no argument is seen as {other:?}"),
    }
}

#[test]
fn views() {
    let one = |text: &&str| {
        let arguments = Arguments::from_json(format!("{{\"x\":{text}}}").as_bytes());
        let Ok(arguments) = arguments else { return json!({"value": text, "views": null}) };
        let call = Call { audience: "t:x".into(), action: "a.b".into(), arguments };
        let chain = ChainFacts { hops: 0, unrecorded: 0, delegate_of: [].into() };
        let all = facts(&call, NOW, &chain);
        let of_argument =
            |fact: &&Predicate<'_>| fact.name.starts_with("arg_") && fact.name != "arg_names";
        let views: Vec<Value> = all
            .iter()
            .filter(of_argument)
            .map(|fact| json!({"fact": fact.name, "view": fact.terms.get(1).map(shown)}))
            .collect();
        json!({"value": text, "views": views})
    };
    agreed("views.json", &VALUES.iter().map(one).collect());
}

#[test]
fn arguments() {
    let one = |text: &&str| match Arguments::from_json(text.as_bytes()) {
        Ok(arguments) => {
            let (_, canonical) =
                sublet_core::base::json::Json::parse_canonicalised(text.as_bytes()).unwrap();
            let names: Vec<&str> = arguments.leaves().map(|(name, _)| name).collect();
            json!({
                "json": text,
                "canonical": String::from_utf8(canonical).unwrap(),
                "sha256": bytes(arguments.digest()),
                "names": names,
            })
        }
        Err(bad) => json!({"json": text, "code": bad.code()}),
    };
    agreed("arguments.json", &ARGUMENTS.iter().map(one).collect());
}
