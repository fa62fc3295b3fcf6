//! What an operator sets: TOML, unknown fields refused. docs/FORMATS, "Files".

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sublet_core::base::id::TrustDomain;
use sublet_core::base::limits;
use sublet_core::trust::bundle::KeyUse;
use sublet_core::trust::rotation::{Schedule, USES};

use crate::enroll::names;

/// The trust domain of a broker started with `--dev`.
pub const DEV_TRUST_DOMAIN: &str = "dev.sublet.example";

/// Where a broker listens unless it is told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7373";

/// The shortest life of an identity token: half of it is left when it is renewed, which is time for a
/// few attempts.
const IDENTITY_SECONDS_MIN: i64 = 5;

/// Hops that live and that one agent and its helpers made: at 500 bytes each, held twice, 256 MiB. A
/// hop counts until it is pruned, some 70 s after its end: of tokens of five minutes, 700 hops a second.
const HOPS_LIVE_DEFAULT: u32 = 262_144;

/// The least that an operator may set it to.
const HOPS_LIVE_MIN: u32 = 1_000;

/// What survives what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// An answer survives a power cut: every batch ends with `fdatasync`.
    #[default]
    PowerLoss,
    /// An answer survives a killed process, not a power cut.
    Process,
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain whose broker this is.
    pub trust_domain: TrustDomain,
    /// The address to listen on; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The directory of keys, store and `trust.json`.
    pub data: PathBuf,
    /// How long an identity token lives, in seconds; at most a day.
    #[serde(default = "default_identity_ttl")]
    pub identity_ttl_seconds: i64,
    /// How long a receipt staples "not revoked", in milliseconds.
    #[serde(default = "default_staple")]
    pub receipt_staple_ms: i64,
    /// How many hops that live one agent and its helpers may have made: 1,000 at least.
    #[serde(default = "default_hops_live")]
    pub hops_live_max: u32,
    /// The store.
    #[serde(default)]
    pub store: StoreConfig,
    /// The ledger.
    #[serde(default)]
    pub ledger: LedgerConfig,
    /// Where metrics are served, in plain text: they name nobody.
    pub metrics: Option<SocketAddr>,
    /// Where spans are sent (OpenTelemetry): they name nobody.
    pub traces: Option<TracesConfig>,
    /// A Unix socket for the admin, who is then taken nowhere else.
    pub admin_socket: Option<PathBuf>,
    /// TLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// The broker's own keys.
    #[serde(default)]
    pub keys: KeysConfig,
    /// Whose signed tokens are believed, where agents enroll with them.
    #[serde(default)]
    pub issuer: Vec<IssuerConfig>,
    /// Whose logins of users are believed, where agents act for them.
    #[serde(default)]
    pub user_issuer: Vec<UserIssuerConfig>,
    /// Whether this is a broker to try things with: loopback only, made up of itself.
    #[serde(skip)]
    pub dev: bool,
}

/// The store's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// What an answer survives.
    #[serde(default)]
    pub durability: Durability,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// A collector that speaks OTLP over gRPC: `http://HOST:4317`, or https.
    pub collector: String,
    /// The authority of its certificate, PEM; those of the Web without it.
    pub ca: Option<PathBuf>,
    /// Of calls whose caller does not say whether they are traced, how many are: 0 to 1.
    #[serde(default = "default_ratio")]
    pub ratio: f64,
}

fn default_ratio() -> f64 {
    1.0
}

/// TLS of the broker's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The broker's certificate and those between it and its authority, PEM. Taken anew when the file
    /// changes.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// Whether a proxy in front ends TLS, so that plain text is spoken beyond loopback.
    #[serde(default)]
    pub terminated_by_proxy: bool,
    /// Whether whoever connects must show a certificate of an issuer with an `x509_bundle`.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// Those that have one; it must be of who calls.
    #[default]
    Optional,
    /// All.
    Required,
}

/// An issuer of signed tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// As its tokens name it (`iss`), an https URL; or `spiffe://` and a trust domain, for JWT-SVIDs.
    pub name: String,
    /// For whom its tokens must be; the broker's own name unless it is said.
    pub audience: Option<OneOrSome>,
    /// The file of its keys, a JWK set.
    pub jwks_file: Option<PathBuf>,
    /// The URL of its keys. Without either they are found as OpenID Connect Discovery says.
    pub jwks_url: Option<String>,
    /// The authorities of its X.509-SVIDs, PEM, of a `spiffe://` issuer.
    pub x509_bundle: Option<PathBuf>,
    /// The `trust.json` of its Sublet broker, of a `spiffe://` issuer: its agents may be agents here.
    pub trust_bundle: Option<PathBuf>,
    /// The algorithms that are taken from it.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
}

impl IssuerConfig {
    /// The method of enrollment that its signed tokens belong to.
    pub fn method(&self) -> &'static str {
        if self.is_spiffe() { names::JWT_SVID } else { names::JWT }
    }

    /// Whether it is a SPIFFE trust domain.
    pub fn is_spiffe(&self) -> bool {
        self.name.starts_with("spiffe://")
    }

    /// Whether its JWTs are taken: always, unless it is a trust domain that is known by other things.
    pub fn signs_jwts(&self) -> bool {
        let other = self.x509_bundle.is_some() || self.trust_bundle.is_some();
        !other || self.jwks_file.is_some() || self.jwks_url.is_some()
    }
}

/// A string, or a list of some.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrSome {
    /// One.
    One(String),
    /// Some.
    Some(Vec<String>),
}

impl OneOrSome {
    /// All of it.
    pub fn into_all(self) -> Vec<String> {
        match self {
            OneOrSome::One(one) => vec![one],
            OneOrSome::Some(all) => all,
        }
    }
}

/// An identity provider of users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserIssuerConfig {
    /// As its tokens name it (`iss`), an https URL.
    pub name: String,
    /// For whom its tokens must be (`aud`), one or some: the client id that the users log in with, for
    /// their ID tokens; the name of an API, for access tokens.
    pub audience: OneOrSome,
    /// The file of its keys, a JWK set.
    pub jwks_file: Option<PathBuf>,
    /// The URL of its keys. Without either they are found as OpenID Connect Discovery says.
    pub jwks_url: Option<String>,
    /// The algorithms that are taken from it.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// Which principal a login is: `kind:{claim}`.
    #[serde(default = "default_principal")]
    pub principal: String,
}

impl UserIssuerConfig {
    /// Its part that says which tokens hold.
    pub fn issuer(&self) -> IssuerConfig {
        IssuerConfig {
            name: self.name.clone(),
            audience: Some(self.audience.clone()),
            jwks_file: self.jwks_file.clone(),
            jwks_url: self.jwks_url.clone(),
            x509_bundle: None,
            trust_bundle: None,
            algorithms: self.algorithms.clone(),
        }
    }
}

fn default_principal() -> String {
    "user:{sub}".to_owned()
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

/// The keys' part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// How many days a key signs before the next one takes over: 1 to 180.
    #[serde(default = "default_rotate_days")]
    pub rotate_days: u32,
    /// How many hours a key is published before it signs: 1 to 720, and less than it signs.
    #[serde(default = "default_lead_hours")]
    pub lead_hours: u32,
    /// The file of the password that the private keys lie under; open to their owner alone without it.
    pub password_file: Option<PathBuf>,
    /// The PKCS#11 token that keys are made in, a URI (RFC 7512); files without it.
    pub pkcs11: Option<String>,
    /// Keys of which uses are made there; all unless it is said.
    #[serde(default = "default_pkcs11_uses")]
    pub pkcs11_uses: Vec<KeyUse>,
}

fn default_pkcs11_uses() -> Vec<KeyUse> {
    USES.to_vec()
}

impl Default for KeysConfig {
    fn default() -> Self {
        let (rotate_days, lead_hours) = (default_rotate_days(), default_lead_hours());
        let pkcs11_uses = default_pkcs11_uses();
        KeysConfig { rotate_days, lead_hours, password_file: None, pkcs11: None, pkcs11_uses }
    }
}

impl KeysConfig {
    /// The same in milliseconds.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            rotate_ms: i64::from(self.rotate_days) * 24 * HOUR_MS,
            lead_ms: i64::from(self.lead_hours) * HOUR_MS,
        }
    }

    fn is_in_bounds(&self) -> bool {
        let schedule = self.schedule();
        (1..=180).contains(&self.rotate_days)
            && (1..=720).contains(&self.lead_hours)
            && schedule.lead_ms < schedule.rotate_ms
    }
}

const HOUR_MS: i64 = 3_600_000;

fn default_rotate_days() -> u32 {
    90
}

fn default_lead_hours() -> u32 {
    24
}

/// The ledger's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// A policy (C2SP tlog-policy): the witnesses that are shown every new head, and how many of them
    /// are enough.
    pub witness_policy: Option<PathBuf>,
    /// Records older than this, in days, are pruned; kept for ever when it is not set. Hashes stay.
    pub retention_days: Option<u32>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not a configuration.
    #[error("{}: {error}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Box<toml::de::Error>,
    },
    /// A value is out of its bounds.
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self, BadConfig> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadConfig::Read { path: path.to_owned(), error })?;
        let config: Config = toml::from_str(&text)
            .map_err(|error| BadConfig::Form { path: path.to_owned(), error: Box::new(error) })?;
        config.checked()
    }

    /// A broker to try things with: its own trust domain, loopback only.
    pub fn dev(data: PathBuf, listen: SocketAddr) -> Result<Self, BadConfig> {
        let trust_domain =
            DEV_TRUST_DOMAIN.parse().map_err(|bad| BadConfig::Value(format!("{bad}")))?;
        let config = Config {
            trust_domain,
            listen,
            data,
            identity_ttl_seconds: default_identity_ttl(),
            receipt_staple_ms: default_staple(),
            hops_live_max: default_hops_live(),
            store: StoreConfig::default(),
            ledger: LedgerConfig::default(),
            metrics: None,
            traces: None,
            admin_socket: None,
            tls: TlsConfig::default(),
            keys: KeysConfig::default(),
            issuer: Vec::new(),
            user_issuer: Vec::new(),
            dev: true,
        };
        config.checked()
    }

    /// Refuses values out of bounds; also after flags have changed some.
    pub fn checked(self) -> Result<Self, BadConfig> {
        let bad = |detail: String| Err(BadConfig::Value(detail));
        if self.dev && !self.listen.ip().is_loopback() {
            return bad(format!("--dev listens on loopback only, not on {}", self.listen));
        }
        if !(IDENTITY_SECONDS_MIN..=limits::IDENTITY_SECONDS_MAX)
            .contains(&self.identity_ttl_seconds)
        {
            let most = limits::IDENTITY_SECONDS_MAX;
            return bad(format!("identity_ttl_seconds is {IDENTITY_SECONDS_MIN} to {most}"));
        }
        if !(0..=60_000).contains(&self.receipt_staple_ms) {
            return bad("receipt_staple_ms is 0 to 60000".to_owned());
        }
        if self.hops_live_max < HOPS_LIVE_MIN {
            return bad(format!("hops_live_max is at least {HOPS_LIVE_MIN}"));
        }
        if self.ledger.retention_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
            return bad("ledger.retention_days is 1 to 36500".to_owned());
        }
        if self.traces.as_ref().is_some_and(|traces| !(0.0..=1.0).contains(&traces.ratio)) {
            return bad("traces.ratio is 0 to 1".to_owned());
        }
        self.check_transport()?;
        if !self.keys.is_in_bounds() {
            let detail =
                "keys.rotate_days is 1 to 180, keys.lead_hours 1 to 720 and less than that";
            return bad(detail.to_owned());
        }
        Ok(self)
    }
}

impl Config {
    /// Plain text stays on loopback, unless somebody says that TLS ends in front.
    fn check_transport(&self) -> Result<(), BadConfig> {
        let bad = |detail: String| Err(BadConfig::Value(detail));
        let tls = &self.tls;
        if tls.certificate.is_some() != tls.key.is_some() {
            return bad("tls.certificate and tls.key belong together".to_owned());
        }
        if tls.certificate.is_some() && (tls.terminated_by_proxy || self.dev) {
            return bad(
                "tls.certificate: TLS ends here or at a proxy, and never in --dev".to_owned()
            );
        }
        if tls.certificate.is_none() && !tls.terminated_by_proxy && !self.listen.ip().is_loopback()
        {
            return bad(format!(
                "{} is not loopback: tls.certificate and tls.key are needed, or tls.terminated_by_proxy = true \
                 where a proxy in front ends TLS",
                self.listen
            ));
        }
        let svids = self.issuer.iter().any(|issuer| issuer.x509_bundle.is_some());
        if svids && tls.certificate.is_none() {
            return bad(
                "an x509_bundle needs tls.certificate: an X.509-SVID is shown in TLS".to_owned()
            );
        }
        if tls.client_certificates == ClientCertificates::Required && !svids {
            return bad("tls.client_certificates: no issuer has an x509_bundle".to_owned());
        }
        let odd = self.issuer.iter().find(|issuer| {
            !issuer.is_spiffe() && (issuer.x509_bundle.is_some() || issuer.trust_bundle.is_some())
        });
        match odd {
            Some(issuer) => bad(format!(
                "issuer {:?}: x509_bundle and trust_bundle are of a trust domain, spiffe://…",
                issuer.name
            )),
            None => Ok(()),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7373))
}

fn default_identity_ttl() -> i64 {
    3600
}

fn default_hops_live() -> u32 {
    HOPS_LIVE_DEFAULT
}

fn default_staple() -> i64 {
    limits::STALENESS_MS_DEFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_stays_on_loopback() {
        assert!(Config::dev("data".into(), "127.0.0.1:0".parse().unwrap()).is_ok());
        let open = Config::dev("data".into(), "0.0.0.0:7373".parse().unwrap());
        assert!(open.unwrap_err().to_string().contains("loopback only"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sublet.toml");
        std::fs::write(
            &path,
            "trust_domain = \"acme.example\"\ndata = \"d\"\n[store]\ndurability = \"process\"\n",
        )
        .unwrap();
        assert_eq!(Config::read(&path).unwrap().store.durability, Durability::Process);
        std::fs::write(&path, "trust_domain = \"acme.example\"\ndata = \"d\"\nlisen = 1\n")
            .unwrap();
        assert!(Config::read(&path).unwrap_err().to_string().contains("lisen"));
    }
}
