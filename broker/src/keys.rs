//! The broker's own keys and its trust bundle, in the data directory.
//!
//! Owns: `keys/<use>.pem`, `admin.pem` (dev only), `trust.json`, `ledger.bearer`; making them on the first start
//! and refusing to start with half of them. Does not own: what they sign.
//!
//! Invariants: one key a use; private halves are files of mode 0600, written before the bundle
//! that publishes their public halves; a bundle that exists is never made anew.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sublet_core::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};
use sublet_core::bytes::sha256;
use sublet_core::id::{TrustDomain, UnixMillis};
use sublet_core::key::PublicKey;
use sublet_core::sign::{SecretKey, Signer};
use sublet_core::text::base64url;

use crate::ports::EntropySource;

/// How long a new broker's keys and bundle are good: a year. Rotation is an operator's act.
const KEY_MS: i64 = 365 * 24 * 3600 * 1000;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it must be.
    #[error("{}: {says}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Why.
        says: String,
    },
}

/// The keys that a running broker signs with.
pub struct KeyRing {
    /// Block 0 of delegations.
    pub delegation: OwnKey,
    /// Identity tokens.
    pub identity: OwnKey,
    /// Receipts.
    pub receipt: OwnKey,
    /// Heads of the ledger.
    pub ledger: OwnKey,
    /// Heads of the feed.
    pub feed: OwnKey,
    /// The bundle that publishes them.
    pub bundle: TrustBundle,
    /// The text of `trust.json`, as signed.
    pub bundle_text: Vec<u8>,
    /// SHA-256 of the token by which the ledger is read over HTTP.
    pub ledger_bearer: [u8; 32],
    /// Who is the admin; `None` when nobody is.
    pub admin: Option<PublicKey>,
}

/// One key of the ring.
#[derive(Clone)]
pub struct OwnKey {
    /// Its number in the bundle.
    pub id: KeyId,
    /// The signer.
    pub signer: Arc<dyn Signer>,
}

/// Holds the token by which the ledger is read over HTTP; whoever may read it is given it.
const BEARER: &str = "ledger.bearer";

const USES: [(KeyUse, &str, u32); 6] = [
    (KeyUse::Delegation, "delegation", 1),
    (KeyUse::Identity, "identity", 2),
    (KeyUse::Receipt, "receipt", 3),
    (KeyUse::Ledger, "ledger", 4),
    (KeyUse::Feed, "feed", 5),
    (KeyUse::Bundle, "bundle", 6),
];

impl KeyRing {
    /// Loads the ring of a data directory, or makes it when the directory has none.
    pub fn open(
        data: &Path,
        domain: &TrustDomain,
        now: UnixMillis,
        entropy: &dyn EntropySource,
    ) -> Result<Self, BadKeys> {
        let trust = data.join("trust.json");
        if !trust.exists() {
            KeyRing::make(data, domain, now, entropy)?;
        }
        let bearer = data.join(BEARER);
        if !bearer.exists() {
            let secret = entropy.draw();
            let form = |says: String| BadKeys::Form { path: bearer.clone(), says };
            let secret = secret.map_err(|fault| form(fault.to_string()))?;
            let text = base64url(secret.bytes("ledger-bearer"));
            write_new(&bearer, format!("{text}\n").as_bytes(), 0o600)?;
        }
        KeyRing::load(data, domain, now)
    }

    fn make(
        data: &Path,
        domain: &TrustDomain,
        now: UnixMillis,
        entropy: &dyn EntropySource,
    ) -> Result<(), BadKeys> {
        let keys = data.join("keys");
        fs::create_dir_all(&keys).map_err(|error| BadKeys::Io { path: keys.clone(), error })?;
        let (mut trusted, mut bundle_signer) = (Vec::new(), None);
        for (use_, name, id) in USES {
            let path = keys.join(format!("{name}.pem"));
            let key = if path.exists() { read_key(&path)? } else { make_key(&path, entropy)? };
            trusted.push(TrustedKey {
                use_,
                id: KeyId(id),
                alg: key.public_key().algorithm().name().to_owned(),
                public: key.public_key().clone(),
                not_before: now.plus_ms(-60_000),
                not_after: now.plus_ms(KEY_MS),
                state: KeyState::Active,
            });
            if use_ == KeyUse::Bundle {
                bundle_signer = Some((KeyId(id), key));
            }
        }
        let path = data.join("trust.json");
        let form = |says: String| BadKeys::Form { path: path.clone(), says };
        let bundle = TrustBundle::new(domain.clone(), 1, now, now.plus_ms(KEY_MS), trusted);
        let bundle = bundle.map_err(|bad| form(bad.to_string()))?;
        let (id, signer) = bundle_signer.ok_or_else(|| form("no bundle key".to_owned()))?;
        let text = bundle.sign(id, &signer).map_err(|bad| form(bad.to_string()))?;
        write_new(&path, text.as_bytes(), 0o644)
    }

    fn load(data: &Path, domain: &TrustDomain, now: UnixMillis) -> Result<Self, BadKeys> {
        let path = data.join("trust.json");
        let bundle_text =
            fs::read(&path).map_err(|error| BadKeys::Io { path: path.clone(), error })?;
        let bundle = TrustBundle::open(&bundle_text, now);
        let bundle =
            bundle.map_err(|bad| BadKeys::Form { path: path.clone(), says: bad.to_string() })?;
        if bundle.trust_domain() != domain {
            let says = format!(
                "it is of the trust domain {}, the configuration says {domain}",
                bundle.trust_domain()
            );
            return Err(BadKeys::Form { path, says });
        }
        let own = |wanted: KeyUse| -> Result<OwnKey, BadKeys> {
            let name =
                USES.iter().find(|(use_, ..)| *use_ == wanted).map_or("", |(_, name, _)| name);
            let path = data.join("keys").join(format!("{name}.pem"));
            let key = read_key(&path)?;
            let listed = bundle.keys().iter().find(|listed| {
                listed.use_ == wanted
                    && listed.state == KeyState::Active
                    && listed.public == *key.public_key()
            });
            let listed = listed.ok_or(BadKeys::Form {
                path,
                says: "trust.json does not list it as active".into(),
            })?;
            Ok(OwnKey { id: listed.id, signer: Arc::new(key) })
        };
        let admin = data.join("admin.pub");
        let admin = if admin.exists() { Some(read_public(&admin)?) } else { None };
        let bearer = data.join(BEARER);
        let secret = fs::read_to_string(&bearer);
        let secret = secret.map_err(|error| BadKeys::Io { path: bearer.clone(), error })?;
        let secret = secret.trim_end();
        if secret.len() < 22 {
            let says = "a token of at least 22 characters is expected".to_owned();
            return Err(BadKeys::Form { path: bearer, says });
        }
        Ok(KeyRing {
            delegation: own(KeyUse::Delegation)?,
            identity: own(KeyUse::Identity)?,
            receipt: own(KeyUse::Receipt)?,
            ledger: own(KeyUse::Ledger)?,
            feed: own(KeyUse::Feed)?,
            bundle,
            bundle_text,
            ledger_bearer: sha256(secret.as_bytes()),
            admin,
        })
    }
}

/// Makes the admin key of a broker that has none: `admin.pem` for whoever may be admin, and
/// `admin.pub`, by which the broker knows it.
pub fn make_admin(data: &Path, entropy: &dyn EntropySource) -> Result<(), BadKeys> {
    let public = data.join("admin.pub");
    if public.exists() {
        return Ok(());
    }
    fs::create_dir_all(data).map_err(|error| BadKeys::Io { path: data.to_owned(), error })?;
    let private = data.join("admin.pem");
    let key = if private.exists() { read_key(&private)? } else { make_key(&private, entropy)? };
    write_new(&public, format!("{}\n", key.public_key()).as_bytes(), 0o644)
}

fn make_key(path: &Path, entropy: &dyn EntropySource) -> Result<SecretKey, BadKeys> {
    let form = |says: String| BadKeys::Form { path: path.to_owned(), says };
    let seed = entropy.draw().map_err(|fault| form(fault.to_string()))?;
    let key = SecretKey::ed25519_from_seed(seed.0);
    let pem = key.to_pem().ok_or_else(|| form("the key cannot be written".to_owned()))?;
    write_new(path, pem.as_bytes(), 0o600)?;
    Ok(key)
}

fn read_key(path: &Path) -> Result<SecretKey, BadKeys> {
    let text =
        fs::read_to_string(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    let text = zeroize::Zeroizing::new(text);
    SecretKey::from_pem(&text)
        .ok_or_else(|| BadKeys::Form { path: path.to_owned(), says: "no PKCS#8 PEM key".into() })
}

fn read_public(path: &Path) -> Result<PublicKey, BadKeys> {
    let text =
        fs::read_to_string(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    let key = text.trim_end().parse();
    key.map_err(|bad: sublet_core::key::BadKey| BadKeys::Form {
        path: path.to_owned(),
        says: bad.to_string(),
    })
}

/// Writes a file that must not exist yet, whole or not at all.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), BadKeys> {
    let io = |error| BadKeys::Io { path: path.to_owned(), error };
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .map_err(io)?;
    file.write_all(content).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::hard_link(&beside, path).map_err(io)?;
    fs::remove_file(&beside).map_err(io)
}
