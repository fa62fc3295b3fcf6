//! The text form of a token and its receipt, for headers and files. docs/FORMATS.
//!
//! Owns: [`Presentation`]. Does not own: the meaning of the bytes (`token::unverified`,
//! `evidence::receipt`).

use super::unverified::{BadToken, UnverifiedToken};
use crate::base::bytes::Reader;
use crate::base::text::{base64url, from_base64url};

/// A token with its receipt, if it has one, as they are sent and stored.
///
/// ```
/// use sublet_core::token::Presentation;
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
///
/// let presentation = Presentation { token: world::delegation().encode(), receipt: None };
/// let text = presentation.to_text();
/// assert!(text.starts_with("sublet1."));
/// assert_eq!(Presentation::from_text(&text)?, presentation);
/// # Ok::<(), sublet_core::token::BadToken>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// The token's bytes.
    pub token: Vec<u8>,
    /// The receipt's bytes; `None` when there is no receipt.
    pub receipt: Option<Vec<u8>>,
}

const TOKEN_PREFIX: &str = "sublet1.";

impl Presentation {
    /// Returns one line: `sublet1.` and base64url of the token's length (u32), the token and the
    /// receipt.
    pub fn to_text(&self) -> String {
        // A token has at most 64 KiB, so its length fits.
        let length = u32::try_from(self.token.len()).unwrap_or(u32::MAX).to_be_bytes();
        let receipt = self.receipt.as_deref().unwrap_or_default();
        let bytes = [&length, self.token.as_slice(), receipt].concat();
        format!("{TOKEN_PREFIX}{}", base64url(bytes))
    }

    /// Parses the text form. One line end after it is ignored.
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

    /// Decodes the token, without verifying it.
    pub fn open(&self) -> Result<UnverifiedToken, BadToken> {
        UnverifiedToken::decode(&self.token)
    }
}
