//! Tenuo 0.3.5: a chain of warrants, each attenuated by its holder, with proof of possession.

use std::collections::HashMap;
use std::time::Duration;

use tenuo::wire::{decode_stack, encode_stack};
use tenuo::{
    Authorizer, Constraint, ConstraintSet, ConstraintValue, OneOf, Range, Signature, SigningKey,
    Subpath, Warrant,
};

/// A chain as it is presented, with a proof for one call.
pub(crate) struct Presented {
    /// The chain in CBOR.
    pub(crate) bytes: Vec<u8>,
    signature: Signature,
}

/// Issues, attenuates and verifies.
pub(crate) struct Peer {
    root: SigningKey,
    authorizer: Authorizer,
}

type Arguments = HashMap<String, ConstraintValue>;

impl Peer {
    pub(crate) fn new() -> Self {
        let root = SigningKey::generate();
        let authorizer = Authorizer::new().with_trusted_root(root.public_key());
        Peer { root, authorizer }
    }

    /// A chain of fresh keys, and the key of its last holder.
    pub(crate) fn chain(&self, depth: usize) -> (Vec<Warrant>, SigningKey) {
        self.chain_of(depth, false)
    }

    /// The bytes of a chain in which each hop names its agent, as each of Sublet's does.
    pub(crate) fn named(&self, depth: usize) -> Vec<u8> {
        let (chain, _) = self.chain_of(depth, true);
        encode_stack(&tenuo::wire::WarrantStack::new(chain)).expect("a stack")
    }

    fn chain_of(&self, depth: usize, named: bool) -> (Vec<Warrant>, SigningKey) {
        let mut holder = SigningKey::generate();
        let mut root = Warrant::builder()
            .capability(TOOL, constraints())
            .holder(holder.public_key())
            .ttl(Duration::from_secs(3600));
        if named {
            root = root.agent_id("spiffe://acme.example/agent/planner");
        }
        let root = root.build(&self.root).expect("a root warrant");
        let mut chain = vec![root];
        for at in 0..depth {
            let next = SigningKey::generate();
            let parent = chain.last().expect("a warrant");
            let name = format!("spiffe://acme.example/agent/worker-{at}");
            chain.push(hop(parent, &holder, &next, named.then_some(name.as_str())));
            holder = next;
        }
        (chain, holder)
    }

    pub(crate) fn present(&self, depth: usize, path: &str) -> Presented {
        let (chain, holder) = self.chain(depth);
        let leaf = chain.last().expect("a warrant");
        let signature = leaf.sign(&holder, TOOL, &arguments(path)).expect("a proof");
        let bytes = encode_stack(&tenuo::wire::WarrantStack::new(chain)).expect("a stack");
        Presented { bytes, signature }
    }

    /// All that a tool pays: decoding, chain, possession, policy.
    pub(crate) fn check(&self, shown: &Presented, path: &str) -> bool {
        let Ok(stack) = decode_stack(&shown.bytes) else { return false };
        let arguments = arguments(path);
        let signature = Some(&shown.signature);
        self.authorizer.check_chain(&stack.0, TOOL, &arguments, signature, &[]).is_ok()
    }
}

/// One attenuation, subset check included.
pub(crate) fn hop(
    parent: &Warrant,
    holder: &SigningKey,
    next: &SigningKey,
    name: Option<&str>,
) -> Warrant {
    let mut child = parent.attenuate().capability(TOOL, constraints()).holder(next.public_key());
    if let Some(name) = name {
        child = child.agent_id(name);
    }
    // Shorter with each hop, as a second may pass between two.
    let seconds = 3000u64.saturating_sub(20 * u64::from(parent.depth()));
    child.ttl(Duration::from_secs(seconds)).build(holder).expect("a narrower warrant")
}

/// A new key.
pub(crate) fn key() -> SigningKey {
    SigningKey::generate()
}

/// What the proof of possession adds to a chain.
pub(crate) const PROOF_BYTES: f64 = 64.0;

const TOOL: &str = "fs.read";

fn constraints() -> ConstraintSet {
    let mut set = ConstraintSet::new();
    set.insert("path", Constraint::Subpath(Subpath::new("/data").expect("a path")));
    set.insert("limit", Constraint::Range(Range::new(Some(1.0), Some(1000.0)).expect("a range")));
    set.insert("mode", Constraint::OneOf(OneOf::new(["raw", "text"])));
    set
}

fn arguments(path: &str) -> Arguments {
    HashMap::from([
        ("path".to_owned(), ConstraintValue::String(path.to_owned())),
        ("limit".to_owned(), ConstraintValue::Integer(10)),
        ("mode".to_owned(), ConstraintValue::String("text".to_owned())),
    ])
}
