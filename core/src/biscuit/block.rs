//! The content of a block, as a type, and its only rendering. SPEC section 3.
//!
//! Owns: [`Block`], `lower` (to payload bytes) and `lift` (back). Does not own: signatures and
//! links (`token`), who may make a block (`verify`, `narrow`).
//!
//! Invariants: a payload that is not the exact rendering of a block is refused, so Sublet and a
//! Biscuit library enforce the same statement. Every block states its whole scope and its end; a
//! missing part is never inherited. Only block 0 states when a token begins: a hop is valid from
//! its making.

use crate::base::id::{AgentId, BadId, HelperPath, Nonce, Principal, SpiffeId};
use crate::base::limits;
use crate::biscuit::datalog::{
    BadDatalog, Binary, Check, Datalog, Expression, Op, Predicate, Query, Symbols, Term,
};
use crate::biscuit::wire::split_last;
use crate::capability::{BadScope, CALL, Scope, lift_scope, render_scope};

/// The version of this profile: the value of `sublet(…)`.
const PROFILE: i64 = 1;

/// The only action of an identity token.
pub const IDENTIFY: &str = "sublet.identify";

/// The part that only block 0 has: issuer, time of issue, start, and nonce. The ids of later blocks
/// depend on its id, so two hops of one parent with the same content, key and end are the same hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The broker's SPIFFE id.
    pub issuer: SpiffeId,
    /// Random bytes that make the token's id unique.
    pub nonce: Nonce,
    /// When the token was issued, in seconds since 1970.
    pub issued_at: i64,
    /// The first second at which the token is valid, since 1970.
    pub not_before: i64,
}

/// The kind of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Block 0 of a delegation: the broker grants authority on behalf of a principal.
    Grant {
        /// Issuer, time and nonce.
        origin: Origin,
        /// The principal.
        on_behalf_of: Principal,
    },
    /// Block 0 of an identity token, which has no other block.
    Identity {
        /// Issuer, time and nonce.
        origin: Origin,
    },
    /// A later block: the holder before it delegates.
    Hop,
}

impl Role {
    /// Returns the origin of block 0; `None` for a hop.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Role::Grant { origin, .. } | Role::Identity { origin } => Some(origin),
            Role::Hop => None,
        }
    }

    fn origin_mut(&mut self) -> Option<&mut Origin> {
        match self {
            Role::Grant { origin, .. } | Role::Identity { origin } => Some(origin),
            Role::Hop => None,
        }
    }
}

/// A half-open span of whole seconds since 1970: `not_before <= t < not_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first second inside.
    pub not_before: i64,
    /// The first second after the span.
    pub not_after: i64,
}

impl Window {
    /// Returns whether a second lies inside.
    pub fn contains(&self, second: i64) -> bool {
        (self.not_before..self.not_after).contains(&second)
    }
}

/// The content of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The kind of the block.
    pub role: Role,
    /// The enrolled agent that receives the token with this block, or that is responsible for the
    /// helper.
    pub agent: AgentId,
    /// The helper of that agent that receives it; `None` when the agent itself does.
    pub helper: Option<HelperPath>,
    /// The first second at which the block is no longer valid, since 1970.
    pub not_after: i64,
    /// The greatest number of blocks after block 0.
    pub hops_max: u32,
    /// The greatest number of hops of the token that no receipt covers.
    pub offline_hops_max: u32,
    /// The capabilities; `None` in an identity token.
    pub scope: Option<Scope>,
}

/// Why a payload is not a Sublet block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// The payload is larger than [`limits::BLOCK_BYTES_MAX`].
    #[error("a block of {0} bytes, at most {max} are allowed", max = limits::BLOCK_BYTES_MAX)]
    TooLarge(usize),
    /// The Datalog is not that of any Sublet block.
    #[error(transparent)]
    Datalog(#[from] BadDatalog),
    /// A fact or check is missing, or there is a further one.
    #[error("the block does not state its {0}")]
    Missing(&'static str),
    /// A name is not in normal form.
    #[error(transparent)]
    Id(#[from] BadId),
    /// The scope check is not that of a Sublet block.
    #[error(transparent)]
    Scope(#[from] BadScope),
    /// The block allows more hops than a token may have. A Biscuit library would refuse every call
    /// under it, because no call has a fact for that number.
    #[error("the block states {what}({limit}), at most {max} may be stated", max = limits::HOPS_MAX)]
    Limit {
        /// `hops` or `unrecorded`.
        what: &'static str,
        /// The stated number.
        limit: u32,
    },
    /// The bytes are not the canonical rendering of their content.
    #[error("the block is not the canonical rendering of what it says")]
    NotCanonical,
}

impl BadBlock {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadBlock::TooLarge(_) => "block_too_large",
            BadBlock::Datalog(_) => "block_datalog",
            BadBlock::Missing(_) => "block_incomplete",
            BadBlock::Id(_) => "block_name",
            BadBlock::Scope(_) => "block_scope",
            BadBlock::Limit { .. } => "block_limit",
            BadBlock::NotCanonical => "block_not_canonical",
        }
    }
}

impl Block {
    /// Returns the payload, and adds the block's symbols to `symbols`.
    pub fn lower<'a>(&'a self, symbols: &mut Symbols<'a>) -> Vec<u8> {
        self.render().encode(symbols)
    }

    /// Decodes a payload, of block 0 if `first` is set. Everything that `lower` would not write is
    /// refused.
    pub fn lift<'a>(
        payload: &'a [u8],
        first: bool,
        symbols: &mut Symbols<'a>,
    ) -> Result<Block, BadBlock> {
        if payload.len() > limits::BLOCK_BYTES_MAX {
            return Err(BadBlock::TooLarge(payload.len()));
        }
        let known = symbols.count();
        let datalog = Datalog::decode(payload, symbols)?;
        let mut reader = Reader { facts: &datalog.facts, checks: &datalog.checks };
        let block = reader.block(first)?;
        reader.end()?;
        // This compares the symbols too: an unused symbol, or another order, is refused.
        if block.render().is_encoded_as(payload, known, symbols) {
            Ok(block)
        } else {
            Err(BadBlock::NotCanonical)
        }
    }

    /// Decodes the payload of a block after another one. If the scope has the same bytes as in the
    /// block before, it is the same scope, because symbols never change once they are defined; it
    /// is not decoded again.
    pub(crate) fn lift_behind<'a>(
        payload: &'a [u8],
        before: (&[u8], &Block),
        symbols: &mut Symbols<'a>,
    ) -> Result<Block, BadBlock> {
        let Some((head, scope)) = same_scope(payload, before) else {
            return Block::lift(payload, false, symbols);
        };
        if payload.len() > limits::BLOCK_BYTES_MAX {
            return Err(BadBlock::TooLarge(payload.len()));
        }
        let known = symbols.count();
        let datalog = Datalog::decode(head, symbols)?;
        let mut reader = Reader { facts: &datalog.facts, checks: &datalog.checks };
        let mut block = reader.block_but_scope(false)?;
        reader.end()?;
        let but_scope = |block: &Block| {
            let rendered = Datalog { facts: block.facts(), checks: vec![block.limits()] };
            rendered.is_encoded_as(head, known, symbols)
        };
        let canonical = but_scope(&block);
        // `use:delegates` is rendered with the agent of its block.
        if !canonical || (scope.names_its_holder() && block.agent != before.1.agent) {
            return Err(BadBlock::NotCanonical);
        }
        block.scope = Some(scope);
        Ok(block)
    }

    /// Refuses more hops or unrecorded hops than [`limits::HOPS_MAX`], in every block alike (SPEC
    /// 3.2.4).
    pub fn check_limits(&self) -> Result<(), BadBlock> {
        for (what, limit) in [("hops", self.hops_max), ("unrecorded", self.offline_hops_max)] {
            if limit > limits::HOPS_MAX {
                return Err(BadBlock::Limit { what, limit });
            }
        }
        Ok(())
    }

    /// Returns whether the block is valid at this second, since 1970.
    pub fn is_good_at(&self, second: i64) -> bool {
        let begun = self.role.origin().is_none_or(|origin| origin.not_before <= second);
        begun && second < self.not_after
    }

    /// Returns the block as Datalog, as a Biscuit library reads it.
    pub fn render(&self) -> Datalog<'_> {
        Datalog { facts: self.facts(), checks: self.checks() }
    }

    fn facts(&self) -> Vec<Predicate<'_>> {
        let mut facts = Vec::with_capacity(7);
        let (directory, name) = self.agent.split();
        let agent = Predicate::new("agent", [Term::text(directory), Term::text(name)]);
        let helper = self.helper.as_ref().map(|h| Predicate::new("helper", [text(h.as_str())]));
        let Some(origin) = self.role.origin() else {
            facts.push(agent);
            facts.extend(helper);
            return facts;
        };
        facts.push(Predicate::new("sublet", [Term::Integer(PROFILE)]));
        if let Role::Identity { .. } = self.role {
            facts.push(Predicate::new("identity", [Term::Integer(1)]));
        }
        facts.push(Predicate::new("issuer", [text(origin.issuer.as_str())]));
        facts.push(agent);
        facts.extend(helper);
        if let Role::Grant { on_behalf_of, .. } = &self.role {
            facts.push(Predicate::new("on_behalf_of", [text(on_behalf_of.as_str())]));
        }
        facts.push(Predicate::new("nonce", [Term::Bytes(&origin.nonce.0)]));
        facts.push(Predicate::new("issued_at", [date(origin.issued_at)]));
        facts
    }

    fn checks(&self) -> Vec<Check<'_>> {
        let scope = match &self.scope {
            Some(scope) => render_scope(scope, self.agent.split()),
            None => {
                let identify = Predicate::new(
                    CALL,
                    [Term::variable("audience"), text(IDENTIFY), Term::Integer(0)],
                );
                Check { queries: vec![Query { body: vec![identify], expressions: Vec::new() }] }
            }
        };
        vec![self.limits(), scope]
    }

    /// Returns `check if time($time), hops(4), unrecorded(0), $time >= …, $time < …`; the `>=` only
    /// in block 0.
    fn limits(&self) -> Check<'_> {
        let time = || Term::variable("time");
        let bound = |operator, seconds| -> Expression<'_> {
            [Op::Value(time()), Op::Value(date(seconds)), Op::Binary(operator)].into()
        };
        let begins = self.role.origin().map(|o| bound(Binary::GreaterOrEqual, o.not_before));
        let ends = bound(Binary::LessThan, self.not_after);
        let at_most = |name, limit: u32| Predicate::new(name, [Term::Integer(i64::from(limit))]);
        let query = Query {
            body: vec![
                Predicate::new("time", [time()]),
                at_most("hops", self.hops_max),
                at_most("unrecorded", self.offline_hops_max),
            ],
            expressions: begins.into_iter().chain([ends]).collect(),
        };
        Check { queries: vec![query] }
    }
}

fn text(value: &str) -> Term<'_> {
    Term::text(value)
}

fn date(seconds: i64) -> Term<'static> {
    // An earlier time than 1970 has no encoding. It reads back as 1970 and is so refused as not
    // canonical.
    Term::Date(u64::try_from(seconds).unwrap_or(0))
}

/// Returns the payload without its scope, and that scope, if it has the same bytes as in the block
/// before.
fn same_scope<'a>(payload: &'a [u8], before: (&[u8], &Block)) -> Option<(&'a [u8], Scope)> {
    let (head, check) = split_last(payload)?;
    let (_, check_before) = split_last(before.0)?;
    let scope = before.1.scope.as_ref().filter(|_| check == check_before)?;
    Some((head, scope.clone()))
}

/// Reads facts and checks in the order in which `lower` writes them.
struct Reader<'r, 'a> {
    facts: &'r [Predicate<'a>],
    checks: &'r [Check<'a>],
}

impl<'r, 'a> Reader<'r, 'a> {
    fn block(&mut self, first: bool) -> Result<Block, BadBlock> {
        let mut block = self.block_but_scope(first)?;
        let scope = self.check().ok_or(BadBlock::Missing("scope"))?;
        if !matches!(block.role, Role::Identity { .. }) {
            block.scope = Some(lift_scope(scope)?);
        }
        Ok(block)
    }

    fn block_but_scope(&mut self, first: bool) -> Result<Block, BadBlock> {
        let head = if first { Some(self.head()?) } else { None };
        let agent = self.agent()?;
        let helper = self.text("helper").map(|text| text.parse()).transpose()?;
        let mut role = match head {
            None => Role::Hop,
            Some((true, issuer)) => Role::Identity { origin: self.origin(issuer)? },
            Some((false, issuer)) => {
                let principal = self.text("on_behalf_of").map(|text| text.parse());
                let on_behalf_of = principal.ok_or(BadBlock::Missing("on_behalf_of"))??;
                Role::Grant { origin: self.origin(issuer)?, on_behalf_of }
            }
        };
        let (not_after, hops_max, offline_hops_max) = self.limits(&mut role)?;
        let block =
            Block { role, agent, helper, not_after, hops_max, offline_hops_max, scope: None };
        block.check_limits()?;
        Ok(block)
    }

    /// Refuses further facts and checks.
    fn end(&self) -> Result<(), BadBlock> {
        if self.facts.is_empty() && self.checks.is_empty() {
            Ok(())
        } else {
            Err(BadBlock::Missing("facts and checks, and no others, in their order"))
        }
    }

    /// Reads whether it is an identity, and the issuer.
    fn head(&mut self) -> Result<(bool, SpiffeId), BadBlock> {
        match self.fact("sublet") {
            Some([Term::Integer(PROFILE)]) => {}
            _ => return Err(BadBlock::Missing("profile version, sublet(1)")),
        }
        let identity = self.fact("identity").is_some();
        let issuer = self.text("issuer").ok_or(BadBlock::Missing("issuer"))?;
        Ok((identity, issuer.parse()?))
    }

    fn agent(&mut self) -> Result<AgentId, BadBlock> {
        match self.fact("agent") {
            Some([Term::String(directory), Term::String(name)]) => {
                Ok(format!("{directory}{name}").parse()?)
            }
            _ => Err(BadBlock::Missing("agent")),
        }
    }

    fn origin(&mut self, issuer: SpiffeId) -> Result<Origin, BadBlock> {
        let nonce = match self.fact("nonce") {
            Some([Term::Bytes(bytes)]) => (*bytes).try_into().ok().map(Nonce),
            _ => None,
        };
        let issued_at = match self.fact("issued_at") {
            Some([seconds]) => self::seconds(seconds),
            _ => None,
        };
        let nonce = nonce.ok_or(BadBlock::Missing("nonce"))?;
        let issued_at = issued_at.ok_or(BadBlock::Missing("issued_at"))?;
        // The limits check, which comes later, states it.
        let not_before = 0;
        Ok(Origin { issuer, nonce, issued_at, not_before })
    }

    /// Returns the terms of the next fact if it has this name.
    fn fact(&mut self, name: &str) -> Option<&'r [Term<'a>]> {
        let (first, rest) = self.facts.split_first()?;
        if first.name != name {
            return None;
        }
        self.facts = rest;
        Some(&first.terms)
    }

    fn text(&mut self, name: &str) -> Option<&'r str> {
        match self.fact(name) {
            Some([term]) => term.as_text(),
            _ => None,
        }
    }

    fn check(&mut self) -> Option<&'r Check<'a>> {
        let (first, rest) = self.checks.split_first()?;
        self.checks = rest;
        Some(first)
    }

    /// Reads the first check: end, hops and unrecorded hops, and in block 0 the start.
    fn limits(&mut self, role: &mut Role) -> Result<(i64, u32, u32), BadBlock> {
        let missing = BadBlock::Missing("limits: time, hops and unrecorded");
        let Some([query]) = self.check().map(|check| check.queries.as_slice()) else {
            return Err(missing);
        };
        let ([time, hops, unrecorded], [begins @ .., ends]) =
            (query.body.as_slice(), query.expressions.as_slice())
        else {
            return Err(missing);
        };
        if time.name != "time" || hops.name != "hops" || unrecorded.name != "unrecorded" {
            return Err(missing);
        }
        let count = |predicate: &Predicate<'_>| match predicate.terms.as_slice() {
            [Term::Integer(limit)] => u32::try_from(*limit).ok(),
            _ => None,
        };
        let bound = |expression: &Expression<'_>| match expression.as_slice() {
            [_, Op::Value(limit), _] => seconds(limit),
            _ => None,
        };
        match (role.origin_mut(), begins) {
            (Some(origin), [begins]) => {
                origin.not_before = bound(begins).ok_or(missing.clone())?;
            }
            (None, []) => {}
            _ => return Err(missing),
        }
        match (bound(ends), count(hops), count(unrecorded)) {
            (Some(not_after), Some(hops), Some(unrecorded)) => Ok((not_after, hops, unrecorded)),
            _ => Err(missing),
        }
    }
}

fn seconds(term: &Term<'_>) -> Option<i64> {
    match term {
        Term::Date(seconds) => i64::try_from(*seconds).ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
pub(crate) mod tests;
