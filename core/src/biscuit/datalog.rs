//! The part of Biscuit Datalog that a Sublet block may have, and its only encoding. SPEC section 3.
//!
//! Owns: facts, and checks made of queries over predicates and expressions; their protobuf bytes
//! with Biscuit's symbol tables. Does not own: their meaning (`block`, `capability`).
//!
//! Invariants: `encode` writes the symbols of a block in order of first use, never twice, never a
//! default one; `decode` refuses rules, scopes, public keys, contexts, heads other than `query()`,
//! closures, foreign functions and every term that no Sublet block has. Untrusted Datalog is read
//! here, without a copy and in time linear in its bytes, and never evaluated.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::biscuit::wire::{BadWire, Encoder, Fields, Value, only};

/// Biscuit Datalog v3.3, the only version in a Sublet block.
pub const VERSION: u32 = 6;

macro_rules! default_symbols {
    ($($name:literal = $index:literal),* $(,)?) => {
        /// Biscuit's default symbols, which no block may define again (Biscuit specification,
        /// "Symbol table").
        const DEFAULT_SYMBOLS: [&str; 28] = [$($name),*];

        fn default_symbol(name: &str) -> Option<u64> {
            match name { $($name => Some($index),)* _ => None }
        }
    };
}

default_symbols! {
    "read" = 0,
    "write" = 1,
    "resource" = 2,
    "operation" = 3,
    "right" = 4,
    "time" = 5,
    "role" = 6,
    "owner" = 7,
    "tenant" = 8,
    "namespace" = 9,
    "user" = 10,
    "team" = 11,
    "service" = 12,
    "admin" = 13,
    "email" = 14,
    "group" = 15,
    "member" = 16,
    "ip_address" = 17,
    "client" = 18,
    "client_ip" = 19,
    "domain" = 20,
    "path" = 21,
    "version" = 22,
    "cluster" = 23,
    "node" = 24,
    "hostname" = 25,
    "nonce" = 26,
    "query" = 27,
}

/// The first index of symbols that blocks define.
const FIRST_OWN_SYMBOL: u64 = 1024;

/// The index of `query`, the head of every check.
const QUERY: u64 = 27;

/// A term. Text is borrowed from the bytes that were read or the type that is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term<'a> {
    /// `$name`
    Variable(Cow<'a, str>),
    /// An integer.
    Integer(i64),
    /// A string.
    String(Cow<'a, str>),
    /// Seconds since 1970.
    Date(u64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A boolean.
    Bool(bool),
    /// A set, written in the order of its terms.
    Set(BTreeSet<Term<'a>>),
}

impl<'a> Term<'a> {
    /// Returns a string.
    pub fn text(value: impl Into<Cow<'a, str>>) -> Self {
        Term::String(value.into())
    }

    /// Returns a variable.
    pub fn variable(name: impl Into<Cow<'a, str>>) -> Self {
        Term::Variable(name.into())
    }

    /// Returns the text of a string; `None` for other terms.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Term::String(text) => Some(text),
            _ => None,
        }
    }
}

/// The terms of a predicate. Predicates of a block have at most three.
pub type Terms<'a> = SmallVec<[Term<'a>; 3]>;

/// `name(term, …)`: a fact if it has no variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The terms.
    pub terms: Terms<'a>,
}

impl<'a> Predicate<'a> {
    /// Returns a predicate of this name and these terms.
    pub fn new(name: &'a str, terms: impl IntoIterator<Item = Term<'a>>) -> Self {
        Predicate { name: name.into(), terms: terms.into_iter().collect() }
    }
}

macro_rules! binaries {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        /// The operators that Sublet renders, with Biscuit's numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Binary { $($(#[$doc])* $name = $number),* }

        impl Binary {
            fn number(self) -> u64 {
                match self { $(Binary::$name => $number),* }
            }

            fn of(number: u64) -> Option<Self> {
                match number { $($number => Some(Binary::$name),)* _ => None }
            }
        }
    };
}

binaries! {
    /// `<`
    LessThan = 0,
    /// `<=`
    LessOrEqual = 2,
    /// `>=`
    GreaterOrEqual = 3,
    /// `===`
    Equal = 4,
    /// `set.contains(term or set)`
    Contains = 5,
    /// `text.starts_with(text)`
    Prefix = 6,
    /// `text.matches(regex)`
    Regex = 8,
    /// `&&`, both sides evaluated
    And = 13,
    /// `||`, both sides evaluated
    Or = 14,
}

/// One step of an expression in reverse Polish order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Push a term.
    Value(Term<'a>),
    /// Negate a boolean.
    Negate,
    /// Combine two values.
    Binary(Binary),
}

/// An expression in reverse Polish order.
pub type Expression<'a> = SmallVec<[Op<'a>; 3]>;

/// One alternative of a check: all predicates match and all expressions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// The predicates.
    pub body: Vec<Predicate<'a>>,
    /// The expressions.
    pub expressions: Vec<Expression<'a>>,
}

/// `check if query or query …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// The alternatives.
    pub queries: Vec<Query<'a>>,
}

/// The content of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datalog<'a> {
    /// The facts.
    pub facts: Vec<Predicate<'a>>,
    /// The checks.
    pub checks: Vec<Check<'a>>,
}

/// Why bytes are not the Datalog of a Sublet block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatalog {
    /// The bytes are not Biscuit's protobuf.
    #[error("the block is not Biscuit protobuf")]
    NotProtobuf,
    /// The Datalog version is another one.
    #[error("the block is not Datalog version {VERSION}")]
    Version,
    /// The block has something that no Sublet block has, such as a rule, a scope, a context or
    /// another operator.
    #[error("the block holds {0}, which no Sublet block has")]
    Foreign(&'static str),
    /// The tables up to this block do not define a symbol index, or a symbol is defined twice.
    #[error("the block's symbol table is wrong")]
    Symbol,
}

impl From<BadWire> for BadDatalog {
    fn from(_: BadWire) -> Self {
        BadDatalog::NotProtobuf
    }
}

/// The symbols that the blocks so far define.
#[derive(Clone, Debug, Default)]
pub struct Symbols<'a> {
    names: Vec<Cow<'a, str>>,
    /// The index of each symbol, once there are too many to search.
    indices: HashMap<Cow<'a, str>, u64>,
}

/// Up to this many symbols are searched one by one. A usual chain has about thirty, for which
/// hashing is slower.
const LOOKED_THROUGH: usize = 48;

impl<'a> Symbols<'a> {
    /// Returns an empty table with room for this many symbols.
    pub(crate) fn with_capacity(symbols: usize) -> Self {
        Symbols { names: Vec::with_capacity(symbols), indices: HashMap::new() }
    }

    /// Adds the symbols that a payload defines, for encoding a further block.
    pub fn define_all(&mut self, payload: &'a [u8]) -> Result<(), BadDatalog> {
        for field in Fields::of(payload) {
            match field? {
                (1, name) => self.define(name.text()?)?,
                _ => return Ok(()), // Symbols come first in a canonical payload.
            }
        }
        Ok(())
    }

    /// Returns how many symbols there are.
    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }

    fn define(&mut self, name: &'a str) -> Result<(), BadDatalog> {
        match self.find(name) {
            Some(_) => Err(BadDatalog::Symbol),
            None => {
                self.push(Cow::Borrowed(name));
                Ok(())
            }
        }
    }

    fn push(&mut self, name: Cow<'a, str>) -> u64 {
        self.names.push(name);
        if self.names.len() > LOOKED_THROUGH {
            let new = (self.indices.len()..).zip(self.names.iter().skip(self.indices.len()));
            self.indices.extend(new.map(|(at, name)| (name.clone(), own(at))));
        }
        own(self.names.len() - 1)
    }

    #[expect(clippy::ptr_arg, reason = "the text is kept, and borrowed when it can be")]
    fn intern(&mut self, name: &Cow<'a, str>) -> u64 {
        self.find(name).unwrap_or_else(|| self.push(name.clone()))
    }

    fn find(&self, name: &str) -> Option<u64> {
        default_symbol(name).or_else(|| match self.indices.is_empty() {
            true => self.names.iter().position(|known| known == name).map(own),
            false => self.indices.get(name).copied(),
        })
    }

    /// Returns the beginning of a payload: the symbols from the `known`th on, and the version.
    fn head(&self, known: usize) -> Vec<u8> {
        let mut head = Encoder::with_capacity(1024);
        for name in self.names.iter().skip(known) {
            head.bytes(1, name.as_bytes());
        }
        head.number(3, u64::from(VERSION));
        head.finish()
    }

    fn name(&self, index: u64) -> Result<Cow<'a, str>, BadDatalog> {
        let own = index.checked_sub(FIRST_OWN_SYMBOL);
        let name = match own.and_then(|i| usize::try_from(i).ok()) {
            Some(i) => self.names.get(i).cloned(),
            None => usize::try_from(index)
                .ok()
                .and_then(|i| DEFAULT_SYMBOLS.get(i))
                .map(|name| Cow::Borrowed(*name)),
        };
        name.ok_or(BadDatalog::Symbol)
    }
}

/// Returns the index of the symbol at this position of the blocks' tables.
fn own(at: usize) -> u64 {
    FIRST_OWN_SYMBOL + at as u64
}

/// Returns the index of a symbol.
type Intern<'f, 'a> = dyn FnMut(&Cow<'a, str>) -> u64 + 'f;

impl<'a> Datalog<'a> {
    /// Returns the block's payload, and adds its symbols to `symbols`.
    pub fn encode<'s>(&self, symbols: &mut Symbols<'s>) -> Vec<u8>
    where
        'a: 's,
    {
        let known = symbols.count();
        let body = self.body(&mut |name| symbols.intern(name));
        let mut payload = symbols.head(known);
        payload.extend(body);
        payload
    }

    /// Returns whether `encode` writes this payload after the first `known` of these symbols. The
    /// other symbols are the payload's own: all of them must be used, in the order of their first
    /// use.
    pub(crate) fn is_encoded_as(
        &self,
        payload: &[u8],
        known: usize,
        symbols: &Symbols<'_>,
    ) -> bool {
        let (mut next, mut in_order) = (own(known), true);
        let body = self.body(&mut |name| {
            let index = symbols.find(name).unwrap_or(u64::MAX);
            in_order &= index <= next;
            next += u64::from(index == next);
            index
        });
        let all_used = next == own(symbols.count());
        let head = symbols.head(known);
        in_order && all_used && payload.strip_prefix(head.as_slice()) == Some(body.as_slice())
    }

    /// Returns facts and checks, with symbols numbered by `intern`.
    fn body(&self, intern: &mut Intern<'_, 'a>) -> Vec<u8> {
        let mut body = Encoder::with_capacity(512);
        for fact in &self.facts {
            body.message(4, |f| f.message(1, |p| encode_predicate(p, fact, intern)));
        }
        for check in &self.checks {
            body.message(6, |c| encode_check(c, check, intern));
        }
        body.finish()
    }

    /// Decodes a payload, and adds its symbols to `symbols`. The caller encodes the result again to
    /// check that the bytes are canonical.
    pub fn decode(payload: &'a [u8], symbols: &mut Symbols<'a>) -> Result<Self, BadDatalog> {
        let (mut version, mut datalog) = (None, Datalog::default());
        for field in Fields::of(payload) {
            match field? {
                (1, name) => symbols.define(name.text()?)?,
                (2, _) => return Err(BadDatalog::Foreign("a context")),
                (3, number) => version = Some(number.number()?),
                (4, fact) => match only(fact.bytes()?)? {
                    (1, fact) => datalog.facts.push(decode_predicate(fact.bytes()?, symbols)?),
                    _ => return Err(BadDatalog::NotProtobuf),
                },
                (5, _) => return Err(BadDatalog::Foreign("a rule")),
                (6, check) => datalog.checks.push(decode_check(check.bytes()?, symbols)?),
                (7, _) => return Err(BadDatalog::Foreign("a scope")),
                (8, _) => return Err(BadDatalog::Foreign("a public key table")),
                // Unknown fields are not written again, so the bytes are not canonical.
                _ => {}
            }
        }
        if version == Some(u64::from(VERSION)) { Ok(datalog) } else { Err(BadDatalog::Version) }
    }
}

fn encode_check<'a>(out: &mut Encoder, check: &Check<'a>, intern: &mut Intern<'_, 'a>) {
    for query in &check.queries {
        out.message(1, |rule| {
            rule.message(1, |head| head.number(1, QUERY));
            for predicate in &query.body {
                rule.message(2, |p| encode_predicate(p, predicate, intern));
            }
            for expression in &query.expressions {
                rule.message(3, |e| expression.iter().for_each(|op| encode_op(e, op, intern)));
            }
        });
    }
}

fn decode_check<'a>(bytes: &'a [u8], symbols: &Symbols<'a>) -> Result<Check<'a>, BadDatalog> {
    let mut queries = Vec::with_capacity(1);
    for field in Fields::of(bytes) {
        match field? {
            (1, query) => queries.push(decode_query(query.bytes()?, symbols)?),
            _ => return Err(BadDatalog::Foreign("a check of another kind")),
        }
    }
    Ok(Check { queries })
}

fn decode_query<'a>(bytes: &'a [u8], symbols: &Symbols<'a>) -> Result<Query<'a>, BadDatalog> {
    // Capacity for up to three constraints: a call, three predicates, five tests.
    let mut query = Query { body: Vec::with_capacity(4), expressions: Vec::with_capacity(5) };
    for field in Fields::of(bytes) {
        match field? {
            (1, head) if only(head.bytes()?) == Ok((1, Value::Varint(QUERY))) => {}
            (1, _) => return Err(BadDatalog::Foreign("a check head other than query()")),
            (2, body) => query.body.push(decode_predicate(body.bytes()?, symbols)?),
            (3, ops) => query.expressions.push(decode_expression(ops.bytes()?, symbols)?),
            _ => return Err(BadDatalog::Foreign("a query scope")),
        }
    }
    Ok(query)
}

fn encode_predicate<'a>(out: &mut Encoder, predicate: &Predicate<'a>, intern: &mut Intern<'_, 'a>) {
    out.number(1, intern(&predicate.name));
    for term in &predicate.terms {
        out.message(2, |t| encode_term(t, term, intern));
    }
}

fn decode_predicate<'a>(
    bytes: &'a [u8],
    symbols: &Symbols<'a>,
) -> Result<Predicate<'a>, BadDatalog> {
    let (mut name, mut terms) = (None, Terms::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, index) => name = Some(symbols.name(index.number()?)?),
            (2, term) => terms.push(decode_term(term.bytes()?, symbols)?),
            _ => return Err(BadDatalog::NotProtobuf),
        }
    }
    Ok(Predicate { name: name.ok_or(BadDatalog::NotProtobuf)?, terms })
}

fn encode_term<'a>(out: &mut Encoder, term: &Term<'a>, intern: &mut Intern<'_, 'a>) {
    match term {
        Term::Variable(name) => out.number(1, intern(name)),
        Term::Integer(value) => out.signed(2, *value),
        Term::String(value) => out.number(3, intern(value)),
        Term::Date(seconds) => out.number(4, *seconds),
        Term::Bytes(value) => out.bytes(5, value),
        Term::Bool(value) => out.number(6, u64::from(*value)),
        Term::Set(terms) => out.message(7, |set| {
            for term in terms {
                set.message(1, |t| encode_term(t, term, intern));
            }
        }),
    }
}

fn decode_term<'a>(bytes: &'a [u8], symbols: &Symbols<'a>) -> Result<Term<'a>, BadDatalog> {
    match only(bytes)? {
        (7, set) => decode_set(set.bytes()?, symbols),
        (number, value) => decode_scalar(number, value, symbols),
    }
}

fn decode_set<'a>(bytes: &'a [u8], symbols: &Symbols<'a>) -> Result<Term<'a>, BadDatalog> {
    let mut set = BTreeSet::new();
    for field in Fields::of(bytes) {
        match field? {
            (1, term) => match only(term.bytes()?)? {
                (1 | 7, _) => return Err(BadDatalog::Foreign("a set of sets or variables")),
                (number, value) => set.insert(decode_scalar(number, value, symbols)?),
            },
            _ => return Err(BadDatalog::NotProtobuf),
        };
    }
    Ok(Term::Set(set))
}

fn decode_scalar<'a>(
    number: u64,
    value: Value<'a>,
    symbols: &Symbols<'a>,
) -> Result<Term<'a>, BadDatalog> {
    Ok(match number {
        1 => Term::Variable(symbols.name(u64::from(value.number32()?))?),
        2 => Term::Integer(value.signed()?),
        3 => Term::String(symbols.name(value.number()?)?),
        4 => Term::Date(value.number()?),
        5 => Term::Bytes(value.bytes()?),
        6 => Term::Bool(value.number()? != 0),
        _ => return Err(BadDatalog::Foreign("a null, array or map")),
    })
}

fn encode_op<'a>(out: &mut Encoder, op: &Op<'a>, intern: &mut Intern<'_, 'a>) {
    out.message(1, |o| match op {
        Op::Value(term) => o.message(1, |t| encode_term(t, term, intern)),
        Op::Negate => o.message(2, |unary| unary.number(1, 0)),
        Op::Binary(binary) => o.message(3, |b| b.number(1, binary.number())),
    });
}

fn decode_expression<'a>(
    bytes: &'a [u8],
    symbols: &Symbols<'a>,
) -> Result<Expression<'a>, BadDatalog> {
    let mut ops = Expression::new();
    for field in Fields::of(bytes) {
        match field? {
            (1, op) => ops.push(decode_op(op.bytes()?, symbols)?),
            _ => return Err(BadDatalog::NotProtobuf),
        }
    }
    Ok(ops)
}

fn decode_op<'a>(bytes: &'a [u8], symbols: &Symbols<'a>) -> Result<Op<'a>, BadDatalog> {
    let foreign = BadDatalog::Foreign("an operator");
    match only(bytes)? {
        (1, term) => Ok(Op::Value(decode_term(term.bytes()?, symbols)?)),
        (2, unary) if only(unary.bytes()?) == Ok((1, Value::Varint(0))) => Ok(Op::Negate),
        (3, binary) => match only(binary.bytes()?) {
            Ok((1, kind)) => Binary::of(kind.number()?).map(Op::Binary).ok_or(foreign),
            _ => Err(foreign),
        },
        _ => Err(foreign),
    }
}

#[cfg(test)]
mod tests {
    use biscuit_auth::format::schema;
    use prost_biscuit::Message as _;

    use super::*;

    fn sample<'a>() -> Datalog<'a> {
        let set: BTreeSet<Term> = ["b", "a", "read"].map(Term::text).into();
        let query = Query {
            body: vec![Predicate::new(
                "arg_str",
                [Term::String("k".into()), Term::Variable("v".into())],
            )],
            expressions: vec![
                [
                    Op::Value(Term::Set(set)),
                    Op::Value(Term::Variable("v".into())),
                    Op::Binary(Binary::Contains),
                ]
                .into(),
            ],
        };
        Datalog {
            facts: vec![Predicate::new("sublet", [Term::Integer(1)])],
            checks: vec![Check { queries: vec![query] }],
        }
    }

    #[test]
    fn symbols_are_found_alike_when_there_are_many() {
        let texts: Vec<String> = (0..3 * LOOKED_THROUGH).map(|n| format!("s{n}")).collect();
        let mut symbols = Symbols::default();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(symbols.define(text), Ok(()));
            assert_eq!(symbols.define(text), Err(BadDatalog::Symbol));
            assert_eq!(symbols.define("time"), Err(BadDatalog::Symbol));
            assert_eq!(symbols.find(text), Some(own(at)));
            assert_eq!(symbols.find(&texts[at / 2]), Some(own(at / 2)));
            assert_eq!(symbols.find("none"), None);
        }
    }

    #[test]
    fn round_trips_and_shares_symbols_with_later_blocks() {
        let mut writer = Symbols::default();
        let written = sample();
        let (first, second) = (written.encode(&mut writer), written.encode(&mut writer));
        let sample = sample();
        assert!(second.len() < first.len(), "the second block defines no symbol again");
        let mut reader = Symbols::default();
        assert!(Datalog::decode(&first, &mut reader).is_ok_and(|read| read == sample));
        assert!(Datalog::decode(&second, &mut reader).is_ok_and(|read| read == sample));
    }

    #[test]
    fn a_later_table_cannot_give_meaning_to_an_earlier_block() {
        let mut writer = Symbols::default();
        let first = sample().encode(&mut writer);
        let mut block = schema::Block::decode(first.as_slice()).unwrap();
        block.symbols.clear();
        assert_eq!(
            Datalog::decode(&block.encode_to_vec(), &mut Symbols::default()),
            Err(BadDatalog::Symbol)
        );
    }

    #[test]
    fn duplicate_and_default_symbols_are_refused() {
        for extra in ["sublet", "read"] {
            let mut block =
                schema::Block::decode(sample().encode(&mut Symbols::default()).as_slice()).unwrap();
            block.symbols.push(extra.into());
            assert_eq!(
                Datalog::decode(&block.encode_to_vec(), &mut Symbols::default()),
                Err(BadDatalog::Symbol)
            );
        }
    }

    #[test]
    fn rules_contexts_scopes_and_versions_are_refused() {
        let good =
            schema::Block::decode(sample().encode(&mut Symbols::default()).as_slice()).unwrap();
        let refused = |change: fn(&mut schema::Block)| {
            let mut block = good.clone();
            change(&mut block);
            assert!(Datalog::decode(&block.encode_to_vec(), &mut Symbols::default()).is_err());
        };
        refused(|b| b.context = Some("x".into()));
        refused(|b| b.version = Some(5));
        refused(|b| b.rules.push(b.checks[0].queries[0].clone()));
        refused(|b| b.checks[0].kind = Some(0));
        refused(|b| b.checks[0].kind = Some(2));
        refused(|b| b.checks[0].queries[0].head.name = 0);
        refused(|b| b.checks[0].queries[0].scope.push(schema::Scope { content: None }));
        refused(|b| b.scope.push(schema::Scope { content: None }));
    }

    #[test]
    fn a_public_key_table_another_head_and_another_operator_are_named_as_foreign() {
        use schema::op::Content;
        let good =
            schema::Block::decode(sample().encode(&mut Symbols::default()).as_slice()).unwrap();
        let foreign = |change: fn(&mut schema::Block)| {
            let mut block = good.clone();
            change(&mut block);
            Datalog::decode(&block.encode_to_vec(), &mut Symbols::default()).unwrap_err()
        };
        let key = schema::PublicKey { algorithm: 0, key: vec![1; 32] };
        assert!(Datalog::decode(&good.encode_to_vec(), &mut Symbols::default()).is_ok());
        let mut table = good.clone();
        table.public_keys.push(key);
        assert_eq!(
            Datalog::decode(&table.encode_to_vec(), &mut Symbols::default()),
            Err(BadDatalog::Foreign("a public key table"))
        );
        assert_eq!(
            foreign(|b| b.checks[0].queries[0].head.name = 0),
            BadDatalog::Foreign("a check head other than query()")
        );
        assert_eq!(
            foreign(|b| {
                let length = Content::Unary(schema::OpUnary { kind: 2, ffi_name: None });
                b.checks[0].queries[0].expressions[0].ops[1].content = Some(length);
            }),
            BadDatalog::Foreign("an operator")
        );
    }

    #[test]
    fn symbols_stand_in_the_order_of_their_first_use() {
        let texts = ["one", "two"];
        let used = |order: &[usize]| {
            let mut symbols = Symbols::default();
            texts.iter().for_each(|text| symbols.define(text).unwrap());
            let terms = order.iter().map(|at| Term::text(texts[*at])).collect::<Vec<_>>();
            let datalog = Datalog { facts: vec![Predicate::new("time", terms)], checks: vec![] };
            let mut payload = symbols.head(0);
            payload.extend(datalog.body(&mut |name| symbols.find(name).unwrap()));
            datalog.is_encoded_as(&payload, 0, &symbols)
        };
        assert!(used(&[0, 1]) && used(&[0, 0, 1, 0]));
        assert!(!used(&[1, 0]) && !used(&[1, 0, 1]) && !used(&[0]));
    }
}
