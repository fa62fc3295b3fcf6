//! The text form of a token and its receipt: what travels in headers and lies in files. docs/FORMATS.
//!
//! Owns: [`Presentation`]. Does not own: what the bytes in it mean (`token::unverified`, `evidence::receipt`).

use super::unverified::{BadToken, UnverifiedToken};
use crate::base::bytes::Reader;
use crate::base::text::{base64url, from_base64url};

/// What travels and lies in files: a token and, if there is one, the receipt that covers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// The token's bytes.
    pub token: Vec<u8>,
    /// The receipt's bytes, if there is one.
    pub receipt: Option<Vec<u8>>,
}

const TOKEN_PREFIX: &str = "sublet1.";

impl Presentation {
    /// One line: `sublet1.` and base64url of the token's length (u32), the token, the receipt.
    pub fn to_text(&self) -> String {
        // A token is at most 64 KiB, so its length fits.
        let length = u32::try_from(self.token.len()).unwrap_or(u32::MAX).to_be_bytes();
        let receipt = self.receipt.as_deref().unwrap_or_default();
        let bytes = [&length, self.token.as_slice(), receipt].concat();
        format!("{TOKEN_PREFIX}{}", base64url(bytes))
    }

    /// Reads the text form; one line end after it is let pass.
    pub fn from_text(text: &str) -> Result<Self, BadToken> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bytes =
            line.strip_prefix(TOKEN_PREFIX).and_then(from_base64url).ok_or(BadToken::Text)?;
        let mut reader = Reader::new(&bytes);
        let length = reader.u32().map_err(|_| BadToken::Text)?;
        let token = usize::try_from(length).ok().and_then(|length| reader.take(length).ok());
        let token = token.ok_or(BadToken::Text)?.to_vec();
        let receipt = Some(reader.rest().to_vec()).filter(|receipt| !receipt.is_empty());
        Ok(Presentation { token, receipt })
    }

    /// The token, read and understood.
    pub fn open(&self) -> Result<UnverifiedToken, BadToken> {
        UnverifiedToken::decode(&self.token)
    }
}
