//! TLS of the broker: rustls, TLS 1.3 only. docs/FORMATS, "Configuration".
//!
//! Owns: the certificate and the clients' authorities, read again when their files change. Does not own:
//! sockets (`listen`), the check of a client certificate (`certificate`).
//!
//! Invariants: if the files do not fit together, the earlier ones stay in use, and it is logged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::BadCertificate;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use zeroize::Zeroizing;

use crate::config::{BadConfig, ClientCertificates, Config};
use crate::transport::certificate::{ByDomain, Certificate};

/// How often the files are checked for changes.
const EVERY: Duration = Duration::from_secs(5);

/// TLS as configured, with the current content of its files.
pub struct Tls {
    files: Files,
    now: RwLock<Now>,
    seen: Mutex<[u8; 32]>,
}

/// The files of the configuration.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// The authorities' file of each issuer.
    bundles: Vec<(String, PathBuf)>,
    clients: ClientCertificates,
}

#[derive(Clone)]
struct Now {
    server: Arc<ServerConfig>,
    clients: Option<Arc<ByDomain>>,
}

impl Tls {
    /// Opens what a configuration says; `None` if TLS is not terminated here. An error if a file is not
    /// valid.
    pub fn open(config: &Config) -> Result<Option<Arc<Self>>, BadConfig> {
        let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
            return Ok(None);
        };
        let bundles = config.issuer.iter().filter_map(|issuer| {
            issuer.x509_bundle.clone().map(|bundle| (issuer.name.clone(), bundle))
        });
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
            bundles: bundles.collect(),
            clients: config.tls.client_certificates,
        };
        let bad = |detail: String| BadConfig::Value(format!("tls: {detail}"));
        let read = files.read().map_err(bad)?;
        let (now, seen) = (files.load(&read).map_err(bad)?, digest(&read));
        Ok(Some(Arc::new(Tls { files, now: RwLock::new(now), seen: Mutex::new(seen) })))
    }

    /// Returns the settings for the next connection.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.now().server
    }

    /// Returns whether clients may show certificates.
    pub fn takes_certificates(&self) -> bool {
        self.now().clients.is_some()
    }

    /// Returns the workload of a certificate that a client showed, if the certificate is valid now.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'static>],
        now: UnixMillis,
    ) -> Result<Certificate, BadCertificate> {
        let clients = self.now().clients.ok_or(BadCertificate::NotTaken)?;
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        clients.verify(chain, UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }

    fn now(&self) -> Now {
        // It is replaced as a whole, so it is whole even after a panic.
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again if they have changed. Returns whether it did. An error leaves the earlier
    /// ones in use.
    pub fn refresh(&self) -> Result<bool, String> {
        let read = self.files.read()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == digest(&read) {
            return Ok(false);
        }
        let next = self.files.load(&read)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = next;
        *seen = digest(&read);
        Ok(true)
    }
}

/// Reads the files again whenever they change, for as long as the broker runs.
pub(crate) async fn run(tls: Arc<Tls>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tls = tls.clone();
        match tokio::task::spawn_blocking(move || tls.refresh()).await {
            Ok(Ok(true)) => tracing::info!("the certificate was taken anew"),
            Ok(Ok(false)) => {}
            Ok(Err(detail)) => tracing::error!(detail, "the certificate before stays in use"),
            Err(error) => tracing::error!(%error, "the certificate was not looked at"),
        }
    }
}

/// The content of the files: certificate, key, bundles.
type Read = Vec<Zeroizing<Vec<u8>>>;

fn digest(read: &Read) -> [u8; 32] {
    sha256(&read.iter().flat_map(|file| sha256(file)).collect::<Vec<u8>>())
}

impl Files {
    fn read(&self) -> Result<Read, String> {
        let bundles = self.bundles.iter().map(|(_, path)| path.as_path());
        let paths = [self.certificate.as_path(), &self.key].into_iter().chain(bundles);
        paths.map(read).collect()
    }

    fn load(&self, read: &Read) -> Result<Now, String> {
        let [certificate, key, bundles @ ..] = read.as_slice() else {
            return Err("a file is missing".to_owned());
        };
        let provider = Arc::new(ring::default_provider());
        let clients = match self.bundles.is_empty() {
            true => None,
            false => Some(Arc::new(self.clients(&provider, bundles)?)),
        };
        let chain = certificates(&self.certificate, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| format!("{}: {error}", self.key.display()))?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| error.to_string())?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Now { server: Arc::new(server), clients })
    }

    fn clients(
        &self,
        provider: &Arc<CryptoProvider>,
        bundles: &[Zeroizing<Vec<u8>>],
    ) -> Result<ByDomain, String> {
        let (mut domains, mut subjects) = (HashMap::new(), Vec::new());
        for ((issuer, path), pem) in self.bundles.iter().zip(bundles) {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, pem)? {
                roots.add(authority).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            subjects.extend(roots.subjects());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let verifier =
                verifier.build().map_err(|error| format!("{}: {error}", path.display()))?;
            if domains.insert(issuer.clone(), verifier).is_some() {
                return Err(format!("{issuer} has two x509 bundles"));
            }
        }
        let required = self.clients == ClientCertificates::Required;
        Ok(ByDomain::new(domains, subjects, provider.clone(), required))
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("{}: no certificate is in it", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
