//! An identity on disk: `key.pem`, `identity.token`, `agent.toml`, `trust.json`. docs/FORMATS.
//!
//! Owns: names and content of the files, and which key file is the current one. Does not own: how a
//! file is written (`files`), what is asked of the broker (`identity`).
//!
//! Invariants: `identity.token` is written last, so a directory that has it is complete; the token,
//! and not a file name, says which key is current, so the directory has an identity at every moment
//! of a rotation; a key file is removed only when nobody can have learnt its public key.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sublet_core::base::id::{AgentId, UnixMillis};
use sublet_core::base::key::PublicKey;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::token::Presentation;
use sublet_core::token::verify::VerifiedToken;

use crate::broker::connect::Broker;
use crate::broker::tls::Tls;
use crate::error::Error;
use crate::files;
use crate::ports::Ports;

const KEY: &str = "key.pem";
const LOCK: &str = "identity.lock";

/// How long to wait for another process that changes the identity. That process may be asking the
/// broker, more than once.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// The interval between two attempts to take the lock.
const LOCK_EVERY: Duration = Duration::from_millis(10);

/// The id of an identity and the idempotency key of its renewal.
const RENEWAL: &str = "renewal.key";

const NEXT_KEY: &str = "key-next.pem";
const TOKEN: &str = "identity.token";
const ABOUT: &str = "agent.toml";
const TRUST: &str = "trust.json";

/// The content of `agent.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The agent's SPIFFE id.
    pub id: AgentId,
    /// The broker's address.
    pub broker: String,
    /// The path of the trust bundle. A relative path begins in the identity's directory.
    pub trust: PathBuf,
    /// The path of the file with the password of the private keys. A relative path begins in the
    /// identity's directory. `None` when the keys are not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_password_file: Option<PathBuf>,
    /// The TLS settings for the broker.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,
}

fn is_default(tls: &Tls) -> bool {
    *tls == Tls::default()
}

/// Identifies the content of a file by its modification time and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    written: SystemTime,
    file: u64,
}

/// The directory of one identity.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    lock: KeyLock,
    key_password_file: Option<PathBuf>,
}

impl Directory {
    /// Returns the directory at this path, which need not exist. Its keys are not encrypted.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Directory { path: path.into(), lock: KeyLock::open(), key_password_file: None }
    }

    /// Encrypts the keys with the password in this file. `agent.toml` of an identity that is
    /// enrolled here then names the file. A file that cannot be read is an error.
    pub fn under(self, password_file: &Path) -> Result<Self, Error> {
        let lock = files::read_lock(Some(password_file))?;
        let whole = std::path::absolute(password_file)
            .map_err(|error| Error::io("find", password_file, &error))?;
        Ok(Directory { lock, key_password_file: Some(whole), ..self })
    }

    /// Opens the directory of an identity, and returns it with the content of `agent.toml`.
    pub(crate) fn open(path: &Path) -> Result<(Self, About), Error> {
        let directory = Directory::new(path);
        let about = directory.about()?;
        match &about.key_password_file {
            Some(file) => Ok((directory.under(&path.join(file))?, about)),
            None => Ok((directory, about)),
        }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the directory holds a complete identity.
    pub fn is_enrolled(&self) -> bool {
        self.file(TOKEN).exists()
    }

    /// Creates the directory with mode 0700.
    pub(crate) fn create(&self) -> Result<(), Error> {
        files::create_directory(&self.path)
    }

    /// Reads `agent.toml`.
    pub fn about(&self) -> Result<About, Error> {
        let path = self.file(ABOUT);
        let text = files::read_text(&path)?;
        toml::from_str(&text).map_err(|bad| Error::file(&path, bad.message()))
    }

    /// Returns the path of the trust bundle.
    pub fn trust_path(&self, about: &About) -> PathBuf {
        self.path.join(&about.trust)
    }

    /// Reads the identity token's bytes.
    pub(crate) fn token(&self) -> Result<Vec<u8>, Error> {
        let path = self.file(TOKEN);
        let text = files::read_text(&path)?;
        let presentation = Presentation::from_text(&text).map_err(|bad| Error::file(&path, bad))?;
        Ok(presentation.token)
    }

    /// Identifies the identity token on disk without reading it; `None` when there is none.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let about = std::fs::metadata(self.file(TOKEN)).ok()?;
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&about);
        #[cfg(not(unix))]
        let file = about.len();
        Some(Stamp { written: about.modified().ok()?, file })
    }

    /// Stores a new identity token.
    pub(crate) fn keep_token(&self, token: &VerifiedToken) -> Result<(), Error> {
        let text = Presentation { token: token.encode(), receipt: None }.to_text() + "\n";
        files::replace(&self.file(TOKEN), text.as_bytes())
    }

    /// Stores the public part of a new identity: the trust bundle and `agent.toml`.
    pub(crate) fn keep_about(
        &self,
        id: &AgentId,
        broker: &Broker,
        trust: &[u8],
    ) -> Result<(), Error> {
        let (broker, tls) = (broker.endpoint().to_owned(), broker.tls().absolute()?);
        let key_password_file = self.key_password_file.clone();
        let about = About { id: id.clone(), broker, trust: TRUST.into(), key_password_file, tls };
        let text = toml::to_string(&about)
            .map_err(|bad| Error::file(&self.file(ABOUT), bad.to_string()))?;
        files::replace(&self.file(TRUST), trust)?;
        files::replace(&self.file(ABOUT), text.as_bytes())
    }

    /// Returns the private key of this public key from whichever file it is in: the next key of a
    /// rotation, the current key, or a former key. The code of the error is `no_such_key` when no
    /// file has it.
    ///
    /// The files are read in the order in which a rotation moves a key, so a rotation by another
    /// process cannot hide the key.
    pub fn key_of(&self, public: &PublicKey) -> Result<SecretKey, Error> {
        let detail = format!(
            "{}: no private key for {}, the key of the token's holder: the token is for another agent, or the key file is missing",
            self.path.display(),
            public.thumbprint()
        );
        let mut trouble = Error::local("no_such_key", detail);
        for path in [self.file(NEXT_KEY), self.file(KEY), self.kept(public)] {
            match files::find_key(&path, &self.lock) {
                Ok(Some(key)) if key.public_key() == public => return Ok(key),
                Ok(_) => {}
                // This unreadable file may be the key that is wanted.
                Err(failure) => trouble = failure,
            }
        }
        Err(trouble)
    }

    /// Returns the age of the current key by the modification time of its file; `None` when there
    /// is no such file or its time is in the future.
    pub(crate) fn key_age(&self, now: UnixMillis) -> Option<Duration> {
        #[cfg(unix)]
        let made = std::os::unix::fs::MetadataExt::mtime(&std::fs::metadata(self.file(KEY)).ok()?);
        #[cfg(not(unix))]
        let made = now.seconds();
        u64::try_from(now.seconds().saturating_sub(made)).ok().map(Duration::from_secs)
    }

    /// Returns the first key and whether it was made now. A key of an earlier, failed enrollment is
    /// used again.
    pub(crate) fn first_key(&self, ports: &Ports) -> Result<(SecretKey, bool), Error> {
        self.key_in(KEY, ports)
    }

    /// Removes a first key whose public key nobody has learnt.
    pub(crate) fn drop_first_key(&self) -> Result<(), Error> {
        files::remove(&self.file(KEY))
    }

    /// Renames a first key that cannot enroll to `key-<thumbprint>.pem`.
    pub(crate) fn set_first_key_aside(&self, key: &SecretKey) -> Result<(), Error> {
        self.rename(KEY, &self.kept(key.public_key()))
    }

    /// Returns the key for a rotation, stored on disk: the one of an interrupted rotation, or a new
    /// one.
    pub(crate) fn next_key(&self, ports: &Ports) -> Result<SecretKey, Error> {
        self.key_in(NEXT_KEY, ports).map(|(key, _)| key)
    }

    /// Returns the key in a file, or a new one, and whether it was made now.
    fn key_in(&self, name: &str, ports: &Ports) -> Result<(SecretKey, bool), Error> {
        let path = self.file(name);
        match files::find_key(&path, &self.lock)? {
            Some(key) => Ok((key, false)),
            None => Ok((files::create_key(&path, &self.lock, ports)?, true)),
        }
    }

    /// Returns whether a rotation away from the current key was requested and did not end. If only
    /// the renaming is missing, it is done here.
    pub(crate) fn is_rotating(&self, current: &PublicKey) -> Result<bool, Error> {
        let path = self.file(NEXT_KEY);
        if !path.exists() {
            return Ok(false);
        }
        if files::read_key(&path, &self.lock)?.public_key() != current {
            return Ok(true);
        }
        self.rename(NEXT_KEY, &self.file(KEY))?;
        Ok(false)
    }

    /// Takes the lock for changing the identity. Waits for another process that has it.
    pub(crate) async fn lock(&self, ports: &Ports) -> Result<File, Error> {
        self.lock_within(LOCK_DEADLINE, ports).await
    }

    /// Takes the same lock, and waits for at most `deadline`. Otherwise the code of the error is
    /// `identity_in_use`.
    pub(crate) async fn lock_within(
        &self,
        deadline: Duration,
        ports: &Ports,
    ) -> Result<File, Error> {
        let path = self.file(LOCK);
        let claimed = async {
            loop {
                match files::claim(&path)? {
                    Some(file) => break Ok(file),
                    None => tokio::time::sleep(LOCK_EVERY).await,
                }
            }
        };
        let claimed = tokio::time::timeout(deadline, claimed).await.map_err(|_| {
            let detail = format!("{}: another process is changing it", self.path.display());
            Error::local("identity_in_use", detail)
        })?;
        files::sweep(&self.path, ports.clock.now())?;
        claimed
    }

    /// Returns the idempotency key for renewing this identity. It is random and stays the same
    /// until there is another identity: a process that was killed before the answer repeats the
    /// same request, and whoever copied the directory earlier does not know the key.
    pub(crate) fn renewal_key(
        &self,
        token: &VerifiedToken,
        ports: &Ports,
    ) -> Result<Vec<u8>, Error> {
        let (path, of) = (self.file(RENEWAL), token.id().0);
        let kept = std::fs::read(&path).unwrap_or_default();
        if let Some(key) = kept.strip_prefix(&of).filter(|key| key.len() == 16) {
            return Ok(key.to_vec());
        }
        let key = ports.entropy.nonce()?.0;
        files::replace(&path, &[of.as_slice(), &key].concat())?;
        Ok(key.to_vec())
    }

    /// Renames a next key that cannot be used to `key-<thumbprint>.pem`.
    pub(crate) fn set_next_key_aside(&self, next: &SecretKey) -> Result<(), Error> {
        self.rename(NEXT_KEY, &self.kept(next.public_key()))
    }

    /// Completes a rotation that the broker granted: stores the old key under its thumbprint, then
    /// the new token, which makes the new key current, then renames the new key's file.
    pub(crate) fn take_next_key(
        &self,
        old: &SecretKey,
        token: &VerifiedToken,
        ports: &Ports,
    ) -> Result<(), Error> {
        let kept = self.kept(old.public_key());
        if !kept.exists() {
            files::write_key(&kept, old, &self.lock, ports)?;
        }
        self.keep_token(token)?;
        self.rename(NEXT_KEY, &self.file(KEY))
    }

    fn rename(&self, from: &str, to: &Path) -> Result<(), Error> {
        let renamed = std::fs::rename(self.file(from), to);
        renamed.map_err(|error| Error::io("write", to, &error))?;
        files::sync_directory_of(to)
    }

    fn kept(&self, public: &PublicKey) -> PathBuf {
        self.file(&format!("key-{}.pem", public.thumbprint()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::World;

    #[tokio::test]
    async fn about_round_trips_and_refuses_what_it_does_not_know() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new(place.path());
        let id: AgentId = "spiffe://acme.example/agent/a".parse().unwrap();
        let api = |socket: &str| Tls { workload_api: Some(socket.into()), ..Tls::default() };
        let tls = Tls { ca: Some("ca.pem".into()), ..api("unix:api.sock") };
        let broker = Broker::lazy("http://127.0.0.1:7000").unwrap();
        directory.keep_about(&id, &broker, b"{}").unwrap();
        let about = directory.about().unwrap();
        assert_eq!(about.tls, Tls::default());
        let tls = tls.absolute().unwrap();
        assert!(tls.ca.unwrap().is_absolute());
        assert!(tls.workload_api.unwrap().starts_with("unix:/"));
        for socket in ["unix:///run/api.sock", "unix:/run/api.sock"] {
            let held = api(socket).absolute().unwrap().workload_api.unwrap();
            assert_eq!(
                std::path::absolute(&held[5..]).unwrap(),
                std::path::Path::new("/run/api.sock")
            );
        }
        assert_eq!(api("tcp://127.0.0.1:1").absolute().unwrap(), api("tcp://127.0.0.1:1"));
        assert_eq!((about.id, about.broker.as_str()), (id, "http://127.0.0.1:7000"));
        std::fs::write(directory.file(ABOUT), "id = 5").unwrap();
        assert!(directory.about().unwrap_err().message().contains("agent.toml"));
        std::fs::write(
            directory.file(ABOUT),
            "id = \"spiffe://a/b\"\nbroker = \"\"\ntrust = \"t\"\nmore = 1\n",
        )
        .unwrap();
        assert!(directory.about().unwrap_err().message().contains("unknown field"));
    }

    #[test]
    fn a_first_key_is_made_once_and_found_again() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new(place.path());
        let ports = Ports::system();
        let (key, made) = directory.first_key(&ports).unwrap();
        let (again, made_again) = directory.first_key(&ports).unwrap();
        assert!(made && !made_again);
        assert_eq!(key.public_key(), again.public_key());
        // One that nobody can read is in the way of none that is whole.
        std::fs::write(directory.file(NEXT_KEY), "torn").unwrap();
        assert!(directory.key_of(key.public_key()).is_ok());
        let other = ports.new_key().unwrap();
        let torn = directory.key_of(other.public_key()).unwrap_err();
        assert!(torn.message().contains("key-next.pem"), "{torn}");
        std::fs::remove_file(directory.file(NEXT_KEY)).unwrap();
        assert_eq!(directory.key_of(other.public_key()).unwrap_err().code(), "no_such_key");
        directory.set_first_key_aside(&key).unwrap();
        assert_ne!(directory.first_key(&ports).unwrap().0.public_key(), key.public_key());
        assert!(directory.key_of(key.public_key()).is_ok(), "and none is lost");
    }

    #[test]
    fn a_rotation_takes_no_key_out_of_the_sight_of_who_reads_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let (directory, world) = (Directory::new(place.path()), World::new());
        directory.first_key(&world.ports).unwrap();
        let token = world.issued(0).token().clone();
        let rotations = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..200 {
                    let old = files::read_key(&directory.file(KEY), &directory.lock).unwrap();
                    directory.next_key(&world.ports).unwrap();
                    directory.take_next_key(&old, &token, &world.ports).unwrap();
                }
            });
            let mut seen = 0;
            while !writer.is_finished() {
                // Whichever file a key is seen in, it is found from then on.
                for name in [NEXT_KEY, KEY] {
                    if let Some(key) =
                        files::find_key(&directory.file(name), &directory.lock).unwrap()
                    {
                        let found = directory.key_of(key.public_key()).unwrap();
                        assert_eq!(found.public_key(), key.public_key());
                        seen += 1;
                    }
                }
            }
            seen
        });
        assert!(rotations > 0);
    }

    #[tokio::test]
    async fn one_process_at_a_time_and_another_is_not_waited_for_in_silence() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new(place.path());
        let (short, ports) = (Duration::from_millis(50), Ports::system());
        let held = directory.lock_within(short, &ports).await.unwrap();
        let busy = directory.lock_within(short, &ports).await.unwrap_err();
        assert_eq!(busy.code(), "identity_in_use");
        drop(held);
        directory.lock(&ports).await.unwrap();
    }

    #[test]
    fn a_cut_off_rotation_asks_for_the_same_key_again() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new(place.path());
        let ports = Ports::system();
        let one = directory.next_key(&ports).unwrap();
        let two = directory.next_key(&ports).unwrap();
        assert_eq!(one.public_key(), two.public_key());
        assert!(directory.key_of(one.public_key()).is_ok());
        directory.set_next_key_aside(&one).unwrap();
        assert_ne!(directory.next_key(&ports).unwrap().public_key(), one.public_key());
        assert!(directory.key_of(one.public_key()).is_ok(), "and none is lost");
    }
}
