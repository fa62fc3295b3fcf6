//! SCOPE text and its JSON long form, what is neither, and which scope covers which.

use serde_json::{Value, json};
use sublet_core::capability::{Capability, Scope, Step};

use crate::agreed;

/// Every kind, and how each is written.
pub(crate) const TEXTS: &[&str] = &[
    "fs.read@tool://files",
    "fs.@tool://files/ *=any",
    "fs.read@tool://files path=any",
    "fs.read@tool://files path=absent *=any",
    "fs.read@tool://files path=exactly:r",
    r#"fs.read@tool://files path=exactly:"5""#,
    "fs.read@tool://files path=exactly:5",
    "fs.read@tool://files path=exactly:1.5",
    "fs.read@tool://files path=exactly:true",
    "fs.read@tool://files path=exactly:null",
    "fs.read@tool://files mode=one_of:raw,text",
    "fs.read@tool://files n=one_of:1,2",
    "fs.read@tool://files n=one_of:0.5,1.5",
    "fs.read@tool://files region=not_one_of:eu,us",
    "fs.read@tool://files q=prefix:q3-",
    r#"fs.read@tool://files q=prefix:"a b""#,
    "fs.read@tool://files path=under:/data",
    "fs.read@tool://files path=under:/",
    "fs.read@tool://files n=range:1..1000",
    "fs.read@tool://files n=range:1..",
    "fs.read@tool://files n=range:..-1",
    "fs.read@tool://files n=decimal:0.5..100",
    "fs.read@tool://files s=max_length:200",
    "fs.read@tool://files s=glob:q3-*.csv",
    r#"fs.read@tool://files s=regex:"INV-[0-9]{6}""#,
    "fs.read@tool://files to=url:https://api.acme.example/v1",
    "fs.read@tool://files to=url:https://*.acme.example",
    "fs.read@tool://files from=cidr:10.0.0.0/8",
    "fs.read@tool://files from=cidr:2001:db8::/32",
    "fs.read@tool://files tags=contains_all:a,b",
    "fs.read@tool://files tags=subset_of:a,b",
    r#"fs.read@tool://files p=all_of:[{"under":"/data"},{"not":{"under":"/data/x"}}]"#,
    r#"fs.read@tool://files p=any_of:[{"under":"/data"},{"under":"/tmp"}]"#,
    r#"fs.read@tool://files p=not:{"under":"/secret"}"#,
    r#"fs.read@tool://files "a b"=exactly:1 n/x=exactly:2 n~1x=exactly:3"#,
    "pay.send@mcp://bank amount=range:1..500 use:delegates hops:1",
];

const BAD: &[&str] = &[
    "",
    "fs.read",
    "@tool://files",
    "fs.read@",
    "fs.read@tool",
    "fs..read@tool://files",
    "fs.read@tool://files path",
    "fs.read@tool://files path=below:/x",
    "fs.read@tool://files path=under:/x/../y",
    "fs.read@tool://files path=under:data",
    "fs.read@tool://files n=range:5..1",
    "fs.read@tool://files n=range:..",
    "fs.read@tool://files n=one_of:1,a",
    "fs.read@tool://files n=any n=any",
    "fs.read@tool://files *=absent",
    "fs.read@tool://files n=any:5",
    "fs.read@tool://files n=exactly",
    "fs.read@tool://files n=exactly:1.0000001",
    "fs.read@tool://files n=exactly:9007199254740993",
    r#"fs.read@tool://files s=regex:"(?i)a""#,
    r#"fs.read@tool://files s=regex:"\\d""#,
    "fs.read@tool://files to=url:https://API.acme.example",
    "fs.read@tool://files to=url:api.acme.example",
    "fs.read@tool://files from=cidr:10.0.0.1/8",
    r#"fs.read@tool://files p=not:{"any":true}"#,
    r#"fs.read@tool://files p=any_of:[{"under":"/a"}]"#,
    r#"fs.read@tool://files p=any_of:[{"under":"/a"},{"prefix":"a"}]"#,
    "fs.read@tool://files use:holder",
    "fs.read@tool://files hops:65",
    "fs.read@tool://files hops:01",
    "fs.read@tool://files approve:2",
    "fs.read@tool://files budget:100",
    "fs.read@tool://files n=approve:2",
    "fs.read@tool://files n=budget:100",
];

#[test]
fn scopes() {
    let good = |text: &&str| {
        let capability: Capability = text.parse().unwrap();
        assert_eq!(Capability::from_json(&capability.to_json()).unwrap(), capability);
        let json: Value = serde_json::from_slice(&capability.to_json()).unwrap();
        json!({"text": text, "written": capability.to_string(), "json": json})
    };
    let bad = |text: &&str| {
        assert!(text.parse::<Capability>().is_err(), "{text}");
        (*text).to_owned()
    };
    let good: Vec<Value> = TEXTS.iter().map(good).collect();
    let bad: Vec<String> = BAD.iter().map(bad).collect();
    agreed("scopes.json", &json!({"good": good, "bad": bad}));
}

/// (held, asked): what an implementation must grant or refuse alike. `covers` may say no when
/// unsure; where these say no, each admits a call that its parent does not, or must be refused for
/// how it travels.
const NARROWING: &[(&str, &str)] = &[
    ("fs.@tool://files path=under:/data", "fs.read@tool://files path=under:/data/q3"),
    ("fs.read@tool://files path=under:/data", "fs.read@tool://files path=under:/database"),
    ("fs.read@tool://files path=under:/data", "fs.read@tool://files path=prefix:/data/"),
    ("fs.read@tool://files path=prefix:/da", "fs.read@tool://files path=under:/data"),
    ("fs.read@tool://files path=under:/data", "fs.read@tool://files"),
    ("fs.read@tool://files", "fs.read@tool://files path=any"),
    ("fs.read@tool://files *=any", "fs.read@tool://files path=any"),
    ("fs.read@tool://files path=any", "fs.read@tool://files *=any"),
    ("a.b@t:x n=range:1..10", "a.b@t:x n=range:2..5"),
    ("a.b@t:x n=range:1..10", "a.b@t:x n=range:2.."),
    ("a.b@t:x n=range:1..10", r#"a.b@t:x n=exactly:"5""#),
    ("a.b@t:x n=decimal:0.5..10", "a.b@t:x n=range:1..10"),
    ("a.b@t:x n=range:1..10", "a.b@t:x n=decimal:1..10"),
    ("a.b@t:x s=glob:q*", "a.b@t:x s=glob:q3-*.csv"),
    ("a.b@t:x s=glob:q*", "a.b@t:x s=glob:**"),
    ("a.b@t:x s=glob:*", "a.b@t:x s=one_of:a,b"),
    (r#"a.b@t:x s=regex:"q[0-9]""#, "a.b@t:x s=exactly:q3"),
    (r#"a.b@t:x s=regex:"q[0-9]""#, r#"a.b@t:x s=regex:"q[0-8]""#),
    ("a.b@t:x s=url:https://*.acme.example", "a.b@t:x s=url:https://api.acme.example/v1"),
    ("a.b@t:x s=url:https://api.acme.example", "a.b@t:x s=url:https://*.acme.example"),
    ("a.b@t:x s=url:https://api.acme.example", "a.b@t:x s=prefix:https://api.acme.example"),
    ("a.b@t:x s=cidr:10.0.0.0/8", "a.b@t:x s=cidr:10.1.0.0/16"),
    ("a.b@t:x s=cidr:10.1.0.0/16", "a.b@t:x s=cidr:10.0.0.0/8"),
    ("a.b@t:x s=cidr:0.0.0.0/0", "a.b@t:x s=cidr:::/0"),
    ("a.b@t:x l=contains_all:a", "a.b@t:x l=contains_all:a,b"),
    ("a.b@t:x l=contains_all:a,b", "a.b@t:x l=contains_all:a"),
    ("a.b@t:x l=subset_of:a,b", "a.b@t:x l=subset_of:a"),
    ("a.b@t:x l=subset_of:a", "a.b@t:x l=subset_of:a,b"),
    ("a.b@t:x s=not_one_of:eu", "a.b@t:x s=not_one_of:eu,us"),
    ("a.b@t:x s=not_one_of:eu,us", "a.b@t:x s=not_one_of:eu"),
    (r#"a.b@t:x p=not:{"under":"/a"}"#, "a.b@t:x p=under:/b"),
    (r#"a.b@t:x p=not:{"under":"/a"}"#, "a.b@t:x p=under:/a/b"),
    (r#"a.b@t:x p=any_of:[{"under":"/a"},{"under":"/b"}]"#, "a.b@t:x p=under:/b/c"),
    (r#"a.b@t:x p=all_of:[{"under":"/a"},{"glob":"**.csv"}]"#, "a.b@t:x p=under:/a"),
    ("a.b@t:x p=under:/a", r#"a.b@t:x p=all_of:[{"under":"/a"},{"glob":"**.csv"}]"#),
    ("a.b@t:x use:delegates", "a.b@t:x"),
    ("a.b@t:x hops:2", "a.b@t:x"),
    ("a.b@t:x hops:2", "a.b@t:x hops:1"),
];

#[test]
fn narrowing() {
    let of = |text: &str| Scope::from_texts(&[text]).unwrap();
    let one = |(held, asked): &(&str, &str)| {
        let steps = [(0, false), (1, false), (1, true), (3, true)];
        let verdicts = steps.map(|(hop, to_another)| {
            let covered = of(held).covers_after(&of(asked), Step { hop, to_another });
            json!({"hop": hop, "to_another": to_another, "exceeds": covered.err().map(|e| e.part)})
        });
        json!({"held": held, "asked": asked, "after": verdicts})
    };
    agreed("narrowing.json", &NARROWING.iter().map(one).collect());
}
