//! `sublet key create`: a key for a helper, which is not enrolled.

use std::path::PathBuf;

use serde_json::json;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_core::sign::Signer as _;

use crate::context::Context;
use crate::print;
use crate::trouble::Trouble;

/// Keys.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key for a helper: DIR/key.pem, and DIR/key.pub to hand to its parent
    Create {
        /// The directory to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

pub(crate) fn run(command: Command, context: &Context) -> Result<(), Trouble> {
    let Command::Create { out } = command;
    std::fs::create_dir_all(&out)
        .map_err(|error| Trouble::local(format!("cannot make {}: {error}", out.display())))?;
    let key = files::create_key(&out.join("key.pem"), &context.key_lock()?, &Ports::system())?;
    let public = out.join("key.pub");
    files::replace(&public, format!("{}\n", key.public_key()).as_bytes())?;
    let (text, path) = (key.public_key().to_string(), public.display().to_string());
    let value = json!({"public_key": text, "file": path});
    print::pairs(context, &[("public key", text), ("file", path)], &value);
    Ok(())
}
