//! Blocks: what is written is read as the same, and anything else is refused.

use super::*;

pub(crate) fn origin(nonce: u8) -> Origin {
    let issuer = "spiffe://acme.example/sublet".parse().unwrap();
    Origin { issuer, nonce: Nonce([nonce; 16]), issued_at: 1_000_000, not_before: 999_990 }
}

pub(crate) fn grant(scope: &[&str]) -> Block {
    Block {
        role: Role::Grant {
            origin: origin(1),
            on_behalf_of: "user:alice@acme.example".parse().unwrap(),
        },
        agent: "spiffe://acme.example/agent/planner".parse().unwrap(),
        helper: None,
        not_after: 1_000_900,
        hops_max: 3,
        offline_hops_max: 1,
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
    let identity =
        Block { role: Role::Identity { origin: origin(1) }, scope: None, ..grant(&scopes) };
    for block in [grant(&scopes), identity] {
        let payload = block.lower(&mut Symbols::default());
        assert_eq!(Block::lift(&payload, true, &mut Symbols::default()), Ok(block));
    }
}

#[test]
fn a_hop_reads_with_the_symbols_before_it_and_no_others() {
    let mut writer = Symbols::default();
    let (root, child) = (grant(&["fs.@tool://files path=under:/data"]), hop());
    let first = root.lower(&mut writer);
    let second = child.lower(&mut writer);
    let mut reader = Symbols::default();
    Block::lift(&first, true, &mut reader).unwrap();
    assert_eq!(Block::lift(&second, false, &mut reader), Ok(hop()));
    assert!(Block::lift(&second, false, &mut Symbols::default()).is_err());
}

/// A block that is decoded after another one equals the block that is decoded alone.
fn behind(root: &Block, child: &Block) -> Result<Block, BadBlock> {
    let mut writer = Symbols::default();
    let (first, second) = (root.lower(&mut writer), child.lower(&mut writer));
    read_behind(root, &first, &second)
}

fn read_behind(root: &Block, first: &[u8], second: &[u8]) -> Result<Block, BadBlock> {
    let mut reader = Symbols::default();
    Block::lift(first, true, &mut reader).unwrap();
    let alone = Block::lift(second, false, &mut reader.clone());
    let read = Block::lift_behind(second, (first, root), &mut reader);
    assert_eq!(read.is_ok(), alone.is_ok());
    assert!(read.is_err() || read == alone);
    read
}

#[test]
fn the_scope_of_the_block_before_is_not_read_again() {
    let root = grant(&["fs.@tool://files path=under:/data", "db.q@mcp://db *=any hops:3"]);
    let same = Block { role: Role::Hop, hops_max: 2, ..root.clone() };
    assert_eq!(behind(&root, &same), Ok(same));
    assert_eq!(behind(&root, &hop()), Ok(hop()));
    let agent = "spiffe://acme.example/agent/writer".parse().unwrap();
    let other = Block { role: Role::Hop, agent, ..root.clone() };
    assert_eq!(behind(&root, &other), Ok(other));
}

#[test]
fn a_scope_that_names_its_holder_is_not_taken_for_anothers() {
    let root = grant(&["fs.@tool://files path=under:/data use:delegates"]);
    let same = Block { role: Role::Hop, ..root.clone() };
    assert_eq!(behind(&root, &same), Ok(same.clone()));
    let agent = "spiffe://acme.example/agent/writer".parse().unwrap();
    let other = Block { agent, ..same };
    assert_eq!(behind(&root, &other), Ok(other.clone()));
    // The other's block, with the planner in its check: for delegates of the planner.
    let mut writer = Symbols::default();
    let first = root.lower(&mut writer);
    let mut datalog = other.render();
    let planners = root.render();
    datalog.checks.truncate(1);
    datalog.checks.extend(planners.checks.into_iter().skip(1));
    let second = datalog.encode(&mut writer);
    assert_eq!(read_behind(&root, &first, &second), Err(BadBlock::NotCanonical));
}

#[test]
fn what_stands_before_a_known_scope_is_read_as_strictly() {
    let root = grant(&["fs.@tool://files path=under:/data"]);
    let same = Block { role: Role::Hop, ..root.clone() };
    let mut writer = Symbols::default();
    let first = root.lower(&mut writer);
    let rendered = same.render();
    let changed = |change: &dyn Fn(&mut Datalog)| {
        let mut datalog = rendered.clone();
        change(&mut datalog);
        let second = datalog.encode(&mut writer.clone());
        read_behind(&root, &first, &second).is_ok()
    };
    assert!(changed(&|_| {}));
    assert!(!changed(&|datalog| datalog.facts.clear()));
    assert!(!changed(&|datalog| drop(datalog.checks.remove(0))));
    assert!(!changed(&|datalog| datalog.checks.swap(0, 1)));
    assert!(!changed(&|datalog| datalog.checks.insert(1, datalog.checks[1].clone())));
    assert!(!changed(&|datalog| datalog.facts.push(datalog.facts[0].clone())));
    let payload = same.lower(&mut writer.clone());
    let unused = [&[0x0a, 1, b'u'], payload.as_slice()].concat();
    assert!(read_behind(&root, &first, &unused).is_err());
}

#[test]
fn anything_left_out_or_added_is_refused() {
    let block = grant(&["fs.read@tool://files"]);
    let full = block.render();
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
    swapped.checks.swap(0, 1);
    assert!(lift(swapped).is_err());
    let mut wider = full;
    wider.checks[1].queries[0].body.remove(0);
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
    let block = grant(&["fs.read@tool://files"]);
    let variables = block.render();
    let mut renamed = variables.clone();
    for expression in &mut renamed.checks[0].queries[0].expressions {
        expression[0] = Op::Value(Term::variable("t"));
    }
    renamed.checks[0].queries[0].body[0] = Predicate::new("time", [Term::variable("t")]);
    let lifted =
        Block::lift(&renamed.encode(&mut Symbols::default()), true, &mut Symbols::default());
    assert_eq!(lifted, Err(BadBlock::NotCanonical));
}

#[test]
fn a_window_holds_its_first_second_and_not_its_end() {
    let window = Window { not_before: 10, not_after: 12 };
    let held: Vec<i64> = (8..14).filter(|second| window.contains(*second)).collect();
    assert_eq!(held, [10, 11]);
}

/// Returns a grant whose payload has exactly this many bytes.
pub(crate) fn of_bytes(bytes: usize) -> Block {
    let sized = |letters: usize| {
        let text = |letter: &str, n: usize| letter.repeat(n);
        let args = format!(
            "a=exactly:{} b=exactly:{} c=exactly:{}",
            text("x", 1000),
            text("y", 1000),
            text("z", letters)
        );
        grant(&[&format!("fs.read@tool://files {args}")])
    };
    let length = |block: &Block| block.lower(&mut Symbols::default()).len();
    let block = sized(500 + bytes - length(&sized(500)));
    assert_eq!(length(&block), bytes);
    block
}

#[test]
fn a_block_may_be_as_large_as_its_bound_and_no_larger() {
    let max = limits::BLOCK_BYTES_MAX;
    let lift = |block: &Block| {
        let payload = block.lower(&mut Symbols::default());
        Block::lift(&payload, true, &mut Symbols::default())
    };
    assert_eq!(lift(&of_bytes(max)), Ok(of_bytes(max)));
    assert_eq!(lift(&of_bytes(max + 1)), Err(BadBlock::TooLarge(max + 1)));
}

#[test]
fn a_block_whose_scope_is_known_has_the_same_bound() {
    let max = limits::BLOCK_BYTES_MAX;
    let numbers: Vec<String> = (0..128).map(|at| (1_000_000_000 + at).to_string()).collect();
    let (all, some) = (numbers.join(","), numbers[..40].join(","));
    let root =
        grant(&[&format!("fs.read@tool://files a=one_of:{all} b=one_of:{all} c=one_of:{some}")]);
    // The strings of the scope stand in the block before; a long helper takes their place.
    let sized = |letters: usize| {
        let path = (1..=letters).map(|at| if at % 60 == 0 { '/' } else { 'h' });
        let helper = Some(path.collect::<String>().parse().unwrap());
        let hop = Block { role: Role::Hop, helper, ..root.clone() };
        let mut writer = Symbols::default();
        (root.lower(&mut writer), hop.lower(&mut writer))
    };
    let letters = 270 + max - sized(270).1.len();
    let (first, second) = sized(letters);
    assert_eq!(second.len(), max);
    assert!(read_behind(&root, &first, &second).is_ok());
    let (first, second) = sized(letters + 1);
    assert_eq!(read_behind(&root, &first, &second), Err(BadBlock::TooLarge(max + 1)));
}

#[test]
fn the_limits_are_named_as_limits() {
    let block = grant(&["fs.read@tool://files"]);
    let full = block.render();
    for at in 0..3 {
        let mut renamed = full.clone();
        renamed.checks[0].queries[0].body[at].name = "depth".into();
        let payload = renamed.encode(&mut Symbols::default());
        let lifted = Block::lift(&payload, true, &mut Symbols::default());
        assert!(matches!(lifted, Err(BadBlock::Missing(_))), "{at}: {lifted:?}");
    }
}
