//! What a tool remembers of chains that it has verified, and for how long.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use sublet_core::authorize::{ChainMemory, Digest, chain};
use sublet_core::base::id::UnixMillis;
use sublet_core::token::verify::{Coverage, VerifiedToken};
use sublet_tests::{Fleet, NOW, append, to_helper};

use crate::READ;

/// A memory that counts how often a chain was found in it.
#[derive(Default)]
struct Counting {
    chains: RefCell<HashMap<Digest, Arc<VerifiedToken>>>,
    found: RefCell<usize>,
}

impl ChainMemory for Counting {
    fn chain(&self, name: &Digest, _: u64) -> Option<Arc<VerifiedToken>> {
        let found = self.chains.borrow().get(name).cloned();
        *self.found.borrow_mut() += usize::from(found.is_some());
        found
    }

    fn keep_chain(&self, name: Digest, _: u64, chain: &Arc<VerifiedToken>, _: usize) {
        self.chains.borrow_mut().entry(name).or_insert_with(|| chain.clone());
    }

    fn drop_chain(&self, name: &Digest) {
        self.chains.borrow_mut().remove(name);
    }

    fn coverage(&self, _: &Digest, _: u64) -> Option<Arc<Coverage>> {
        None
    }

    fn keep_coverage(&self, _: Digest, _: u64, _: &Arc<Coverage>, _: usize) {}
}

// SPEC 2.8.3.
#[test]
fn a_chain_is_verified_once_and_leaves_when_it_is_over() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let longer = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let memory = Counting::default();
    let verified = |token: &VerifiedToken, now: UnixMillis| {
        chain(&memory, &token.encode(), None, &fleet.bundle, now).unwrap().token
    };
    let first = verified(&root, NOW);
    assert!(Arc::ptr_eq(&first, &verified(&root, NOW)), "what is known is not verified again");
    assert_eq!(*memory.found.borrow(), 1);
    assert_eq!(verified(&longer, NOW).id(), longer.id());
    assert_eq!(*memory.found.borrow(), 2, "the longer one is verified from there");
    let last = UnixMillis::from_seconds(root.expires());
    verified(&root, last.plus_ms(-1));
    assert_eq!(memory.chains.borrow().len(), 2);
    verified(&root, last);
    verified(&longer, last);
    assert!(memory.chains.borrow().is_empty());
}
