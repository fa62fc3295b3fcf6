//! The configuration of a broker, in TOML. Unknown fields are refused. docs/FORMATS, "Files".

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sublet_core::base::id::TrustDomain;
use sublet_core::base::limits;
use sublet_core::trust::bundle::KeyUse;
use sublet_core::trust::rotation::{Schedule, USES};

use crate::enroll::names;

/// The trust domain of a broker that was started with `--dev`.
pub const DEV_TRUST_DOMAIN: &str = "dev.sublet.example";

/// The default of `listen`.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7373";

/// The least `identity_ttl_seconds`. An agent renews when half of the lifetime is left; that must leave
/// time for a few attempts.
const IDENTITY_SECONDS_MIN: i64 = 5;

/// The default of `hops_live_max`. A hop takes 500 bytes and is held twice: 256 MiB. A hop counts until
/// it is pruned, about 70 s after it expires. With tokens of five minutes this admits 700 hops a second.
const HOPS_LIVE_DEFAULT: u32 = 262_144;

/// The least `hops_live_max`.
const HOPS_LIVE_MIN: u32 = 1_000;

/// What a recorded answer survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// It survives a power cut. Every batch ends with `fdatasync`.
    #[default]
    PowerLoss,
    /// It survives a killed process, and not a power cut. Faster.
    Process,
}

/// The configuration of a broker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain of this broker. Required.
    pub trust_domain: TrustDomain,
    /// The TCP address to listen on; default `127.0.0.1:7373`. Port 0 takes a free port. An address
    /// other than loopback needs `[tls]`.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The directory of the keys, the store and `trust.json`. Required.
    pub data: PathBuf,
    /// The lifetime of an identity token in seconds: 5 to 86,400; default 3,600.
    #[serde(default = "default_identity_ttl")]
    pub identity_ttl_seconds: i64,
    /// How long a fresh receipt states "not revoked", in milliseconds: 0 to 60,000; default 10,000.
    #[serde(default = "default_staple")]
    pub receipt_staple_ms: i64,
    /// The most live hops that one agent and its helpers may have made: at least 1,000; default 262,144.
    /// More are refused (`hops_full`).
    #[serde(default = "default_hops_live")]
    pub hops_live_max: u32,
    /// `[store]`: how durable an answer is.
    #[serde(default)]
    pub store: StoreConfig,
    /// `[ledger]`: retention and witnesses.
    #[serde(default)]
    pub ledger: LedgerConfig,
    /// The address that serves Prometheus metrics in plain text; no metrics if unset. Metrics name no
    /// agent and no person.
    pub metrics: Option<SocketAddr>,
    /// `[traces]`: where OpenTelemetry spans are sent; none if unset. Spans name no agent and no person.
    pub traces: Option<TracesConfig>,
    /// The path of a Unix socket for the admin. If set, the admin is accepted only there.
    pub admin_socket: Option<PathBuf>,
    /// `[tls]`: TLS of `listen`.
    #[serde(default)]
    pub tls: TlsConfig,
    /// `[keys]`: rotation and storage of the broker's keys.
    #[serde(default)]
    pub keys: KeysConfig,
    /// `[[issuer]]`: the issuers whose signed tokens or certificates enroll agents; default none.
    #[serde(default)]
    pub issuer: Vec<IssuerConfig>,
    /// `[[user_issuer]]`: the identity providers whose users agents may act for; default none.
    #[serde(default)]
    pub user_issuer: Vec<UserIssuerConfig>,
    /// Whether the broker was started with `--dev`: loopback only, no configuration file, an admin key
    /// of its own. Not a setting of the file.
    #[serde(skip)]
    pub dev: bool,
}

/// The `[store]` section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// What an answer survives: `power-loss` (default) or `process`.
    #[serde(default)]
    pub durability: Durability,
}

/// The `[traces]` section.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// The collector, which speaks OTLP over gRPC: `http://HOST:4317` or `https://…`. Required.
    pub collector: String,
    /// The PEM file of the authorities of the collector's certificate; default: the authorities of the Web.
    pub ca: Option<PathBuf>,
    /// The part of the calls that are traced, if the caller does not decide: 0 to 1; default 1.
    #[serde(default = "default_ratio")]
    pub ratio: f64,
}

fn default_ratio() -> f64 {
    1.0
}

/// The `[tls]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The PEM file of the broker's certificate and its chain up to the authority. Read again when the
    /// file changes. Needs `key`.
    pub certificate: Option<PathBuf>,
    /// The PEM file of its private key. Needs `certificate`.
    pub key: Option<PathBuf>,
    /// Whether a proxy in front of the broker terminates TLS; default false. If true, plain text is
    /// accepted on any address, so only the proxy may reach it.
    #[serde(default)]
    pub terminated_by_proxy: bool,
    /// Whether a client must show a certificate: `optional` (default) or `required`. Accepted are
    /// certificates of an issuer with an `x509_bundle`.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// A client may show one. If it does, the certificate must be of the agent that calls.
    #[default]
    Optional,
    /// Every client must show one.
    Required,
}

/// An `[[issuer]]`: an issuer of workload identities.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The name as in its tokens (`iss`): an https URL, or `spiffe://` and a trust domain. Required.
    pub name: String,
    /// The audience that its tokens must have, one or a list; default: the broker's own name,
    /// `sublet://` and the trust domain.
    pub audience: Option<OneOrSome>,
    /// A file with its keys, a JWK set.
    pub jwks_file: Option<PathBuf>,
    /// The URL of its keys, a JWK set. Without `jwks_file` and `jwks_url` the keys are found by OpenID
    /// Connect Discovery.
    pub jwks_url: Option<String>,
    /// The PEM file of the authorities of its X.509-SVIDs. Only for a `spiffe://` issuer.
    pub x509_bundle: Option<PathBuf>,
    /// The `trust.json` of the Sublet broker of that domain (federation). Only for a `spiffe://` issuer.
    pub trust_bundle: Option<PathBuf>,
    /// The accepted signature algorithms; default RS256, ES256 and EdDSA. A symmetric algorithm is never
    /// accepted.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
}

impl IssuerConfig {
    /// Returns the enrollment method of its signed tokens: `jwt_svid` or `jwt`.
    pub fn method(&self) -> &'static str {
        if self.is_spiffe() { names::JWT_SVID } else { names::JWT }
    }

    /// Returns whether it is a SPIFFE trust domain.
    pub fn is_spiffe(&self) -> bool {
        self.name.starts_with("spiffe://")
    }

    /// Returns whether its JWTs are accepted. They are not, if only an `x509_bundle` or a `trust_bundle`
    /// is set.
    pub fn signs_jwts(&self) -> bool {
        let other = self.x509_bundle.is_some() || self.trust_bundle.is_some();
        !other || self.jwks_file.is_some() || self.jwks_url.is_some()
    }
}

/// A string, or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrSome {
    /// A single string.
    One(String),
    /// A list.
    Some(Vec<String>),
}

impl OneOrSome {
    /// Returns all strings as a list.
    pub fn into_all(self) -> Vec<String> {
        match self {
            OneOrSome::One(one) => vec![one],
            OneOrSome::Some(all) => all,
        }
    }
}

/// A `[[user_issuer]]`: an identity provider of users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserIssuerConfig {
    /// The name as in its tokens (`iss`), an https URL. Required.
    pub name: String,
    /// The audience that its tokens must have (`aud`), one or a list. Required. For ID tokens it is the
    /// client id that the users log in with; for access tokens, the name of an API.
    pub audience: OneOrSome,
    /// A file with its keys, a JWK set.
    pub jwks_file: Option<PathBuf>,
    /// The URL of its keys, a JWK set. Without `jwks_file` and `jwks_url` the keys are found by OpenID
    /// Connect Discovery.
    pub jwks_url: Option<String>,
    /// The accepted signature algorithms; default RS256, ES256 and EdDSA.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// The principal of a login: `kind:{claim}`; default `user:{sub}`.
    #[serde(default = "default_principal")]
    pub principal: String,
}

impl UserIssuerConfig {
    /// Returns the part that says which of its tokens are valid.
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

/// The `[keys]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// How many days a key signs before the next one takes over: 1 to 180; default 90.
    #[serde(default = "default_rotate_days")]
    pub rotate_days: u32,
    /// How many hours a key is published before it signs: 1 to 720, and less than `rotate_days`; default 24.
    #[serde(default = "default_lead_hours")]
    pub lead_hours: u32,
    /// A file with the password that encrypts the private keys. Without it the key files are only
    /// protected by their file mode.
    pub password_file: Option<PathBuf>,
    /// The PKCS#11 token in which keys are made, a URI (RFC 7512). Without it keys are files. Needs the
    /// feature `pkcs11`.
    pub pkcs11: Option<String>,
    /// The uses whose keys are made in the PKCS#11 token; default all six. Keys of other uses are files.
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
    /// Returns the rotation schedule, in milliseconds.
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

/// The `[ledger]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// A file with the witness policy (C2SP tlog-policy): the witnesses that are asked to cosign every
    /// new checkpoint, and how many are enough. Without it there are no witnesses.
    pub witness_policy: Option<PathBuf>,
    /// After how many days a record is pruned: 1 to 36,500; kept for ever if unset. Hashes stay.
    pub retention_days: Option<u32>,
}

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The file is not a configuration in TOML.
    #[error("{}: {error}", path.display())]
    Form {
        /// The path of the file.
        path: PathBuf,
        /// The error of the TOML reader, with its place.
        error: Box<toml::de::Error>,
    },
    /// A value is out of its range, or two values contradict each other.
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// Reads and checks a TOML file.
    pub fn read(path: &Path) -> Result<Self, BadConfig> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadConfig::Read { path: path.to_owned(), error })?;
        let config: Config = toml::from_str(&text)
            .map_err(|error| BadConfig::Form { path: path.to_owned(), error: Box::new(error) })?;
        config.checked()
    }

    /// Returns the configuration of `--dev`: its own trust domain, loopback only.
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

    /// Returns the configuration if its values are in range and fit together. Call it again after flags
    /// changed values.
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
    /// Refuses plain text on an address other than loopback, unless a proxy terminates TLS. Refuses
    /// contradicting settings of TLS and issuers.
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
