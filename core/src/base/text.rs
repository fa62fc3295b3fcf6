//! Text forms that several types share: base64url and serde through text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Returns base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes canonical base64url without padding; `None` for anything else.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Implements serde through the text form of a type with `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text =
                    <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Implements the base64url text form of a type of fixed size: `Display`, `FromStr`, `Debug`,
/// serde.
macro_rules! base64url_name {
    ($name:ident, $bytes:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::base::text::base64url(self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::base::id::BadId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::base::text::from_base64url(text)
                    .and_then(|bytes| <[u8; $bytes]>::try_from(bytes).ok())
                    .map($name)
                    .ok_or($crate::base::id::BadId::NotBase64Url { bytes: $bytes })
            }
        }
        $crate::base::text::serde_as_text!($name);
    };
}

pub(crate) use {base64url_name, serde_as_text};
