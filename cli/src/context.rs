//! What commands share: the broker, the trust bundle, the admin key, the output format.

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

/// The format of data on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Table for a person
    Table,
    /// JSON for a program
    Json,
}

/// The heading of the flags below in a help text.
const SHARED: &str = "Options of every command";

/// Flags and environment variables that commands share.
#[derive(clap::Args)]
pub(crate) struct Context {
    /// Format of the output
    #[arg(long, global = true, help_heading = SHARED, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// Address of the broker, such as http://127.0.0.1:7373
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_BROKER", value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// Trust bundle of the broker (trust.json)
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_TRUST", value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// Admin key: PKCS#8 PEM file, or pkcs11: URI with object=LABEL
    #[arg(
        long,
        global = true, help_heading = SHARED,
        env = "SUBLET_ADMIN_KEY",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) admin_key: Option<PathBuf>,
    /// File with the password that encrypts the admin key
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_ADMIN_KEY_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) admin_key_password_file: Option<PathBuf>,
    /// File with the password for new keys and for a helper's key; an identity's directory names its own
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_KEY_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) key_password_file: Option<PathBuf>,
    /// CA certificates that the broker's TLS certificate is verified with, PEM; without it, the public CAs
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// TLS client certificate, PEM
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Key of the TLS client certificate, PEM
    #[arg(long, global = true, help_heading = SHARED, env = "SUBLET_CLIENT_KEY", value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
}

impl Context {
    /// Connects to the broker. A usage error where no address is set.
    pub(crate) async fn broker(&self) -> Result<Broker, CliError> {
        Ok(Broker::connect_by(self.endpoint()?, &self.tls()).await?)
    }

    /// Returns the broker's address. A usage error where none is set.
    pub(crate) fn endpoint(&self) -> Result<&str, CliError> {
        let endpoint = self.broker.as_deref();
        endpoint.ok_or_else(|| {
            CliError::usage("the broker's address is missing: set SUBLET_BROKER or --broker")
        })
    }

    /// Returns the TLS settings of the flags.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            ca: self.ca.clone(),
            certificate: self.client_certificate.clone(),
            key: self.client_key.clone(),
            workload_api: None,
        }
    }

    /// Loads the trust bundle. A usage error where no file is set.
    pub(crate) fn trust(&self) -> Result<Trust, CliError> {
        Ok(Trust::open(self.trust_path()?, Ports::system().clock.now())?)
    }

    /// Returns the path of the trust bundle. A usage error where none is set.
    pub(crate) fn trust_path(&self) -> Result<&Path, CliError> {
        let path = self.trust.as_deref();
        path.ok_or_else(|| {
            CliError::usage("the trust bundle is missing: set SUBLET_TRUST or --trust")
        })
    }

    /// Returns the admin's credential. A usage error where no key is set.
    pub(crate) fn admin(&self) -> Result<Credential, CliError> {
        let path = self.admin_key.as_ref();
        let path = path.ok_or_else(|| {
            CliError::usage("the admin key is missing: set SUBLET_ADMIN_KEY or --admin-key")
        })?;
        Ok(Credential::admin(self.admin_signer(path)?, self.trust()?.domain()))
    }

    fn admin_signer(&self, place: &Path) -> Result<Arc<dyn Signer>, CliError> {
        if pkcs11::names_a_token(place) {
            return pkcs11::open(place);
        }
        let lock = files::read_lock(self.admin_key_password_file.as_deref())?;
        Ok(Arc::new(files::read_key(place, &lock)?))
    }

    /// Returns how new keys and the keys of helpers are encrypted.
    pub(crate) fn key_lock(&self) -> Result<KeyLock, CliError> {
        Ok(files::read_lock(self.key_password_file.as_deref())?)
    }

    /// Whether the output is JSON.
    pub(crate) fn json(&self) -> bool {
        self.output == Output::Json
    }
}

/// Reads a secret from a file, or from stdin for `-` (at most 64 KiB). Trailing white space is removed.
pub(crate) fn read_secret(path: &Path) -> Result<String, CliError> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut std::io::Read::take(std::io::stdin(), 64 * 1024),
            &mut text,
        )
        .map_err(|error| CliError::local(format!("cannot read stdin: {error}")))?;
        text
    } else {
        files::read_text(path)?
    };
    Ok(text.trim_end().to_owned())
}

/// Reads a duration: a whole number over 0 with a unit, such as 30s, 15m, 2h or 1d.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let bad = || {
        format!(
            "{text:?} is not a duration: expected a number with a unit, such as 30s, 15m, 2h or 1d"
        )
    };
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

/// Returns a duration in whole seconds for a request.
pub(crate) fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
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
