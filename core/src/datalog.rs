//! The part of Biscuit Datalog that a Sublet block may hold, and its one encoding. SPEC section 3.
//!
//! Owns: facts, and checks made of queries over predicates and expressions; their protobuf bytes
//! with Biscuit's symbol tables. Does not own: what they mean (`block`, `capability`).
//!
//! Invariants: `encode` writes the symbols of a block in order of first use, never twice, never a
//! default one; `decode` refuses rules, scopes, public keys, contexts, heads other than `query()`,
//! closures, foreign functions and every term that no Sublet block has. Untrusted Datalog is read
//! here and never evaluated.

use std::collections::{BTreeSet, HashMap};

use biscuit_auth::format::schema;
use prost_biscuit::Message as _;

use schema::op::Content as OpContent;
use schema::term::Content as TermContent;

/// Biscuit Datalog v3.3, the only version in a Sublet block.
pub const VERSION: u32 = 6;

/// Biscuit's default symbols, which no block may define again (Biscuit specification, "Symbol
/// table").
const DEFAULT_SYMBOLS: [&str; 28] = [
    "read",
    "write",
    "resource",
    "operation",
    "right",
    "time",
    "role",
    "owner",
    "tenant",
    "namespace",
    "user",
    "team",
    "service",
    "admin",
    "email",
    "group",
    "member",
    "ip_address",
    "client",
    "client_ip",
    "domain",
    "path",
    "version",
    "cluster",
    "node",
    "hostname",
    "nonce",
    "query",
];

/// The first index of symbols that blocks define.
const FIRST_OWN_SYMBOL: u64 = 1024;

/// The index of `query`, the head of every check.
const QUERY: u64 = 27;

/// A term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// `$name`
    Variable(String),
    /// An integer.
    Integer(i64),
    /// A string.
    String(String),
    /// Seconds since the epoch.
    Date(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A boolean.
    Bool(bool),
    /// A set, written in the order of its terms.
    Set(BTreeSet<Term>),
}

/// `name(term, …)`: a fact when it has no variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// Its name.
    pub name: String,
    /// Its terms.
    pub terms: Vec<Term>,
}

impl Predicate {
    /// A predicate of this name and terms.
    pub fn new(name: &str, terms: impl Into<Vec<Term>>) -> Self {
        Predicate { name: name.to_owned(), terms: terms.into() }
    }
}

/// The operators that Sublet renders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `<`
    LessThan,
    /// `<=`
    LessOrEqual,
    /// `>=`
    GreaterOrEqual,
    /// `===`
    Equal,
    /// `set.contains(term or set)`
    Contains,
    /// `text.starts_with(text)`
    Prefix,
    /// `||`, both sides evaluated
    Or,
}

const BINARIES: [(Binary, schema::op_binary::Kind); 7] = [
    (Binary::LessThan, schema::op_binary::Kind::LessThan),
    (Binary::LessOrEqual, schema::op_binary::Kind::LessOrEqual),
    (Binary::GreaterOrEqual, schema::op_binary::Kind::GreaterOrEqual),
    (Binary::Equal, schema::op_binary::Kind::Equal),
    (Binary::Contains, schema::op_binary::Kind::Contains),
    (Binary::Prefix, schema::op_binary::Kind::Prefix),
    (Binary::Or, schema::op_binary::Kind::Or),
];

/// One step of an expression in reverse Polish order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Push a term.
    Value(Term),
    /// Negate a boolean.
    Negate,
    /// Combine two.
    Binary(Binary),
}

/// One alternative of a check: all predicates match and all expressions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The predicates.
    pub body: Vec<Predicate>,
    /// The expressions.
    pub expressions: Vec<Vec<Op>>,
}

/// `check if query or query …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The alternatives.
    pub queries: Vec<Query>,
}

/// What one block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datalog {
    /// Its facts.
    pub facts: Vec<Predicate>,
    /// Its checks.
    pub checks: Vec<Check>,
}

/// Why bytes are no block of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatalog {
    /// Not Biscuit's protobuf.
    #[error("the block is not Biscuit protobuf")]
    NotProtobuf,
    /// Another Datalog version.
    #[error("the block is not Datalog version {VERSION}")]
    Version,
    /// Something that no Sublet block has: a rule, a scope, a context, an operator…
    #[error("the block holds {0}, which no Sublet block has")]
    Foreign(&'static str),
    /// A symbol index that the tables up to this block do not define, or a symbol defined twice.
    #[error("the block's symbol table is wrong")]
    Symbol,
}

/// The symbols defined by the blocks up to here.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    names: Vec<String>,
    indices: HashMap<String, u64>,
}

impl Symbols {
    fn define(&mut self, name: &str) -> Result<(), BadDatalog> {
        if DEFAULT_SYMBOLS.contains(&name) || self.indices.contains_key(name) {
            return Err(BadDatalog::Symbol);
        }
        self.push(name);
        Ok(())
    }

    fn push(&mut self, name: &str) -> u64 {
        let index = FIRST_OWN_SYMBOL + self.names.len() as u64;
        self.names.push(name.to_owned());
        self.indices.insert(name.to_owned(), index);
        index
    }

    fn intern(&mut self, name: &str) -> u64 {
        if let Some(index) = DEFAULT_SYMBOLS.iter().position(|s| *s == name) {
            return index as u64;
        }
        match self.indices.get(name) {
            Some(index) => *index,
            None => self.push(name),
        }
    }

    fn name(&self, index: u64) -> Result<String, BadDatalog> {
        let own = index.checked_sub(FIRST_OWN_SYMBOL);
        let name = match own.and_then(|i| usize::try_from(i).ok()) {
            Some(i) => self.names.get(i).map(String::as_str),
            None => usize::try_from(index).ok().and_then(|i| DEFAULT_SYMBOLS.get(i)).copied(),
        };
        name.map(str::to_owned).ok_or(BadDatalog::Symbol)
    }
}

impl Datalog {
    /// The block's payload; adds its symbols to `symbols`.
    pub fn encode(&self, symbols: &mut Symbols) -> Vec<u8> {
        let known = symbols.names.len();
        let facts = self.facts.iter();
        let facts =
            facts.map(|f| schema::Fact { predicate: encode_predicate(f, symbols) }).collect();
        let checks = self.checks.iter().map(|c| encode_check(c, symbols)).collect();
        let block = schema::Block {
            symbols: symbols.names.iter().skip(known).cloned().collect(),
            context: None,
            version: Some(VERSION),
            facts,
            rules: Vec::new(),
            checks,
            scope: Vec::new(),
            public_keys: Vec::new(),
        };
        block.encode_to_vec()
    }

    /// Reads a payload; adds its symbols to `symbols`. That the bytes are canonical is shown by
    /// encoding what they mean again, which the caller does.
    pub fn decode(payload: &[u8], symbols: &mut Symbols) -> Result<Self, BadDatalog> {
        let block = schema::Block::decode(payload).map_err(|_| BadDatalog::NotProtobuf)?;
        if block.version != Some(VERSION) {
            return Err(BadDatalog::Version);
        }
        refuse(block.context.is_some(), "a context")?;
        refuse(!block.rules.is_empty(), "a rule")?;
        refuse(!block.scope.is_empty(), "a scope")?;
        refuse(!block.public_keys.is_empty(), "a public key table")?;
        for symbol in &block.symbols {
            symbols.define(symbol)?;
        }
        let facts = block.facts.iter().map(|f| decode_predicate(&f.predicate, symbols));
        let checks = block.checks.iter().map(|c| decode_check(c, symbols));
        Ok(Datalog {
            facts: facts.collect::<Result<_, _>>()?,
            checks: checks.collect::<Result<_, _>>()?,
        })
    }
}

fn refuse(found: bool, what: &'static str) -> Result<(), BadDatalog> {
    if found { Err(BadDatalog::Foreign(what)) } else { Ok(()) }
}

fn encode_check(check: &Check, symbols: &mut Symbols) -> schema::Check {
    let queries = check.queries.iter().map(|query| schema::Rule {
        head: schema::Predicate { name: QUERY, terms: Vec::new() },
        body: query.body.iter().map(|p| encode_predicate(p, symbols)).collect(),
        expressions: query.expressions.iter().map(|e| encode_expression(e, symbols)).collect(),
        scope: Vec::new(),
    });
    schema::Check { queries: queries.collect(), kind: None }
}

fn decode_check(check: &schema::Check, symbols: &Symbols) -> Result<Check, BadDatalog> {
    refuse(check.kind.is_some(), "a check of another kind")?;
    let query = |rule: &schema::Rule| {
        refuse(
            rule.head.name != QUERY || !rule.head.terms.is_empty(),
            "a check head other than query()",
        )?;
        refuse(!rule.scope.is_empty(), "a query scope")?;
        let body = rule.body.iter().map(|p| decode_predicate(p, symbols));
        let expressions = rule.expressions.iter().map(|e| decode_expression(e, symbols));
        Ok(Query {
            body: body.collect::<Result<_, _>>()?,
            expressions: expressions.collect::<Result<_, _>>()?,
        })
    };
    Ok(Check { queries: check.queries.iter().map(query).collect::<Result<_, _>>()? })
}

fn encode_predicate(predicate: &Predicate, symbols: &mut Symbols) -> schema::Predicate {
    schema::Predicate {
        name: symbols.intern(&predicate.name),
        terms: predicate.terms.iter().map(|t| encode_term(t, symbols)).collect(),
    }
}

fn decode_predicate(
    predicate: &schema::Predicate,
    symbols: &Symbols,
) -> Result<Predicate, BadDatalog> {
    let terms =
        predicate.terms.iter().map(|t| decode_term(t, symbols)).collect::<Result<_, _>>()?;
    Ok(Predicate { name: symbols.name(predicate.name)?, terms })
}

fn encode_term(term: &Term, symbols: &mut Symbols) -> schema::Term {
    let content = match term {
        // A token has at most 64 KiB of symbols, so an index fits; were it not to, the block
        // would not read back as itself and be refused.
        Term::Variable(name) => {
            TermContent::Variable(u32::try_from(symbols.intern(name)).unwrap_or(u32::MAX))
        }
        Term::Integer(value) => TermContent::Integer(*value),
        Term::String(value) => TermContent::String(symbols.intern(value)),
        Term::Date(seconds) => TermContent::Date(*seconds),
        Term::Bytes(value) => TermContent::Bytes(value.clone()),
        Term::Bool(value) => TermContent::Bool(*value),
        Term::Set(terms) => TermContent::Set(schema::TermSet {
            set: terms.iter().map(|t| encode_term(t, symbols)).collect(),
        }),
    };
    schema::Term { content: Some(content) }
}

fn decode_term(term: &schema::Term, symbols: &Symbols) -> Result<Term, BadDatalog> {
    Ok(match term.content.as_ref().ok_or(BadDatalog::NotProtobuf)? {
        TermContent::Variable(index) => Term::Variable(symbols.name(u64::from(*index))?),
        TermContent::Integer(value) => Term::Integer(*value),
        TermContent::String(index) => Term::String(symbols.name(*index)?),
        TermContent::Date(seconds) => Term::Date(*seconds),
        TermContent::Bytes(value) => Term::Bytes(value.clone()),
        TermContent::Bool(value) => Term::Bool(*value),
        TermContent::Set(set) => {
            let nested = |t: &schema::Term| {
                matches!(t.content, Some(TermContent::Set(_) | TermContent::Variable(_)))
            };
            refuse(set.set.iter().any(nested), "a set of sets")?;
            Term::Set(set.set.iter().map(|t| decode_term(t, symbols)).collect::<Result<_, _>>()?)
        }
        _ => return Err(BadDatalog::Foreign("a null, array or map")),
    })
}

fn encode_expression(ops: &[Op], symbols: &mut Symbols) -> schema::Expression {
    let op = |op: &Op| {
        let content = match op {
            Op::Value(term) => OpContent::Value(encode_term(term, symbols)),
            Op::Negate => OpContent::Unary(schema::OpUnary {
                kind: schema::op_unary::Kind::Negate as i32,
                ffi_name: None,
            }),
            Op::Binary(binary) => {
                OpContent::Binary(schema::OpBinary { kind: binary.number(), ffi_name: None })
            }
        };
        schema::Op { content: Some(content) }
    };
    schema::Expression { ops: ops.iter().map(op).collect() }
}

impl Binary {
    fn number(self) -> i32 {
        let kind = BINARIES.iter().find(|(own, _)| *own == self).map(|(_, kind)| *kind);
        // Every variant has a row in BINARIES; the fallback is an operator that decode refuses.
        kind.unwrap_or(schema::op_binary::Kind::Ffi) as i32
    }
}

fn decode_expression(
    expression: &schema::Expression,
    symbols: &Symbols,
) -> Result<Vec<Op>, BadDatalog> {
    let op = |op: &schema::Op| match op.content.as_ref().ok_or(BadDatalog::NotProtobuf)? {
        OpContent::Value(term) => Ok(Op::Value(decode_term(term, symbols)?)),
        OpContent::Unary(u)
            if u.kind == schema::op_unary::Kind::Negate as i32 && u.ffi_name.is_none() =>
        {
            Ok(Op::Negate)
        }
        OpContent::Binary(b) if b.ffi_name.is_none() => {
            let known = BINARIES.iter().find(|(_, kind)| *kind as i32 == b.kind);
            known.map(|(own, _)| Op::Binary(*own)).ok_or(BadDatalog::Foreign("an operator"))
        }
        _ => Err(BadDatalog::Foreign("an operator")),
    };
    expression.ops.iter().map(op).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Datalog {
        let set: BTreeSet<Term> = ["b", "a", "read"].map(|s| Term::String(s.into())).into();
        let query = Query {
            body: vec![Predicate::new(
                "arg_str",
                [Term::String("k".into()), Term::Variable("v".into())],
            )],
            expressions: vec![vec![
                Op::Value(Term::Set(set)),
                Op::Value(Term::Variable("v".into())),
                Op::Binary(Binary::Contains),
            ]],
        };
        Datalog {
            facts: vec![Predicate::new("sublet", [Term::Integer(1)])],
            checks: vec![Check { queries: vec![query] }],
        }
    }

    #[test]
    fn round_trips_and_shares_symbols_with_later_blocks() {
        let mut writer = Symbols::default();
        let first = sample().encode(&mut writer);
        let second = sample().encode(&mut writer);
        assert!(second.len() < first.len(), "the second block defines no symbol again");
        let mut reader = Symbols::default();
        assert_eq!(Datalog::decode(&first, &mut reader), Ok(sample()));
        assert_eq!(Datalog::decode(&second, &mut reader), Ok(sample()));
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
}
