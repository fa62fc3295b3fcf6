//! TLS of the broker: rustls, TLS 1.3 alone. docs/FORMATS, "Configuration".
//!
//! Owns: the certificate, taken anew when its files change; whose client certificates are taken, each
//! by the authorities of its own trust domain. Does not own: sockets (`listen`), which agent a
//! certificate is (`enrol::x509`, `authenticate`).
//!
//! Invariants: bundles of trust domains are never merged; files that do not fit together leave the ones
//! before in use, and are told; a certificate that names no workload, or two, is none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sublet_core::bytes::sha256;
use sublet_core::id::{SpiffeId, UnixMillis};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, version,
};

use crate::config::{BadConfig, ClientCertificates, Config};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// A client's certificate that was verified when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The workload that it names.
    pub id: SpiffeId,
    /// It, and those between it and its authority.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Certificate {
    /// What a connection has shown; `None` for none.
    pub fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let chain: Vec<_> = chain?.iter().map(|one| one.clone().into_owned()).collect();
        Some(Certificate { id: spiffe_id(chain.first()?)?, chain })
    }

    /// Its own bytes.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// The trust domain that it is of, as an issuer's name.
    pub fn issuer(&self) -> String {
        format!("spiffe://{}", self.id.trust_domain())
    }
}

/// The one SPIFFE id of a certificate (X.509-SVID section 2).
fn spiffe_id(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(name), None) => name.parse().ok(),
        _ => None,
    }
}

/// TLS as it is configured, and as its files are now.
pub struct Tls {
    files: Files,
    now: RwLock<Now>,
    seen: Mutex<[u8; 32]>,
}

/// The files of it.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// The authorities of each issuer.
    bundles: Vec<(String, PathBuf)>,
    clients: ClientCertificates,
}

#[derive(Clone)]
struct Now {
    server: Arc<ServerConfig>,
    clients: Option<Arc<ByDomain>>,
}

impl Tls {
    /// What a configuration says; `None` when TLS does not end here.
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
        let bad = |says: String| BadConfig::Value(format!("tls: {says}"));
        let read = files.read().map_err(bad)?;
        let (now, seen) = (files.load(&read).map_err(bad)?, digest(&read));
        Ok(Some(Arc::new(Tls { files, now: RwLock::new(now), seen: Mutex::new(seen) })))
    }

    /// For the next connection.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.now().server
    }

    /// Whether clients may show certificates.
    pub fn takes_certificates(&self) -> bool {
        self.now().clients.is_some()
    }

    /// Whether a certificate that was shown when somebody connected still holds.
    pub fn verify(&self, certificate: &Certificate, now: UnixMillis) -> Result<(), String> {
        let none = || "no client certificates are taken".to_owned();
        let clients = self.now().clients.ok_or_else(none)?;
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (leaf, between) = certificate.chain.split_first().ok_or_else(none)?;
        let verified = clients.verify_client_cert(leaf, between, now);
        verified.map(drop).map_err(|error| error.to_string())
    }

    fn now(&self) -> Now {
        // Put in whole, so a writer that panicked left a whole one.
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the files anew if they have changed. Says whether it did.
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

/// Takes the files anew whenever they change, for as long as the broker runs.
pub(crate) async fn run(tls: Arc<Tls>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tls = tls.clone();
        match tokio::task::spawn_blocking(move || tls.refresh()).await {
            Ok(Ok(true)) => tracing::info!("the certificate was taken anew"),
            Ok(Ok(false)) => {}
            Ok(Err(says)) => tracing::error!(says, "the certificate before stays in use"),
            Err(error) => tracing::error!(%error, "the certificate was not looked at"),
        }
    }
}

/// The content of the files: certificate, key, bundles.
type Read = Vec<Vec<u8>>;

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
        bundles: &[Vec<u8>],
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
        Ok(ByDomain { domains, subjects, provider: provider.clone(), required })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("{}: no certificate is in it", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Verifies a client's certificate by the authorities of the trust domain that it names.
#[derive(Debug)]
struct ByDomain {
    domains: HashMap<String, Arc<dyn ClientCertVerifier>>,
    subjects: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
    required: bool,
}

impl ClientCertVerifier for ByDomain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refused = CertificateError::ApplicationVerificationFailure;
        let id = spiffe_id(leaf).ok_or(Error::InvalidCertificate(refused))?;
        let verifier = self.domains.get(&format!("spiffe://{}", id.trust_domain()));
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        verifier.ok_or(unknown)?.verify_client_cert(leaf, between, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }
}
