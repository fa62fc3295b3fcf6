//! What every command may need: the broker, the trust bundle, the admin key, how to print.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::broker::tls::Tls;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::Signer;

use crate::cli_error::CliError;
use crate::pkcs11;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Flags and environment that commands share.
#[derive(clap::Args)]
pub(crate) struct Context {
    /// How data is printed.
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// The broker's address, such as http://127.0.0.1:7373.
    #[arg(long, global = true, env = "SUBLET_BROKER", value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// The trust bundle, trust.json.
    #[arg(long, global = true, env = "SUBLET_TRUST", value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// The admin key: PKCS#8 PEM, or a pkcs11: URI with object=LABEL.
    #[arg(
        long,
        global = true,
        env = "SUBLET_ADMIN_KEY",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) admin_key: Option<PathBuf>,
    /// The file of the password that the admin key lies under.
    #[arg(long, global = true, env = "SUBLET_ADMIN_KEY_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) admin_key_password_file: Option<PathBuf>,
    /// The file of the password that keys are made under, and that a helper's key lies under. The
    /// directory of an agent says its own.
    #[arg(long, global = true, env = "SUBLET_KEY_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) key_password_file: Option<PathBuf>,
    /// The authorities of the broker's certificate, PEM; else the public ones.
    #[arg(long, global = true, env = "SUBLET_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate to show, PEM.
    #[arg(long, global = true, env = "SUBLET_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, global = true, env = "SUBLET_CLIENT_KEY", value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
}

impl Context {
    /// The broker, or what to set.
    pub(crate) async fn broker(&self) -> Result<Broker, CliError> {
        Ok(Broker::connect_by(self.endpoint()?, &self.tls()).await?)
    }

    /// Where the broker is.
    pub(crate) fn endpoint(&self) -> Result<&str, CliError> {
        let endpoint = self.broker.as_deref();
        endpoint.ok_or_else(|| CliError::usage("which broker? set SUBLET_BROKER or --broker"))
    }

    /// What is said about TLS.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            ca: self.ca.clone(),
            certificate: self.client_certificate.clone(),
            key: self.client_key.clone(),
            workload_api: None,
        }
    }

    /// The trust bundle, or what to set.
    pub(crate) fn trust(&self) -> Result<Trust, CliError> {
        Ok(Trust::open(self.trust_path()?, Ports::system().clock.now())?)
    }

    /// Where the trust bundle lies.
    pub(crate) fn trust_path(&self) -> Result<&Path, CliError> {
        let path = self.trust.as_deref();
        path.ok_or_else(|| CliError::usage("whom to trust? set SUBLET_TRUST or --trust"))
    }

    /// The admin's credential, or what to set.
    pub(crate) fn admin(&self) -> Result<Credential, CliError> {
        let path = self.admin_key.as_ref();
        let path = path
            .ok_or_else(|| CliError::usage("by which key? set SUBLET_ADMIN_KEY or --admin-key"))?;
        Ok(Credential::admin(self.admin_signer(path)?, self.trust()?.domain()))
    }

    fn admin_signer(&self, place: &Path) -> Result<Arc<dyn Signer>, CliError> {
        if pkcs11::names_a_token(place) {
            return pkcs11::open(place);
        }
        let lock = files::read_lock(self.admin_key_password_file.as_deref())?;
        Ok(Arc::new(files::read_key(place, &lock)?))
    }

    /// What keys that are made lie under, and those of helpers.
    pub(crate) fn key_lock(&self) -> Result<KeyLock, CliError> {
        Ok(files::read_lock(self.key_password_file.as_deref())?)
    }

    /// Whether programs read what is printed.
    pub(crate) fn json(&self) -> bool {
        self.output == Output::Json
    }
}

/// Reads a file, or standard input for `-`; one line end after it is let pass.
pub(crate) fn read_secret(path: &Path) -> Result<String, CliError> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut std::io::Read::take(std::io::stdin(), 64 * 1024),
            &mut text,
        )
        .map_err(|error| CliError::local(format!("cannot read standard input: {error}")))?;
        text
    } else {
        files::read_text(path)?
    };
    Ok(text.trim_end().to_owned())
}

/// Durations as people write them: 30s, 15m, 2h, 1d.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let bad = || format!("{text:?} is no duration: 30s, 15m, 2h or 1d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 24 * 3600,
        _ => return Err(bad()),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    count
        .checked_mul(unit)
        .filter(|seconds| *seconds > 0)
        .map(std::time::Duration::from_secs)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("15m"), Ok(std::time::Duration::from_secs(900)));
        for bad in ["", "15", "m", "0s", "-1s", "1y", "1.5h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
