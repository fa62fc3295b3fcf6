//! The broker's keys and its trust bundle, in the data directory.
//!
//! Owns: `trust.json`, `ledger.bearer`, `admin.pem` (`--dev` only); making all of it on the first start,
//! and refusing to start with a part of it. Does not own: where private keys are stored (`signers`,
//! `files`, `device`), their rotation (`sublet_core::trust::rotation`).
//!
//! Invariants: private keys are safely stored before the bundle with their public keys is written. A
//! bundle is only replaced by its successor.

mod device;
mod files;
mod signers;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{TrustDomain, UnixMillis};
use sublet_core::base::key::PublicKey;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::Signer as _;
use sublet_core::base::text::base64url;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, SignedBundle, TrustBundle};
use sublet_core::trust::rotation::{KEY_MS, USES, new_key};

pub use self::device::Device;
pub use self::files::{BadKeys, KeyFiles, read_lock};
use self::files::{drawn, named_key, write_new};
pub use self::signers::{OwnKey, Signers};
use crate::config::KeysConfig;
use sublet_host::ports::RandomSource;

/// The keys of a data directory.
pub struct KeyRing {
    /// The private keys.
    pub signers: Signers,
    /// The bundle in `trust.json`. The store may hold a newer one.
    pub trust: SignedBundle,
    /// The SHA-256 of the bearer token for reading the ledger over HTTP.
    pub ledger_bearer: [u8; 32],
    /// The admin's public key; `None` if there is no admin.
    pub admin: Option<PublicKey>,
}

/// The file of the bearer token for reading the ledger over HTTP. The operator gives the token to readers.
const BEARER: &str = "ledger.bearer";

/// The directory of the private keys.
pub(crate) const KEYS: &str = "keys";

/// The file of the published trust bundle.
const TRUST: &str = "trust.json";

impl KeyRing {
    /// Loads the keys of a data directory. On the first start makes them.
    pub fn open(
        data: &Path,
        domain: &TrustDomain,
        now: UnixMillis,
        entropy: &Arc<dyn RandomSource>,
        config: &KeysConfig,
    ) -> Result<Self, BadKeys> {
        let lock = read_lock(config.password_file.as_deref())?;
        let files = KeyFiles::open(data.join(KEYS), lock, entropy.clone())?;
        let device = device::open(config, domain).map_err(BadKeys::Device)?;
        let signers = Signers::open(files, device)?;
        if !data.join(TRUST).exists() {
            make(data, domain, now, &signers)?;
        }
        let bearer = data.join(BEARER);
        if !bearer.exists() {
            let text = base64url(drawn(&bearer, entropy.as_ref())?.bytes("ledger-bearer"));
            write_new(&bearer, format!("{text}\n").as_bytes(), 0o600)?;
        }
        KeyRing::load(data, domain, signers)
    }

    fn load(data: &Path, domain: &TrustDomain, signers: Signers) -> Result<Self, BadKeys> {
        let path = data.join(TRUST);
        let text = fs::read(&path).map_err(|error| BadKeys::Io { path: path.clone(), error })?;
        let trust = SignedBundle::read(text);
        let trust =
            trust.map_err(|bad| BadKeys::Form { path: path.clone(), detail: bad.to_string() })?;
        let found = trust.bundle().trust_domain();
        if found != domain {
            let detail =
                format!("it is of the trust domain {found}, the configuration says {domain}");
            return Err(BadKeys::Form { path, detail });
        }
        let admin = data.join("admin.pub");
        let admin = if admin.exists() { Some(read_public(&admin)?) } else { None };
        let bearer = data.join(BEARER);
        let secret = fs::read_to_string(&bearer);
        let secret = secret.map_err(|error| BadKeys::Io { path: bearer.clone(), error })?;
        let secret = secret.trim_end();
        if secret.len() < 22 {
            let detail = "a token of at least 22 characters is expected".to_owned();
            return Err(BadKeys::Form { path: bearer, detail });
        }
        let ledger_bearer = sha256(secret.as_bytes());
        Ok(KeyRing { signers, trust, ledger_bearer, admin })
    }
}

/// Makes the keys of a new broker and their bundle: one key of each use, and the next bundle key,
/// because a bundle is only accepted if an earlier one announced its key.
fn make(
    data: &Path,
    domain: &TrustDomain,
    now: UnixMillis,
    signers: &Signers,
) -> Result<(), BadKeys> {
    let path = data.join(TRUST);
    let form = |detail: String| BadKeys::Form { path: path.clone(), detail };
    let from = UnixMillis::from_seconds(now.seconds().saturating_sub(60));
    let uses = USES.map(|use_| (use_, KeyState::Active));
    let uses = uses.into_iter().chain([(KeyUse::Bundle, KeyState::Prepared)]);
    let keys = (1..).zip(uses).map(|(id, (use_, state))| {
        let later = if state == KeyState::Active { "" } else { "-next" };
        let public = signers.first(use_, &format!("{}{later}", use_.name()))?;
        Ok(new_key(use_, KeyId(id), &public, from, state))
    });
    let keys = keys.collect::<Result<Vec<_>, BadKeys>>()?;
    let bundle = TrustBundle::new(domain.clone(), 1, now, now.plus_ms(KEY_MS), keys);
    let bundle = bundle.map_err(|bad| form(bad.to_string()))?;
    let own = signers.active(&bundle, KeyUse::Bundle).map_err(|bad| form(bad.to_string()))?;
    let text = bundle.sign(own.id, own.signer.as_ref()).map_err(|bad| form(bad.to_string()))?;
    write_new(&path, text.as_bytes(), 0o644)
}

/// Writes a bundle as `trust.json`, in place of the earlier one.
pub fn publish(data: &Path, trust: &SignedBundle) -> Result<(), BadKeys> {
    let path = data.join(TRUST);
    sublet_host::files::replace(&path, 0o644, trust.text())
        .map_err(|error| BadKeys::Io { path, error })
}

/// Makes the admin key of a broker that has none: `admin.pem` for the admin, and `admin.pub` for the broker.
pub fn make_admin(data: &Path, entropy: &dyn RandomSource) -> Result<(), BadKeys> {
    let public = data.join("admin.pub");
    if public.exists() {
        return Ok(());
    }
    fs::create_dir_all(data).map_err(|error| BadKeys::Io { path: data.to_owned(), error })?;
    let key = named_key(&data.join("admin.pem"), entropy, &KeyLock::open())?;
    write_new(&public, format!("{}\n", key.public_key()).as_bytes(), 0o644)
}

fn read_public(path: &Path) -> Result<PublicKey, BadKeys> {
    let text =
        fs::read_to_string(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    let key = text.trim_end().parse();
    key.map_err(|bad: sublet_core::base::key::BadKey| BadKeys::Form {
        path: path.to_owned(),
        detail: bad.to_string(),
    })
}
