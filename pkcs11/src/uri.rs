//! The URI of a token and its module: RFC 7512.
//!
//! Owns: the attributes that are understood: `token` and `object`, and in the query `module-path` and
//! `pin-source`. Any other is refused, because ignoring it could select another token.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::DeviceError;

/// `pkcs11:token=LABEL[;object=LABEL]?module-path=FILE&pin-source=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    token: String,
    object: Option<String>,
    module: PathBuf,
    pin: PathBuf,
}

impl Uri {
    /// Returns the label of the token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the label of a key; `None` if the URI names none.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// Returns the path of the PKCS#11 module.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Returns the path of the file with the user's PIN.
    pub fn pin(&self) -> &Path {
        &self.pin
    }
}

impl FromStr for Uri {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let bad = |detail: String| DeviceError::Uri(format!("a PKCS#11 URI (RFC 7512): {detail}"));
        let rest = text.strip_prefix("pkcs11:").ok_or_else(|| bad("it begins pkcs11:".into()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut token, mut object, mut module, mut pin) = (None, None, None, None);
        let parts = path.split(';').map(|part| (part, true));
        let parts = parts.chain(query.split('&').map(|part| (part, false)));
        for (part, in_path) in parts.filter(|(part, _)| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| bad(format!("{part:?}")))?;
            let place = match (name, in_path) {
                ("token", true) => &mut token,
                ("object", true) => &mut object,
                ("module-path", false) => &mut module,
                ("pin-source", false) => &mut pin,
                ("pin-value", false) => {
                    return Err(bad("a PIN is not written into it: pin-source is a file".into()));
                }
                _ => return Err(bad(format!("{name} is not understood"))),
            };
            let value = decoded(value).ok_or_else(|| bad(format!("the value of {name}")))?;
            if place.replace(value).is_some() {
                return Err(bad(format!("{name} is there twice")));
            }
        }
        let needed = |value: Option<String>, name: &str| {
            value.filter(|value| !value.is_empty()).ok_or_else(|| bad(format!("{name} is missing")))
        };
        let pin = needed(pin, "pin-source")?;
        Ok(Uri {
            token: needed(token, "token")?,
            object,
            module: needed(module, "module-path")?.into(),
            pin: pin.strip_prefix("file:").unwrap_or(&pin).into(),
        })
    }
}

/// Returns the text with its percent-encoding decoded (RFC 3986, section 2.1); `None` if it is not valid.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_read_and_what_is_not_understood_is_refused() {
        let text = "pkcs11:token=My%20token;object=admin?module-path=/usr/lib/p11.so&pin-source=file:/run/pin";
        let uri: Uri = text.parse().unwrap();
        assert_eq!((uri.token(), uri.object()), ("My token", Some("admin")));
        assert_eq!(
            (uri.module(), uri.pin()),
            (Path::new("/usr/lib/p11.so"), Path::new("/run/pin"))
        );
        for (bad, detail) in [
            ("token=a", "begins pkcs11:"),
            ("pkcs11:token=a?module-path=/m", "pin-source is missing"),
            ("pkcs11:object=a?module-path=/m&pin-source=/p", "token is missing"),
            ("pkcs11:token=?module-path=/m&pin-source=/p", "token is missing"),
            ("pkcs11:token=a?pin-source=/p", "module-path is missing"),
            ("pkcs11:token=a?module-path=/m&pin-value=1234", "is not written into it"),
            ("pkcs11:token=a;serial=7?module-path=/m&pin-source=/p", "serial is not understood"),
            ("pkcs11:token=a;token=b?module-path=/m&pin-source=/p", "token is there twice"),
            ("pkcs11:token=a%2?module-path=/m&pin-source=/p", "the value of token"),
            ("pkcs11:token=a%zz?module-path=/m&pin-source=/p", "the value of token"),
            ("pkcs11:token=a%ff?module-path=/m&pin-source=/p", "the value of token"),
            ("pkcs11:token?module-path=/m&pin-source=/p", "\"token\""),
        ] {
            let refusal = bad.parse::<Uri>().unwrap_err().to_string();
            assert!(refusal.contains(detail), "{bad}: {refusal}");
        }
    }
}
