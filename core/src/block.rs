//! What a block says, as a type, and its one rendering. SPEC section 3.
//!
//! Owns: [`Block`], `lower` (to payload bytes) and `lift` (back). Does not own: signatures and
//! links (`token`), who may say it (`verify`, `narrow`).
//!
//! Invariants: a payload that is not the exact rendering of a block is refused, so what is
//! enforced here and what a stock Biscuit library enforces are one statement. Every block states
//! its whole scope and its whole window; nothing is inherited by being left out.

use crate::capability::{BadScope, Scope, lift_scope, render_scope};
use crate::datalog::{BadDatalog, Binary, Check, Datalog, Op, Predicate, Query, Symbols, Term};
use crate::id::{AgentId, BadId, HelperPath, Nonce, Principal, SpiffeId};
use crate::limits;

/// The version of this profile, the value of `sublet(…)`.
const PROFILE: i64 = 1;

/// The action that an identity token is good for, and nothing else.
pub const IDENTIFY: &str = "sublet.identify";

/// What kind of block it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Block 0 of a delegation: the broker grants, on someone's behalf.
    Grant {
        /// The broker.
        issuer: SpiffeId,
        /// Whose authority this is.
        on_behalf_of: Principal,
    },
    /// Block 0 of an identity token, which has no other block.
    Identity {
        /// The broker.
        issuer: SpiffeId,
    },
    /// A later block: the holder before it delegates.
    Hop,
}

/// A half-open span of whole seconds: `not_before <= t < not_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first second inside.
    pub not_before: i64,
    /// The first second after.
    pub not_after: i64,
}

impl Window {
    /// Whether this second lies inside.
    pub fn contains(&self, second: i64) -> bool {
        self.not_before <= second && second < self.not_after
    }

    /// Whether `child` lies inside, ends included.
    pub fn covers(&self, child: &Window) -> bool {
        self.not_before <= child.not_before && child.not_after <= self.not_after
    }
}

/// What one block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its role.
    pub role: Role,
    /// The enrolled agent that holds the token from here on, or that answers for the helper.
    pub agent: AgentId,
    /// The helper of that agent that holds it, if it is not the agent itself.
    pub helper: Option<HelperPath>,
    /// Makes the hop's id unique.
    pub nonce: Nonce,
    /// When it was made, in seconds.
    pub issued_at: i64,
    /// When it is good.
    pub window: Window,
    /// How many blocks may follow block 0, counted from the root.
    pub hops_max: u32,
    /// How many hops of the token may be without a receipt.
    pub unrecorded_max: u32,
    /// What it is good for; `None` in an identity token.
    pub scope: Option<Scope>,
}

/// Why a payload is no block of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// Larger than [`limits::BLOCK_BYTES_MAX`].
    #[error("a block of {0} bytes, at most {max} are allowed", max = limits::BLOCK_BYTES_MAX)]
    TooLarge(usize),
    /// Not the Datalog of any Sublet block.
    #[error(transparent)]
    Datalog(#[from] BadDatalog),
    /// A fact or check that a block needs is not there, or one is there that it does not have.
    #[error("the block does not state its {0}")]
    Missing(&'static str),
    /// A name in it is not in normal form.
    #[error(transparent)]
    Id(#[from] BadId),
    /// Its scope check is none of ours.
    #[error(transparent)]
    Scope(#[from] BadScope),
    /// It says a thing of ours in other bytes than ours.
    #[error("the block is not the canonical rendering of what it says")]
    NotCanonical,
}

impl BadBlock {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadBlock::TooLarge(_) => "block_too_large",
            BadBlock::Datalog(_) => "block_datalog",
            BadBlock::Missing(_) => "block_incomplete",
            BadBlock::Id(_) => "block_name",
            BadBlock::Scope(_) => "block_scope",
            BadBlock::NotCanonical => "block_not_canonical",
        }
    }
}

impl Block {
    /// The payload; adds the block's symbols to `symbols`.
    pub fn lower(&self, symbols: &mut Symbols) -> Vec<u8> {
        self.render().encode(symbols)
    }

    /// Reads a payload, block 0 when `first`. Refuses whatever `lower` would not write.
    pub fn lift(payload: &[u8], first: bool, symbols: &mut Symbols) -> Result<Block, BadBlock> {
        if payload.len() > limits::BLOCK_BYTES_MAX {
            return Err(BadBlock::TooLarge(payload.len()));
        }
        let mut before = symbols.clone();
        let datalog = Datalog::decode(payload, symbols)?;
        let block = Reader { facts: &datalog.facts, checks: &datalog.checks }.block(first)?;
        // Counts the symbols too: one that is not used, or comes in another order, changes bytes.
        if block.lower(&mut before) == payload { Ok(block) } else { Err(BadBlock::NotCanonical) }
    }

    /// When the block stops being good, in seconds.
    pub fn expires(&self) -> i64 {
        self.window.not_after
    }

    /// The block as Datalog text would say it; also what a stock library reads.
    pub fn render(&self) -> Datalog {
        Datalog { facts: self.facts(), checks: self.checks() }
    }

    fn facts(&self) -> Vec<Predicate> {
        let text = |value: &str| [Term::String(value.to_owned())];
        let mut facts = Vec::new();
        match &self.role {
            Role::Grant { issuer, .. } => {
                facts.push(Predicate::new("sublet", [Term::Integer(PROFILE)]));
                facts.push(Predicate::new("issuer", text(issuer.as_str())));
            }
            Role::Identity { issuer } => {
                facts.push(Predicate::new("sublet", [Term::Integer(PROFILE)]));
                facts.push(Predicate::new("identity", [Term::Integer(1)]));
                facts.push(Predicate::new("issuer", text(issuer.as_str())));
            }
            Role::Hop => {}
        }
        facts.push(Predicate::new("agent", text(self.agent.as_str())));
        if let Some(helper) = &self.helper {
            facts.push(Predicate::new("helper", text(helper.as_str())));
        }
        if let Role::Grant { on_behalf_of, .. } = &self.role {
            facts.push(Predicate::new("on_behalf_of", text(on_behalf_of.as_str())));
        }
        facts.push(Predicate::new("nonce", [Term::Bytes(self.nonce.0.to_vec())]));
        facts.push(Predicate::new("issued_at", [date(self.issued_at)]));
        facts
    }

    fn checks(&self) -> Vec<Check> {
        let scope = match &self.scope {
            Some(scope) => render_scope(scope),
            None => {
                let identify = Predicate::new("action", [Term::String(IDENTIFY.to_owned())]);
                Check { queries: vec![Query { body: vec![identify], expressions: Vec::new() }] }
            }
        };
        let window = bounds(
            "time",
            "t",
            &[
                (Binary::GreaterOrEqual, date(self.window.not_before)),
                (Binary::LessThan, date(self.window.not_after)),
            ],
        );
        let at_most = |name, variable, limit: u32| {
            bounds(name, variable, &[(Binary::LessOrEqual, Term::Integer(i64::from(limit)))])
        };
        vec![
            window,
            at_most("hops", "n", self.hops_max),
            at_most("unrecorded", "u", self.unrecorded_max),
            scope,
        ]
    }
}

fn date(seconds: i64) -> Term {
    // Times before 1970 cannot be said; they read back as 1970 and so are not canonical.
    Term::Date(u64::try_from(seconds).unwrap_or(0))
}

/// `check if name($variable), $variable op limit, …`.
fn bounds(name: &str, variable: &str, limits: &[(Binary, Term)]) -> Check {
    let variable = || Term::Variable(variable.to_owned());
    let expressions = limits.iter().map(|(operator, limit)| {
        vec![Op::Value(variable()), Op::Value(limit.clone()), Op::Binary(*operator)]
    });
    let query = Query {
        body: vec![Predicate::new(name, [variable()])],
        expressions: expressions.collect(),
    };
    Check { queries: vec![query] }
}

/// Takes facts and checks in the order in which `lower` writes them.
struct Reader<'a> {
    facts: &'a [Predicate],
    checks: &'a [Check],
}

impl Reader<'_> {
    fn block(mut self, first: bool) -> Result<Block, BadBlock> {
        let head = if first { Some(self.head()?) } else { None };
        let agent = self.text("agent").ok_or(BadBlock::Missing("agent"))?.parse()?;
        let helper = self.text("helper").map(|text| text.parse()).transpose()?;
        let role = match head {
            None => Role::Hop,
            Some((true, issuer)) => Role::Identity { issuer },
            Some((false, issuer)) => {
                let on_behalf_of =
                    self.text("on_behalf_of").ok_or(BadBlock::Missing("on_behalf_of"))?;
                Role::Grant { issuer, on_behalf_of: on_behalf_of.parse()? }
            }
        };
        let nonce = match self.fact("nonce") {
            Some(Term::Bytes(bytes)) => bytes.as_slice().try_into().ok().map(Nonce),
            _ => None,
        };
        let issued_at = self.fact("issued_at").and_then(seconds);
        let (window, hops_max, unrecorded_max) =
            (self.window()?, self.at_most("hops")?, self.at_most("unrecorded")?);
        let scope = self.check().ok_or(BadBlock::Missing("scope"))?;
        let scope = match role {
            Role::Identity { .. } => None,
            _ => Some(lift_scope(scope)?),
        };
        if !self.facts.is_empty() || !self.checks.is_empty() {
            return Err(BadBlock::Missing("facts and checks, and no others, in their order"));
        }
        let nonce = nonce.ok_or(BadBlock::Missing("nonce"))?;
        let issued_at = issued_at.ok_or(BadBlock::Missing("issued_at"))?;
        Ok(Block { role, agent, helper, nonce, issued_at, window, hops_max, unrecorded_max, scope })
    }

    /// Whether it is an identity, and the issuer.
    fn head(&mut self) -> Result<(bool, SpiffeId), BadBlock> {
        match self.fact("sublet") {
            Some(Term::Integer(PROFILE)) => {}
            _ => return Err(BadBlock::Missing("profile version, sublet(1)")),
        }
        let identity = self.fact("identity").is_some();
        let issuer = self.text("issuer").ok_or(BadBlock::Missing("issuer"))?;
        Ok((identity, issuer.parse()?))
    }

    /// The only term of the next fact, if it has this name.
    fn fact(&mut self, name: &str) -> Option<&Term> {
        let (first, rest) = self.facts.split_first()?;
        let [term] = first.terms.as_slice() else { return None };
        if first.name != name {
            return None;
        }
        self.facts = rest;
        Some(term)
    }

    fn text(&mut self, name: &str) -> Option<&str> {
        match self.fact(name) {
            Some(Term::String(text)) => Some(text),
            _ => None,
        }
    }

    fn check(&mut self) -> Option<&Check> {
        let (first, rest) = self.checks.split_first()?;
        self.checks = rest;
        Some(first)
    }

    /// The limits of the next check, if it bounds this fact.
    fn limits(&mut self, name: &'static str) -> Result<Vec<Term>, BadBlock> {
        let missing = BadBlock::Missing(name);
        let Some([query]) = self.check().map(|check| check.queries.as_slice()) else {
            return Err(missing);
        };
        if query.body.first().is_none_or(|predicate| predicate.name != name) {
            return Err(missing);
        }
        let limit = |ops: &Vec<Op>| match ops.as_slice() {
            [_, Op::Value(limit), _] => Some(limit.clone()),
            _ => None,
        };
        query.expressions.iter().map(limit).collect::<Option<_>>().ok_or(missing)
    }

    fn window(&mut self) -> Result<Window, BadBlock> {
        match self.limits("time")?.as_slice() {
            [from, to] => match (seconds(from), seconds(to)) {
                (Some(not_before), Some(not_after)) => Ok(Window { not_before, not_after }),
                _ => Err(BadBlock::Missing("time")),
            },
            _ => Err(BadBlock::Missing("time")),
        }
    }

    fn at_most(&mut self, name: &'static str) -> Result<u32, BadBlock> {
        match self.limits(name)?.as_slice() {
            [Term::Integer(limit)] => u32::try_from(*limit).map_err(|_| BadBlock::Missing(name)),
            _ => Err(BadBlock::Missing(name)),
        }
    }
}

fn seconds(term: &Term) -> Option<i64> {
    match term {
        Term::Date(seconds) => i64::try_from(*seconds).ok(),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn grant(scope: &[&str]) -> Block {
        Block {
            role: Role::Grant {
                issuer: "spiffe://acme.example/sublet".parse().unwrap(),
                on_behalf_of: "user:alice@acme.example".parse().unwrap(),
            },
            agent: "spiffe://acme.example/agent/planner".parse().unwrap(),
            helper: None,
            nonce: Nonce([1; 16]),
            issued_at: 1_000_000,
            window: Window { not_before: 999_990, not_after: 1_000_900 },
            hops_max: 3,
            unrecorded_max: 1,
            scope: Some(Scope::from_texts(scope).unwrap()),
        }
    }

    fn hop() -> Block {
        let helper = Some("scout-1".parse().unwrap());
        Block { role: Role::Hop, helper, ..grant(&["fs.read@tool://files path=under:/data/q3"]) }
    }

    #[test]
    fn lift_is_the_inverse_of_lower() {
        let scopes = [
            "fs.@tool://files/ path=under:/data n=range:1..10",
            "db.q@mcp://db *=any x=absent y=one_of:a,read",
            "db.q@mcp://db *=any a=one_of:p,q x=absent",
        ];
        let identity = Block {
            role: Role::Identity { issuer: "spiffe://acme.example/sublet".parse().unwrap() },
            scope: None,
            ..grant(&scopes)
        };
        for block in [grant(&scopes), identity] {
            let payload = block.lower(&mut Symbols::default());
            assert_eq!(Block::lift(&payload, true, &mut Symbols::default()), Ok(block));
        }
    }

    #[test]
    fn a_hop_reads_with_the_symbols_before_it_and_no_others() {
        let mut writer = Symbols::default();
        let first = grant(&["fs.@tool://files path=under:/data"]).lower(&mut writer);
        let second = hop().lower(&mut writer);
        let mut reader = Symbols::default();
        Block::lift(&first, true, &mut reader).unwrap();
        assert_eq!(Block::lift(&second, false, &mut reader), Ok(hop()));
        assert!(Block::lift(&second, false, &mut Symbols::default()).is_err());
    }

    #[test]
    fn anything_left_out_or_added_is_refused() {
        let full = grant(&["fs.read@tool://files"]).render();
        let lift = |datalog: Datalog| {
            let payload = datalog.encode(&mut Symbols::default());
            Block::lift(&payload, true, &mut Symbols::default())
        };
        assert!(lift(full.clone()).is_ok());
        for at in 0..full.facts.len() {
            let mut less = full.clone();
            less.facts.remove(at);
            assert!(lift(less).is_err(), "without fact {at}");
        }
        for at in 0..full.checks.len() {
            let mut less = full.clone();
            less.checks.remove(at);
            assert!(lift(less).is_err(), "without check {at}");
        }
        let mut more = full.clone();
        more.facts.push(Predicate::new("action", [Term::String("fs.read".into())]));
        assert!(lift(more).is_err());
        let mut swapped = full.clone();
        swapped.checks.swap(1, 2);
        assert!(lift(swapped).is_err());
        let mut wider = full;
        wider.checks[3].queries[0].body.remove(1);
        assert!(lift(wider).is_err());
    }

    #[test]
    fn other_bytes_for_the_same_statement_are_refused() {
        use biscuit_auth::format::schema;
        use prost_biscuit::Message as _;
        let payload = grant(&["fs.read@tool://files"]).lower(&mut Symbols::default());
        let mut unused = schema::Block::decode(payload.as_slice()).unwrap();
        unused.symbols.push("unused".into());
        let lifted = Block::lift(&unused.encode_to_vec(), true, &mut Symbols::default());
        assert_eq!(lifted, Err(BadBlock::NotCanonical));
        let mut unknown_field = payload.clone();
        unknown_field.extend([0x78, 0x01]); // field 15
        assert_eq!(
            Block::lift(&unknown_field, true, &mut Symbols::default()),
            Err(BadBlock::NotCanonical)
        );
        let variables = grant(&["fs.read@tool://files"]).render();
        let mut renamed = variables.clone();
        renamed.checks[1] = bounds("hops", "m", &[(Binary::LessOrEqual, Term::Integer(3))]);
        let lifted =
            Block::lift(&renamed.encode(&mut Symbols::default()), true, &mut Symbols::default());
        assert_eq!(lifted, Err(BadBlock::NotCanonical));
    }
}
