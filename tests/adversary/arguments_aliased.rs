//! Arguments that two readers would read differently: aliased pointers, duplicate keys, big
//! integers, decimals, empty containers.

use sublet_tests::{Fleet, Request, Tool, code, key};

fn call(scope: &str, arguments: &str) -> &'static str {
    let fleet = Fleet::new();
    let token = fleet.root("planner", &[&format!("db.q@tool://files {scope}")]);
    let request = Request::new(&token, &key("planner"), "db.q", arguments);
    code(Tool::new(&fleet).answer(&request))
}

#[test]
fn a_nested_name_and_a_flat_one_never_meet() {
    assert_eq!(call("a/b=exactly:1", r#"{"a":{"b":1}}"#), "granted");
    assert_eq!(call("a/b=exactly:1", r#"{"a/b":1}"#), "not_allowed");
    assert_eq!(call("a~1b=exactly:1", r#"{"a/b":1}"#), "granted");
    assert_eq!(call("a~1b=exactly:1", r#"{"a":{"b":1}}"#), "not_allowed");
    assert_eq!(call("a~1b=exactly:1", r#"{"a~1b":1}"#), "not_allowed");
    assert_eq!(call("a~01b=exactly:1", r#"{"a~1b":1}"#), "granted");
    assert_eq!(call("a/b=exactly:1", r#"{"a":{"b":1},"a/b":2}"#), "not_allowed");
    assert_eq!(call("a/=exactly:1", r#"{"a":{"":1}}"#), "granted");
    assert_eq!(call("a=exactly:1", r#"{"a":{"":1}}"#), "not_allowed");
}

// SPEC 4.3.2.
#[test]
fn one_value_is_no_value_of_another_type() {
    let values = ["1", "1.5", r#""1""#, "true", "null"];
    for held in values {
        for given in values {
            let expected = if held == given { "granted" } else { "not_allowed" };
            let (scope, arguments) = (format!("a=exactly:{held}"), format!(r#"{{"a":{given}}}"#));
            assert_eq!(call(&scope, &arguments), expected, "{held} {given}");
        }
    }
}

// SPEC 4.7.
#[test]
fn one_key_twice_is_not_understood() {
    assert_eq!(call("a=any", r#"{"a":1,"a":2}"#), "json_duplicate_key");
    assert_eq!(call("a=any", r#"{"a":1,"\u0061":1}"#), "json_duplicate_key");
    assert_eq!(call("a=any", r#"{"a":{"b":1,"b":1}}"#), "json_duplicate_key");
}

// SPEC 4.7.
#[test]
fn integers_that_a_double_rounds_are_not_understood() {
    assert_eq!(call("a=range:1..", r#"{"a":9007199254740991}"#), "granted");
    for big in ["9007199254740992", "-9007199254740993", "18446744073709551617", "1e16"] {
        let arguments = format!(r#"{{"a":{big}}}"#);
        assert_eq!(call("a=range:1..", &arguments), "json_integer_out_of_range", "{big}");
    }
}

// SPEC 4.7.1.
#[test]
fn a_decimal_is_no_integer_and_has_one_spelling() {
    assert_eq!(call("a=range:1..10", r#"{"a":5.5}"#), "not_allowed");
    assert_eq!(call("a=range:1..10", r#"{"a":"5"}"#), "not_allowed");
    assert_eq!(call("a=exactly:1.5", r#"{"a":1.50}"#), "granted");
    assert_eq!(call("a=exactly:1.5", r#"{"a":15e-1}"#), "granted");
    assert_eq!(call("a=exactly:1500000", r#"{"a":1.5}"#), "not_allowed");
    assert_eq!(call("a=exactly:1.5", r#"{"a":1500000}"#), "not_allowed");
    // RFC 8785 spells 5.0 as 5, so it is the integer 5 for the checker and for the tool.
    assert_eq!(call("a=range:1..10", r#"{"a":5.0}"#), "granted");
    assert_eq!(call("a=any", r#"{"a":0.0000001}"#), "json_decimal_out_of_range");
    assert_eq!(call("a=any", r#"{"a":0.12345678}"#), "json_decimal_out_of_range");
}

#[test]
fn an_empty_container_is_an_argument() {
    for empty in ["{}", "[]"] {
        let arguments = format!(r#"{{"a":{empty}}}"#);
        assert_eq!(call("b=any", &arguments), "not_allowed", "{empty} hides no name");
        assert_eq!(call("a=absent *=any", &arguments), "not_allowed", "{empty} is not absent");
        assert_eq!(call("a=any", &arguments), "granted");
        assert_eq!(call("a=exactly:null", &arguments), "not_allowed");
    }
    assert_eq!(call("a=any", r#"{"a":{"b":{}}}"#), "not_allowed");
    assert_eq!(call("a=any", "[]"), "arguments_not_an_object");
    assert_eq!(call("a=any", "null"), "arguments_not_an_object");
}

// SPEC 4.7.
#[test]
fn half_a_surrogate_and_bytes_behind_are_not_understood() {
    assert_eq!(call("a=any", r#"{"a":"\ud800"}"#), "json_lone_surrogate");
    assert_eq!(call("a=any", r#"{"a":1} {"a":2}"#), "json_trailing_bytes");
    assert_eq!(call("a=any", r#"{"a":1"#), "json_syntax");
}

#[test]
fn a_path_that_has_two_readings_is_under_nothing() {
    assert_eq!(call("p=under:/data", r#"{"p":"/data/a b.txt"}"#), "granted");
    for path in [
        "/data/../etc/passwd",
        "/data/./a",
        "/data//a",
        "/data/",
        "data/a",
        "/database",
        "/data/%2e%2e/etc",
        "/data\\..\\etc",
        "/data/\u{2024}\u{2024}/x",
        "/data\u{2215}x",
    ] {
        let arguments = serde_json::json!({ "p": path }).to_string();
        assert_eq!(call("p=under:/data", &arguments), "not_allowed", "{path}");
        let any = call("p=under:/", &arguments);
        assert_eq!(any, if path == "/database" { "granted" } else { "not_allowed" }, "{path}");
    }
    assert_eq!(call("p=under:/data", "{\"p\":\"/data/a\\u0000b\"}"), "not_allowed");
}

fn at(scope: &str, value: &str) -> &'static str {
    call(scope, &serde_json::json!({ "p": value }).to_string())
}

/// Servers that take `;…` off a segment resolve what is left of it.
#[test]
fn a_dot_segment_behind_a_semicolon_is_one() {
    let url = "p=url:https://api.example/v1";
    assert_eq!(at("p=under:/data", "/data/a;b/c"), "granted");
    assert_eq!(at(url, "https://api.example/v1/users;role=x"), "granted");
    for path in ["..;", "..;x=1", ".;", ";", ";x", ".. ;"] {
        for scope in ["p=under:/data", r#"p=not:{"under":"/etc"}"#] {
            assert_eq!(at(scope, &format!("/data/{path}/etc")), "not_allowed", "{path} {scope}");
            assert_eq!(at(scope, &format!("/data/{path}")), "not_allowed", "{path} {scope}");
        }
        assert_eq!(
            at(url, &format!("https://api.example/v1/{path}/admin")),
            "not_allowed",
            "{path}"
        );
    }
}

/// Other spellings that file systems take for the same name: `not` would let them through.
// SPEC 4.6.3.
#[test]
fn a_name_in_another_spelling_is_no_other_name() {
    let but = r#"p=all_of:[{"under":"/data"},{"not":{"under":"/data/secret"}}]"#;
    let hangul = r#"p=not:{"under":"/data/한"}"#;
    assert_eq!((at(but, "/data/a"), at(but, "/data/secret")), ("granted", "not_allowed"));
    for name in ["secret.", "secret./x", "\u{17f}ecret", "\u{ff53}ecret", "secret ", "secret../x"] {
        assert_eq!(at(but, &format!("/data/{name}")), "not_allowed", "{name:?}");
        assert_eq!(at("p=under:/data", &format!("/data/{name}")), "not_allowed", "{name:?}");
    }
    assert_eq!((at(hangul, "/data/국"), at(hangul, "/data/한")), ("granted", "not_allowed"));
    // Decomposed, which some file systems compose, and the other way round.
    for name in ["\u{1112}\u{1161}\u{11ab}", "\u{212b}", "\u{212a}"] {
        assert_eq!(at(hangul, &format!("/data/{name}")), "not_allowed", "{name:?}");
    }
    // SPEC 4.6.3: case is presumed to be told apart.
    assert_eq!(at(but, "/data/SECRET"), "granted");
}
