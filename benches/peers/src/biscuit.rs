//! biscuit-auth 6.0.0: a bearer token of first-party blocks, or of blocks that each holder signs as
//! a third party. The same three limits in every block; no possession is proven by the first.

use std::time::Duration;

use biscuit_auth::builder::BlockBuilder;
use biscuit_auth::macros::{authorizer, biscuit, block};
use biscuit_auth::{AuthorizerLimits, Biscuit, KeyPair, PublicKey};

/// Issues, attenuates and verifies.
pub(crate) struct Peer {
    root: KeyPair,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Peer { root: KeyPair::new() }
    }

    /// A token whose blocks are appended by whoever holds it.
    pub(crate) fn plain(&self, depth: usize) -> Vec<u8> {
        let append = |token: Biscuit, _| token.append(limits()).expect("a block");
        (0..depth).fold(self.authority(), append).to_vec().expect("bytes")
    }

    /// A token whose blocks are signed by a key of each holder.
    pub(crate) fn third_party(&self, depth: usize) -> Vec<u8> {
        let append = |token: Biscuit, _| {
            let holder = KeyPair::new();
            let request = token.third_party_request().expect("a request");
            let signed = request.create_block(&holder.private(), limits()).expect("a block");
            token.append_third_party(holder.public(), signed).expect("a longer token")
        };
        (0..depth).fold(self.authority(), append).to_vec().expect("bytes")
    }

    fn authority(&self) -> Biscuit {
        let empty = biscuit!(r#"user("alice@acme.example");"#);
        empty.merge(limits()).build(&self.root).expect("a token")
    }

    /// Decoding, signatures, policy. Nothing shows who presents it.
    pub(crate) fn check(&self, token: &[u8], path: &str) -> bool {
        let root: PublicKey = self.root.public();
        let Ok(token) = Biscuit::from(token, root) else { return false };
        let facts = authorizer!(
            r#"operation("fs.read"); path({path}); mode("text"); limit(10); allow if true;"#,
            path = path
        );
        // By default a run is over after 1 ms, which a busy machine does not keep.
        let max_time = Duration::from_secs(10);
        let facts = facts.set_limits(AuthorizerLimits { max_time, ..AuthorizerLimits::default() });
        facts.build(&token).is_ok_and(|mut authorizer| authorizer.authorize().is_ok())
    }
}

fn limits() -> BlockBuilder {
    block!(
        r#"check if operation("fs.read"), path($p), $p.starts_with("/data/"), mode($m),
           {"raw", "text"}.contains($m), limit($n), $n >= 1, $n <= 1000;"#
    )
}
