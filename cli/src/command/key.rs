//! `sublet key create`: a key for a helper or an admin.

use std::path::PathBuf;

use serde_json::json;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_core::base::sign::Signer as _;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::pkcs11;
use crate::print;

/// Keys.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key for a helper or an admin: DIR/key.pem, and the public key DIR/key.pub
    ///
    /// With SUBLET_KEY_PASSWORD_FILE or --key-password-file, key.pem is encrypted. Agents make their own key
    /// when they enroll.
    Create {
        /// Directory for the key; it is made if it does not exist
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Make the key in this PKCS#11 token instead of DIR/key.pem: pkcs11: URI with object=LABEL (RFC 7512)
        #[arg(long, value_name = "URI")]
        pkcs11: Option<PathBuf>,
    },
}

pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let Command::Create { out, pkcs11 } = command;
    std::fs::create_dir_all(&out)
        .map_err(|error| CliError::local(format!("cannot make {}: {error}", out.display())))?;
    let made = match pkcs11 {
        Some(place) => pkcs11::make(&place)?.public_key().clone(),
        None => {
            let (path, lock) = (out.join("key.pem"), context.key_lock()?);
            files::create_key(&path, &lock, &Ports::system())?.public_key().clone()
        }
    };
    let public = out.join("key.pub");
    files::replace(&public, format!("{made}\n").as_bytes())?;
    let (text, path) = (made.to_string(), public.display().to_string());
    let value = json!({"public_key": text, "file": path});
    print::pairs(context, &[("public key", text), ("file", path)], &value);
    Ok(())
}
