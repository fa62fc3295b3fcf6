//! The broker's own keys and its trust bundle, in the data directory.
//!
//! Owns: `keys/*.pem`, `admin.pem` (dev only), `trust.json`, `ledger.bearer`; making them on
//! the first start and refusing to start with half of them. Does not own: what they sign, which of them
//! signs (the trust bundle in the store says so), their life (`sublet_core::rotation`).
//!
//! Invariants: private halves are files of mode 0600, under a password where there is one, written before the bundle that publishes their
//! public halves; a bundle is only replaced by the next one.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use sublet_core::bundle::{KeyId, KeyState, KeyUse, SignedBundle, TrustBundle, TrustedKey};
use sublet_core::bytes::sha256;
use sublet_core::id::{TrustDomain, UnixMillis};
use sublet_core::key::{PublicKey, Thumbprint};
use sublet_core::key_file::{BadKeyFile, KeyLock};
use sublet_core::no::Fault;
use sublet_core::rotation::{KEY_MS, USES};
use sublet_core::sign::{SecretKey, Signer};
use sublet_core::text::base64url;
use zeroize::Zeroizing;

use crate::ports::EntropySource;

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

/// The private halves of the broker's keys, by their public ones. Clones share them.
#[derive(Clone, Default)]
pub struct Signers(Arc<RwLock<HashMap<Thumbprint, Arc<dyn Signer>>>>);

impl Signers {
    /// The signer of a key that the trust bundle lists.
    pub fn of(&self, key: &TrustedKey) -> Result<Arc<dyn Signer>, Fault> {
        let signers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let signer = signers.get(&key.public.thumbprint()).cloned();
        signer.ok_or_else(|| {
            let says = format!("no private half of the {} key {}", key.use_.name(), key.id);
            Fault::Internal(says)
        })
    }

    /// The key that signs for a use by this bundle, and its signer.
    pub fn active(&self, bundle: &TrustBundle, use_: KeyUse) -> Result<OwnKey, Fault> {
        let key = bundle.active(use_);
        let key =
            key.ok_or_else(|| Fault::Internal(format!("there is no active {} key", use_.name())))?;
        Ok(OwnKey { id: key.id, signer: self.of(key)? })
    }

    /// Whether there is a signer for each use. What is missing shows before anyone is served.
    pub fn check(&self, bundle: &TrustBundle) -> Result<(), Fault> {
        USES.iter().try_for_each(|use_| self.active(bundle, *use_).map(drop))
    }

    /// One more.
    pub fn add(&self, signer: Arc<dyn Signer>) {
        let mut signers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        signers.insert(signer.public_key().thumbprint(), signer);
    }
}

/// What private keys lie under: the password in a file, or nothing without one.
pub fn read_lock(path: Option<&Path>) -> Result<KeyLock, BadKeys> {
    let Some(path) = path else { return Ok(KeyLock::open()) };
    check_private(path)?;
    let text = fs::read(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    KeyLock::under(&Zeroizing::new(text)).map_err(|bad| at(path, &bad))
}

fn at(path: &Path, bad: &BadKeyFile) -> BadKeys {
    BadKeys::Form { path: path.to_owned(), says: format!("{bad} (keys.password_file)") }
}

fn pem(
    path: &Path,
    key: &SecretKey,
    entropy: &dyn EntropySource,
    lock: &KeyLock,
) -> Result<Zeroizing<String>, BadKeys> {
    let random = entropy
        .draw()
        .map_err(|fault| BadKeys::Form { path: path.to_owned(), says: fault.to_string() })?;
    lock.write(key, &random.bytes("key-file")).map_err(|bad| at(path, &bad))
}

/// What a data directory holds of keys.
pub struct KeyRing {
    /// The private halves.
    pub signers: Signers,
    /// How they lie on disk.
    pub lock: KeyLock,
    /// What `trust.json` says. The store may know a newer one.
    pub trust: SignedBundle,
    /// SHA-256 of the token by which the ledger is read over HTTP.
    pub ledger_bearer: [u8; 32],
    /// Who is the admin; `None` when nobody is.
    pub admin: Option<PublicKey>,
}

/// One key that signs.
#[derive(Clone)]
pub struct OwnKey {
    /// Its number in the bundle.
    pub id: KeyId,
    /// The signer.
    pub signer: Arc<dyn Signer>,
}

/// Holds the token by which the ledger is read over HTTP; whoever may read it is given it.
const BEARER: &str = "ledger.bearer";

/// Where the private halves lie.
const KEYS: &str = "keys";

/// The published bundle.
const TRUST: &str = "trust.json";

impl KeyRing {
    /// Loads the ring of a data directory, or makes it when the directory has none.
    pub fn open(
        data: &Path,
        domain: &TrustDomain,
        now: UnixMillis,
        entropy: &dyn EntropySource,
        lock: KeyLock,
    ) -> Result<Self, BadKeys> {
        if !data.join(TRUST).exists() {
            make(data, domain, now, entropy, &lock)?;
        }
        let bearer = data.join(BEARER);
        if !bearer.exists() {
            let secret = entropy.draw();
            let form = |says: String| BadKeys::Form { path: bearer.clone(), says };
            let secret = secret.map_err(|fault| form(fault.to_string()))?;
            let text = base64url(secret.bytes("ledger-bearer"));
            write_new(&bearer, format!("{text}\n").as_bytes(), 0o600)?;
        }
        KeyRing::load(data, domain, lock)
    }

    fn load(data: &Path, domain: &TrustDomain, lock: KeyLock) -> Result<Self, BadKeys> {
        let path = data.join(TRUST);
        let text = fs::read(&path).map_err(|error| BadKeys::Io { path: path.clone(), error })?;
        let trust = SignedBundle::read(text);
        let trust =
            trust.map_err(|bad| BadKeys::Form { path: path.clone(), says: bad.to_string() })?;
        let found = trust.bundle().trust_domain();
        if found != domain {
            let says =
                format!("it is of the trust domain {found}, the configuration says {domain}");
            return Err(BadKeys::Form { path, says });
        }
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
        let ledger_bearer = sha256(secret.as_bytes());
        let signers = read_all(&data.join(KEYS), &lock)?;
        Ok(KeyRing { signers, lock, trust, ledger_bearer, admin })
    }
}

/// Makes the keys of a new broker and the bundle that publishes them: one of each use, and the bundle
/// key after the first, as a bundle is only believed by one that was announced.
fn make(
    data: &Path,
    domain: &TrustDomain,
    now: UnixMillis,
    entropy: &dyn EntropySource,
    lock: &KeyLock,
) -> Result<(), BadKeys> {
    let directory = data.join(KEYS);
    fs::create_dir_all(&directory)
        .map_err(|error| BadKeys::Io { path: directory.clone(), error })?;
    let path = data.join(TRUST);
    let form = |says: String| BadKeys::Form { path: path.clone(), says };
    let from = UnixMillis::from_seconds(now.seconds().saturating_sub(60));
    let (mut trusted, signers) = (Vec::new(), Signers::default());
    let uses = USES.map(|use_| (use_, KeyState::Active));
    for (id, (use_, state)) in
        (1..).zip(uses.into_iter().chain([(KeyUse::Bundle, KeyState::Prepared)]))
    {
        let later = if state == KeyState::Active { "" } else { "-next" };
        let path = directory.join(format!("{}{later}.pem", use_.name()));
        let key =
            if path.exists() { read_key(&path, lock)? } else { make_key(&path, entropy, lock)? };
        trusted.push(TrustedKey {
            use_,
            id: KeyId(id),
            alg: key.public_key().algorithm().name().to_owned(),
            public: key.public_key().clone(),
            not_before: from,
            not_after: from.plus_ms(KEY_MS),
            state,
        });
        signers.add(Arc::new(key));
    }
    let bundle = TrustBundle::new(domain.clone(), 1, now, now.plus_ms(KEY_MS), trusted);
    let bundle = bundle.map_err(|bad| form(bad.to_string()))?;
    let own = signers.active(&bundle, KeyUse::Bundle).map_err(|bad| form(bad.to_string()))?;
    let text = bundle.sign(own.id, own.signer.as_ref()).map_err(|bad| form(bad.to_string()))?;
    write_new(&path, text.as_bytes(), 0o644)
}

/// Keeps the private half of a key that was made for the bundle, before anybody hears of it.
pub fn keep(
    data: &Path,
    key: &TrustedKey,
    secret: &SecretKey,
    entropy: &dyn EntropySource,
    lock: &KeyLock,
) -> Result<(), BadKeys> {
    // Two steps at once make two files, and one of them is published.
    let name = format!("{}-{}.pem", key.use_.name(), key.public.thumbprint());
    let path = data.join(KEYS).join(name);
    let pem = pem(&path, secret, entropy, lock)?;
    write_new(&path, pem.as_bytes(), 0o600)
}

/// Publishes a bundle as `trust.json`, in place of the one before.
pub fn publish(data: &Path, trust: &SignedBundle) -> Result<(), BadKeys> {
    let path = data.join(TRUST);
    let io = |error| BadKeys::Io { path: path.clone(), error };
    let beside = path.with_extension("json.new");
    let mut file = fs::File::create(&beside).map_err(io)?;
    file.write_all(trust.text()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&beside, &path).map_err(io)
}

/// Every private key of a directory.
fn read_all(directory: &Path, lock: &KeyLock) -> Result<Signers, BadKeys> {
    let io = |error| BadKeys::Io { path: directory.to_owned(), error };
    let signers = Signers::default();
    for file in fs::read_dir(directory).map_err(io)? {
        let path = file.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            signers.add(Arc::new(read_key(&path, lock)?));
        }
    }
    Ok(signers)
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
    let lock = &KeyLock::open();
    let key = match private.exists() {
        true => read_key(&private, lock)?,
        false => make_key(&private, entropy, lock)?,
    };
    write_new(&public, format!("{}\n", key.public_key()).as_bytes(), 0o644)
}

fn make_key(
    path: &Path,
    entropy: &dyn EntropySource,
    lock: &KeyLock,
) -> Result<SecretKey, BadKeys> {
    let form = |says: String| BadKeys::Form { path: path.to_owned(), says };
    let seed = entropy.draw().map_err(|fault| form(fault.to_string()))?;
    let key = SecretKey::ed25519_from_seed(seed.0);
    let pem = pem(path, &key, entropy, lock)?;
    write_new(path, pem.as_bytes(), 0o600)?;
    Ok(key)
}

/// Refuses a file that others may read.
fn check_private(path: &Path) -> Result<(), BadKeys> {
    use std::os::unix::fs::PermissionsExt as _;
    let about = fs::metadata(path);
    let about = about.map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let says = format!("others may read it (mode {mode:o}): chmod 600");
    Err(BadKeys::Form { path: path.to_owned(), says })
}

fn read_key(path: &Path, lock: &KeyLock) -> Result<SecretKey, BadKeys> {
    check_private(path)?;
    let text =
        fs::read_to_string(path).map_err(|error| BadKeys::Io { path: path.to_owned(), error })?;
    let text = Zeroizing::new(text);
    lock.read(&text).map_err(|bad| at(path, &bad))
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
