//! Rules of all kinds of constraints, and rules of one kind that the property tests reach rarely.

use super::kind::Member as _;
use super::*;
use crate::base::limits;

fn capability(text: &str) -> Result<Capability, BadScope> {
    format!("a@t:x {text}").parse()
}

#[test]
fn every_kind_bounds_the_texts_and_numbers_in_it() {
    let long = "v".repeat(limits::TEXT_BYTES_MAX + 1);
    let path = format!("/{long}");
    let url = format!("https://acme.example/{long}");
    for text in [
        format!("p=exactly:{long}"),
        format!("p=one_of:a,{long}"),
        format!("p=not_one_of:a,{long}"),
        format!("p=prefix:{long}"),
        format!("p=under:{path}"),
        format!("p=url:{url}"),
        format!("p=contains_all:{long}"),
        format!("p=subset_of:{long}"),
        format!(r#"p=all_of:[{{"prefix":"{long}"}},{{"glob":"a*"}}]"#),
        format!(r#"p=any_of:[{{"prefix":"{long}"}},{{"prefix":"a"}}]"#),
        format!(r#"p=not:{{"prefix":"{long}"}}"#),
    ] {
        assert!(capability(&text).is_err(), "{text}");
    }
}

#[test]
fn what_is_made_in_code_is_bounded_like_what_is_read() {
    let long = || "v".repeat(limits::TEXT_BYTES_MAX + 1);
    let (prefix, fine) =
        (|| Constraint::Prefix(Prefix(long())), || Constraint::Prefix(Prefix("a".into())));
    let beyond = crate::base::json::INTEGER_MAX + 1;
    let values = || [Scalar::Str("a".into()), Scalar::Str(long())];
    let made = [
        Constraint::Exactly(Exactly(Scalar::Str(long()))),
        Constraint::Exactly(Exactly(Scalar::Int(beyond))),
        Constraint::OneOf(OneOf::new(values()).unwrap()),
        Constraint::NotOneOf(NotOneOf::new(values()).unwrap()),
        Constraint::ContainsAll(ContainsAll::new(values()).unwrap()),
        Constraint::SubsetOf(SubsetOf::new(values()).unwrap()),
        prefix(),
        Constraint::Range(Range::new(Some(0), Some(beyond)).unwrap()),
        Constraint::Decimal(Decimal::new(Some(0), Some(i64::MAX)).unwrap()),
        Constraint::Under(Under::new(&format!("/{}", long())).unwrap()),
        Constraint::Url(Url::new(&format!("https://acme.example/{}", long())).unwrap()),
        Constraint::Not(Not::new(prefix()).unwrap()),
        Constraint::AllOf(AllOf::new(vec![prefix(), fine()]).unwrap()),
        Constraint::AnyOf(AnyOf::new(vec![prefix(), fine()]).unwrap()),
    ];
    for constraint in made {
        assert!(constraint.check().is_err(), "{constraint:?}");
    }
    assert!(fine().check().is_ok());
}

/// Returns what two scopes have in common, and whether that may be incomplete.
fn common(one: &str, other: &str) -> (usize, bool) {
    let [one, other] = [one, other].map(|text| vec![capability(text).unwrap()]);
    let meets = Meets::of(&one, &other, Step::default());
    (meets.capabilities.len(), meets.incomplete)
}

#[test]
fn of_two_that_exclude_each_other_nothing_is_left_and_nothing_is_left_unsaid() {
    for (one, other) in [
        ("p=range:1..2", "p=range:3..4"),
        ("p=decimal:..1", "p=decimal:2.."),
        ("p=prefix:a", "p=prefix:b"),
        ("p=cidr:10.0.0.0/8", "p=cidr:11.0.0.0/8"),
        (r#"p=not:{"prefix":"a"}"#, "p=prefix:ab"),
        (r#"p=any_of:[{"prefix":"a"},{"prefix":"b"}]"#, "p=prefix:c"),
        (
            r#"p=any_of:[{"prefix":"a"},{"prefix":"b"}]"#,
            r#"p=any_of:[{"prefix":"c"},{"prefix":"d"}]"#,
        ),
        (r#"p=all_of:[{"prefix":"a"},{"glob":"*z"}]"#, "p=prefix:b"),
        (
            r#"p=all_of:[{"prefix":"a"},{"glob":"*z"}]"#,
            r#"p=all_of:[{"prefix":"b"},{"glob":"*y"}]"#,
        ),
    ] {
        assert_eq!(common(one, other), (0, false), "{one} and {other}");
        assert_eq!(common(other, one), (0, false), "{other} and {one}");
    }
    for (one, other) in [
        ("p=range:1..3", "p=range:3..4"),
        ("p=decimal:..1", "p=decimal:1.."),
        ("p=prefix:a", "p=prefix:ab"),
        ("p=prefix:a", "p=glob:*b"),
        ("p=cidr:10.0.0.0/8", "p=cidr:10.1.0.0/16"),
        (r#"p=not:{"prefix":"ab"}"#, "p=prefix:a"),
        (r#"p=any_of:[{"prefix":"a"},{"prefix":"b"}]"#, "p=prefix:bc"),
        (r#"p=all_of:[{"prefix":"a"},{"glob":"*z"}]"#, "p=prefix:ab"),
    ] {
        for pair in [(one, other), (other, one)] {
            let (said, incomplete) = common(pair.0, pair.1);
            assert!(said > 0 || incomplete, "{pair:?}");
        }
    }
}

#[test]
fn what_lists_its_values_is_excluded_only_if_none_of_them_is_admitted() {
    let constraint = |text: &str| capability(text).unwrap().constraint("p");
    let prefix = constraint("p=prefix:c");
    for (values, excluded) in [(r#"["a","b"]"#, true), (r#"["a","cb"]"#, false)] {
        let alone = constraint(&format!("p=one_of:{values}"));
        let among = constraint(&format!(r#"p=all_of:[{{"one_of":{values}}},{{"glob":"*"}}]"#));
        assert_eq!([prefix.excludes(&alone), prefix.excludes(&among)], [excluded; 2], "{values}");
    }
}

fn covers(held: &str, asked: &str) -> bool {
    let [held, asked] = [held, asked].map(|text| Scope::one(&capability(text).unwrap()));
    held.covers(&asked).is_ok()
}

#[test]
fn negations_cover_what_takes_more_away() {
    assert!(covers(r#"p=not:{"prefix":"ab"}"#, r#"p=not:{"prefix":"a"}"#));
    assert!(!covers(r#"p=not:{"prefix":"a"}"#, r#"p=not:{"prefix":"ab"}"#));
    assert!(covers(r#"p=not:{"prefix":"a"}"#, "p=prefix:b"));
    assert!(!covers(r#"p=not:{"prefix":"a"}"#, "p=prefix:ab"));
    assert!(covers("p=not_one_of:a", "p=not_one_of:a,b"));
    assert!(!covers("p=not_one_of:a,b", "p=not_one_of:a"));
    assert!(!covers("p=not_one_of:1", "p=not_one_of:a"));
    assert!(covers("p=not_one_of:a,c", "p=prefix:b"));
    assert!(!covers("p=not_one_of:ab,c", "p=prefix:a"));
}

// SPEC 4.3.4.
#[test]
fn alternatives_are_on_one_view() {
    let mixed = r#"p=any_of:[{"prefix":"a"},{"range":{"min":1,"max":2}}]"#;
    assert!(capability(mixed).unwrap_err().0.contains("on one view"), "{:?}", capability(mixed));
    assert!(capability(r#"p=any_of:[{"prefix":"a"},{"prefix":"b"}]"#).is_ok());
}

#[test]
fn a_capability_has_so_many_constraints_nested_ones_included() {
    let alternatives = |count: usize| {
        let parts: Vec<String> =
            (0..count).map(|at| format!(r#"{{"prefix":"p{at:02}"}}"#)).collect();
        capability(&format!("p=any_of:[{}]", parts.join(",")))
    };
    let max = limits::CONSTRAINTS_MAX;
    assert!(alternatives(max - 1).is_ok());
    assert!(alternatives(max).is_err(), "itself is one more");
}

// SPEC 4.3.5.
#[test]
fn a_regex_is_of_what_every_engine_reads_alike() {
    for good in ["(ab)+", "(?:ab)", "[(?]x", r"\.\[", "[a-z]--", "[^&]&&", "a]b"] {
        assert!(Regex::new(good).is_ok(), "{good}");
    }
    for bad in ["(?i)a", "[a](?i)b", "[[a]]", "[a&&b]", "[a--b]", "[a~~b]", r"\d", r"\é"] {
        assert!(Regex::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn texts_with_every_sign_of_the_grammar_are_read_back() {
    for value in ["a b", "[", "]{", "a,b", r#"say "x""#, r"back\", r#"\" q=exactly:c"#, "", "=:"] {
        let named = [
            ("p".to_owned(), Constraint::Exactly(Exactly(Scalar::Str(value.into())))),
            (
                "q".to_owned(),
                Constraint::OneOf(OneOf::new([value, "z"].map(|v| Scalar::Str(v.into()))).unwrap()),
            ),
        ];
        let made =
            Capability::new("t:x".parse().unwrap(), "a".parse().unwrap(), named, false).unwrap();
        assert_eq!(made.to_string().parse::<Capability>().as_ref(), Ok(&made), "{made}");
    }
}

#[test]
fn a_value_that_begins_like_json_is_json() {
    for bad in [r#"p=exactly:"abc"#, "p=exactly:[1", "p=exactly:{"] {
        assert!(capability(bad).is_err(), "{bad}");
    }
    let longest = format!("p=exactly:{}", "v".repeat(limits::TEXT_BYTES_MAX));
    assert!(capability(&longest).is_ok());
}

#[test]
fn other_arguments_are_any_or_none() {
    let read = |other: &str| {
        let text =
            format!(r#"{{"action":"a","audience":"t:x","args":{{}},"other_args":"{other}"}}"#);
        Capability::from_json(text.as_bytes())
    };
    assert!(read("any").unwrap().is_open());
    assert!(read("all").is_err());
}

// SPEC 4.1.
#[test]
fn an_audience_has_a_scheme_of_letters_digits_and_three_signs() {
    for good in ["git+ssh://x", "h2://x", "a.b://x", "a-b://x"] {
        assert!(good.parse::<Audience>().is_ok(), "{good}");
    }
    for bad in ["1a://x", "A://x", "a_b://x", "://x", "aB://x"] {
        assert!(bad.parse::<Audience>().is_err(), "{bad}");
    }
}

#[test]
fn a_url_has_a_plain_scheme_port_and_host() {
    let read = |url: &str| capability(&format!("u=url:{url}")).is_ok();
    assert!(read("https://acme.example:8443/v1") && read("http://acme.example/v1"));
    for bad in ["https://acme.example:0", "1http://a.example:80", "hTtp://a.example:80"] {
        assert!(!read(bad), "{bad}");
    }
    let label = "l".repeat(59);
    let host =
        |last: usize| format!("https://{}.{}", [label.as_str(); 4].join("."), "l".repeat(last));
    assert!(read(&host(253 - 240)) && !read(&host(253 - 239)));
}

#[test]
fn what_was_cut_goes_no_further_than_what_was_held() {
    let held = Scope::from_texts(&["fs.read@t:x hops:1"]).unwrap();
    let asked = Scope::from_texts(&["fs.@t:x"]).unwrap();
    let left = |hop| held.clamp(&asked, Step { hop, to_another: true }).scope;
    assert_eq!(left(1).unwrap().capabilities()[0].to_string(), "fs.read@t:x hops:1");
    assert_eq!(left(2), None);
}

#[test]
fn nested_constraints_that_are_no_json_are_answered_with_an_example() {
    for (kind, like) in [
        ("not", r#"not:{"under":"/x"}"#),
        ("all_of", r#"all_of:[{"under":"/x"},{"under":"/y"}]"#),
        ("any_of", r#"any_of:[{"under":"/x"},{"under":"/y"}]"#),
    ] {
        let said = capability(&format!("p={kind}:under")).unwrap_err().0;
        assert!(said.ends_with(&format!("as in {like}")), "{said}");
    }
}
