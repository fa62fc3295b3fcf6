//! JSON with one meaning and one encoding: strict reading, RFC 8785 writing. SPEC section 4.
//!
//! Owns: which JSON is accepted (no duplicate key, no lone surrogate, no number that two readers
//! would read differently) and its canonical bytes (JCS). Does not own: the meaning of values, nor
//! the grammar, which is `serde_json`'s.
//!
//! Invariants: every conforming reader reads what [`Json::parse`] accepts alike; an object that was
//! parsed or made by [`Json::object`] is sorted by UTF-16 code units without duplicates;
//! [`Json::parse_canonicalised`] returns a value and bytes that determine each other, so the
//! checked value is the hashed one.
//!
//! Numbers: without point and exponent an integer within ±(2^53-1). With either a decimal, kept as
//! a count of 10^-6: at most six decimals and 15 significant digits, which is what every
//! double-based reader keeps. `-0`, however written, is the integer 0.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::base::limits;

/// The greatest integer that JSON readers agree on, 2^53-1 (RFC 7493 section 2.2).
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// A decimal is a count of 10^-6.
const MILLIONTHS: i64 = 1_000_000;

/// The most digits after the point.
const DECIMALS_MAX: usize = 6;

/// The significant digits that survive a double in both directions (`DBL_DIG`).
const SIGNIFICANT_MAX: usize = 15;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without point and exponent, within ±[`INTEGER_MAX`].
    Int(i64),
    /// A number with a point or an exponent, in millionths.
    Dec(i64),
    /// A string.
    Str(String),
    /// An array.
    List(Vec<Json>),
    /// An object, sorted by UTF-16 code units of the keys; see [`Json::object`].
    Object(Vec<(String, Json)>),
}

/// Why bytes are not JSON that Sublet accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJson {
    /// There are more bytes than a call may have.
    #[error("{bytes} bytes of JSON; {} at most", limits::CALL_BYTES_MAX)]
    TooLarge {
        /// The number of bytes.
        bytes: usize,
    },
    /// Arrays and objects are nested more deeply than allowed.
    #[error("JSON nested deeper than {}", limits::JSON_DEPTH_MAX)]
    TooDeep,
    /// The bytes do not follow the grammar of RFC 8259, or are not UTF-8.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Bytes other than white space follow the value.
    #[error("bytes behind the JSON value: {0}")]
    TrailingBytes(String),
    /// One key occurs twice in an object.
    #[error("the key {0:?} occurs twice in one object")]
    DuplicateKey(String),
    /// A `\u` escape is half of a surrogate pair, which is no character.
    #[error("a \\u escape is half of a surrogate pair: {0}")]
    LoneSurrogate(String),
    /// An integer is outside of what a double holds exactly.
    #[error("a number beyond ±(2^53-1), which JSON readers do not agree on")]
    IntegerOutOfRange,
    /// A decimal is not a count of 10^-6 in 64 bits with 15 significant digits.
    #[error("a decimal with more than 6 decimals or 15 significant digits, or out of range")]
    DecimalOutOfRange,
}

impl BadJson {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadJson::TooLarge { .. } => "json_too_large",
            BadJson::TooDeep => "json_too_deep",
            BadJson::Syntax(_) => "json_syntax",
            BadJson::TrailingBytes(_) => "json_trailing_bytes",
            BadJson::DuplicateKey(_) => "json_duplicate_key",
            BadJson::LoneSurrogate(_) => "json_lone_surrogate",
            BadJson::IntegerOutOfRange => "json_integer_out_of_range",
            BadJson::DecimalOutOfRange => "json_decimal_out_of_range",
        }
    }
}

impl Json {
    /// Parses one JSON value strictly, of at most [`limits::CALL_BYTES_MAX`] bytes.
    ///
    /// ```
    /// use sublet_core::base::json::Json;
    ///
    /// let value = Json::parse(br#"{ "b": 1, "a": "x" }"#)?;
    /// assert_eq!(value.canonical(), br#"{"a":"x","b":1}"#);
    /// assert_eq!(Json::parse(br#"{"a":1,"a":2}"#).unwrap_err().code(), "json_duplicate_key");
    /// # Ok::<(), sublet_core::base::json::BadJson>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Json, BadJson> {
        if bytes.len() > limits::CALL_BYTES_MAX {
            return Err(BadJson::TooLarge { bytes: bytes.len() });
        }
        let refusal = RefCell::new(None);
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = Reading { refusal: &refusal, depth: 0 }
            .deserialize(&mut deserializer)
            .map_err(|error| refusal.take().unwrap_or_else(|| refusal_of(&error)))?;
        deserializer.end().map_err(|error| BadJson::TrailingBytes(error.to_string()))?;
        Ok(value)
    }

    /// Parses JSON, writes its canonical bytes, and parses those. The returned value and bytes
    /// state the same. `1.0` becomes the integer `1`, because its canonical form is an integer.
    pub fn parse_canonicalised(bytes: &[u8]) -> Result<(Json, Vec<u8>), BadJson> {
        let canonical = Json::parse(bytes)?.canonical();
        let value = Json::parse(&canonical)?;
        Ok((value, canonical))
    }

    /// Returns an object of these members, in any order. A key that occurs twice is refused.
    pub fn object(mut members: Vec<(String, Json)>) -> Result<Json, BadJson> {
        members.sort_by(|(a, _), (b, _)| by_utf16(a, b));
        let twice = members.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(a.chars().take(80).collect()),
            _ => None,
        });
        match twice {
            Some(key) => Err(BadJson::DuplicateKey(key)),
            None => Ok(Json::Object(members)),
        }
    }

    /// Returns the canonical text, cut to 200 characters for use in a message.
    pub fn brief(&self) -> String {
        let text = String::from_utf8_lossy(&self.canonical()).into_owned();
        match text.char_indices().nth(200) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }

    /// Returns the canonical bytes of RFC 8785 (JCS).
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out);
        out.into_bytes()
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Int(value) => out.push_str(&value.to_string()),
            Json::Dec(millionths) => write_decimal(*millionths, out),
            Json::Str(text) => write_string(text, out),
            Json::List(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    value.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => write_object(members, out),
        }
    }
}

fn write_object(members: &[(String, Json)], out: &mut String) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| by_utf16(a, b));
    out.push('{');
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        write_string(key, out);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

/// Writes a decimal as ECMAScript writes the nearest double (RFC 8785 section 3.2.2.3). From 10^-6
/// to 10^13, where all decimals of this type lie, neither ECMAScript nor Rust uses an exponent, and
/// both write the fewest digits that read back.
fn write_decimal(millionths: i64, out: &mut String) {
    let sign = if millionths < 0 { "-" } else { "" };
    let size = millionths.unsigned_abs();
    let (whole, rest) = (size / MILLIONTHS.unsigned_abs(), size % MILLIONTHS.unsigned_abs());
    let exact = format!("{sign}{whole}.{rest:06}");
    match exact.parse::<f64>() {
        Ok(double) => out.push_str(&double.to_string()),
        Err(_) => out.push_str(&exact), // A decimal of digits and one point always parses.
    }
}

/// Writes a string with the escapes of RFC 8785 section 3.2.2.2 and no others.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

fn by_utf16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Chooses the error by `serde_json`'s text, as it has no public kinds of error.
fn refusal_of(error: &serde_json::Error) -> BadJson {
    let text = error.to_string();
    if text.contains("surrogate") || text.contains("unexpected end of hex escape") {
        BadJson::LoneSurrogate(text)
    } else if text.contains("number out of range") {
        BadJson::IntegerOutOfRange
    } else if text.contains("recursion limit") {
        BadJson::TooDeep
    } else {
        BadJson::Syntax(text)
    }
}

/// Reads one value at a depth. Its own refusals go to `refusal`, because serde's errors are texts.
#[derive(Clone, Copy)]
struct Reading<'a> {
    refusal: &'a RefCell<Option<BadJson>>,
    depth: usize,
}

impl<'a> Reading<'a> {
    fn refuse<E: serde::de::Error>(self, refusal: BadJson) -> E {
        let error = E::custom(&refusal);
        self.refusal.replace(Some(refusal));
        error
    }

    /// Returns the reader for one level deeper.
    fn deeper<E: serde::de::Error>(self) -> Result<Reading<'a>, E> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return Err(self.refuse(BadJson::TooDeep));
        }
        Ok(Reading { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Json, E> {
        integer(value).map_err(|refusal| self.refuse(refusal))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value)
            .map_err(|_| BadJson::IntegerOutOfRange)
            .and_then(integer)
            .map_err(|refusal| self.refuse(refusal))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        decimal(value).map_err(|refusal| self.refuse(refusal))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Str(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut members = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            members.push((key, access.next_value_seed(inner)?));
        }
        Json::object(members).map_err(|refusal| self.refuse(refusal))
    }
}

fn integer(value: i64) -> Result<Json, BadJson> {
    if value.unsigned_abs() > INTEGER_MAX.unsigned_abs() {
        return Err(BadJson::IntegerOutOfRange);
    }
    Ok(Json::Int(value))
}

/// Reads a number that `serde_json` gave as a double: written with a point or an exponent, or `-0`,
/// or an integer beyond 64 bits. The last case is recognised by its size.
fn decimal(value: f64) -> Result<Json, BadJson> {
    if value == 0.0 && value.is_sign_negative() {
        return Ok(Json::Int(0));
    }
    if value.fract() == 0.0 && value.abs() > INTEGER_MAX as f64 {
        return Err(BadJson::IntegerOutOfRange);
    }
    let text = value.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    if fraction.len() > DECIMALS_MAX || significant > SIGNIFICANT_MAX {
        return Err(BadJson::DecimalOutOfRange);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{whole}{fraction:0<DECIMALS_MAX$}")
        .parse()
        .map(Json::Dec)
        .map_err(|_| BadJson::DecimalOutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str) -> &'static str {
        Json::parse(text.as_bytes()).unwrap_err().code()
    }

    fn canonical(text: &str) -> String {
        let (value, bytes) = Json::parse_canonicalised(text.as_bytes()).unwrap();
        assert_eq!(value.canonical(), bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn members_are_sorted_as_rfc_8785_section_3_2_3_says() {
        let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let Json::Object(members) = Json::parse(text.as_bytes()).unwrap() else { panic!() };
        let keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            ["\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"],
            "the emoji's surrogates sort before U+FB33"
        );
    }

    #[test]
    fn strings_are_written_as_rfc_8785_section_3_2_2_2_says() {
        let text = r#"{ "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#;
        let want =
            "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(text), want);
    }

    #[test]
    fn numbers_have_one_spelling() {
        for (text, want) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("1.50", "1.5"),
            ("0.1", "0.1"),
            ("-0.000001", "-0.000001"),
            ("4.50E0", "4.5"),
            ("123456789.123456", "123456789.123456"),
            ("9000000000000.5", "9000000000000.5"),
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991", "-9007199254740991"),
        ] {
            assert_eq!(canonical(text), want, "{text}");
        }
    }

    #[test]
    fn a_point_makes_a_decimal_until_it_is_canonical() {
        assert_eq!(Json::parse(b"1.0").unwrap(), Json::Dec(1_000_000));
        assert_eq!(Json::parse_canonicalised(b"1.0").unwrap().0, Json::Int(1));
        assert_eq!(Json::parse(b"-2.25").unwrap(), Json::Dec(-2_250_000));
        assert_eq!(Json::parse(b"-0").unwrap(), Json::Int(0));
    }

    #[test]
    fn numbers_that_readers_read_differently_are_refused() {
        for text in [
            "9007199254740992",
            "-9007199254740992",
            "9223372036854775808",
            "18446744073709551616",
            "-9223372036854775809",
            "1e16",
            "1e300",
            "1e400",
        ] {
            assert_eq!(code(text), "json_integer_out_of_range", "{text}");
        }
        for text in ["0.0000001", "0.1234567", "1e-300", "9300000000000.0", "1234567890.1234567"] {
            assert_eq!(code(text), "json_decimal_out_of_range", "{text}");
        }
    }

    #[test]
    fn duplicate_keys_are_refused_however_they_are_spelt() {
        assert_eq!(code(r#"{"a":1,"b":2,"a":3}"#), "json_duplicate_key");
        assert_eq!(code(r#"{"a":1,"\u0061":1}"#), "json_duplicate_key");
        assert_eq!(code(r#"[{"x":{"a":1,"a":1}}]"#), "json_duplicate_key");
        assert!(Json::parse(br#"{"a":{"a":1},"A":2}"#).is_ok());
        assert!(Json::object(vec![("k".into(), Json::Null), ("k".into(), Json::Null)]).is_err());
    }

    #[test]
    fn lone_surrogates_are_refused_in_values_and_keys() {
        for text in
            [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#, r#"{"\udead":1}"#]
        {
            assert_eq!(code(text), "json_lone_surrogate", "{text}");
        }
        assert_eq!(Json::parse(br#""\ud83d\ude00""#).unwrap(), Json::Str("\u{1f600}".into()));
    }

    #[test]
    fn bombs_are_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(limits::JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(code(&nested(limits::JSON_DEPTH_MAX + 1)), "json_too_deep");
        assert_eq!(code(&"[".repeat(1_000_000)), "json_too_deep");
        assert_eq!(code(&"{\"a\":".repeat(1000)), "json_too_deep");
        assert_eq!(code(&" ".repeat(limits::CALL_BYTES_MAX + 1)), "json_too_large");
        let grows = format!("[{}1e9]", "1e9,".repeat(200_000));
        let error = Json::parse_canonicalised(grows.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "json_too_large", "canonical bytes are bounded too");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["1 2", "{} x", "null,", "\"a\"\0"] {
            assert_eq!(code(text), "json_trailing_bytes", "{text}");
        }
        for text in [
            "",
            "nul",
            "01",
            "+1",
            ".5",
            "1.",
            "'a'",
            "{a:1}",
            "[1,]",
            "NaN",
            "\u{feff}1",
            "\"\t\"",
        ] {
            assert!(matches!(code(text), "json_syntax" | "json_trailing_bytes"), "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\"").unwrap_err().code(), "json_syntax");
        assert_eq!(Json::parse(b" \n{ } ").unwrap(), Json::Object(Vec::new()));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            (-INTEGER_MAX..=INTEGER_MAX).prop_map(Json::Int),
            (-999_999_999_999_999i64..=999_999_999_999_999).prop_map(Json::Dec),
            any::<String>().prop_map(Json::Str),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Json::object(map.into_iter().collect()).unwrap()),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_bytes_are_a_fixed_point(value in any_json()) {
            let bytes = value.canonical();
            let (again, same) = Json::parse_canonicalised(&bytes).unwrap();
            prop_assert_eq!(&bytes, &same);
            prop_assert_eq!(again.canonical(), bytes);
        }

        #[test]
        fn decimals_keep_their_millionths(m in -999_999_999_999_999i64..=999_999_999_999_999) {
            let bytes = Json::Dec(m).canonical();
            let back = match Json::parse(&bytes).unwrap() {
                Json::Int(whole) => whole * MILLIONTHS,
                Json::Dec(millionths) => millionths,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(back, m);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Json::parse_canonicalised(&bytes);
        }
    }

    #[test]
    fn json_may_be_as_large_as_a_call() {
        let mut text = vec![b' '; limits::CALL_BYTES_MAX - 1];
        text.push(b'1');
        assert_eq!(Json::parse(&text), Ok(Json::Int(1)));
        text.push(b' ');
        let bytes = text.len();
        assert_eq!(Json::parse(&text), Err(BadJson::TooLarge { bytes }));
    }

    #[test]
    fn a_decimal_of_nothing_has_no_sign() {
        assert_eq!(Json::Dec(0).canonical(), b"0");
        assert_eq!(Json::Dec(-1).canonical(), b"-0.000001");
    }

    #[test]
    fn a_whole_decimal_is_refused_for_its_digits_until_no_reader_could_hold_it() {
        assert_eq!(code("9007199254740991.0"), "json_decimal_out_of_range");
        assert_eq!(code("9007199254740992.0"), "json_integer_out_of_range");
    }
}
